# SPDX-License-Identifier: Apache-2.0
"""The sections of the report's page. If the export lacks data for a section, one sentence states that."""

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
from airflow_mwaa_provider.metadata.report.figures import DAY_S, MAP_DAYS, Work
from airflow_mwaa_provider.metadata.report.sketch import DurationSketch
from airflow_mwaa_provider.metadata.report.texts import (
    NO_VALUE,
    Bins,
    bytes_text,
    count_text,
    day_text,
    duration_text,
    escaped,
    hours_text,
    month_s,
    month_text,
    share_text,
    ticks,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_mwaa_provider.metadata.report.figures import OpenItems, RunFigures, Span, TableFigures, TaskFigures

__all__ = [
    "dags_section",
    "delay_section",
    "failure_map_section",
    "failures_section",
    "growth_section",
    "open_section",
    "recent_section",
    "runs_section",
    "tasks_section",
]

_LISTED = 15
_PLOTTED_TABLES = 9
_LOG_FROM = 25
"""Where the highest point is so many times the usual one, an axis from zero would show nothing but that point."""


_WINDOWS = (("Last day", 0, 1), ("Day before", 1, 2), ("Last week", 0, 7), ("Week before", 7, 14))
_PALE = " Paler columns are not of a whole {unit}."


def recent_section(runs: RunFigures | None, tasks: TaskFigures | None, span: Span) -> str:
    """Compare the last day and the last week with those before."""
    title = "Lately"
    if runs is None and tasks is None:
        return _nothing(title, "The export has neither table dag_run nor task_instance, so that nothing is known.")
    rows: list[list[str]] = []
    known = [span.begin is None or span.end - last * DAY_S >= span.begin for _, _, last in _WINDOWS]

    def add(name: str, values: Iterable[str]) -> None:
        rows.append([name, *(value if is_known else NO_VALUE for value, is_known in zip(values, known, strict=True))])

    for figures, what in ((runs, "DAG runs"), (tasks, "Task instances")):
        if figures is None:
            continue
        works = [_merged(figures.recent[first:last]) for _, first, last in _WINDOWS]
        add(what, (count_text(work.count) for work in works))
        add(f"{what} that failed", (count_text(work.failed) for work in works))
        add(
            "share of those that ended",
            (share_text(work.failed_share) if work.success + work.failed else NO_VALUE for work in works),
        )
        add("median duration", (duration_text(work.durations.quantile(0.5)) for work in works))
    if tasks is not None:
        delays = []
        for _, first, last in _WINDOWS:
            delay = DurationSketch()
            for one in tasks.recent_delays[first:last]:
                delay.merge(one)
            delays.append(delay)
        add("Queue delay, 95% within", (duration_text(delay.quantile(0.95)) for delay in delays))
    about = (
        "Days of 24 hours and weeks of seven such days, back from the end of the export, by when a run or task began."
    )
    return _section(title, about, _table(["Began in", *(name for name, _, _ in _WINDOWS)], rows))


def _merged(works: Iterable[Work]) -> Work:
    merged = Work()
    for work in works:
        merged.merge(work)
    return merged


def open_section(runs: RunFigures | None, tasks: TaskFigures | None) -> str:
    """Show what has not ended."""
    title = "Still open"
    if runs is None and tasks is None:
        return _nothing(title, "The export has neither table dag_run nor task_instance, so that nothing is known.")
    parts = []
    for items, what, counted in (
        (runs.open if runs else None, "Run", "runs"),
        (tasks.open if tasks else None, "Task", "task instances"),
    ):
        if items is not None:
            parts.append(_open(items, what, counted))
    about = "What had not ended when the export was made, oldest first: since it began, or was due."
    return _section(title, about, "<h3 class='plot'></h3>".join(parts))


def _open(items: OpenItems, what: str, counted: str) -> str:
    if not items.count:
        return f"<p>No {counted} are open.</p>"
    rows = [
        [
            _task_name(item.dag_id, item.task_id) if item.task_id else escaped(item.dag_id),
            escaped(item.run_id),
            escaped(item.state),
            duration_text(item.age_s) if item.age_s else NO_VALUE,
        ]
        for item in items.oldest
    ]
    return _table([what, "Run id", "State", "Open for"], rows) + _left_out(items.count, f"{counted} that are open")


def failure_map_section(runs: RunFigures | None, span: Span) -> str:
    """Show on which days which DAGs failed."""
    title = "Failed runs by DAG and day"
    if runs is None:
        return _nothing(title, _lacks("dag_run", "failed runs"))
    last = int(span.end // DAY_S)
    days = range(last - MAP_DAYS + 1, last + 1)
    failing = sorted(runs.failed_days.items(), key=lambda item: (-item[1].total(), item[0]))
    if not failing:
        return _nothing(title, f"No run failed in the last {MAP_DAYS} days of this export.")
    most = max(max(found.values()) for _, found in failing)
    heads = "".join(
        f"<th scope=col>{escaped(day_text(day, with_year=False).split()[0])}</th>" if place % 2 == 0 else "<th></th>"
        for place, day in enumerate(days)
    )
    body = "".join(
        f"<tr><td>{escaped(name)}</td>{''.join(_cell(day, found.get(day, 0), most) for day in days)}</tr>"
        for name, found in failing[:_LISTED]
    )
    content = (
        f'<div class="scroll" tabindex="0"><table class="map"><thead><tr><th scope=col>DAG</th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
    about = f"The last {MAP_DAYS} days, until {day_text(last)}; the stronger, the more failed. Most failures first."
    return _section(title, about, content + _left_out(len(failing), "DAGs with failures in these days"))


def _cell(day: int, failed: int, most: int) -> str:
    if not failed:
        return f'<td><i title="{escaped(day_text(day))}: none failed"></i></td>'
    strength = 0.3 + 0.7 * failed / most
    return (
        f'<td><i class="bad" style="opacity:{strength:.2f}" title="{escaped(day_text(day))}: {count_text(failed)} '
        'failed"></i></td>'
    )


def _begin_s(first_day: int, span: Span) -> float:
    """Return the time from which everything is counted: earlier rows never existed, or have been deleted."""
    return span.begin if span.begin is not None else first_day * DAY_S


def runs_section(runs: RunFigures | None, span: Span) -> str:
    """Show runs and failures over time."""
    title = "Runs and failures over time"
    if runs is None:
        return _nothing(title, _lacks("dag_run", "runs"))
    if not runs.days:
        return _nothing(title, "No DAG run lies in this export.")
    bins = Bins(min(runs.days), max(runs.days))
    partial = bins.partial(_begin_s(min(runs.days), span), span.end)
    counts = [[0, 0, 0] for _ in range(len(bins))]
    for day, (success, failed, others) in runs.days.items():
        found = counts[bins.place(day)]
        found[0], found[1], found[2] = found[0] + success, found[1] + failed, found[2] + others
    shares = [failed / (success + failed) if success + failed else None for success, failed, _ in counts]
    tips = [
        f"{bins.label(place)}{_in_part(place, partial)}: {count_text(sum(found))} runs, {count_text(found[1])} failed"
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
    plots = "".join(
        columns(series, size, title=title, tick=bins.tick, tips=tips, partial=partial) for size in (WIDE, NARROW)
    )
    rates = "".join(
        columns(percent, size, title="Failed runs in percent", tick=bins.tick, tips=tips, axis=rate, partial=partial)
        for size in (LOW, LOW_NARROW)
    )
    legend = _legend([(one.css, one.name) for one in series])
    return _section(
        title,
        f"DAG runs a {bins.unit}, by how they ended.{_PALE.format(unit=bins.unit) if partial else ''}",
        f"{legend}{plots}<h3 class='plot'>Failed runs, in % of those that ended</h3>{rates}",
    )


def _in_part(place: int, partial: set[int]) -> str:
    return " (in part)" if place in partial else ""


def delay_section(tasks: TaskFigures | None, span: Span) -> str:
    """Show how long tasks waited for a worker."""
    title = "Queue delay over time"
    if tasks is None:
        return _nothing(title, _lacks("task_instance", "queue delays"))
    if not tasks.delays:
        return _nothing(title, "No task instance of this export was both queued and started.")
    bins = Bins(min(tasks.delays), max(tasks.delays))
    partial = bins.partial(_begin_s(min(tasks.delays), span), span.end)
    sketches = [DurationSketch() for _ in range(len(bins))]
    for day, sketch in tasks.delays.items():
        sketches[bins.place(day)].merge(sketch)
    medians, highs = ([sketch.quantile(share) for sketch in sketches] for share in (0.5, 0.95))
    tips = [
        f"{bins.label(place)}{_in_part(place, partial)}: median {duration_text(medians[place])}, "
        f"95% within {duration_text(highs[place])}, {count_text(sketch.count)} tasks"
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
    """Show which DAGs take the longest."""
    title = "Slowest DAGs"
    if runs is None:
        return _nothing(title, _lacks("dag_run", "how long runs take"))
    named = [(escaped(name), work) for name, work in runs.dags.items()]
    return _slowest(title, "DAG", "Runs", "How long runs took that ended, longest 95th percentile first.", named)


def tasks_section(tasks: TaskFigures | None) -> str:
    """Show which tasks take the longest, and which take the largest share of all time."""
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


def growth_section(tables: dict[str, TableFigures], span: Span) -> str:
    """Show the growth and size of tables."""
    title = "Growth of tables"
    if not tables:
        return _nothing(title, "The export has no tables.")
    largest = sorted(tables.items(), key=lambda item: (-item[1].rows, item[0]))
    growing = [(name, table) for name, table in largest if table.months]
    months = [month for _, table in growing for month in (table.months or ())]
    first_day = min((table.first_day for _, table in growing if table.first_day is not None), default=0)
    begin_s = _begin_s(first_day, span)
    plots = []
    for name, table in growing[:_PLOTTED_TABLES]:
        found: dict[int, int] = dict(table.months or {})
        shown_months = range(min(months), max(months) + 1)
        values = [found.get(month, 0) for month in shown_months]
        partial = {
            place
            for place, month in enumerate(shown_months)
            if not begin_s <= month_s(month) < month_s(month + 1) <= span.end
        }
        tips = [
            f"{month_text(month)}{_in_part(place, partial)}: {count_text(value)} rows"
            for place, (month, value) in enumerate(zip(shown_months, values, strict=True))
        ]
        first = shown_months[0]

        def tick(place: int, first: int = first) -> tuple[str, str]:
            month, year = month_text(first + place).split()
            return month, year

        drawn = columns(
            [Series(name, "good", values)], SMALL, title=f"Rows of {name}", tick=tick, tips=tips, partial=partial
        )
        mean = _mean_text(values, partial, span.end - begin_s)
        plots.append(f"<div><h3>{escaped(name)}</h3><p>{mean}</p>{drawn}</div>")
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
        "Rows a month by their own time, each plot on its own scale. Paler months are not whole, and in no average. "
        "Sizes are those of the export's files.",
        shown + _table(heads, rows),
    )


def _mean_text(values: Sequence[int], partial: set[int], seconds: float) -> str:
    whole = [value for place, value in enumerate(values) if place not in partial]
    if whole:
        return f"{count_text(sum(whole) / len(whole))} rows a month on average"
    return f"{count_text(sum(values) / max(seconds / DAY_S, 1.0))} rows a day on average"


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
    """Write a table; cells are HTML, headers are plain text. A column with an empty header has bars."""
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
