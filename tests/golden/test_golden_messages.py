# SPDX-License-Identifier: Apache-2.0
"""Route ``api`` between this release and an earlier one: either end may be the older."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider import exceptions
from airflow_mwaa_provider.error_documents import as_dict
from tests.golden import files, messages
from tests.metadata.exports import keys
from tests.metadata.lab import REGION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.metadata.lab import Lab

pytestmark = pytest.mark.once

EXPORT, CLEANUP = files.read("api/export.json"), files.read("api/cleanup.json")
REFUSALS = files.read("api/refusals.json")
# Names of tables, columns and partitions are data; S3's data about an upload depends on boto3.
DATA = ("tables", "columns", "partition", "paused_why", "refused", "parts", "table_size")


@pytest.fixture
def api_bucket(lab: Lab) -> Iterator[None]:
    s3 = lab.s3()
    s3.create_bucket(Bucket=messages.BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    yield
    for key in keys(lab, messages.BUCKET):
        s3.delete_object(Bucket=messages.BUCKET, Key=key)
    s3.delete_bucket(Bucket=messages.BUCKET)


# -- an earlier web server, and a task of this release --------------------------------------------


@pytest.mark.usefixtures("api_bucket")
def test_an_earlier_server_exports_for_this_client(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It receives exactly the same requests as before, and the results are the same."""
    server = messages.EarlierServer(EXPORT["messages"], lab.s3())
    found = messages.export_talk(server, lab.s3(), monkeypatch)
    assert found == EXPORT["end"]
    assert server.is_through()
    whole = EXPORT["end"]["manifests"][0]
    assert {whole["key"], *(key for table in whole["tables"].values() for key in table["objects"])} <= set(
        keys(lab, messages.BUCKET)
    )


def test_an_earlier_server_cleans_for_this_client() -> None:
    server = messages.EarlierServer(CLEANUP["messages"])
    found = messages.cleanup_talk(server)
    assert found["plan"] == CLEANUP["end"]["plan"]
    before = CLEANUP["end"]["outcome"]
    assert {**found["outcome"], "seconds": before["seconds"]} == before
    assert server.is_through()


@pytest.mark.parametrize("message", REFUSALS, ids=lambda message: message["what"].replace(" ", "-"))
def test_what_an_earlier_server_refuses_is_the_same_error(message: dict[str, Any]) -> None:
    for cleanup, before in enumerate(message["told"]):
        found = messages.told(message, cleanup=bool(cleanup))
        words, _ = found.pop("words"), before.pop("words")
        assert found == before
        if before["type"] not in ("NoMetadataRoute", "Throttled"):  # whose words are from this side
            assert message["body"]["detail"].rpartition(": ")[2].rstrip(".") in words


@pytest.mark.parametrize("cleanup", [False, True])
def test_an_error_is_read_from_its_fields_and_not_from_its_words(cleanup: bool) -> None:
    error = exceptions.StorageError("S3 refused it.", code="SlowDown", bucket="b")
    body = {"detail": "In other words.", "error": as_dict(error)}
    found = messages.told({"status": 422, "body": body, "retry_after_s": None}, cleanup=cleanup)
    assert (found["type"], found["words"]) == ("StorageError", "Route api, at 'production': S3 refused it.")


# -- a web server of this release, and an earlier task --------------------------------------------


def check_answer(found: Any, message: dict[str, Any]) -> None:
    """Check that an earlier client reads an answer like the recorded one; additional fields are ignored."""
    assert (found.status, found.retry_after_s) == (message["status"], message["retry_after_s"])
    assert_has(messages.travelled(found.body), message["body"])


VALUES = ("rows", "deleted", "matched", "batches", "next", "key", "partition", "after", "is_too_slow", "is_complete",
          "units", "destinations", "number", "left", "table", "root", "older_than", "kept")  # fmt: skip


def assert_has(found: Any, before: Any, name: str = "") -> None:
    """Check that a value has all names and types of an earlier one, and for the same data also its values."""
    if isinstance(before, dict):
        assert isinstance(found, dict), name
        for key, value in before.items():
            if key in found or name not in DATA:
                assert key in found, f"{name} has no {key}"
                assert_has(found[key], value, key)
    elif name == "witnesses":  # which rows they identify depends on the database
        assert [item["table"] for item in found] == [item["table"] for item in before]
        assert all(item.keys() >= other.keys() for item, other in zip(found, before, strict=True))
    elif name in VALUES and not (isinstance(before, list) and any(isinstance(item, dict) for item in before)):
        assert found == before, name
    elif isinstance(before, list):
        assert isinstance(found, list), name
        for one, other in zip(found, before, strict=False):
            assert_has(one, other, name)
    elif before is not None and found is not None:
        assert type(found) is type(before), name


def with_columns_of(lab: Lab, database: str, request: Any) -> Any:
    """Return a request for a piece, with only the columns that this Airflow has."""
    if not request or "columns" not in request:
        return request
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        cursor.execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s", (request["table"],))
        there = {name for (name,) in cursor.fetchall()}
    connection.close()
    return {**request, "columns": [name for name in request["columns"] if name in there]}


@pytest.mark.usefixtures("api_bucket")
def test_this_server_exports_for_an_earlier_client(lab: Lab, filled: str) -> None:
    server = messages.exporting(lab, filled)
    for message in EXPORT["messages"]:
        request = with_columns_of(lab, filled, message["json"])
        if request and request.get("written_since") is not None:
            request["written_since"] = 3  # transaction numbers of another database begin elsewhere
        found = server.answer(message["method"], message["path"].removeprefix(messages.PREFIX), request)
        if request and request.get("written_since") is not None:
            assert found.status == 200
            assert messages.travelled(found.body).keys() >= message["body"].keys()
        else:
            check_answer(found, message)


def test_this_server_cleans_for_an_earlier_client(lab: Lab, filled: str) -> None:
    server = messages.cleaning(lab, filled)
    for message in CLEANUP["messages"]:
        check_answer(
            server.answer(message["method"], message["path"].removeprefix(messages.PREFIX), message["json"]), message
        )


def test_this_server_refuses_as_an_earlier_client_understands(lab: Lab, unchanged: str) -> None:
    """The error's message begins with its class and the missing action."""
    found = messages.refusals(lab, unchanged)
    assert [message["what"] for message in found] == [message["what"] for message in REFUSALS]
    for message, earlier in zip(found, REFUSALS, strict=True):
        assert (message["status"], message["retry_after_s"]) == (earlier["status"], earlier["retry_after_s"])
        kind = earlier["body"]["detail"].partition(": ")[0]
        assert message["body"]["detail"].startswith(f"{kind}: ")
        assert getattr(exceptions, kind.partition("[")[0], None) is not None
