# SPDX-License-Identifier: Apache-2.0
"""Messages between route ``api`` and the plugin ``metadata_api``, recorded and replayed to either end."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider import exceptions
from airflow_mwaa_provider.metadata import api_source
from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
from airflow_mwaa_provider.metadata.export import ExportOptions, export_metadata
from airflow_mwaa_provider.metadata.storage import Storage
from tests.golden import databases, rooms
from tests.metadata.api import CleaningServer, Server, Transport, travelled

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from airflow_mwaa_provider.metadata.api_source import ApiSource
    from tests.metadata.lab import Lab

BUCKET = "golden-api"
PREFIX = "/mwaa-provider/metadata/v1"
"""Path of the plugin on a web server; part of the form."""
DESTINATION = f"s3://{BUCKET}/{databases.PREFIX}"
TABLES = ["log", "celery_taskmeta"]
PIECE_ROWS = 5
CLEANUP = CleanupOptions(**{**databases.CLEANUP, "batch_rows": 3, "lock_timeout": timedelta(seconds=10)})
REFUSED = "is_authorized_configuration"

Message = dict[str, Any]


def recorded(server: Transport) -> list[Message]:
    """Make a server record requests and answers, and of the schema only the requested tables."""
    found: list[Message] = []
    request = server.request

    def record(method: str, path: str, *, params: Any = None, json: Any = None) -> Any:
        answer = request(method, path, params=params, json=json)
        if "schema" in answer.body:
            schema = answer.body["schema"]
            schema["tables"] = [table for table in schema["tables"] if table["name"] in TABLES]
            answer.body["refused"] = {
                name: why for name, why in answer.body["refused"].items() if name in (*TABLES, "session")
            }
        found.append(
            travelled(
                {
                    "method": method,
                    "path": path,
                    "json": json,
                    "status": answer.status,
                    "body": answer.body,
                    "retry_after_s": answer.retry_after_s,
                }
            )
        )
        return answer

    server.request = record  # type: ignore[method-assign]
    return found


class EarlierServer(Transport):
    """A web server with an earlier release, which gives the recorded answers to the same requests.

    :param s3: the S3 in which to create the uploads that its answers name.
    """

    def __init__(self, messages: list[Message], s3: Any = None) -> None:
        super().__init__(())
        self._messages = list(messages)
        self._s3 = s3

    def is_through(self) -> bool:
        """Return whether it received all recorded requests."""
        return not self._messages

    def request(self, method: str, path: str, *, params: Any = None, json: Any = None) -> Any:
        if self._messages:
            assert (method, path) == (self._messages[0]["method"], self._messages[0]["path"])
        return super().request(method, path, params=params, json=json)

    def answer(self, method: str, path: str, document: Any) -> Any:
        message = self._messages.pop(0)
        assert document == message["json"]
        body = travelled(message["body"])
        for item in body.get("uploads", ()):
            self._upload(item)
        return SimpleNamespace(status=message["status"], body=body, retry_after_s=message["retry_after_s"])

    def _upload(self, item: dict[str, Any]) -> None:
        where = {"Bucket": BUCKET, "Key": item["file"]["key"]}
        where["UploadId"] = item["upload_id"] = self._s3.create_multipart_upload(**where)["UploadId"]
        [part] = item["parts"]
        sent = self._s3.upload_part(**where, PartNumber=1, Body=b"x" * item["file"]["bytes"])
        part.clear()
        part["ETag"] = sent["ETag"]

    def source(self) -> ApiSource:
        return api_source.ApiSource(self.call, "'production'", sleep=self.pauses.append)

    def cleanup(self, options: CleanupOptions) -> Any:
        return rooms.ApiCleanup(self.call, "'production'", options, sleep=self.pauses.append, clock=lambda: 0.0)


def exporting(lab: Lab, database: str) -> Server:
    """Return a server of the current release that exports."""
    return Server(lab, database, DESTINATION)


def export_talk(
    server: Any, s3: Any, monkeypatch: pytest.MonkeyPatch, change: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Export in pieces, in full and twice incrementally, and measure. Return the results."""
    monkeypatch.setattr(api_source, "PIECE_ROWS", PIECE_ROWS)

    def export(**options: Any) -> Any:
        with server.source() as source, Storage(s3, BUCKET) as storage:
            made = export_metadata(source, storage, ExportOptions(tables=TABLES, **options))
        return travelled(made.document())

    incremental = {"prefix": f"{databases.PREFIX}/new", "incremental": True}
    whole = export(prefix=databases.PREFIX, until=databases.OCTOBER)
    first = export(until=databases.MAY, **incremental)
    change()
    second = export(until=databases.OCTOBER, **incremental)
    return {"manifests": [whole, first, second], "measures": travelled(server.source().measure().document())}


def cleaning(lab: Lab, database: str) -> CleaningServer:
    """Return a server of the current release that cleans."""
    return CleaningServer(lab, database)


def cleanup_talk(server: Any) -> dict[str, Any]:
    """Plan and clean. Return the results."""
    cleanup = server.cleanup(CLEANUP)
    return {"plan": travelled(cleanup.plan().document()), "outcome": travelled(cleanup.run().document())}


def errors() -> list[exceptions.MwaaError]:
    """Return the errors that a server returns."""
    words = "Something is wrong. Do this."
    return [
        exceptions.MwaaInputError(words),
        exceptions.TableNotFound(words, table="x"),
        exceptions.AccessDenied(words),
        exceptions.AccessDenied(words, action="s3:PutObject"),
        exceptions.StorageError(words, code="NoSuchBucket", bucket="x"),
        exceptions.StorageError(words, code="SlowDown", transient=True),
        exceptions.DatabaseRefused(words, sqlstate="42501"),
        exceptions.DatabaseRefused(words, sqlstate="57014"),
        exceptions.DatabaseRefused(words, sqlstate="55P03"),
        exceptions.DatabaseUnavailable(words, transient=True),
        exceptions.NotAirflowMetadata(words),
        exceptions.CleanupUnderWay(words),
        exceptions.CleanupFailed(words, failures={"log": "x"}),
    ]


def refusals(lab: Lab, database: str) -> list[Message]:
    """Return the answers to invalid requests, from the services and for each error."""
    refusing, server = Server(lab, database, DESTINATION, refused=[REFUSED]), exporting(lab, database)
    cleaner, forbidden = cleaning(lab, database), CleaningServer(lab, database, refused=["DELETE RUN"])
    found = [
        ("another place", server.answer("POST", "/pieces", {**PIECE, "places": {**PIECE["places"], "prefix": "x"}})),
        ("another form", server.answer("POST", "/pieces", {"table": "log"})),
        ("another type", server.answer("POST", "/pieces", {**PIECE, "max_rows": "5"})),
        ("no such table", server.answer("POST", "/pieces", {**PIECE, "table": "nothing"})),
        ("no right to read", refusing.answer("GET", "/schema", None)),
        ("an unknown option", cleaner.answer("POST", "/cleanup/units", {"options": {"unheard_of": 1}})),
        ("a table that is never cleaned", cleaner.answer("POST", "/cleanup/units", {"options": {"tables": ["dag"]}})),
        ("no right to delete", forbidden.answer("POST", "/cleanup/units", {"options": {}})),
        ("turned off", rooms.turned_off("The export", "mwaa_provider.metadata_api_export_to")),
        *((type(error).__name__, rooms.refusal(rooms.status_of(error), error)) for error in errors()),
        ("its turn comes", rooms.refusal(429, exceptions.CleanupUnderWay("Another cleanup. Wait."), 2)),
    ]
    return [
        {"what": what, "status": answer.status, "body": answer.body, "retry_after_s": answer.retry_after_s}
        for what, answer in found
    ]


PIECE: dict[str, Any] = {
    "table": "log",
    "columns": ["id", "event"],
    "bucket": BUCKET,
    "places": {
        "prefix": databases.PREFIX, "layout": "table", "manifest_name": "manifest.json", "export": None,
        "is_numbered": False, "since": None, "until": None,
    },
    "file_format": "csv",
    "compression": "none",
    "max_rows": 5,
}  # fmt: skip


def told(message: Message, *, cleanup: bool) -> dict[str, Any]:
    """Return the error that a rejection raises at the other end."""
    server = EarlierServer([])
    server.answer = lambda *_: SimpleNamespace(**message)  # type: ignore[method-assign]
    try:
        server.cleanup(CLEANUP).plan() if cleanup else server.source().open()
    except exceptions.MwaaError as error:
        return {
            "type": type(error).__name__,
            "transient": error.transient,
            "ambiguous": error.ambiguous,
            "retry_after_s": error.retry_after_s,
            "action": getattr(error, "action", None),
            "status": getattr(error, "status", None),
            "words": str(error),
        }
    raise AssertionError("it was refused")
