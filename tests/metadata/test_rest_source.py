# SPDX-License-Identifier: Apache-2.0
"""Route rest: every row of a list exactly once, and every value as the database writes it."""

from __future__ import annotations

import csv
import io
import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_mwaa_provider.exceptions import AnswerTooLarge, MwaaInputError, TableNotFound, UnexpectedAnswer
from airflow_mwaa_provider.metadata.catalog.selection import Window, by_change, select_tables
from airflow_mwaa_provider.metadata.export.formats import FileFormat
from airflow_mwaa_provider.metadata.export.layout import Layout, ObjectKeys
from airflow_mwaa_provider.metadata.export.run import ExportOptions, export_metadata
from airflow_mwaa_provider.metadata.rest.values import csv_line, text_of
from airflow_mwaa_provider.metadata.rest_source import RestSource
from airflow_mwaa_provider.metadata.storage.bucket import Storage
from tests import seeds
from tests.metadata.lab import Lab
from tests.metadata.once import KNOWS_NO_AIRFLOW
from tests.metadata.rest_stub import BEGIN, NOW, Row, StubApi

pytestmark = KNOWS_NO_AIRFLOW

VERSIONS = ["2.10.3", "3.3.1"]
MICROSECOND = timedelta(microseconds=1)


def source_of(api: StubApi) -> RestSource:
    return RestSource(api, api.version, clock=lambda: NOW)


def read(api: StubApi, table: str, window: Window | None = None, *, changed: bool = False) -> list[dict[str, str]]:
    source = source_of(api)
    rows = select_tables(source.schema, [table], (), Window() if changed else window)[0]
    if changed:
        assert window is not None
        rows = by_change(rows, window)
    with source.chunks(rows, FileFormat.CSV, None) as chunks:
        data = b"".join(chunk.data for chunk in chunks)
    return [dict(zip(rows.column_names, values, strict=True)) for values in csv.reader(io.StringIO(data.decode()))]


def task_keys(rows: list[dict[str, str]]) -> Counter[tuple[str, ...]]:
    return Counter((row["dag_id"], row["run_id"], row["task_id"], row["map_index"]) for row in rows)


def key_of(task: Row) -> tuple[str, ...]:
    return task["dag_id"], task["dag_run_id"], task["task_id"], str(task["map_index"])


# -- every row exactly once ------------------------------------------------------------------------

# Few distinct times, so that many rows share one, with distances from a microsecond to years.
TIMES = st.sampled_from(
    [BEGIN + step for step in (timedelta(0), MICROSECOND, 2 * MICROSECOND, timedelta(hours=1), timedelta(days=30),
                               timedelta(days=300), timedelta(days=-20 * 365), timedelta(days=340))]
)  # fmt: skip
LATE = st.sampled_from([None, NOW, NOW - timedelta(seconds=5), NOW + timedelta(hours=1)])
RUNS = st.lists(
    st.tuples(
        st.integers(0, 4),  # DAG
        TIMES,
        st.one_of(TIMES, LATE),  # began
        st.one_of(TIMES, LATE),  # changed
        st.lists(
            st.tuples(st.sampled_from([1, 3, 40, 120]), st.one_of(TIMES, LATE), st.one_of(TIMES, LATE)), max_size=3
        ),
    ),
    max_size=8,
)
BOUNDS = st.one_of(st.none(), TIMES)


def filled(version: str, runs: list[Any]) -> StubApi:
    api = StubApi(version)
    for number, (dag, born, began, changed, groups) in enumerate(runs):
        if version[0] == "2":
            born += number * timedelta(days=1) if number % 3 == 0 else timedelta(0)
        run = api.run(f"dag{dag}", f"r{number}", born, start_date=began, end_date=None, _updated_at=changed)
        for group, (count, start, touched) in enumerate(groups):
            for index in range(count):
                fields = {"start_date": start, "end_date": None, "_updated_at": touched}
                api.task(run, f"t{group}", index, **fields)
    return api


def window_of(since: datetime | None, until: datetime | None) -> Window | None:
    return None if since and until and since >= until else Window(since, until)


def holds(window: Window, time: datetime | None) -> bool:
    if time is None:
        return window.since is None
    return (not window.since or window.since <= time) and (not window.until or time < window.until)


SEEDED = hypothesis.seed(seeds.of_the_day())
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("version", VERSIONS)
@SEEDED
@SLOW
@given(runs=RUNS, since=BOUNDS, until=BOUNDS)
def test_every_row_of_a_time_exactly_once(
    version: str, runs: list[Any], since: datetime | None, until: datetime | None
) -> None:
    window = window_of(since, until)
    if window is None:
        return
    api = filled(version, runs)
    born = "execution_date" if version[0] == "2" else "run_after"
    run_times = {(run["dag_id"], run["dag_run_id"]): run["start_date"] or run[born] for run in api.tables["dag_runs"]}
    expected_runs = Counter(key for key, time in run_times.items() if holds(window, time))
    found = read(api, "dag_run", window)
    assert Counter((row["dag_id"], row["run_id"]) for row in found) == expected_runs
    expected = Counter(
        key_of(task)
        for task in api.tables["task_instances"]
        if holds(window, task["start_date"] or run_times[task["dag_id"], task["dag_run_id"]])
    )
    assert task_keys(read(api, "task_instance", window)) == expected


@pytest.mark.parametrize("version", VERSIONS)
@SEEDED
@SLOW
@given(runs=RUNS, since=BOUNDS, until=TIMES)
def test_every_row_that_changed_exactly_once(
    version: str, runs: list[Any], since: datetime | None, until: datetime
) -> None:
    window = window_of(since, until)
    if window is None:
        return
    api = filled(version, runs)

    def is_in(row: Row) -> bool:
        if row["_updated_at"] is None:
            known = [row[name] for name in ("start_date", "queued_at", "queued_when") if row.get(name)]
            return not known or holds(window, max(known))  # without a time it may be new
        return holds(window, row["_updated_at"])

    expected = Counter(key_of(task) for task in api.tables["task_instances"] if is_in(task))
    assert task_keys(read(api, "task_instance", window, changed=True)) == expected
    expected_runs = Counter(run["dag_run_id"] for run in api.tables["dag_runs"] if is_in(run))
    assert Counter(row["run_id"] for row in read(api, "dag_run", window, changed=True)) == expected_runs


@pytest.mark.parametrize("version", ["2.8.1", *VERSIONS])
@SEEDED
@SLOW
@given(
    times=st.lists(st.tuples(st.one_of(TIMES, st.none()), st.integers(0, 150)), max_size=6),
    since=BOUNDS,
    until=BOUNDS,
    page_rows=st.sampled_from([100, 7]),
)
def test_every_log_entry_exactly_once(
    version: str, times: list[Any], since: datetime | None, until: datetime | None, page_rows: int
) -> None:
    window = window_of(since, until)
    if window is None:
        return
    api = StubApi(version, page_rows=page_rows)
    for when, count in times:
        for _ in range(count):
            api.log(when)
    expected = [
        str(row["event_log_id"])
        for row in api.tables["event_logs"]
        if holds(window, row["when"]) and (row["when"] or version[0] == "2")
    ]
    assert sorted(row["id"] for row in read(api, "log", window)) == sorted(expected)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_history_is_read_in_few_calls_and_never_deep(version: str) -> None:
    api = StubApi(version)
    for number in range(400):
        run = api.run(f"dag{number % 20}", f"r{number}", BEGIN + number * timedelta(hours=8))
        for task in range(10):
            api.task(run, f"t{task}", start_date=run["start_date"] + task * timedelta(seconds=3))
    assert len(task_keys(read(api, "task_instance"))) == 4_000
    assert len(api.calls) <= 160
    assert {call[2].get("page_offset", 0) for call in api.calls} == {0}
    api.calls.clear()
    window = Window(BEGIN + timedelta(days=50), BEGIN + timedelta(days=100))
    assert len(task_keys(read(api, "task_instance", window))) == 1_500
    assert len(api.calls) <= 70
    api.calls.clear()
    assert len(read(api, "dag_run")) == 400
    assert len(api.calls) <= 15


@pytest.mark.parametrize("version", VERSIONS)
def test_all_daily_runs_at_midnight(version: str) -> None:
    api = StubApi(version)
    for dag in range(150):
        run = api.run(f"dag{dag:03d}", "daily", BEGIN)
        for task in range(250 if dag == 7 else 12):
            api.task(run, "t", task)
    assert task_keys(read(api, "task_instance")) == Counter(map(key_of, api.tables["task_instances"]))
    assert max(call[2].get("page_offset", 0) for call in api.calls if "taskInstances" in call[1]) == 200
    assert len(api.calls) < 90


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("seed", seeds.several(5))
def test_rows_that_stay_are_read_once_while_others_come_go_and_start(version: str, seed: str) -> None:
    chance = random.Random(seed)
    api = StubApi(version)
    for number in range(60):
        run = api.run(f"dag{number % 20}", f"r{number}", BEGIN + (number // 20) * timedelta(days=1))
        for task in range(15):
            api.task(run, f"t{task}", start_date=chance.choice([None, run["start_date"], BEGIN]))
    # A row that starts during the read must be included; one that is deleted or created need not.
    going = {key_of(task) for task in chance.sample(api.tables["task_instances"], 60)}
    steady = {key_of(task) for task in api.tables["task_instances"]} - going

    def meanwhile(number: int) -> None:
        tasks = api.tables["task_instances"]
        if number % 3 == 0:
            started = chance.choice(tasks)
            if started["start_date"] is None:
                started["start_date"] = NOW + number * timedelta(seconds=1)
                started["_updated_at"] = started["start_date"]
                tasks.remove(started)  # an update moves the row in the table's file
                tasks.append(started)
        if number % 7 == 0:
            gone = [task for task in tasks if key_of(task) in going][:1]
            for task in gone:
                tasks.remove(task)
        if number % 11 == 0:
            run = api.run("dag1", f"new{number}", NOW)
            api.task(run, "t")

    api.before = meanwhile
    for window in (None, Window(None, NOW + timedelta(days=1))):
        found = task_keys(read(api, "task_instance", window))
        assert {key: count for key, count in found.items() if key in steady} == dict.fromkeys(steady, 1)
        assert max(found.values()) == 1


def test_what_never_rests_is_said() -> None:
    api = StubApi("2.10.3")
    run = api.run("dag", "r", BEGIN)
    for task in range(150):
        api.task(run, "t", task)

    def turn(number: int) -> None:
        tasks = api.tables["task_instances"]
        tasks.insert(0, tasks.pop())
        tasks.pop(120 if len(tasks) > 140 else 0)
        api.task(run, "new", number)

    api.before = turn
    with pytest.raises(UnexpectedAnswer, match="during each of 8 readings") as caught:
        read(api, "task_instance")
    assert "\n" not in str(caught.value)


def test_answers_that_are_too_large_are_asked_for_in_smaller_pages() -> None:
    api = StubApi()
    run = api.run("dag", "r", BEGIN)
    for task in range(150):
        api.task(run, "t", task)
    api.most_rows, api.too_large = 7, AnswerTooLarge
    assert task_keys(read(api, "task_instance")) == Counter(map(key_of, api.tables["task_instances"]))
    api.most_rows = 0
    with pytest.raises(AnswerTooLarge):
        read(api, "task_instance")


# -- values ----------------------------------------------------------------------------------------


def test_tables_that_the_api_does_not_show_are_named() -> None:
    for version, there in (("2.10.3", "slot_pool"), ("3.3.1", "asset_event")):
        with pytest.raises(TableNotFound, match=rf"Airflow {version} shows dag, dag_run, .*{there}.*Routes database"):
            select_tables(source_of(StubApi(version)).schema, ["xcom"])
    schema = source_of(StubApi("3.3.1")).schema
    assert not {"connection", "variable", "xcom"} & set(schema.tables)
    with pytest.raises(TableNotFound, match="no column 'conf'"):
        select_tables(schema, ["dag_run.conf"])


def test_each_version_shows_its_own_columns() -> None:
    def columns(version: str, table: str) -> set[str]:
        return {column.name for column in source_of(StubApi(version)).schema.tables[table].columns}

    assert "executor" not in columns("2.9.2", "task_instance")
    assert "executor" in columns("2.10.1", "task_instance")
    assert "partition_key" not in columns("3.0.6", "dag_run")
    assert {"partition_key", "triggering_user_name"} <= columns("3.2.1", "dag_run")
    assert "map_index" not in columns("2.9.2", "log")
    assert source_of(StubApi("3.3.2")).schema.revision == "d2f4e1b3c5a7"
    assert source_of(StubApi("3.9.0")).schema.revision == ""
    assert source_of(StubApi("2.10.1")).schema.airflow_version == "2.10.1"
    with pytest.raises(MwaaInputError, match=r"airflow_version='1\.10\.15'"):
        RestSource(StubApi(), "1.10.15")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "not answered with pools and total_entries"),
        ({"pools": [], "total_entries": None}, "not answered with pools and total_entries"),
        ({"pools": [1], "total_entries": 1}, "not answered with pools and total_entries"),
        ({"pools": [{"name": "p", "slots": 1}], "total_entries": 1}, "a row was answered without 'description'"),
        (
            {"pools": [{"name": "p", "slots": "1", "description": None, "include_deferred": True, "team_name": None}],
             "total_entries": 1},
            "'slots' of another type",
        ),
    ],
)  # fmt: skip
def test_strange_answers_are_told_in_one_line(answer: Any, message: str) -> None:
    source = RestSource(lambda method, path, **_: answer, "3.3.1")
    rows = select_tables(source.schema, ["slot_pool"])[0]
    with (
        pytest.raises(UnexpectedAnswer, match=message) as caught,
        source.chunks(rows, FileFormat.CSV, None) as chunks,
    ):
        list(chunks)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", VERSIONS)
def test_values(version: str) -> None:
    api = StubApi(version)
    run = api.run("dag", 'r,"1"\n', BEGIN + 1_200 * MICROSECOND, end_date=None, triggered_by="rest_api")
    api.task(run, "", duration=2.0, trigger={"id": 5}, hostname=None, state=None)
    row = read(api, "dag_run")[0]
    assert row["run_id"] == 'r,"1"\n'
    assert row["start_date"] == "2025-11-22 00:00:00.0012+00"
    assert row["end_date"] == ""
    assert row.get("triggered_by", "REST_API") == "REST_API"
    assert row.get("external_trigger", "false") == "false"
    source = source_of(api)
    rows = select_tables(source.schema, ["task_instance"])[0]
    with source.chunks(rows, FileFormat.CSV, None) as chunks:
        (chunk,) = chunks
    assert chunk.rows == 1
    named = dict(
        zip(rows.column_names, chunk.data.decode().replace('"r,""1""\n"', "R").strip().split(","), strict=True)
    )
    assert (named["task_id"], named["hostname"], named["state"]) == ('""', "", "")
    assert (named["duration"], named["trigger_id"], named["map_index"]) == ("2", "5", "-1")


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
AWKWARD = ["", "\\.", '"', ",", "\n", "\r", "\\", " a ", "\\N", "ünï🚀", "'", "\t", 'a"b']


def test_values_are_what_postgresql_writes(lab: Lab) -> None:
    """Ten thousand values through the server's own COPY."""
    chance = random.Random(seeds.of_the_day())
    floats = [
        0.0,
        -0.0,
        1e14,
        1e15,
        123456789012345.6,
        1e-4,
        1e-5,
        0.1,
        2.5,
        5e-324,
        1.7976931348623157e308,
        1e22,
        100.0,
    ]
    floats += [chance.uniform(0, 10 ** chance.randint(-8, 15)) for _ in range(5_000)]
    floats += [float(chance.randint(0, 2**53)) for _ in range(500)]
    times = [BEGIN, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
    times += [BEGIN + chance.randint(-(10**16), 10**15) * MICROSECOND for _ in range(2_000)]
    times += [BEGIN + chance.randint(0, 10**6) * timedelta(milliseconds=100) for _ in range(500)]
    texts = AWKWARD + ["".join(chance.choices('ab",\n\r\\. é', k=5)) for _ in range(2_000)]
    lab.run(lab.postgres.create_database("written"))
    connection = lab.connect("written")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'")
            for kind, values, sent in (
                ("float8", floats, [repr(value) for value in floats]),
                ("timestamptz", [time.isoformat() for time in times], [time.isoformat() for time in times]),
                ("text", texts, texts),
                ("bool", [True, False], ["true", "false"]),
            ):
                shown = "v::text" if kind == "bool" else "v"
                for columns in (shown, f"{shown}, NULL, {shown}"):
                    cursor.execute("CREATE TEMP TABLE given AS SELECT i, v::" + kind + " AS v FROM unnest(%s::text[]) "
                                   "WITH ORDINALITY AS u(v, i)", (sent,))  # fmt: skip
                    out = io.BytesIO()
                    cursor.copy_expert(f"COPY (SELECT {columns} FROM given ORDER BY i) TO STDOUT (FORMAT csv)", out)
                    cursor.execute("DROP TABLE given")
                    write = text_of(kind)
                    lines = [
                        csv_line([write(value)] if columns == shown else [write(value), None, write(value)])
                        for value in values
                    ]
                    assert b"".join(lines) == out.getvalue()
    finally:
        connection.close()


@SEEDED
@given(TEXTS)
def test_lines_can_be_read_again(text: str) -> None:
    line = csv_line([text, None, text]).decode()
    assert next(csv.reader(io.StringIO(line, newline=""))) == [text, "", text]


# -- exports ---------------------------------------------------------------------------------------


def test_partitions_are_those_of_the_database(lab: Lab) -> None:
    source = source_of(StubApi())
    rows = select_tables(source.schema, ["log"])[0]
    name = "partitions"
    lab.run(lab.postgres.create_database(name))
    connection = lab.connect(name)
    times = [None, BEGIN, BEGIN - MICROSECOND, BEGIN + timedelta(hours=23, minutes=59), NOW]
    try:
        with connection.cursor() as cursor:
            for export, changed_before in ((None, None), ("x", None), ("x", BEGIN)):
                partitioning = ObjectKeys("", Layout.HIVE, ".csv", export=export).partition_sql(rows, changed_before)
                assert partitioning is not None
                cursor.execute(f"SELECT {partitioning} FROM unnest(%s::timestamptz[]) t(dttm)", (times,))
                assert [row[0] for row in cursor.fetchall()] == [partitioning.of(time) for time in times]
    finally:
        connection.close()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_an_export_in_partitions(lab: Lab, version: str, file_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if file_format == "parquet":
        pytest.importorskip("pyarrow")
    # So that a partition has rows from several pieces.
    monkeypatch.setattr("airflow_mwaa_provider.metadata.rest_source.PARTITIONED_BYTES", 3_000)
    api = StubApi(version)
    for number in range(40):
        run = api.run("dag", f"r{number}", BEGIN + number * timedelta(hours=7))
        for task in range(5):
            start = None if task == 4 else run["start_date"] - task * timedelta(days=1)
            api.task(run, f"t{task}", start_date=start, end_date=None, duration=1.5)
    bucket = lab.bucket()
    options = ExportOptions(tables=["task_instance", "dag_run", "slot_pool"], layout="hive", file_format=file_format)
    manifest = export_metadata(source_of(api), Storage(lab.s3(), bucket), options)
    assert (manifest.route, manifest.airflow_version) == ("rest", version)
    assert manifest.tables["task_instance"].rows == 200
    files = manifest.tables["task_instance"].files
    assert len({file.key for file in files}) == len(files)
    assert any(file.key.endswith(f"part-00001.{file_format}") for file in files)
    s3 = lab.s3()
    seen: Counter[str] = Counter()
    for file in files:
        body = s3.get_object(Bucket=bucket, Key=file.key)["Body"].read()
        if file_format == "csv":
            rows = list(csv.DictReader(io.StringIO(body.decode())))
        else:
            import pyarrow.parquet

            table = pyarrow.parquet.read_table(io.BytesIO(body))
            assert str(table.schema.field("start_date").type) == "timestamp[us, tz=UTC]"
            assert str(table.schema.field("duration").type) == "double"
            rows = table.to_pylist()
        assert len(rows) == file.rows
        for row in rows:
            assert not row["start_date"] or str(row["start_date"])[:10] == file.partition["date"]
            seen[f"{row['run_id']}/{row['task_id']}"] += 1
    assert len(seen) == 200
    assert set(seen.values()) == {1}


def test_an_incremental_export_goes_on_with_what_changed(lab: Lab) -> None:
    api = StubApi()
    old = api.run("dag", "old", BEGIN, end_date=None, state="running")
    api.task(old, "t")
    bucket = lab.bucket()
    storage = Storage(lab.s3(), bucket)
    options = ExportOptions(tables=["task_instance", "dag_run"], incremental=True)
    now = [NOW - timedelta(days=1), NOW]
    first = export_metadata(RestSource(api, "3.3.1", clock=lambda: now[0]), storage, options)
    assert {name: table.rows for name, table in first.tables.items()} == {"task_instance": 1, "dag_run": 1}
    old["_updated_at"] = NOW - timedelta(hours=1)
    api.run("dag", "new", NOW - timedelta(hours=2))
    second = export_metadata(RestSource(api, "3.3.1", clock=lambda: now[1]), storage, options)
    assert {name: table.rows for name, table in second.tables.items()} == {"task_instance": 0, "dag_run": 2}
    changes = sorted(file.partition["change"] for file in second.tables["dag_run"].files)
    assert changes == ["changed", "new"]
    assert json.loads(storage.get("files/export/manifest.json") or b"{}")["route"] == "rest"
