# SPDX-License-Identifier: Apache-2.0
"""Choose the tables that route ``cli`` cleans: those of the cleanup's rules that ``db clean`` does not break.

``db clean`` looks at the date of a row and at nothing else. So it is not given tables of which a rule keeps rows
because of other rows, and tables with rows in use now only up to a day ago.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaInputError, TableNotFound
from airflow_mwaa_provider.metadata.catalog import registry
from airflow_mwaa_provider.metadata.cleaning.outcome import RetainedRows
from airflow_mwaa_provider.metadata.cleaning.scope import rules
from airflow_mwaa_provider.metadata.cleaning.scope.rules import RUNS, TASKS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
    from airflow_mwaa_provider.metadata.cleaning.routes.db_clean_output import Printed

__all__ = ["CASCADED", "LIVE", "LIVE_FOR", "OF_RUNS", "Choice", "choose_tables"]

_DEPENDENTS = (*(name for name in rules.ROOTS[RUNS].cascaded if name != TASKS), TASKS)
CASCADED: dict[str, tuple[str, ...]] = {
    RUNS: _DEPENDENTS,
    TASKS: ("xcom", "task_reschedule", "task_fail", "task_instance_history"),
}
"""Tables whose rows are deleted with a table's, by reference or because ``db clean`` sees to it; children first."""

_XCOM_ARCHIVE = "_xcom_archive"
"""Left by an upgrade: no rows are added to it, so it is cleaned only if it is named."""

OF_RUNS = frozenset({*_DEPENDENTS, RUNS, "sla_miss", "celery_taskmeta", _XCOM_ARCHIVE})
"""Tables with rows of runs, whose own times do not show whether the run is over."""

LIVE = frozenset({"job", "callback_request"}) | {
    name for name, root in rules.ROOTS.items() if name not in OF_RUNS and any(rule.sql for rule in root.retention_rules)
}
"""Tables that may have rows in use now; ``db clean`` does not look at their states. What it deletes is at least:"""
LIVE_FOR = timedelta(days=1)

_OTHER_ROUTES = "use route database or api"


@dataclass(frozen=True)
class Choice:
    """The tables that are cleaned.

    :param retention: of each of them, children before what they refer to.
    :param kept: tables that are not cleaned although they have old rows.
    """

    retention: Mapping[str, timedelta]
    kept: tuple[RetainedRows, ...]


def choose_tables(listing: Printed, options: CleanupOptions, label: str) -> Choice:
    """Choose the tables to clean from those that a dry run has listed.

    :param label: names the Airflow in errors.
    :raises TableNotFound: ``db clean`` does not know a table that was named.
    :raises MwaaInputError: a table cannot be cleaned by this route, or not with these options.
    """
    known = [name for name in listing.names if name not in listing.missing]
    named = tuple(options.tables or ())
    by_other_routes = {name for root in rules.ROOTS for name in (root, *rules.ROOTS[root].cascaded)}
    for name in (*named, *options.exclude, *options.retention_by_table):
        if name not in known and (name not in by_other_routes or _obstacle(name) is None):
            raise TableNotFound(
                f"Route cli: db clean of {label} knows no table {name!r}; it knows {', '.join(sorted(known))}.",
                table=name,
            )
    for name in named:
        if (why := _obstacle(name)) is not None:
            elsewhere = f", or {_OTHER_ROUTES}" if name in rules.ROOTS else ""
            raise MwaaInputError(f"Route cli cannot clean table {name}: {why}. Leave it out{elsewhere}.")
    if named:
        chosen = {child for name in named for child in (name, *CASCADED.get(name, ())) if child in known}
    else:
        chosen = {name for name in known if _obstacle(name) is None and name != _XCOM_ARCHIVE}
    chosen -= set(options.exclude)
    for parent, children in CASCADED.items():
        if parent in chosen and (left_out := [name for name in children if name in options.exclude]):
            raise MwaaInputError(
                f"Table {left_out[0]} cannot be excluded: its rows are deleted with those of {parent}. Exclude "
                f"{parent} as well."
            )
    kept: list[RetainedRows] = []
    if options.tables is None:
        kept += [
            RetainedRows(name, why if name not in rules.ROOTS else f"{why}; {_OTHER_ROUTES}", listing.counts[name])
            for name in known
            if name not in options.exclude and listing.counts.get(name) and (why := _obstacle(name)) is not None
        ]
    if options.dag_ids is not None:
        if without := [name for name in named if name in listing.without_dag]:
            raise MwaaInputError(
                f"dag_ids: db clean cannot assign rows of table {without[0]} to a DAG. Leave out the table, or dag_ids."
            )
        # It names a DAG column of some tables, such as deadline, that have none.
        kept += [
            RetainedRows(name, "db clean cannot assign its rows to a DAG") for name in sorted(chosen & listing.failed)
        ]
        chosen -= listing.without_dag | listing.failed
    if not chosen:
        raise MwaaInputError("No table is left to clean: tables, exclude and dag_ids leave none.")
    order = (*_DEPENDENTS, *rules.ROOTS, _XCOM_ARCHIVE)
    return Choice({name: _retention(name, chosen, options) for name in order if name in chosen}, tuple(kept))


def _obstacle(name: str) -> str | None:
    """Return why ``db clean`` must not clean a table, a clause; ``None`` if it may."""
    if name in OF_RUNS:
        return None
    root = rules.ROOTS.get(name)
    if root is None:
        if registry.facts_of(name).is_state:
            return "it holds what exists, not what happened"
        return "this version does not know which of its rows are in use"
    for rule in root.retention_rules:
        if rule.reads_other_rows:
            return f"db clean deletes a row even if {rule.why}"
    return "db clean deletes a row even if other rows refer to it" if root.is_referred_to else None


def _retention(name: str, chosen: AbstractSet[str], options: CleanupOptions) -> timedelta:
    for other in options.retention_by_table:
        if other not in chosen:
            raise MwaaInputError(f"retention_by_table: {other} is not among the tables to clean. Leave it out.")
    own = options.retention_by_table.get(name)
    parents = [parent for parent, children in CASCADED.items() if name in children and parent in chosen]
    longest = min((_retention(parent, chosen, options) for parent in parents), default=None)
    if longest is None:
        return options.retention_of(name)
    if own is None:  # a table that is named beside its parent may be cleaned before it
        return min(options.retention, longest) if name in (options.tables or ()) else longest
    if own > longest:
        raise MwaaInputError(
            f"retention_by_table: rows of {name} are deleted with those of {parents[0]}, and cannot be kept for longer "
            f"than {longest}."
        )
    return own
