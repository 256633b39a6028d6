# SPDX-License-Identifier: Apache-2.0
"""The manifest of an export, which is written last: if it exists, all other objects do."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.catalog.snapshot import Snapshot
from airflow_mwaa_provider.metadata.catalog.witnesses import TableWitness
from airflow_mwaa_provider.metadata.identity import DatabaseIdentity
from airflow_mwaa_provider.metadata.storage.bucket import StoredFile

__all__ = ["Manifest", "TableExport"]

FORMAT_VERSION = 1
_KEYS_IN_SUMMARY = 1000


@dataclass(frozen=True)
class TableExport:
    """What was written of one table.

    :param columns: names and PostgreSQL's types, in the files' order.
    :param key: columns that identify a row: those of the primary key, if it never changes.
    :param since: rows from this time on; ``None`` from the beginning.
    :param watermark: where the next incremental export begins.
    :param snapshot: where the next incremental export begins, as transactions; ``None`` if they are not known.
    :param witnesses: evidence of the database's state at ``snapshot``, which holds later unless it was restored.
    :param written_since: also includes rows written since this snapshot, whatever their times.
    :param by: what was compared with since and until: ``time``, ``change``, or ``None`` if all rows were exported.
    :param may_lack_rows: row-level security policies may have hidden rows from the exporting user.
    :param rows_changed: how many rows have a time before ``since``: they were changed, or came late.
    """

    files: tuple[StoredFile, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    watermark: datetime | None = None
    snapshot: Snapshot | None = field(default=None, compare=False)
    witnesses: tuple[TableWitness, ...] = field(default=(), compare=False)
    written_since: Snapshot | None = None
    by: str | None = None
    rows_changed: int = 0
    may_lack_rows: bool = False

    @property
    def rows(self) -> int:
        """The number of rows in all files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def sha256(self) -> str:
        """The file's SHA-256; for several files, that of their concatenated digests, as S3 computes it for parts."""
        if len(self.files) == 1:
            return self.files[0].sha256
        return hashlib.sha256(b"".join(bytes.fromhex(file.sha256) for file in self.files)).hexdigest()


@dataclass(frozen=True)
class Manifest:
    """The manifest of an export.

    :param airflow_version: of the environment, if it is known; otherwise the first release with its schema.
    :param schema_version: head of Airflow's migrations.
    :param exported_at: time of the snapshot.
    :param database: for an archive, the database that it is from.
    """

    bucket: str
    key: str
    tables: dict[str, TableExport]
    schema_version: str
    airflow_version: str | None
    since: datetime | None
    until: datetime | None
    exported_at: datetime
    file_format: str
    compression: str
    layout: str
    route: str
    incremental: bool = False
    database: DatabaseIdentity | None = None

    @property
    def keys(self) -> list[str]:
        """Keys of all objects except the manifest's own."""
        return [file.key for table in self.tables.values() for file in table.files]

    def document(self) -> dict[str, Any]:
        """Return it in JSON's own types."""
        document = _plain(asdict(self))
        if self.database is None:
            del document["database"]
        for name, table in self.tables.items():
            document["tables"][name] = {
                "rows": table.rows,
                "bytes": table.bytes,
                "objects": [file.key for file in table.files],
                "sha256": table.sha256,
                **document["tables"][name],
            }
        return {"format_version": FORMAT_VERSION, **document}

    def summary(self) -> dict[str, Any]:
        """Return what a task returns: the document without the fields of the files.

        With more than a thousand objects, ``objects`` is empty, and the manifest object lists them; ``object_count`` is
        always correct.
        """
        document = self.document()
        many = len(self.keys) > _KEYS_IN_SUMMARY
        for table in document["tables"].values():
            table["object_count"] = len(table["objects"])
            table["objects"] = [] if many else table["objects"]
            for name in ("files", "columns", "key", "watermark", "snapshot", "witnesses", "written_since"):
                del table[name]
        return document

    def write(self) -> bytes:
        """Return it as JSON."""
        return (json.dumps(self.document(), indent=1) + "\n").encode()

    @classmethod
    def read(cls, content: bytes, place: str) -> Manifest:
        """Parse a manifest.

        :param place: where it is from, for the message.
        :raises MwaaInputError: it is not a manifest, or has a newer format.
        """
        try:
            document = json.loads(content)
            version = document.pop("format_version")
        except (ValueError, KeyError, AttributeError, TypeError):
            raise MwaaInputError(f"{place} is not the manifest of a metadata export. Use another prefix.") from None
        if version != FORMAT_VERSION:
            raise MwaaInputError(f"{place} has format version {version!r}; this version supports {FORMAT_VERSION}.")
        try:
            tables = {name: _table(fields) for name, fields in document.pop("tables").items()}
            for name in ("since", "until", "exported_at"):
                document[name] = _moment(document[name])
            database = document.pop("database", None)
            identity = None if database is None else DatabaseIdentity(**database)
            return cls(tables=tables, database=identity, **document)
        except (KeyError, TypeError, ValueError) as error:
            raise MwaaInputError(f"{place} is not a complete manifest ({error}). Use another prefix.") from None


def _table(fields: dict[str, Any]) -> TableExport:
    return TableExport(
        files=tuple(StoredFile(**file) for file in fields["files"]),
        columns=fields["columns"],
        key=tuple(fields["key"]),
        since=_moment(fields["since"]),
        until=_moment(fields["until"]),
        watermark=_moment(fields["watermark"]),
        snapshot=_snapshot(fields.get("snapshot")),
        witnesses=tuple(map(TableWitness.from_dict, fields.get("witnesses", ()))),
        written_since=_snapshot(fields.get("written_since")),
        by=fields["by"],
        rows_changed=fields["rows_changed"],
        may_lack_rows=bool(fields.get("may_lack_rows", False)),
    )


def _moment(written: str | None) -> datetime | None:
    return None if written is None else datetime.fromisoformat(written)


def _snapshot(fields: dict[str, Any] | None) -> Snapshot | None:
    return None if fields is None else Snapshot(**fields)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
