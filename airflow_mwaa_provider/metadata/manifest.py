# SPDX-License-Identifier: Apache-2.0
"""What an export has written: the last object that it writes, so that its presence means that all is there."""

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
    :param key: columns that say which row it is: of the primary key, where that never changes.
    :param since: rows from this time on; ``None`` from the beginning.
    :param watermark: where the next incremental export begins.
    :param snapshot: where the next incremental export begins, as transactions; ``None`` where these are not known.
    :param witnesses: what was in the database when ``snapshot`` was taken, and is there later unless it was restored.
    :param written_since: rows too that were written since this snapshot, whatever their times.
    :param by: what was compared with since and until: ``time``, ``change``, or ``None`` when all rows were taken.
    :param may_lack_rows: policies of row-level security may have hidden rows from the user who exported.
    :param rows_changed: of the rows, those whose time lies before ``since``: they were changed, or came late.
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
        """How many rows there are in all files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def sha256(self) -> str:
        """The file's SHA-256; of several files that of their digests, one after the other, as S3 does it for parts."""
        if len(self.files) == 1:
            return self.files[0].sha256
        return hashlib.sha256(b"".join(bytes.fromhex(file.sha256) for file in self.files)).hexdigest()


@dataclass(frozen=True)
class Manifest:
    """An export.

    :param airflow_version: of the environment, where it is known; else the first release with its schema.
    :param schema_version: head of Airflow's migrations.
    :param exported_at: when the database was looked at: all tables are as they were then.
    :param database: of an archive, which database it is of.
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
        """Keys of all objects, without the manifest's own."""
        return [file.key for table in self.tables.values() for file in table.files]

    def document(self) -> dict[str, Any]:
        """Give it in JSON's own types."""
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
        """Give what a task returns: the document without the files' own fields.

        Beyond a thousand objects ``objects`` is empty, and the manifest object has them; ``object_count`` is right
        in any case.
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
        """Write it as JSON."""
        return (json.dumps(self.document(), indent=1) + "\n").encode()

    @classmethod
    def read(cls, content: bytes, place: str) -> Manifest:
        """Read it.

        :param place: where it is from, for the message.
        :raises MwaaInputError: it is no manifest, or a newer one.
        """
        try:
            document = json.loads(content)
            version = document.pop("format_version")
        except (ValueError, KeyError, AttributeError, TypeError):
            raise MwaaInputError(f"{place} is no manifest of a metadata export; give another prefix.") from None
        if version != FORMAT_VERSION:
            raise MwaaInputError(f"{place} has format version {version!r}, and {FORMAT_VERSION} is known here.")
        try:
            tables = {name: _table(fields) for name, fields in document.pop("tables").items()}
            for name in ("since", "until", "exported_at"):
                document[name] = _moment(document[name])
            database = document.pop("database", None)
            identity = None if database is None else DatabaseIdentity(**database)
            return cls(tables=tables, database=identity, **document)
        except (KeyError, TypeError, ValueError) as error:
            raise MwaaInputError(f"{place} is no whole manifest: {error}; give another prefix.") from None


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
