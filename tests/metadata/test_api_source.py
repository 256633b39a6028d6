# SPDX-License-Identifier: Apache-2.0
"""Route ``api``: the server's service and the task's source, against a real database and a real S3."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest

from airflow_mwaa_provider.client.rest.transports import Answer
from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    DatabaseRefused,
    MetadataError,
    MwaaError,
    MwaaInputError,
    NoMetadataRoute,
    StorageError,
    TableNotFound,
    Throttled,
    UnexpectedAnswer,
    WebServerUnreachable,
)
from airflow_mwaa_provider.metadata import api_source
from airflow_mwaa_provider.metadata.environment_source import source_of_environment
from airflow_mwaa_provider.metadata.export.run import ExportOptions, export_metadata
from airflow_mwaa_provider.metadata.remote_api.messages import Description
from airflow_mwaa_provider.metadata.storage.bucket import Storage
from tests.metadata.api import Server
from tests.metadata.exports import body, export, keys, manifest, uploads
from tests.metadata.faulty_s3 import FaultyS3
from tests.metadata.once import KNOWS_NO_AIRFLOW
from tests.metadata.varied import fill_varied, lengthen


@pytest.fixture(scope="module")
def template(lab):
    """It is read-only: tests that change it use a copy, which takes longer than most of them."""
    name = lab.copy()
    fill_varied(lab, name, days=20, runs=60, tasks=3, dags=4)
    for private in ("session", "ab_user"):
        lab.execute(name, f"CREATE TABLE IF NOT EXISTS {private} (id integer PRIMARY KEY)")
    return name


FEW = ["dag_run", "task_instance", "log", "dag", "xcom"]


SMALL, MANY = 150, 25
"""Rows per piece: two pieces for the 180 rows of tasks and log; or more, for a boundary of each kind."""


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(api_source, "PIECE_ROWS", SMALL)


@pytest.fixture
def many_pieces(monkeypatch):
    monkeypatch.setattr(api_source, "PIECE_ROWS", MANY)


def export_by(server, lab, bucket, **options):
    with server.source() as source, Storage(lab.s3(), bucket) as storage:
        return export_metadata(source, storage, ExportOptions(**options))


def values(lab, bucket, table):
    """Return a table's exported rows, sorted; those of CSV as strings, with NULL distinct from empty."""
    found = []
    for file in table["files"]:
        content = body(lab, bucket, file["key"])
        if ".parquet" in file["key"]:
            found += [repr(list(row.values())) for row in pq.read_table(io.BytesIO(content)).to_pylist()]
        else:
            text = content.decode().replace('""', "\0")
            found += [repr(row) for row in list(csv.reader(io.StringIO(text, newline="")))[1:]]
    return sorted(found)


@pytest.mark.parametrize(
    ("options", "piece_rows"),
    [
        ({}, SMALL),
        pytest.param({"compression": "gzip", "tables": FEW}, MANY, marks=KNOWS_NO_AIRFLOW),
        ({"file_format": "parquet"}, SMALL),
        pytest.param(
            {"layout": "hive", "since": datetime(2025, 2, 1, tzinfo=UTC), "tables": FEW}, MANY, marks=KNOWS_NO_AIRFLOW
        ),
        pytest.param(
            {"file_format": "parquet", "layout": "hive", "until": datetime(2025, 2, 1, 12, tzinfo=UTC), "tables": FEW},
            SMALL,
            marks=KNOWS_NO_AIRFLOW,
        ),
        ({"incremental": True, "until": datetime(2025, 2, 5, tzinfo=UTC), "tables": FEW}, SMALL),
    ],
    ids=["csv", "gzip", "parquet", "hive", "parquet-hive", "incremental"],
)
def test_it_gives_the_rows_that_the_database_gives(lab, template, bucket, monkeypatch, options, piece_rows) -> None:
    monkeypatch.setattr(api_source, "PIECE_ROWS", piece_rows)
    server = Server(lab, template, f"s3://{bucket}/api")
    written = export_by(server, lab, bucket, prefix="api", **options)
    assert written.route == "api"
    assert written.airflow_version == "9.9.9"
    export(lab, template, bucket, prefix="database", **options)
    ours, theirs = manifest(lab, bucket, written.key), manifest(lab, bucket, written.key.replace("api", "database", 1))
    assert set(ours["tables"]) == set(theirs["tables"])
    for name, table in ours["tables"].items():
        assert table["rows"] == theirs["tables"][name]["rows"], name
        assert table["columns"] == theirs["tables"][name]["columns"], name
        assert values(lab, bucket, table) == values(lab, bucket, theirs["tables"][name]), name
        if options.get("layout") is None and not options.get("incremental"):
            assert table["files"], "a table without rows has a file, too"
            # A window without rows has no file.
            assert all(file["rows"] for file in table["files"][1:]), name
    assert len(ours["tables"]["task_instance"]["files"]) > (1 if piece_rows == SMALL else 2)
    assert uploads(lab, bucket) == []
    assert [key for key in keys(lab, bucket) if "writing" in key] == []
    # No request covers more rows than a piece.
    pieces = [answer.body["uploads"] for answer in server.answers[1:]]
    assert max(sum(upload["file"]["rows"] for upload in piece) for piece in pieces) <= piece_rows


@KNOWS_NO_AIRFLOW
def test_repeated_it_writes_the_same_objects(lab, filled, bucket, small_pieces) -> None:
    server = Server(lab, filled, f"s3://{bucket}")
    for layout in ("table", "hive"):
        tables = ["dag_run", "log", "dag", "dag_tag"]
        first = export_by(server, lab, bucket, layout=layout, prefix=layout, tables=tables)
        before = {key: body(lab, bucket, key) for key in keys(lab, bucket) if not key.endswith(".json")}
        again = export_by(server, lab, bucket, layout=layout, prefix=layout, tables=tables)
        assert again.tables == first.tables
        assert {key: body(lab, bucket, key) for key in keys(lab, bucket) if not key.endswith(".json")} == before
        lab.execute(filled, "DELETE FROM log")
        third = export_by(server, lab, bucket, layout=layout, prefix=layout, tables=tables)
        assert third.tables["log"].rows == 0
        left = {key for key in keys(lab, bucket) if f"{layout}/" in key and not key.endswith(".json")}
        assert left == set(third.keys), "what has no rows any more is gone"


@KNOWS_NO_AIRFLOW
def test_increments_of_an_older_server_are_refused(lab, filled, bucket, monkeypatch) -> None:
    """It lacks the transaction data that an increment needs; it supports all other exports."""
    whole = Description.to_dict

    def to_dict(self: Description) -> dict[str, Any]:
        told = whole(self)
        del told["snapshot"]
        return told

    monkeypatch.setattr(Description, "to_dict", to_dict)
    server = Server(lab, filled, f"s3://{bucket}")
    with pytest.raises(MwaaInputError, match=r"Route api: 'production' has an older version .* without incremental"):
        export_by(server, lab, bucket, tables=["log"], incremental=True)
    assert export_by(server, lab, bucket, tables=["log"]).tables["log"].rows


@KNOWS_NO_AIRFLOW
def test_two_files_of_one_name_are_refused(lab, filled, bucket, monkeypatch) -> None:
    monkeypatch.setattr(api_source, "PIECE_ROWS", 50)
    lab.execute(filled, 'CREATE TABLE "log-00001" (id int PRIMARY KEY)')
    with pytest.raises(MwaaInputError, match=r"log-00001.csv: two files .* Choose layout='hive'"):
        export_by(Server(lab, filled, f"s3://{bucket}"), lab, bucket, tables=["log", "log-00001"])
    assert keys(lab, bucket) == []
    assert uploads(lab, bucket) == []


@KNOWS_NO_AIRFLOW
def test_rows_that_come_and_go_meanwhile(lab, filled, bucket, many_pieces) -> None:
    """A row that exists before and after is exported once; one added or deleted meanwhile may be included."""
    server = Server(lab, filled, f"s3://{bucket}")
    connection = lab.connect(filled)
    cursor = connection.cursor()
    cursor.execute("SELECT id::text FROM dag_run ORDER BY random()")
    ids = [row[0] for row in cursor.fetchall()]
    gone = set(ids[:10])
    inner = server.request

    def disturbed(method, path, **keywords):
        answer = inner(method, path, **keywords)
        cursor.execute(
            "DELETE FROM task_instance WHERE run_id IN (SELECT run_id FROM dag_run WHERE id::text = %s)",
            (ids[len(server.requests) % 10],),
        )
        cursor.execute("DELETE FROM dag_run WHERE id::text = %s", (ids[len(server.requests) % 10],))
        cursor.execute("UPDATE dag_run SET state = 'failed' WHERE id % 3 = 0")
        cursor.execute("UPDATE log SET owner = 'new' WHERE id % 3 = 0")
        cursor.execute("INSERT INTO log (dttm, event) VALUES (now(), 'new')")
        return answer

    server.request = disturbed
    exported = export_by(server, lab, bucket, tables=["dag_run", "log"])
    connection.close()
    found = []
    for file in exported.tables["dag_run"].files:
        found += [row["id"] for row in csv.DictReader(io.StringIO(body(lab, bucket, file.key).decode(), newline=""))]
    assert len(found) == len(set(found))
    assert set(found) >= set(ids) - gone
    assert set(found) <= set(ids)


@KNOWS_NO_AIRFLOW
def test_what_takes_too_long_is_done_in_smaller_pieces(lab, filled, bucket, caplog) -> None:
    """The clock jumps each time it is read, so a piece of many chunks is too slow and one of few is not."""
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    # Two reads per piece, and one per chunk of rows; log has one row of 10 MB, and is ten chunks of 1 MB or more.
    lengthen(lab, filled)
    lab.execute(filled, "UPDATE log SET extra = repeat('y', 600000) WHERE id % 9 = 0")
    server = Server(lab, filled, f"s3://{bucket}", budget_s=7, clock=clock)
    with caplog.at_level("INFO"):
        written = export_by(server, lab, bucket, tables=["log"])
    assert "longer than a request may; requesting fewer" in caplog.text
    assert written.tables["log"].rows == export(lab, filled, bucket, prefix="other").tables["log"].rows
    assert len(written.tables["log"].files) > 1
    assert uploads(lab, bucket) == []
    impatient = Server(lab, filled, f"s3://{bucket}", budget_s=0.5, clock=clock)
    with pytest.raises(DatabaseRefused, match=r"a single row of table log .* Leave out the table with exclude"):
        export_by(impatient, lab, bucket, prefix="slow", tables=["log"])
    assert uploads(lab, bucket) == []
    assert [key for key in keys(lab, bucket) if key.startswith("slow")] == []


@KNOWS_NO_AIRFLOW
def test_a_statement_that_takes_too_long_is_no_error(lab, filled, bucket) -> None:
    server = Server(lab, filled, f"s3://{bucket}")
    export_by(server, lab, bucket, tables=["dag"])
    # The search for a row never ends.
    lab.execute(
        filled,
        "CREATE POLICY slowly ON dag USING (pg_sleep(3600) IS NOT NULL)",
        "ALTER TABLE dag ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE dag FORCE ROW LEVEL SECURITY",
    )
    server.service = Server(lab, filled, f"s3://{bucket}", budget_s=2).service
    answer = server.service.write_piece(server.caller, {**server.requests[-1], "columns": ["dag_id"]})
    assert answer.status == 200
    assert answer.body == {"uploads": [], "next": None, "is_too_slow": True}


@KNOWS_NO_AIRFLOW
def test_an_answer_that_is_lost_costs_nothing(lab, template, bucket, small_pieces) -> None:
    """The client repeats the request; the first one's uploads are aborted in the end."""
    server = Server(lab, template, f"s3://{bucket}")
    inner = server.request

    def twice(method, path, **keywords):
        inner(method, path, **keywords)
        return inner(method, path, **keywords)

    server.request = twice
    written = export_by(server, lab, bucket, tables=FEW)
    assert uploads(lab, bucket) == []
    other = export(lab, template, bucket, prefix="b", tables=FEW)
    assert {name: table.rows for name, table in written.tables.items()} == {
        name: table.rows for name, table in other.tables.items()
    }


@pytest.mark.parametrize(
    ("refused", "tables", "words"),
    [
        ("is_authorized_configuration", ["dag"], "may not read the configuration"),
        ("is_authorized_dag", ["dag"], "may not read all DAGs"),
        ("AUDIT_LOG", ["log"], "may not read audit logs of all DAGs"),
        ("XCOM", ["xcom"], "may not read xcoms of all DAGs"),
        ("CODE", ["serialized_dag"], "may not read codes of all DAGs"),
        ("is_authorized_connection", ["connection"], "may not read connections"),
        ("is_authorized_variable", ["variable"], "may not read variables"),
        ("", ["session"], "never leaves by this API"),
        ("", ["ab_user"], "never leaves by this API"),
    ],
)
def test_who_may_not_read_it_gets_nothing(lab, template, bucket, refused, tables, words) -> None:
    server = Server(lab, template, f"s3://{bucket}", refused=[refused])
    with pytest.raises(AccessDenied, match=words) as caught:
        export_by(server, lab, bucket, tables=tables)
    assert ("exclude=" if tables != ["dag"] else "Op or Admin") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert keys(lab, bucket) == []
    assert uploads(lab, bucket) == []
    if tables != ["dag"]:
        request = next(iter(server.requests[::-1]), None)
        assert request is None, "nothing but the description was asked for"
        assert export_by(server, lab, bucket, tables=["dag"]).tables["dag"].rows
        # One that does not ask first is refused all the same.
        answer = server.service.write_piece(server.caller, {**server.requests[-1], "table": tables[0]})
        assert answer.status == 403
        assert answer.body["detail"].startswith("AccessDenied: ")


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("destination", ["s3://other", "s3://{bucket}/exports", "s3://{bucket}-x"])
def test_only_where_the_configuration_says(lab, template, bucket, destination) -> None:
    server = Server(lab, template, destination.format(bucket=bucket))
    for prefix in ("", "exports2", "../exports", "files/exports"):
        with pytest.raises(NoMetadataRoute, match="metadata_api_export_to allows"):
            export_by(server, lab, bucket, prefix=prefix, tables=["dag"])
    assert keys(lab, bucket) == []
    # One that does not ask first is refused all the same.
    server_of_all = Server(lab, template, f"s3://{bucket}")
    export_by(server_of_all, lab, bucket, prefix="files", tables=["dag"])
    answer = server.service.write_piece(server.caller, server_of_all.requests[-1])
    assert answer.status == 400
    assert "is none of the places" in answer.body["detail"]
    assert uploads(lab, bucket) == []


def test_secrets_leave_masked_whatever_is_asked(lab, filled, bucket) -> None:
    lab.execute(
        filled,
        "INSERT INTO connection (conn_id, conn_type, password, is_encrypted, is_extra_encrypted) "
        "VALUES ('c', 'aws', 'hunter2', false, false)",
    )
    server = Server(lab, filled, f"s3://{bucket}")
    export_by(server, lab, bucket, tables=["connection", "connection.password"])
    content = b"".join(body(lab, bucket, key) for key in keys(lab, bucket))
    assert b"hunter2" not in content
    assert b"***" in content
    # A custom caller that omits what our source sends.
    request = {**server.requests[-1], "columns": ["conn_id", "password"], "masked": []}
    answer = server.service.write_piece(server.caller, request)
    (upload,) = answer.body["uploads"]
    parts = [{"PartNumber": number, **part} for number, part in enumerate(upload["parts"], 1)]
    lab.s3().complete_multipart_upload(
        Bucket=bucket, Key=upload["file"]["key"], UploadId=upload["upload_id"], MultipartUpload={"Parts": parts}
    )
    assert body(lab, bucket, upload["file"]["key"]) == b"conn_id,password\nc,***\n"


WRONG = [
    None, [], "x", {}, {"table": 1}, {"columns": "id"}, {"columns": [1]}, {"max_rows": 0}, {"max_rows": "1"},
    {"max_rows": True}, {"after": [None]}, {"since": "yesterday"}, {"since": "2026-01-01"}, {"by": "x"},
    {"places": {}}, {"places": []}, {"first_number": -1}, {"file_format": "xml"}, {"compression": "rar"},
    {"table": "dag; DROP TABLE log"}, {"columns": ["dag_id", "x\"; DROP TABLE log --"]},
]  # fmt: skip


@KNOWS_NO_AIRFLOW
def test_a_request_that_cannot_be_understood(lab, template, bucket) -> None:
    server = Server(lab, template, f"s3://{bucket}")
    export_by(server, lab, bucket, tables=["dag"])
    for wrong in WRONG:
        request = {**server.requests[-1], **wrong} if wrong and isinstance(wrong, dict) else wrong
        answer = server.service.write_piece(server.caller, request)
        assert answer.status == 400, wrong
        name, _, words = answer.body["detail"].partition(": ")
        assert name in ("MwaaInputError", "TableNotFound"), wrong
        assert words
        assert "\n" not in words
    assert uploads(lab, bucket) == []


@KNOWS_NO_AIRFLOW
def test_a_key_of_evil_text_is_only_a_key(lab, template, bucket) -> None:
    server = Server(lab, template, f"s3://{bucket}")
    export_by(server, lab, bucket, tables=["dag_tag"])
    request = {**server.requests[-1], "after": ["x'; DROP TABLE log; --", "\\'"]}
    assert server.service.write_piece(server.caller, request).status == 200
    for after in (["x"], ["x", "y", "z"]):
        assert server.service.write_piece(server.caller, {**request, "after": after}).status == 400


@KNOWS_NO_AIRFLOW
def test_what_the_servers_side_refuses_is_told_as_it_is(lab, filled, bucket) -> None:
    denied = (403, "AccessDenied", "Access Denied")
    with FaultyS3(lab.moto.url, lambda method, path: denied) as s3:
        server = Server(lab, filled, f"s3://{bucket}", s3=s3.client())
        # In full, with the solution at its end.
        words = r"Route api, at 'production': .*s3:PutObject was refused .* another account must allow it too\.$"
        with pytest.raises(AccessDenied, match=words) as caught:
            export_by(server, lab, bucket)
        assert caught.value.action == "s3:PutObject"
    with FaultyS3(lab.moto.url, lambda method, path: (0, "", "") if "partNumber" in path else None) as s3:
        server = Server(lab, filled, f"s3://{bucket}", s3=s3.client())
        with pytest.raises(StorageError, match="Route api"):
            export_by(server, lab, bucket)
    assert keys(lab, bucket) == []
    server = Server(lab, filled, f"s3://{bucket}")
    with pytest.raises(TableNotFound, match="no table 'dag_runs'"):
        export_by(server, lab, bucket, tables=["dag_runs"])
    with pytest.raises(MwaaInputError, match="tables is empty"):
        export_by(server, lab, bucket, tables=[])
    gone = Server(lab, filled, f"s3://{bucket}")
    with gone.source() as source, Storage(lab.s3(), bucket) as storage:
        lab.run(lab.postgres.execute(f'ALTER DATABASE "{filled}" RENAME TO "{filled}_gone"'))
        with pytest.raises(MetadataError, match="Route api"):
            export_metadata(source, storage, ExportOptions())
    assert keys(lab, bucket) == []


@KNOWS_NO_AIRFLOW
def test_no_more_than_two_at_once(lab, template, bucket, caplog) -> None:
    """In any process; others wait, and retry."""
    server = Server(lab, template, f"s3://{bucket}")
    holders = [lab.connect(template) for _ in range(2)]
    for number, holder in enumerate(holders):
        holder.autocommit = False
        holder.cursor().execute(f"SELECT pg_advisory_xact_lock({0x4D57_4141}, {number})")

    def sleep(seconds: float) -> None:
        assert 0.1 < seconds < 2
        server.pauses.append(seconds)
        if len(server.pauses) == 3:
            holders[1].rollback()

    with caplog.at_level("INFO"), server.source(sleep=sleep) as source, Storage(lab.s3(), bucket) as storage:
        assert export_metadata(source, storage, ExportOptions(tables=["dag"])).tables["dag"].rows
    assert len(server.pauses) == 3
    assert caplog.text.count("busy with other exports; waiting") == 1
    holders[1].cursor().execute(f"SELECT pg_advisory_xact_lock({0x4D57_4141}, 1)")
    now = [0.0]
    with (
        server.source(sleep=lambda seconds: now.__setitem__(0, now[0] + 600), clock=lambda: now[0]) as source,
        Storage(lab.s3(), bucket) as storage,
        pytest.raises(Throttled),
    ):
        export_metadata(source, storage, ExportOptions(tables=["dag"], prefix="never"))
    for holder in holders:
        holder.close()
    assert [key for key in keys(lab, bucket) if key.startswith("never")] == []


@KNOWS_NO_AIRFLOW
def test_an_upload_that_somebody_else_has_ended_is_no_success(lab, template, bucket) -> None:
    """An object of the same name and size exists from yesterday."""
    server = Server(lab, template, f"s3://{bucket}")
    export_by(server, lab, bucket, tables=["log"])
    before = lab.s3().head_object(Bucket=bucket, Key="files/export/log.csv")

    def answer(method, path):
        return (404, "NoSuchUpload", "gone") if method == "POST" and "uploadId" in path else None

    with (
        FaultyS3(lab.moto.url, answer) as s3,
        server.source() as source,
        Storage(s3.client(), bucket) as storage,
        pytest.raises(StorageError, match="NoSuchUpload"),
    ):
        export_metadata(source, storage, ExportOptions(tables=["log"]))
    after = lab.s3().head_object(Bucket=bucket, Key="files/export/log.csv")
    assert (after["ContentLength"], after["Metadata"]) == (before["ContentLength"], before["Metadata"])


@KNOWS_NO_AIRFLOW
def test_windows_side_by_side_leave_each_other_alone(lab, template, bucket) -> None:
    """Also for tables without dates, which have one folder for all windows."""
    server = Server(lab, template, f"s3://{bucket}")
    days = [datetime(2025, 2, day, tzinfo=UTC) for day in (1, 2, 3)]
    options = [
        ExportOptions(
            tables=["dag", "log"], layout="hive", since=since, until=until, manifest_name=f"{since:%d}.json",
            prefix="files/export",
        )
        for since, until in itertools.pairwise(days)
    ]  # fmt: skip
    inner, second = server.request, []

    def during(method, path, **keywords):
        answer = inner(method, path, **keywords)
        if len(server.requests) == 3 and not second:
            second.append(True)
            with server.source() as other, Storage(lab.s3(), bucket) as storage:
                export_metadata(other, storage, options[1])
        return answer

    server.request = during
    with server.source() as source, Storage(lab.s3(), bucket) as storage:
        export_metadata(source, storage, options[0])
    assert second
    assert uploads(lab, bucket) == []
    for name in ("01", "02"):
        written = manifest(lab, bucket, f"files/export/{name}.json")
        for table in written["tables"].values():
            assert table["files"]
            for file in table["files"]:
                assert hashlib.sha256(body(lab, bucket, file["key"])).hexdigest() == file["sha256"]


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, {"detail": "Not Found"}),
        UnexpectedAnswer("the page of the UI", status=200),
        UnexpectedAnswer("another page", status=404),
    ],
)
def test_a_web_server_without_the_plugin(lab, template, answer) -> None:
    """For an unknown path, Airflow 3 returns the page of its UI, and Airflow 2 a 404 page."""
    server = Server(lab, template)

    def request(*arguments, **keywords):
        if isinstance(answer, Exception):
            raise answer
        return answer

    server.request = request
    with pytest.raises(NoMetadataRoute, match=r"'production' has no metadata API\. Install airflow-mwaa-provider"):
        server.source().open()


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize(
    ("error", "falls_back"),
    [
        (UnexpectedAnswer("the page of the UI", status=200), True),
        (UnexpectedAnswer("502", status=502, transient=True), True),
        (AccessDenied("no token", action="airflow:CreateWebLoginToken"), True),
        (WebServerUnreachable("a private one"), True),
        (Throttled("slow down"), True),
        (MwaaInputError("the CA bundle cannot be used"), False),
    ],
)
def test_auto_falls_back_to_rest_and_says_why(error, falls_back) -> None:
    class Environment:
        name, airflow_version = "production", "3.3.1"

        def call_plugin(self, *arguments):
            raise error

        def request(self, *arguments):
            raise AssertionError("nothing is read yet")

    told: list[str] = []
    if not falls_back:
        with pytest.raises(MwaaInputError), source_of_environment(Environment(), "auto", notify=told.append):
            pass
        return
    with source_of_environment(Environment(), "auto", notify=told.append) as source:
        assert source.route == "rest"
    assert told[0].startswith("Route api cannot be used: ")
    assert told[1].startswith("Route rest: ")
    with pytest.raises(MwaaError), source_of_environment(Environment(), "api", notify=told.append):
        pass
