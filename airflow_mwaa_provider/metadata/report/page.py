# SPDX-License-Identifier: Apache-2.0
"""The report as one self-contained HTML page: no script, no font, no network."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_mwaa_provider import __version__
from airflow_mwaa_provider.metadata.report import texts
from airflow_mwaa_provider.metadata.report.figures import DAY_S, HOUR_S, MAX_NAMES
from airflow_mwaa_provider.metadata.report.sections import (
    dags_section,
    delay_section,
    failure_map_section,
    failures_section,
    growth_section,
    open_section,
    recent_section,
    runs_section,
    tasks_section,
)
from airflow_mwaa_provider.metadata.report.sketch import RELATIVE_ERROR
from airflow_mwaa_provider.metadata.report.style import STYLE
from airflow_mwaa_provider.metadata.report.texts import count_text, escaped, share_text

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from airflow_mwaa_provider.metadata.reading.export import Export
    from airflow_mwaa_provider.metadata.report.figures import Figures

__all__ = ["write_page"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def write_page(export: Export, figures: Figures, *, title: str | None = None) -> str:
    """Write the page.

    :param title: its title, such as the environment's name. The default is the location of the export.
    """
    name = escaped(title or export.label)
    body = "".join(
        [
            f"<h1>Airflow history of {name}</h1>",
            _facts(export, figures),
            f'<div class="tiles">{"".join(_tiles(figures))}</div>',
            recent_section(figures.runs, figures.tasks, figures.span),
            open_section(figures.runs, figures.tasks),
            failure_map_section(figures.runs, figures.span),
            runs_section(figures.runs, figures.span),
            delay_section(figures.tasks, figures.span),
            failures_section(figures.runs, figures.tasks),
            dags_section(figures.runs),
            tasks_section(figures.tasks),
            growth_section(figures.tables, figures.span),
            _notes(export, figures),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Airflow history of {name}</title><style>{STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _facts(export: Export, figures: Figures) -> str:
    last, begin = export.last, figures.span.begin
    days = sorted(figures.runs.days) if figures.runs else []
    until = texts.moment_text(last.until) if last.until else "the export"
    since = "the beginning" if begin is None else texts.moment_text(datetime.fromtimestamp(begin, UTC))
    window = f"{since} to {until}"
    size = sum(export.bytes_written(table) for table in export.tables)
    compression = "not compressed" if last.compression == "none" else last.compression
    files = f"{'CSV' if last.file_format == 'csv' else 'Parquet'}, {compression}"
    many = f", {len(export.manifests)} increments" if last.incremental else ""
    facts = [
        ("Airflow", f"{last.airflow_version or 'unknown version'} (schema {last.schema_version})"),
        ("Exported", f"{texts.moment_text(last.exported_at)}, by route {last.route}"),
        ("Window", window),
        ("Runs", f"{texts.day_text(days[0])} to {texts.day_text(days[-1])}" if days else "no run"),
        ("Files", f"{files}, {texts.bytes_text(size)}{many}"),
        ("Read from", export.label),
    ]
    listed = "".join(f"<div><dt>{name}</dt><dd>{escaped(text)}</dd></div>" for name, text in facts)
    return f'<dl class="facts">{listed}</dl>'


def _tiles(figures: Figures) -> Iterator[str]:
    runs, tasks = figures.runs, figures.tasks
    if runs is not None:
        finished = runs.all.success + runs.all.failed
        yield _tile("DAG runs", count_text(runs.all.count), f"of {count_text(len(runs.dags))} DAGs")
        yield _tile(
            "Failed runs",
            share_text(runs.all.failed_share),
            f"{count_text(runs.all.failed)} of {count_text(finished)} that ended",
        )
    if tasks is not None:
        yield _tile(
            "Task instances", count_text(tasks.all.count), f"{share_text(tasks.all.failed_share)} of those run failed"
        )
        yield _tile(
            "Time in tasks",
            f"{texts.hours_text(tasks.all.durations.total_s)} h",
            f"median {texts.duration_text(tasks.all.durations.quantile(0.5))} a task",
        )
        yield _tile(
            "Queue delay, median",
            texts.duration_text(tasks.delay.quantile(0.5)),
            f"95% within {texts.duration_text(tasks.delay.quantile(0.95))}" if tasks.delay.count else "none is known",
        )
    if tasks is not None and tasks.hours:
        yield _busiest(tasks.hours, "task starts")
    elif runs is not None and runs.hours:
        yield _busiest(runs.hours, "runs")


def _busiest(hours: Counter[int], what: str) -> str:
    hour, count = max(hours.items(), key=lambda item: (item[1], -item[0]))
    moment = datetime.fromtimestamp(hour * HOUR_S, UTC)
    day = texts.day_text(hour * HOUR_S // DAY_S, with_year=False)
    return _tile("Busiest hour", f"{day}, {moment:%H}:00", f"{count_text(count)} {what}; {moment.year}, UTC")


def _tile(name: str, value: str, more: str) -> str:
    return f'<div class="tile"><span>{escaped(name)}</span><b>{escaped(value)}</b><span>{escaped(more)}</span></div>'


def _notes(export: Export, figures: Figures) -> str:
    notes = [
        "All times are UTC. A run belongs to the day on which it started; one that never did, to that of its schedule.",
        "A task instance is what Airflow keeps of it, its last try.",
        "Durations are from start to end, of what succeeded or failed; waiting in a deferred state is part of them.",
        f"Counts and sums are exact. Medians and percentiles are right within {RELATIVE_ERROR:.0%} of their value.",
        "Failed is what ended in the state failed; the share is of those that succeeded or failed.",
    ]
    if figures.tasks and figures.tasks.requeued:
        notes.append(
            f"{count_text(figures.tasks.requeued)} task instances were queued again after they had begun, as deferred "
            "ones are; their queue delay is not known, and not counted."
        )
    if figures.span.begin is not None:
        notes.append("Rows of before the window are not counted, and neither are those without a time.")
    if figures.runs and figures.runs.undated:
        notes.append(f"{count_text(figures.runs.undated)} runs have no time that can be, and are in no plot over time.")
    many = [works for works in (figures.runs and figures.runs.dags, figures.tasks and figures.tasks.tasks) if works]
    if any(len(works) > MAX_NAMES for works in many):
        notes.append(f"Beyond {MAX_NAMES:,} different DAGs or tasks the others are counted together, as (others).")
    if export.last.incremental:
        notes.append("The export is incremental: of a row that was exported more than once, the last version counts.")
    listed = "".join(f"<li>{escaped(note)}</li>" for note in notes)
    return (
        f"<section><h2>How this was counted</h2><ul>{listed}</ul><p>Written by airflow-mwaa-provider "
        f"{escaped(__version__)}.</p></section>"
    )
