# SPDX-License-Identifier: Apache-2.0
"""Count the rows to delete before any is deleted, and advise what else to do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.catalog import registry
from airflow_mwaa_provider.metadata.catalog.schema import near, quoted
from airflow_mwaa_provider.metadata.cleaning.outcome import Plan, RetainedRows, TablePlan
from airflow_mwaa_provider.metadata.cleaning.scope.graph import referrers
from airflow_mwaa_provider.metadata.cleaning.scope.unit import array_literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from airflow_mwaa_provider.metadata.catalog.schema import Schema
    from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
    from airflow_mwaa_provider.metadata.cleaning.scope.unit import CleanupUnit

__all__ = ["check_dags", "count_rows", "expressions_sql", "make_plan", "no_dag", "with_undated"]


# PostgreSQL expects one row of an expression such as "the runs that are deleted", and would scan all of it once for
# each row of another table.
_COUNTING = "SET LOCAL enable_nestloop TO off; SET LOCAL jit TO off; "
# Of one connection on a small machine; a task has a dozen foreign keys to check.
_SECONDS_A_ROW = {"task_instance": 45e-6, "dag_run": 60e-6}
_SECONDS_A_SMALL_ROW = 6e-6
_MANY_ROWS = 10_000
_MUCH = 0.2


def check_dags(schema: Schema, options: CleanupOptions, ask: Callable[[str, str], list[tuple[Any, ...]]]) -> None:
    """Check that each name in ``dag_ids`` has a DAG, or at least a run.

    :raises MwaaInputError: a name has neither.
    """
    if options.dag_ids is None or "dag" not in schema.tables:
        return
    dags, runs = schema.qualified("dag"), schema.qualified("dag_run")
    unknown = ask(
        f"SELECT u.name FROM unnest({array_literal(options.dag_ids)}::text[]) u(name) "
        f"WHERE NOT EXISTS (SELECT 1 FROM {dags} d WHERE d.dag_id = u.name) "
        f"AND NOT EXISTS (SELECT 1 FROM {runs} r WHERE r.dag_id = u.name)",
        "looking for the DAGs in dag_ids",
    )
    if unknown:
        [name] = unknown[0]
        known = [dag_id for (dag_id,) in ask(f"SELECT d.dag_id FROM {dags} d", "reading the names of DAGs")]
        raise no_dag(name, known)


def no_dag(name: str, known: Iterable[str]) -> MwaaInputError:
    """Return the error for a name that no DAG has.

    :param known: the names of all DAGs.
    """
    return MwaaInputError(f"dag_ids: no DAG is named {name!r}{near(name, known)}. Correct it, or leave it out.")


def with_undated(units: Sequence[CleanupUnit], ask: Callable[[str, str], list[tuple[Any, ...]]]) -> list[CleanupUnit]:
    """Return units that also delete rows without a date if a row with a higher id is old: ids are given in order."""
    return [_with_undated(unit, ask) if unit.undated_sql else unit for unit in units]


def _with_undated(unit: CleanupUnit, ask: Callable[[str, str], list[tuple[Any, ...]]]) -> CleanupUnit:
    key = f"t.{quoted(unit.root_table.key[0])}"
    [(limit,)] = ask(
        f"SELECT max({key}) FROM {unit.schema.qualified(unit.root_table.name)} t WHERE {unit.old_sql}",
        f"looking for old rows of {unit.root_table.name}",
    )
    if limit is None:
        return unit
    return replace(unit, old_sql=f"({unit.old_sql} OR ({unit.undated_sql} AND {key} < {int(limit)}))")


def count_rows(
    units: Sequence[CleanupUnit], ask: Callable[[str, str], list[tuple[Any, ...]]]
) -> Iterator[tuple[CleanupUnit, dict[str, int]]]:
    """Count the rows to delete of each table, unit by unit.

    :param ask: runs a query; its second argument is the purpose.
    """
    for number, unit in enumerate(units):
        earlier = units[:number]
        counts = ", ".join(f"({unit.count_sql(part)})" for part in unit.parts)
        query = f"{_COUNTING}{expressions_sql(unit, earlier)} SELECT {counts}"
        [found] = ask(query, f"counting rows of {unit.name} to delete")
        yield unit, {part.table.name: count for part, count in zip(unit.parts, found, strict=True)}


def make_plan(
    schema: Schema, units: Sequence[CleanupUnit], ask: Callable[[str, str], list[tuple[Any, ...]]], now: datetime
) -> Plan:
    """Count what would be deleted and kept, and add advice.

    :raises DatabaseRefused: a query took too long.
    """
    tables: dict[str, TablePlan] = {}
    for unit, rows in count_rows(units, ask):
        for name, count in rows.items():
            before = tables.pop(name, None)
            tables[name] = TablePlan(
                table=name,
                root=unit.root_table.name,
                rows=count + (before.rows if before else 0),
                bytes=_bytes(schema, name, count) + (before.bytes if before else 0),
                of_rows=schema.tables[name].estimated_rows,
                older_than=unit.cutoff,
            )
    found = tuple(tables.values())
    return Plan(
        tables=found,
        kept=tuple(_kept(units, ask)),
        advice=tuple(_advice(schema, found, ask)),
        seconds=sum(table.rows * _SECONDS_A_ROW.get(table.table, _SECONDS_A_SMALL_ROW) for table in found),
        now=now,
        airflow_version=schema.airflow_version,
    )


def expressions_sql(unit: CleanupUnit, earlier: Sequence[CleanupUnit], *, itself: bool = True) -> str:
    """Return ``WITH`` and the expressions for this unit, and for earlier units that its conditions refer to."""
    needed: list[CleanupUnit] = []

    def visit(one: CleanupUnit) -> None:
        mentioned = {guard.path.table for guard in one.guards if guard.path}
        before = earlier[: earlier.index(one)] if one in earlier else earlier
        for other in before:
            if other in one.without or mentioned & set(other.tables):
                visit(other)
        if one not in needed:
            needed.append(one)

    visit(unit)
    if not itself:
        needed.remove(unit)
    if not needed:
        return ""
    parts = [one.expired_cte_sql(earlier[: earlier.index(one)] if one in earlier else earlier) for one in needed]
    return f"WITH {', '.join(parts)}"


def _kept(units: Sequence[CleanupUnit], ask: Callable[[str, str], list[tuple[Any, ...]]]) -> Iterator[RetainedRows]:
    """Count the rows that are old enough and kept; each row counts for its first reason."""
    for number, unit in enumerate(units):
        if not unit.deletes_root_rows or not unit.guards:
            continue
        query = f"{_COUNTING}{_reasons_sql(unit, units[:number])}"
        rows = ask(query, f"counting rows of {unit.name} that are kept")
        for place, count in rows:
            if place is not None:
                yield RetainedRows(unit.root_table.name, unit.guards[place].why, count)


def _reasons_sql(unit: CleanupUnit, earlier: Sequence[CleanupUnit]) -> str:
    """Return a query that counts rows that are old enough and kept, by the index of the first guard that keeps them.

    Each guard is evaluated for all rows at once: within a CASE it would be evaluated row by row.
    """
    table = unit.schema.qualified(unit.root_table.name)
    keys = ", ".join(f"t.{quoted(column.name)}" for column in unit.key)
    same = " AND ".join(f"k.{quoted(column.name)} = t.{quoted(column.name)}" for column in unit.key)
    gone = f"SELECT 1 FROM {unit.expired_cte} k WHERE {same}"
    kept = f"SELECT t.* FROM {table} t WHERE {unit.old_sql} AND NOT EXISTS ({gone})"
    expressions = [expressions_sql(unit, earlier), f"kept AS MATERIALIZED ({kept})"]
    cases, joins = [], []
    for place, guard in enumerate(unit.guards):
        reason = unit.among_sql(guard) if guard.among else unit.kept_sql(guard, earlier)
        how = f"({reason}) IS NOT FALSE" if guard.sql else reason
        expressions.append(f"kept_{place} AS MATERIALIZED (SELECT {keys} FROM kept t WHERE {how})")
        # A join, not IN: PostgreSQL limits the size of the table that it hashes for IN.
        on = " AND ".join(f"k{place}.{quoted(c.name)} = t.{quoted(c.name)}" for c in unit.key)
        joins.append(f"LEFT JOIN kept_{place} k{place} ON {on}")
        cases.append(f"WHEN k{place}.{quoted(unit.key[0].name)} IS NOT NULL THEN {place}")
    reasons = f"SELECT CASE {' '.join(cases)} END, count(*) FROM kept t {' '.join(joins)} GROUP BY 1 ORDER BY 1"
    return f"{', '.join(expressions)} {reasons}"


def _bytes(schema: Schema, name: str, rows: int) -> int:
    table = schema.tables[name]
    there = max(table.estimated_rows or 0, rows)
    return round(table.total_bytes * rows / there) if there else 0


def _advice(
    schema: Schema, tables: Sequence[TablePlan], ask: Callable[[str, str], list[tuple[Any, ...]]]
) -> Iterator[str]:
    large = [t for t in tables if t.rows >= _MANY_ROWS and t.rows >= _MUCH * (t.of_rows or t.rows)]
    if large:
        names = ", ".join(sorted(t.table for t in large))
        yield (
            f"Afterwards run VACUUM (ANALYZE) on {names}, because a large part of their rows is deleted. PostgreSQL "
            "reuses the space, and does not return it to the disk; VACUUM FULL and pg_repack do, and VACUUM FULL locks "
            "the table."
        )
    for name, dead, live, is_off in ask(_DEAD.format(schema=_literal(schema.name)), "reading statistics of dead rows"):
        why = "autovacuum is off" if is_off else "autovacuum does not keep up"
        yield f"{name} has {dead:,} dead and {live:,} live rows: {why}. VACUUM it first, or scans are slow."
    left = [name for name in schema.tables if registry.is_bookkeeping(name) and not name.startswith("alembic")]
    if left:
        size = sum(schema.tables[name].total_bytes for name in left)
        others = f" and {len(left) - 1} others" if len(left) > 1 else ""
        yield (
            f"{left[0]}{others}, left by a migration or db clean, take{'s' if len(left) == 1 else ''} {size:,} bytes. "
            "Drop those of db clean with airflow db drop-archived."
        )
    going = {t.table for t in tables if t.rows}
    for name in sorted(going):
        for child, reference in referrers(schema, name):
            rows = (schema.tables[child].estimated_rows or 0) if child in schema.tables else 0
            if rows < _MANY_ROWS:
                continue
            count = len(reference.columns)
            if not any(set(index[:count]) == set(reference.columns) for index in schema.tables[child].indexes):
                columns = ", ".join(reference.columns)
                yield (
                    f"{child}({columns}) has no index: for each deleted row of {name}, PostgreSQL reads all {rows:,} "
                    f"rows of {child}. Create an index (CREATE INDEX CONCURRENTLY) for a faster cleanup."
                )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


_DEAD = """
SELECT s.relname, s.n_dead_tup, s.n_live_tup, COALESCE(c.reloptions::text, '') LIKE '%autovacuum_enabled=false%'
FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
WHERE s.schemaname = {schema} AND s.n_dead_tup > 50000 AND s.n_dead_tup > s.n_live_tup / 2 ORDER BY 2 DESC LIMIT 5
"""
