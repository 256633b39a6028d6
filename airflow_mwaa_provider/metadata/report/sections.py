# SPDX-License-Identifier: Apache-2.0
"""The parts of the report's page. What the export lacks a part says in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mwaa_provider.metadata.report.charts import (
    LOW,
    LOW_NARROW,
    NARROW,
    SMALL,
    WIDE,
    Axis,
    Series,
    columns,
    lines,
    log_axis,
)
from airflow_mwaa_provider.metadata.report.sketch import DurationSketch
from airflow_mwaa_provider.metadata.report.texts import (
    NO_VALUE,
    Bins,
    bytes_text,
    count_text,
    duration_text,
    escaped,
    hours_text,
    month_text,
    share_text,
    ticks,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_mwaa_provider.metadata.report.figures import RunFigures, TableFigures, TaskFigures, Work

__all__ = [
    "dags_section",
    "delay_section",
    "failures_section",
    "growth_section",
    "runs_section",
    "tasks_section",
]

_LISTED = 15
_PLOTTED_TABLES = 9
_LOG_FROM = 25
"""Where the highest point is so many times the usual one, an axis from zero would show nothing but that point."""


def runs_section(runs: RunFigures | None) -> str:
    """Show runs and failures over time."""
    title = "Runs and failures over time"
    if runs is None:
        return _nothing(title, _lacks("dag_run", "runs"))
    if not runs.days:
        return _nothing(title, "No DAG run lies in this export.")
    bins = Bins(min(runs.days), max(runs.days))
    counts = [[0, 0, 0] for _ in range(len(bins))]
    for day, (success, failed, others) in runs.days.items():
        found = counts[bins.place(day)]
        found[0], found[1], found[2] = found[0] + success, found[1] + failed, found[2] + others
    shares = [failed / (success + failed) if success + failed else None for success, failed, _ in counts]
    tips = [
        f"{bins.label(place)}: {count_text(sum(found))} runs, {count_text(found[1])} failed"
        + (f" ({share_text(share)})" if (share := shares[place]) is not None else "")
        for place, found in enumerate(counts)
    ]
    series = [
        Series("failed", "bad", [found[1] for found in counts]),
        Series("succeeded", "good", [found[0] for found in counts]),
    ]
    if any(found[2] for found in counts):
        series.append(Series("running, queued or other", "other", [found[2] for found in counts]))
    shown = [Series("failed", "bad", [share or 0 for share in shares])]
    greatest = max((share for share in shares if share is not None), default=0.0)
    rate = Axis(ticks(min(1.0, greatest or 0.04) * 100, 3), lambda mark: f"{mark:g}%")
    percent = [Series(one.name, one.css, [(value or 0) * 100 for value in one.values]) for one in shown]
    plots = "".join(columns(series, size, title=title, tick=bins.tick, tips=tips) for size in (WIDE, NARROW))
    rates = "".join(
        columns(percent, size, title="Failed runs in percent", tick=bins.tick, tips=tips, axis=rate)
        for size in (LOW, LOW_NARROW)
    )
    legend = _legend([(one.css, one.name) for one in series])
    return _section(
        title,
        f"DAG runs a {bins.unit}, by how they ended.",
        f"{legend}{plots}<h3 class='plot'>Failed runs, in % of those that ended</h3>{rates}",
    )


def delay_section(tasks: TaskFigures | None) -> str:
    """Show how long tasks waited for a worker."""
    title = "Queue delay over time"
    if tasks is None:
        return _nothing(title, _lacks("task_instance", "queue delays"))
    if not tasks.delays:
        return _nothing(title, "No task instance of this export was both queued and started.")
    bins = Bins(min(tasks.delays), max(tasks.delays))
    sketches = [DurationSketch() for _ in range(len(bins))]
    for day, sketch in tasks.delays.items():
        sketches[bins.place(day)].merge(sketch)
    medians, highs = ([sketch.quantile(share) for sketch in sketches] for share in (0.5, 0.95))
    tips = [
        f"{bins.label(place)}: median {duration_text(medians[place])}, 95% within {duration_text(highs[place])}, "
        f"{count_text(sketch.count)} tasks"
        for place, sketch in enumerate(sketches)
    ]
    axis = _delay_axis([value for value in (*medians, *highs) if value is not None])
    series = [Series("median", "median", medians), Series("95th percentile", "high", highs)]
    plots = "".join(lines(series, size, title=title, tick=bins.tick, tips=tips, axis=axis) for size in (WIDE, NARROW))
    scale = " The scale is logarithmic." if axis.is_log else ""
    return _section(
        title,
        f"From queued to started, of the task instances that started in a {bins.unit}.{scale}",
        _legend([("median", "median"), ("high", "95th percentile")]) + plots,
    )


def _delay_axis(values: Sequence[float]) -> Axis:
    usual, greatest = sorted(values)[len(values) // 2], max(values)
    if usual > 0 and greatest > _LOG_FROM * usual:
        return log_axis(max(min(values), greatest / 1e5), greatest, _short_duration)
    below, unit, name = next(
        item
        for item in ((1, 1e-3, "ms"), (120, 1, "s"), (7200, 60, "min"), (float("inf"), 3600, "h"))
        if greatest < item[0]
    )
    del below
    return Axis(
        [mark * unit for mark in ticks(greatest / unit)], lambda mark: f"{mark / unit:g} {name}" if mark else "0"
    )


def _short_duration(seconds: float) -> str:
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds * 1000:.3g} ms"


def failures_section(runs: RunFigures | None, tasks: TaskFigures | None) -> str:
    """Show which DAGs and tasks fail."""
    title = "Failures by DAG and by task"
    if runs is None and tasks is None:
        return _nothing(title, "The export has neither table dag_run nor task_instance, so that no failures are known.")
    parts = []
    if runs is not None:
        parts.append(_failures("DAG", "Runs", [(escaped(name), work) for name, work in runs.dags.items()]))
    else:
        parts.append(f"<p>{_lacks('dag_run', 'failed runs')}</p>")
    if tasks is not None:
        named = [(_task_name(*name), work) for name, work in tasks.tasks.items() if work.failed]
        parts.append(_failures("Task", "Instances", named))
    else:
        parts.append(f"<p>{_lacks('task_instance', 'failed tasks')}</p>")
    return _section(title, "Most failures first.", "<h3 class='plot'></h3>".join(parts))


def _failures(what: str, counted: str, named: Iterable[tuple[str, Work]]) -> str:
    failing = sorted((item for item in named if item[1].failed), key=lambda item: (-item[1].failed, item[0]))
    if not failing:
        return f"<p>No {'run' if what == 'DAG' else 'task instance'} failed.</p>"
    most = failing[0][1].failed
    rows = [
        [
            name,
            _bar(work.failed / most, "bad"),
            count_text(work.failed),
            share_text(work.failed_share),
            count_text(work.count),
        ]
        for name, work in failing[:_LISTED]
    ]
    return _table([what, "", "Failed", "Share", counted], rows) + _left_out(
        len(failing), f"{what if what == 'DAG' else what.lower()}s with failures"
    )


def dags_section(runs: RunFigures | None) -> str:
    """Show which DAGs take long."""
    title = "Slowest DAGs"
    if runs is None:
        return _nothing(title, _lacks("dag_run", "how long runs take"))
    named = [(escaped(name), work) for name, work in runs.dags.items()]
    return _slowest(title, "DAG", "Runs", "How long runs took that ended, longest 95th percentile first.", named)


def tasks_section(tasks: TaskFigures | None) -> str:
    """Show which tasks take long, and which take most of all time."""
    if tasks is None:
        return _nothing("Slowest tasks", _lacks("task_instance", "how long tasks take"))
    works = [(name, work) for name, work in tasks.tasks.items() if work.durations.count]
    # Names are written only for those that may be listed: there can be very many.
    longest = sorted(works, key=lambda item: -(item[1].durations.quantile(0.95) or 0))
    slow = [(_task_name(*name), work) for name, work in longest[: _LISTED + 1]]
    about = "How long task instances took that ended, longest 95th percentile first."
    parts = _slowest("Slowest tasks", "Task", "Instances", about, slow, count=len(works))
    total = sum(work.durations.total_s for _, work in works)
    most = sorted(works, key=lambda item: -item[1].durations.total_s)[:_LISTED]
    if not most or not total:
        return parts
    top = most[0][1].durations.total_s
    rows = [
        [
            _task_name(*name),
            _bar(work.durations.total_s / top, "good"),
            hours_text(work.durations.total_s),
            share_text(work.durations.total_s / total),
            count_text(work.durations.count),
        ]
        for name, work in most
    ]
    table = _table(["Task", "", "Hours", "of all", "Instances"], rows)
    return parts + _section(
        "Where the time goes", "Tasks by the sum of their durations.", table + _left_out(len(works), "tasks")
    )


def _slowest(
    title: str, what: str, counted: str, about: str, named: Sequence[tuple[str, Work]], *, count: int | None = None
) -> str:
    found = [
        (name, work.durations, work.durations.quantile(0.5) or 0.0, work.durations.quantile(0.95) or 0.0)
        for name, work in named
        if work.durations.count
    ]
    if not found:
        return _nothing(title, f"No {'run' if what == 'DAG' else 'task instance'} of this export has ended.")
    found.sort(key=lambda item: (-item[3], -item[2], item[0]))
    most = found[0][3] or 1.0
    rows = [
        [
            name,
            _bar(high / most, "good"),
            duration_text(median),
            duration_text(high),
            hours_text(durations.total_s),
            count_text(durations.count),
        ]
        for name, durations, median, high in found[:_LISTED]
    ]
    heads = [what, "", "Median", "95% within", "Hours in all", counted]
    table = _table(heads, rows) + _left_out(count or len(found), "DAGs" if what == "DAG" else "tasks")
    return _section(title, f"{about} The bar is the 95th percentile.", table)


def growth_section(tables: dict[str, TableFigures]) -> str:
    """Show how tables grow, and how large they are."""
    title = "Growth of tables"
    if not tables:
        return _nothing(title, "The export has no tables.")
    largest = sorted(tables.items(), key=lambda item: (-item[1].rows, item[0]))
    growing = [(name, table) for name, table in largest if table.months]
    months = [month for _, table in growing for month in (table.months or ())]
    plots = []
    for name, table in growing[:_PLOTTED_TABLES]:
        found: dict[int, int] = dict(table.months or {})
        span = range(min(months), max(months) + 1)
        values = [found.get(month, 0) for month in span]
        tips = [f"{month_text(month)}: {count_text(value)} rows" for month, value in zip(span, values, strict=True)]
        first = span[0]

        def tick(place: int, first: int = first) -> tuple[str, str]:
            month, year = month_text(first + place).split()
            return month, year

        drawn = columns([Series(name, "good", values)], SMALL, title=f"Rows of {name}", tick=tick, tips=tips)
        mean = sum(values) / len(values)
        plots.append(f"<div><h3>{escaped(name)}</h3><p>{count_text(mean)} rows a month on average</p>{drawn}</div>")
    rows = [
        [
            escaped(name),
            count_text(table.rows),
            bytes_text(table.bytes),
            bytes_text(round(table.bytes / table.rows)) if table.rows else NO_VALUE,
            count_text(table.undated) if table.months is not None else NO_VALUE,
        ]
        for name, table in largest
    ]
    heads = ["Table", "Rows", "In the export", "a row", "without a time"]
    shown = f'<div class="growth">{"".join(plots)}</div>' if plots else "<p>No table has rows with a time.</p>"
    return _section(
        title,
        "Rows a month by their own time, each plot on its own scale; the first month and the last may not be whole. "
        "Sizes are those of the export's files.",
        shown + _table(heads, rows),
    )


def _task_name(dag_id: str | None, task_id: str | None) -> str:
    return f"{escaped(task_id or '')}<small>{escaped(dag_id or '')}</small>"


def _lacks(table: str, what: str) -> str:
    return f"The export has no table {table}, so that {what} are not known."


def _nothing(title: str, why: str) -> str:
    return f"<section><h2>{title}</h2><p>{escaped(why)}</p></section>"


def _section(title: str, about: str, content: str) -> str:
    return f"<section><h2>{title}</h2><p>{escaped(about)}</p>{content}</section>"


def _legend(items: Iterable[tuple[str, str]]) -> str:
    listed = "".join(f"<span><i class={css}></i>{escaped(name)}</span>" for css, name in items)
    return f'<div class="legend">{listed}</div>'


def _bar(share: float, css: str) -> str:
    return f'<div class="{css}" style="width:{share * 100:.1f}%"></div>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; the cells are HTML, the heads are text. A head without a text is that of bars."""
    head = "".join(f"<th scope=col>{escaped(text)}</th>" if text else '<th class="bar"></th>' for text in heads)
    bars = {place for place, text in enumerate(heads) if not text}
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="bar">{cell}</td>' if place in bars else f"<td>{cell}</td>" for place, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _left_out(count: int, what: str) -> str:
    return f"<p>{_LISTED} of {count_text(count)} {escaped(what)}.</p>" if count > _LISTED else ""
