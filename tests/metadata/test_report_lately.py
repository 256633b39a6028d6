# SPDX-License-Identifier: Apache-2.0
"""What a report shows of the last days, of what is open, and of incomplete periods."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.metadata.report.figures import DAY_S, MAP_DAYS, Figures, read_figures
from airflow_mwaa_provider.metadata.report.page import write_page
from airflow_mwaa_provider.metadata.report.texts import Bins
from tests.metadata.history import DAG, DAG_RUN, TASK_INSTANCE, insert
from tests.metadata.once import KNOWS_NO_AIRFLOW
from tests.metadata.varied import export, opened, rows

if TYPE_CHECKING:
    from tests.metadata.lab import Lab

pytestmark = KNOWS_NO_AIRFLOW

END = datetime(2026, 6, 17, 9, 30, tzinfo=UTC)  # a Wednesday
FAILED = """CASE WHEN i % 7 = 0 THEN 'failed' WHEN i % 11 = 0 THEN 'running' WHEN i % 13 = 0 THEN 'queued'
            ELSE 'success' END"""


def fill(lab: Lab, name: str, runs: int = 400, hours: int = 5) -> None:
    """Runs every few hours until the end, the last ones first; two of DAGs that began long ago."""
    began = f"('{END.isoformat()}'::timestamptz - i * interval '{hours} hours')"
    own = {"dag_id": "'dag_' || i % 3", "run_id": "'run_' || lpad(i::text, 4, '0')", "state": FAILED}
    times = dict.fromkeys(
        ("execution_date", "logical_date", "run_after", "queued_at", "start_date", "updated_at"), began
    )
    ended = {"end_date": f"CASE WHEN {FAILED} IN ('failed', 'success') THEN {began} + i * interval '1 s' END"}
    connection = lab.connect(name)
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('dag_bundle') IS NOT NULL")
        if cursor.fetchone()[0]:
            insert(cursor, "dag_bundle", {"name": "'dags-folder'"}, "generate_series(1, 1) i")
        insert(cursor, "dag", {**DAG, "dag_id": "'dag_' || i"}, "generate_series(0, 2) i", dags=3)
        every = f"generate_series(1, {runs}) i"
        sizes = {"n": runs, "dags": 3, "tasks": 1}
        insert(cursor, "dag_run", {**DAG_RUN, **times, **own, **ended}, every, **sizes)
        task = {"task_id": "'load'", "queued_dttm": f"{began} - i % 9 * interval '1 s'", "start_date": began}
        insert(
            cursor,
            "task_instance",
            {**TASK_INSTANCE, **own, **ended, **task},
            f"{every}, generate_series(1, 1) j",
            **sizes,
        )
        cursor.execute("INSERT INTO log (dttm, event) VALUES ('9999-12-31', 'x'), ('0001-01-02', 'x'), (NULL, 'x')")
    connection.close()


@pytest.fixture(scope="module")
def filled(lab: Lab) -> str:
    name = lab.copy()
    fill(lab, name)
    return name


def figures_of(lab: Lab, name: str, **options: Any) -> tuple[Figures, str]:
    bucket = lab.bucket()
    export(lab, name, bucket, until=END, tables=["dag_run", "task_instance", "log"])
    found = opened(lab, bucket)
    figures = read_figures(found, **options)
    return figures, write_page(found, figures)


def test_the_last_days_are_those_of_sql(lab: Lab, filled: str) -> None:
    figures, page = figures_of(lab, filled)
    assert figures.runs is not None
    assert figures.tasks is not None
    for table, found in (("dag_run", figures.runs), ("task_instance", figures.tasks)):
        expected = rows(
            lab,
            filled,
            f"""SELECT floor(extract(epoch FROM '{END.isoformat()}' - start_date) / {DAY_S})::int, count(*),
                count(*) FILTER (WHERE state = 'failed'), count(*) FILTER (WHERE state = 'success')
                FROM {table} WHERE start_date > '{(END - timedelta(days=14)).isoformat()}' GROUP BY 1 ORDER BY 1""",
        )
        assert [
            (age, work.count, work.failed, work.success) for age, work in enumerate(found.recent) if work.count
        ] == expected
        assert len(expected) == 14
    assert sum(sketch.count for sketch in figures.tasks.recent_delays) == sum(w.count for w in figures.tasks.recent)
    week = sum(work.count for work in figures.runs.recent[:7])
    assert re.search(rf"<td>DAG runs</td><td>\d+</td><td>\d+</td><td>{week}</td><td>\d+</td>", page)


def test_what_is_open_is_listed_oldest_first(lab: Lab, filled: str) -> None:
    figures, page = figures_of(lab, filled)
    assert figures.runs is not None
    expected = rows(
        lab, filled, "SELECT run_id, state FROM dag_run WHERE state IN ('running', 'queued') ORDER BY start_date"
    )
    assert figures.runs.open.count == len(expected) > 15
    assert [(item.run_id, item.state) for item in figures.runs.open.oldest] == expected[:15]
    began = rows(lab, filled, f"SELECT start_date FROM dag_run WHERE run_id = '{expected[0][0]}'")[0][0]
    assert figures.runs.open.oldest[0].age_s == pytest.approx((END - began).total_seconds())
    assert f"15 of {len(expected)} runs that are open" in page
    assert figures.tasks is not None
    assert figures.tasks.open.count == len(expected)


def test_failures_are_mapped_by_dag_and_day(lab: Lab, filled: str) -> None:
    figures, page = figures_of(lab, filled)
    assert figures.runs is not None
    first = END.replace(hour=0, minute=0) - timedelta(days=MAP_DAYS - 1)
    expected = rows(
        lab,
        filled,
        f"""SELECT dag_id, floor(extract(epoch FROM start_date) / {DAY_S})::int, count(*) FROM dag_run
            WHERE state = 'failed' AND start_date >= '{first.isoformat()}' GROUP BY 1, 2""",
    )
    found = [(dag, day, count) for dag, days in figures.runs.failed_days.items() for day, count in days.items()]
    assert sorted(found) == sorted(expected)
    assert page.count('<i class="bad" style="opacity:') == len(expected)


def test_a_month_that_is_not_whole_is_in_no_average(lab: Lab, filled: str) -> None:
    _, page = figures_of(lab, filled)
    whole = rows(
        lab, filled, "SELECT count(*) FROM dag_run WHERE start_date >= '2026-04-01' AND start_date < '2026-06-01'"
    )[0][0]
    # March begins with the first run, and June is incomplete.
    assert f"<h3>dag_run</h3><p>{whole / 2:,.0f} rows a month on average</p>" in page
    assert "Jun 2026 (in part): " in page
    assert "Apr 2026: " in page


def test_a_row_of_the_year_9999_makes_no_plot_of_8000_years(lab: Lab, filled: str) -> None:
    bucket = lab.bucket()
    export(lab, filled, bucket, tables=["log"])
    found = opened(lab, bucket)
    figures = read_figures(found)
    assert (figures.tables["log"].rows, figures.tables["log"].undated) == (3, 3)
    assert len(write_page(found, figures)) < 100_000


def test_since_counts_what_happened_from_then_on(lab: Lab, filled: str) -> None:
    since = END - timedelta(days=10)
    figures, page = figures_of(lab, filled, since=since)
    assert figures.runs is not None
    [(count,)] = rows(lab, filled, f"SELECT count(*) FROM dag_run WHERE start_date >= '{since.isoformat()}'")
    assert figures.runs.all.count == figures.tables["dag_run"].rows == count < 400
    assert figures.tables["log"].rows == 0
    assert "7 Jun 2026, 09:30 UTC to 17 Jun 2026, 09:30 UTC" in page
    # The week before the last one is incomplete.
    week = sum(work.count for work in figures.runs.recent[:7])
    assert re.search(rf"<td>DAG runs</td><td>\d+</td><td>\d+</td><td>{week}</td><td>\u2013</td>", page)
    # No month is complete: the mean of the days is shown.
    assert f"<h3>dag_run</h3><p>{count / 10:,.0f} rows a day on average</p>" in page


def test_parts_of_weeks_are_told_from_whole_ones() -> None:
    first, last = 20_620, 20_620 + 300
    bins = Bins(first, last)
    assert bins.unit == "week"
    assert bins.partial(first * DAY_S, (last + 1) * DAY_S) == {0, len(bins) - 1}
    assert bins.partial(bins.starts[0] * DAY_S, (bins.starts[-1] + 7) * DAY_S) == set()
    assert Bins(first, first + 10).partial(first * DAY_S, (first + 11) * DAY_S) == set()
