# SPDX-License-Identifier: Apache-2.0
"""A report agrees with SQL on the same database, escapes its values, and needs little memory."""

from __future__ import annotations

import math
import random
import re
import tracemalloc
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError, StorageError
from airflow_mwaa_provider.metadata.reading.export import Export, open_export
from airflow_mwaa_provider.metadata.reading.files import BucketFiles
from airflow_mwaa_provider.metadata.report.figures import Figures, read_figures
from airflow_mwaa_provider.metadata.report.page import write_page
from airflow_mwaa_provider.metadata.report.sketch import RELATIVE_ERROR, DurationSketch
from airflow_mwaa_provider.metadata.report.texts import Bins, day_text, duration_text, ticks
from tests.metadata.lab import Lab
from tests.metadata.once import KNOWS_NO_AIRFLOW
from tests.metadata.varied import EVIL, add_runs, downloaded, export, fill_varied, lengthen, opened, rows

pytestmark = KNOWS_NO_AIRFLOW

WAYS = [
    {"file_format": "csv"},
    {"file_format": "csv", "compression": "gzip", "layout": "hive"},
    {"file_format": "csv", "compression": "zstd"},
    {"file_format": "parquet"},
    {"file_format": "parquet", "layout": "hive", "compression": "snappy"},
]


@pytest.fixture(scope="module")
def varied(lab: Lab) -> str:
    name = lab.copy()
    fill_varied(lab, name, days=30)
    return name


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(way.values()))
def test_figures_are_those_of_sql(lab: Lab, varied: str, way: dict[str, Any]) -> None:
    bucket = lab.bucket()
    manifest = export(lab, varied, bucket, **way)
    figures = read_figures(opened(lab, bucket))
    check(lab, varied, figures)
    for name, table in figures.tables.items():
        assert table.bytes == manifest.tables[name].bytes


def test_a_copy_in_a_folder_tells_the_same(lab: Lab, varied: str, tmp_path: Path) -> None:
    """Also if a value is longer than what is read at once."""
    long = lab.copy(varied)
    lengthen(lab, long)
    bucket = lab.bucket()
    export(lab, long, bucket)
    folder = downloaded(lab, bucket, tmp_path)
    check(lab, long, read_figures(open_export(str(folder), never)))
    check(lab, long, read_figures(open_export(str(folder / "manifest.json"), never)))


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_of_rows_exported_again_the_last_version_counts(lab: Lab, database: str, file_format: str) -> None:
    fill_varied(lab, database, days=20, runs=200, tasks=3)
    for table in ("dag_run", "task_instance"):
        lab.execute(database, f"UPDATE {table} SET updated_at = NULL")
    bucket = lab.bucket()
    options = {"file_format": file_format, "incremental": True, "tables": ["dag_run", "task_instance", "slot_pool"]}
    export(lab, database, bucket, until=datetime(2025, 6, 1, tzinfo=UTC), **options)
    check(lab, database, read_figures(opened(lab, bucket)))
    for month in (6, 7):
        # Ended later; cleared and run again, on another day; and new.
        updated = f"2025-{month:02}-15"
        lab.execute(
            database,
            f"""UPDATE dag_run SET state = 'failed', end_date = start_date + interval '77 s', updated_at = '{updated}'
                WHERE id % {month} = 0""",
            f"""UPDATE task_instance SET start_date = start_date + interval '40 days', state = 'success',
                end_date = start_date + interval '40 days 3 s', updated_at = '{updated}'
                WHERE hashtext(run_id) % {month - 3} = 0""",
        )
        connection = lab.connect(database)
        with connection.cursor() as cursor:
            add_runs(cursor, f"new_{month}", runs=20, first=month * 100_000, updated=updated)
        connection.close()
        manifest = export(lab, database, bucket, until=datetime(2025, month + 1, 1, tzinfo=UTC), **options)
        assert manifest.tables["dag_run"].rows_changed
    found = opened(lab, bucket)
    assert len(found.manifests) == 3
    assert found.rows_written("task_instance") > rows(lab, database, "SELECT count(*) FROM task_instance")[0][0]
    check(lab, database, read_figures(found))
    assert "3 increments" in write_page(found, read_figures(found))


def test_a_missing_table_is_said_in_a_sentence(lab: Lab, varied: str) -> None:
    for tables, sentences in (
        (["task_instance"], ["The export has no table dag_run, so that runs are not known."]),
        (["dag_run"], ["The export has no table task_instance, so that queue delays are not known."]),
        (["slot_pool"], ["The export has neither table dag_run nor task_instance", "No table has rows with a time."]),
    ):
        bucket = lab.bucket()
        export(lab, varied, bucket, tables=tables)
        found = opened(lab, bucket)
        page = page_of(found)
        for sentence in sentences:
            assert sentence in page


def test_an_empty_export(lab: Lab, database: str) -> None:
    bucket = lab.bucket()
    export(lab, database, bucket)
    page = page_of(opened(lab, bucket))
    assert "No DAG run lies in this export." in page
    assert "was both queued and started" in page


def test_names_are_text_and_nothing_else(lab: Lab, varied: str) -> None:
    bucket = lab.bucket()
    export(lab, varied, bucket, tables=["dag_run", "task_instance"])
    found = opened(lab, bucket)
    page = page_of(found, title=EVIL)
    assert "<script" not in page.lower()
    assert EVIL not in page
    shown = "&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;&quot;&amp;amp;\\n\\té"
    assert page.count(shown) >= 3  # the title, the DAG, its tasks


def test_the_page_needs_nothing_else(lab: Lab, varied: str) -> None:
    bucket = lab.bucket()
    export(lab, varied, bucket, tables=["dag_run", "task_instance"])
    page = page_of(opened(lab, bucket), title="production")
    assert "default-src 'none'" in page
    for word in ("http:", "https:", "//cdn", "url(", "@import", "<link", "<img", "<script", "src="):
        assert word not in page, word
    assert "Airflow history of production" in page
    assert f"s3://{bucket}/files/export" in page
    assert len(page) < 400_000


def page_of(found: Export, **options: Any) -> str:
    page = write_page(found, read_figures(found), **options)
    Balanced().feed(page)
    assert "nan" not in re.findall(r"[dxy]=\"[^\"]*\"", page)
    return page


class Balanced(HTMLParser):
    """Check that every opened element is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


# The expected values, from SQL.


def check(lab: Lab, name: str, figures: Figures) -> None:
    runs, tasks = figures.runs, figures.tasks
    assert runs is not None
    assert tasks is not None
    columns = {
        row[0] for row in rows(lab, name, "SELECT attname FROM pg_attribute WHERE attrelid = 'dag_run'::regclass")
    }
    times = [
        c
        for c in ("start_date", "run_after", "logical_date", "execution_date", "queued_at", "end_date")
        if c in columns
    ]
    moment = f"COALESCE({', '.join(times)})"
    by_state = "count(*) FILTER (WHERE state = 'success'), count(*) FILTER (WHERE state = 'failed')"
    days = rows(
        lab,
        name,
        f"""SELECT floor(extract(epoch FROM {moment}) / 86400)::int, {by_state},
            count(*) FILTER (WHERE state IS NULL OR state NOT IN ('success', 'failed')) FROM dag_run GROUP BY 1""",
    )
    assert runs.days == {day: list(counts) for day, *counts in days}
    [(count, success, failed)] = rows(lab, name, f"SELECT count(*), {by_state} FROM dag_run")
    assert (runs.all.count, runs.all.success, runs.all.failed) == (count, success, failed)
    works(runs.dags, rows(lab, name, work_sql("dag_run", "dag_id")))
    works(
        {f"{dag}/{task}": work for (dag, task), work in tasks.tasks.items()},
        rows(lab, name, work_sql("task_instance", "dag_id || '/' || task_id")),
    )
    delays = rows(
        lab,
        name,
        """SELECT floor(extract(epoch FROM start_date) / 86400)::int, count(*),
           percentile_disc(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM start_date - queued_dttm)::float8),
           percentile_disc(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM start_date - queued_dttm)::float8)
           FROM task_instance WHERE start_date >= queued_dttm GROUP BY 1""",
    )
    assert set(tasks.delays) == {day for day, *_ in delays}
    for day, count, median, high in delays:
        assert tasks.delays[day].count == count
        assert tasks.delays[day].quantile(0.5) == close(median)
        assert tasks.delays[day].quantile(0.95) == close(high)
    assert tasks.requeued == rows(lab, name, "SELECT count(*) FROM task_instance WHERE start_date < queued_dttm")[0][0]
    [(hour, starts)] = rows(
        lab,
        name,
        """SELECT floor(extract(epoch FROM start_date) / 3600)::int, count(*) FROM task_instance
           WHERE start_date IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1""",
    )
    assert max(tasks.hours.items(), key=lambda item: (item[1], -item[0])) == (hour, starts)
    for table, time in (
        ("log", "dttm"),
        ("task_instance", "COALESCE(start_date, NULLIF(end_date, 'infinity'))"),
        ("dag_run", moment),
    ):
        if table not in figures.tables:
            continue
        months = rows(
            lab,
            name,
            f"""SELECT (extract(year FROM {time}) * 12 + extract(month FROM {time}) - 1)::int, count(*)
                FROM {table} WHERE {time} IS NOT NULL GROUP BY 1""",
        )
        assert figures.tables[table].months == dict(months)
    for table, found in figures.tables.items():
        assert found.rows == rows(lab, name, f'SELECT count(*) FROM "{table}"')[0][0], table


def work_sql(table: str, name: str) -> str:
    took = """CASE WHEN state IN ('success', 'failed') AND end_date >= start_date AND end_date <> 'infinity'
              THEN extract(epoch FROM end_date - start_date)::float8 END"""
    return f"""SELECT {name}, count(*), count(*) FILTER (WHERE state = 'failed'), count({took}),
               COALESCE(sum({took}), 0), percentile_disc(0.5) WITHIN GROUP (ORDER BY {took}),
               percentile_disc(0.95) WITHIN GROUP (ORDER BY {took}) FROM {table} GROUP BY 1"""


def works(found: dict[str, Any], expected: list[tuple[Any, ...]]) -> None:
    assert set(found) == {row[0] for row in expected}
    for name, count, failed, timed, total, median, high in expected:
        work = found[name]
        assert (work.count, work.failed, work.durations.count) == (count, failed, timed)
        assert work.durations.total_s == pytest.approx(total, abs=1e-3)
        assert work.durations.quantile(0.5) == close(median)
        assert work.durations.quantile(0.95) == close(high)


def close(value: float | None) -> Any:
    return None if value is None else pytest.approx(value, rel=RELATIVE_ERROR * 1.001, abs=1.1e-3)


# Reports without a database.


def never() -> Any:
    raise AssertionError("a folder needs no S3")


def test_quantiles_are_as_near_as_they_say() -> None:
    chance = random.Random(7)
    values = [chance.lognormvariate(2, 3) for _ in range(5000)]
    sketch, half = DurationSketch(), DurationSketch()
    for place, value in enumerate(values):
        (sketch if place % 2 else half).add(value)
    sketch.merge(half)
    values.sort()
    for share in (0.0, 0.01, 0.5, 0.95, 0.999, 1.0):
        exact = values[max(0, math.ceil(share * len(values)) - 1)]
        assert sketch.quantile(share) == close(exact)
    assert sketch.total_s == pytest.approx(sum(values))
    assert DurationSketch().quantile(0.5) is None


def test_bins() -> None:
    first = 20_000  # 4 October 2024, a Friday
    assert day_text(first) == "4 Oct 2024"
    assert Bins(first, first).starts == [first]
    assert Bins(first, first + 119).unit == "day"
    weeks = Bins(first, first + 300)
    assert (weeks.unit, day_text(weeks.starts[0])) == ("week", "30 Sep 2024")
    assert [weeks.place(first + 2), weeks.place(first + 3)] == [0, 1]
    months = Bins(first, first + 3000)
    assert (months.unit, months.label(0), len(months)) == ("month", "Oct 2024", 99)
    for bins in (weeks, months):
        assert all(0 <= bins.place(day) < len(bins) for day in range(first, first + 301))


def test_texts() -> None:
    assert [duration_text(value) for value in (None, 0.0123, 2.5, 119.96, 600, 86_400, 1e6)] == [
        "\u2013", "12 ms", "2.5 s", "120 s", "10.0 min", "24.0 h", "11.6 d",
    ]  # fmt: skip
    assert ticks(0) == [0, 1]
    for greatest in (0.3, 1, 7, 99, 12_345, 1e9):
        marks = ticks(greatest)
        assert marks[0] == 0
        assert marks[-1] >= greatest * 0.999
        assert 2 <= len(marks) <= 6


class BreakingS3:
    """Sends at most a number of bytes, then closes the connection."""

    def __init__(self, content: bytes, at_once: int) -> None:
        self.content, self.at_once, self.calls = content, at_once, 0

    def get_object(self, *, Bucket: str, Key: str, Range: str, IfMatch: str | None = None) -> dict[str, Any]:  # noqa: N803
        self.calls += 1
        assert IfMatch == ("tag" if self.calls > 1 else None)
        first, last = map(int, Range.removeprefix("bytes=").split("-"))
        return {
            "Body": BreakingBody(self.content[first : last + 1], self.at_once),
            "ETag": "tag",
            "ContentRange": f"bytes {first}-{last}/{len(self.content)}",
        }


class BreakingBody:
    def __init__(self, content: bytes, left: int) -> None:
        self.content, self.left = content, left

    def read(self, count: int) -> bytes:
        taken, self.content = self.content[: min(count, self.left)], self.content[count:]
        self.left -= len(taken)
        return taken

    def close(self) -> None:
        pass


def test_a_connection_that_breaks_goes_on_where_it_broke() -> None:
    content = random.Random(1).randbytes(3_000_000)
    s3 = BreakingS3(content, 700_000)
    stream = BucketFiles(lambda: s3, "bucket", "prefix").open("file", len(content))
    assert b"".join(iter(lambda: stream.read(100_001), b"")) == content
    assert s3.calls == 5
    stream.seek(10)
    assert (stream.read(3), stream.tell()) == (content[10:13], 13)
    dead = BucketFiles(lambda: BreakingS3(content, 0), "bucket", "prefix").open("file", len(content))
    with pytest.raises(StorageError, match="ended early"):
        dead.read(1)
    s3.calls = 0
    with pytest.raises(StorageError, match="instead of the 5 in its manifest"):
        BucketFiles(lambda: s3, "bucket", "prefix").open("file", 5)


@pytest.mark.parametrize("way", WAYS[:4], ids=lambda way: "-".join(way.values()))
def test_damaged_files_are_named(lab: Lab, varied: str, tmp_path: Path, way: dict[str, Any]) -> None:
    bucket = lab.bucket()
    manifest = export(lab, varied, bucket, tables=["dag_run"], **way)
    folder = downloaded(lab, bucket, tmp_path)
    path = folder / manifest.tables["dag_run"].files[0].key.removeprefix("files/export/")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(StorageError, match="in its manifest"):
        read_figures(open_export(str(folder), never))
    path.write_bytes(b"\xff" * len(whole))
    with pytest.raises(StorageError, match="is damaged"):
        read_figures(open_export(str(folder), never))
    path.unlink()
    with pytest.raises(StorageError, match="Copy the whole export"):
        read_figures(open_export(str(folder), never))


def test_what_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(MwaaInputError, match="is not a folder"):
        open_export(str(tmp_path / "none"), never)
    with pytest.raises(MwaaInputError, match=r"has no manifest\.json"):
        open_export(str(tmp_path), never)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(MwaaInputError, match="is not the manifest"):
        open_export(str(tmp_path), never)


def test_a_manifest_names_no_file_elsewhere(lab: Lab, varied: str, tmp_path: Path) -> None:
    bucket = lab.bucket()
    export(lab, varied, bucket, tables=["slot_pool", "dag_run"])
    folder = downloaded(lab, bucket, tmp_path)
    manifest = folder / "manifest.json"
    good = manifest.read_text()
    for other, words in (("files/export/../../x.csv", "outside of that folder"), ("etc/passwd", "not beside it")):
        manifest.write_text(good.replace("files/export/dag_run.csv", other))
        with pytest.raises(MwaaInputError, match=words):
            read_figures(open_export(str(folder), never))


def test_memory_does_not_grow_with_the_rows(lab: Lab, varied: str, tmp_path: Path) -> None:
    bucket = lab.bucket()
    export(lab, varied, bucket, tables=["task_instance"])
    folder = downloaded(lab, bucket, tmp_path)
    path, manifest = folder / "task_instance.csv", folder / "manifest.json"
    header, _, body = path.read_bytes().partition(b"\n")
    peaks = []
    for many in (1, 5, 10):
        size = path.stat().st_size
        path.write_bytes(header + b"\n" + body * many)
        manifest.write_text(manifest.read_text().replace(f": {size}", f": {path.stat().st_size}"))
        tracemalloc.start()
        try:
            figures = read_figures(open_export(str(folder), never))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert figures.tasks is not None
        assert figures.tasks.all.count == many * (400 * 6 + 6)
    # The first has less than a batch, and imports what is never released.
    assert peaks[2] < peaks[1] * 1.05
    assert peaks[2] < path.stat().st_size * 0.8
