# SPDX-License-Identifier: Apache-2.0
"""The messages between route ``api`` and the plugin ``metadata_api``: plain JSON, without SQL or secrets.

Both ends may have different versions of this package: each side ignores unknown fields, and :data:`PREFIX` changes if
that is not enough.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.catalog.schema import Column, Reference, Schema, Table
from airflow_mwaa_provider.metadata.catalog.snapshot import Snapshot
from airflow_mwaa_provider.metadata.catalog.witnesses import TableWitness
from airflow_mwaa_provider.metadata.export.layout import Layout, ObjectKeys
from airflow_mwaa_provider.metadata.storage.bucket import StoredFile, UploadHandle

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "CONTRADICTION",
    "MEASURES",
    "PREFIX",
    "Description",
    "Piece",
    "PieceRequest",
    "object_keys_document",
    "read_object",
    "read_witness_list",
    "reading",
]

T = TypeVar("T")

PREFIX = "/mwaa-provider/metadata/v1"
"""The plugin's path on a web server."""
CONTRADICTION = "/contradiction"
"""Path of the question whether the database was restored since earlier evidence; unknown to older servers."""
MEASURES = "/measures"
"""Path of the measures of the database; unknown to older servers."""


@dataclass(frozen=True)
class Description:
    """The server's description of its database, and of what it may do.

    :param horizon: up to this time the tables are practically complete.
    :param snapshot: the state of the database as transactions; ``None`` from an older server.
    :param witnesses: evidence of that state, from tables that this caller may read; empty from an older server.
    :param destinations: ``s3://BUCKET/PREFIX`` of the places that it exports to.
    :param refused: tables that this caller may not read, and why.
    """

    schema: Schema
    airflow_version: str
    now: datetime
    horizon: datetime
    destinations: tuple[str, ...]
    refused: dict[str, str] = field(default_factory=dict)
    snapshot: Snapshot | None = None
    witnesses: tuple[TableWitness, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it in JSON's own types."""
        tables = [asdict(table) for table in self.schema.tables.values()]
        return {
            "schema": {"name": self.schema.name, "revision": self.schema.revision, "tables": tables},
            "airflow_version": self.airflow_version,
            "now": self.now.isoformat(),
            "horizon": self.horizon.isoformat(),
            "destinations": list(self.destinations),
            "refused": self.refused,
            "snapshot": None if self.snapshot is None else asdict(self.snapshot),
            "witnesses": [asdict(witness) for witness in self.witnesses],
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Description:
        """Parse it.

        :raises MwaaInputError: it has another form.
        """
        with reading("the server's description"):
            schema = document["schema"]
            tables = {found["name"]: _table(found) for found in schema["tables"]}
            return cls(
                schema=Schema(schema["name"], schema["revision"], tables),
                airflow_version=str(document["airflow_version"]),
                now=datetime.fromisoformat(document["now"]),
                horizon=datetime.fromisoformat(document["horizon"]),
                destinations=tuple(document["destinations"]),
                refused={str(name): str(why) for name, why in document["refused"].items()},
                snapshot=read_object(Snapshot, found, "a snapshot") if (found := document.get("snapshot")) else None,
                witnesses=read_witness_list(document.get("witnesses", ())),
            )


@dataclass(frozen=True)
class PieceRequest:
    """A request to write the next piece of a table to S3.

    :param columns: names of the columns to export; secret ones are always masked.
    :param by: ``time`` or ``change``: what ``since`` and ``until`` are compared with.
    :param written_since: with ``change``, also export rows written by this transaction or a later one.
    :param told_apart: see :class:`~airflow_mwaa_provider.metadata.export.source.TableWriter`.
    :param after: key of the last row of the piece before.
    :param max_rows: maximum number of the table's rows in the piece.
    :param first_number: number of its first file.
    :param writes_empty: if this piece is the last, write a file even without rows.
    :param places: fields of :class:`~airflow_mwaa_provider.metadata.export.layout.ObjectKeys`, without the suffix.
    """

    table: str
    columns: list[str]
    bucket: str
    places: dict[str, Any]
    file_format: str
    compression: str
    max_rows: int
    since: str | None = None
    until: str | None = None
    by: str = "time"
    written_since: int | None = None
    told_apart: str | None = None
    after: list[str] | None = None
    first_number: int = 0
    limit_bytes: int | None = None
    writes_empty: bool = False
    kms_key_id: str | None = None
    bucket_owner: str | None = None

    @classmethod
    def from_dict(cls, document: Any) -> PieceRequest:
        """Parse and check it.

        :raises MwaaInputError: it has another form.
        """
        found = read_object(cls, document, "the request")
        texts = [found.table, found.bucket, found.file_format, found.compression, *found.columns]
        optional = [found.since, found.until, found.told_apart, found.kms_key_id, found.bucket_owner]
        keys = found.after if found.after is not None else []
        numbers = [found.max_rows, found.first_number]
        numbers += [number for number in (found.limit_bytes, found.written_since) if number is not None]
        well = (
            all(isinstance(text, str) for text in [*texts, *keys, *(item for item in optional if item is not None)])
            and all(type(number) is int for number in numbers)
            and isinstance(found.places, dict)
            and found.by in ("time", "change")
            and found.max_rows >= 1
            and found.first_number >= 0
        )
        if not well:
            raise MwaaInputError("The request has a field of the wrong type.")
        return found

    def datetime_of(self, name: str) -> datetime | None:
        """Return one of its times.

        :raises MwaaInputError: it is not a time, or has no time zone.
        """
        written = getattr(self, name)
        if written is None:
            return None
        with reading(f"{name} of the request"):
            found = datetime.fromisoformat(written)
        if found.tzinfo is None:
            raise MwaaInputError(f"{name}={written} of the request has no time zone.")
        return found

    def object_keys(self, suffix: str) -> ObjectKeys:
        """Return the names of its objects."""
        given = self.places
        with reading("places of the request"):
            return ObjectKeys(
                prefix=str(given["prefix"]),
                layout=Layout(given["layout"]),
                suffix=suffix,
                export=None if given["export"] is None else str(given["export"]),
                is_numbered=bool(given["is_numbered"]),
                since=_moment(given["since"]),
                until=_moment(given["until"]),
            )


@dataclass(frozen=True)
class Piece:
    """What the server has written: uploads that are not committed.

    :param next: key of the last row of this piece, to continue from; ``None`` at the end of the table.
    :param is_too_slow: nothing was written, because it would have taken longer than a request may; request fewer rows.
    """

    uploads: tuple[UploadHandle, ...] = ()
    next: tuple[str, ...] | None = None
    is_too_slow: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it in JSON's own types."""
        uploads = [
            {
                "file": asdict(upload.file),
                "upload_id": upload.upload_id,
                "parts": list(upload.parts),
                "mark": upload.mark,
            }
            for upload in self.uploads
        ]
        return {
            "uploads": uploads,
            "next": None if self.next is None else list(self.next),
            "is_too_slow": self.is_too_slow,
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Piece:
        """Parse it.

        :raises MwaaInputError: it has another form.
        """
        with reading("the server's answer"):
            uploads = tuple(
                UploadHandle(
                    read_object(StoredFile, item["file"], "a file"),
                    item["upload_id"],
                    tuple(dict(part) for part in item["parts"]),
                    item["mark"],
                )
                for item in document["uploads"]
            )
            following = document["next"]
            return cls(uploads, None if following is None else tuple(following), bool(document["is_too_slow"]))


def read_witness_list(documents: Any) -> tuple[TableWitness, ...]:
    """Parse evidence of a database's state.

    :raises MwaaInputError: it has another form.
    """
    with reading("what was in the database"):
        return tuple(map(TableWitness.from_dict, documents))


def object_keys_document(object_keys: ObjectKeys) -> dict[str, Any]:
    """Return names of objects as fields of a request."""
    return {
        "prefix": object_keys.prefix,
        "layout": object_keys.layout.value,
        "export": object_keys.export,
        "is_numbered": object_keys.is_numbered,
        "since": object_keys.since.isoformat() if object_keys.since else None,
        "until": object_keys.until.isoformat() if object_keys.until else None,
    }


def read_object(kind: type[T], document: Any, what: str) -> T:
    """Create a dataclass from an object's fields; unknown fields are ignored."""
    with reading(what):
        known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
        return kind(**{name: value for name, value in document.items() if name in known})


def _table(found: dict[str, Any]) -> Table:
    return read_object(
        Table,
        {
            **found,
            "columns": tuple(read_object(Column, column, "a column") for column in found["columns"]),
            "key": tuple(found["key"]),
            "indexes": tuple(tuple(index) for index in found.get("indexes", ())),
            "references": tuple(
                Reference(tuple(item["columns"]), item["table"], tuple(item["foreign_columns"]), str(item["on_delete"]))
                for item in found["references"]
            ),
        },
        "a table",
    )


def _moment(written: str | None) -> datetime | None:
    return None if written is None else datetime.fromisoformat(written)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Return a context for parsing something that may have another form.

    :raises MwaaInputError: it has.
    """
    try:
        yield
    except MwaaInputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise MwaaInputError(
            f"{what[0].upper()}{what[1:]} does not have the form that this version of airflow-mwaa-provider supports "
            f"({type(error).__name__}: {error}). Install the same version on both sides."
        ) from None
