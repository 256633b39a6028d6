# SPDX-License-Identifier: Apache-2.0
"""The last run of each DAG, and its last success, of each kind: Airflow schedules from them, so they are kept.

To find them, every run is read, once. Each transaction reads again those that were found for its DAGs, and compares its
rows with them: one may have been deleted or cleared meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from airflow_mwaa_provider.metadata.catalog.schema import quoted
from airflow_mwaa_provider.metadata.cleaning.scope import rules
from airflow_mwaa_provider.metadata.cleaning.scope.unit import array_literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_mwaa_provider.metadata.catalog.schema import Schema
    from airflow_mwaa_provider.metadata.cleaning.scope.unit import CleanupUnit

__all__ = ["LastRuns", "last_runs_sql"]

_HASHING = "SET LOCAL enable_hashjoin TO {}"


def last_runs_sql(schema: Schema) -> str:
    """Return a query for the ids of the last runs."""
    runs, order = schema.qualified(rules.RUNS), f"r.dag_id, r.run_type, {_run_date_sql(schema)} DESC, r.id DESC"
    last, success = (
        f"(SELECT DISTINCT ON (r.dag_id, r.run_type) r.id FROM {runs} r{where} ORDER BY {order})"
        for where in ("", " WHERE r.state = 'success'")
    )
    return f"{last} UNION ALL {success}"


def _run_date_sql(schema: Schema) -> str:
    names = schema.tables[rules.RUNS].first_of(("execution_date", "logical_date", "run_after"))
    dates = ", ".join(f"r.{quoted(name)}" for name in names)
    return f"COALESCE({dates})" if len(names) > 1 else dates


class LockingTransaction(Protocol):
    """A transaction that has locked rows."""

    def set(self, settings: str) -> None:
        """Change settings."""

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows that a query finds."""


@dataclass(frozen=True)
class LastRuns:
    """The last runs at the time when they were looked up.

    :param ids: their ids, as strings.
    """

    unit: CleanupUnit
    ids: frozenset[str]
    _by_dag: dict[str, list[str]] = field(repr=False)

    @classmethod
    def look_up(cls, unit: CleanupUnit, ask: Callable[[str, str], list[tuple[Any, ...]]]) -> LastRuns:
        """Find the last runs."""
        found = ask(
            f"SELECT r.id::text, r.dag_id FROM {unit.schema.qualified(rules.RUNS)} r "
            f"WHERE r.id IN ({last_runs_sql(unit.schema)})",
            "looking for the last run of each DAG",
        )
        by_dag = defaultdict(list)
        for key, dag_id in found:
            by_dag[dag_id].append(key)
        return cls(unit, frozenset(key for key, _ in found), dict(by_dag))

    def among(self, transaction: LockingTransaction, rows: Sequence[Sequence[str]]) -> set[int]:
        """Return which of these locked rows are last runs now, by their index."""
        query = self._sql(rows)
        transaction.set(_HASHING.format("on"))
        found = {number for (number,) in transaction.rows(query)}
        transaction.set(_HASHING.format("off"))
        return found

    def _sql(self, rows: Sequence[Sequence[str]]) -> str:
        unit = self.unit
        runs, dated = unit.schema.qualified(rules.RUNS), _run_date_sql(unit.schema)
        columns = f"r.id, r.dag_id, r.run_type, r.state, {dated} AS dated"
        last, success = (
            f"SELECT DISTINCT ON (dag_id, run_type) * FROM known{where} ORDER BY dag_id, run_type, dated DESC, id DESC"
            for where in ("", " WHERE state = 'success'")
        )
        return (
            f"WITH known AS MATERIALIZED (SELECT {columns} FROM {runs} r "
            f"WHERE r.id = ANY ({array_literal(self._known(rows))}::int8[])), "
            f"last AS MATERIALIZED ({last}), "
            f"success AS MATERIALIZED ({success}), "
            f"rows AS (SELECT k.number, {columns} FROM {unit.keys_sql(rows)} k JOIN {runs} r ON r.id = k.id) "
            "SELECT t.number FROM rows t LEFT JOIN last l ON l.dag_id = t.dag_id AND l.run_type = t.run_type "
            "LEFT JOIN success s ON s.dag_id = t.dag_id AND s.run_type = t.run_type "
            "WHERE ((l.dated, l.id) > (t.dated, t.id)) IS NOT TRUE "
            "OR (t.state = 'success' AND ((s.dated, s.id) > (t.dated, t.id)) IS NOT TRUE)"
        )

    def _known(self, rows: Sequence[Sequence[str]]) -> list[str]:
        if "dag_id" not in self.unit.columns:
            return sorted(self.ids)
        place = self.unit.columns.index("dag_id")
        return [key for dag_id in sorted({row[place] for row in rows}) for key in self._by_dag.get(dag_id, ())]
