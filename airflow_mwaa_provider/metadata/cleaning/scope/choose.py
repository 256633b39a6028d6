# SPDX-License-Identifier: Apache-2.0
"""Turn the options of a cleanup into units: which tables, their dependents, and what keeps their rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.catalog import registry
from airflow_mwaa_provider.metadata.catalog.schema import Reference, quoted, text_literal, time_literal
from airflow_mwaa_provider.metadata.cleaning.scope import rules
from airflow_mwaa_provider.metadata.cleaning.scope.graph import BINDING_ACTIONS, Path, dependents, referrers
from airflow_mwaa_provider.metadata.cleaning.scope.last_runs import last_runs_sql
from airflow_mwaa_provider.metadata.cleaning.scope.rules import TASKS
from airflow_mwaa_provider.metadata.cleaning.scope.unit import (
    CleanupUnit,
    DependentTable,
    RetentionGuard,
    first_time_sql,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from airflow_mwaa_provider.metadata.catalog.schema import Schema, Table
    from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions

__all__ = ["choose_units"]


def choose_units(
    schema: Schema, options: CleanupOptions, now: datetime, *, is_for_counting: bool = False
) -> list[CleanupUnit]:
    """Return the units of a cleanup, in the order of deletion.

    :param now: the time that ages are counted from.
    :param is_for_counting: choose conditions that are fast for all rows at once, not for a batch of rows.
    :raises TableNotFound: a table does not exist.
    :raises MwaaInputError: a table cannot be cleaned, or not alone; or the schema is unknown to this version.
    """
    _check_schema(schema)
    choice = _Choice(schema, options, now, is_for_counting=is_for_counting)
    choice.check()
    roots = [choice.of_root(name) for name in rules.ROOTS if name in choice.roots]
    by_name = {unit.name: unit for unit in roots}
    parts = [choice.of_part(name, by_name.get(rules.RUNS)) for name in choice.parts]
    # The longest retention first: the others delete what is left.
    parts.sort(key=lambda unit: unit.cutoff)
    done: list[CleanupUnit] = []
    for unit in parts:
        shared = tuple(other for other in done if set(other.tables) & set(unit.tables))
        done.append(replace(unit, without=unit.without + shared))
    runs = [unit for unit in roots if unit.name == rules.RUNS]
    return [*runs, *done, *(unit for unit in roots if unit.name != rules.RUNS)]


def _check_schema(schema: Schema) -> None:
    if schema.airflow_version is None:
        newest = list(registry.REVISIONS.values())[-1]
        raise MwaaInputError(
            f"The metadata database has schema {schema.revision}, which is unknown to this version: newer than that "
            f"of Airflow {newest}, or between two releases. Nothing was deleted. Install an airflow-mwaa-provider that "
            "supports it."
        )


class _Choice:
    """The requested tables, sorted into those with their own age and dependents of runs that are cleaned alone."""

    def __init__(self, schema: Schema, options: CleanupOptions, now: datetime, *, is_for_counting: bool) -> None:
        self._schema = schema
        self._is_for_counting = is_for_counting
        self._options = options
        self._now = now
        self._cascaded: dict[str, dict[str, Path]] = {}
        self.roots: set[str] = set()
        self.parts: list[str] = []

    def check(self) -> None:
        """Check the names, and sort them."""
        schema, options = self._schema, self._options
        for name in [*(options.tables or ()), *options.exclude, *options.retention_by_table]:
            schema.table(name)
        exclude = set(options.exclude)
        if options.tables is None:
            self.roots = {name for name in rules.ROOTS if name in schema.tables} - exclude
        else:
            for name in options.tables:
                if name not in exclude:
                    self._add(name)
        if options.dag_ids is not None:
            self._check_dag_ids()
        for name in exclude - set(rules.ROOTS):
            if (root := self._root_of(name)) in self.roots and name not in self.roots:
                raise MwaaInputError(
                    f"Table {name} cannot be excluded: its rows are deleted with those of {root}. Exclude {root}."
                )
        # Dependents that are named beside runs are deleted with them.
        if rules.RUNS in self.roots:
            self.parts = [name for name in self.parts if self._is_shorter(name)]
        for name in options.retention_by_table:
            self._check_retention(name)
        if not self.roots and not self.parts:
            raise MwaaInputError("No table is left to clean: tables and exclude name the same tables.")

    def _add(self, name: str) -> None:
        if name in rules.ROOTS:
            self.roots.add(name)
        elif name in rules.ALONE:
            self.parts.append(name)
        elif (root := self._root_of(name)) is not None:
            raise MwaaInputError(
                f"Table {name} cannot be cleaned alone: its rows are deleted with those of {root}. Name that."
            )
        elif registry.is_bookkeeping(name):
            raise MwaaInputError(
                f"Table {name} is not one of Airflow's own, but was left by a migration or by db clean. Drop it with "
                "airflow db drop-archived."
            )
        else:
            raise MwaaInputError(
                f"Table {name} cannot be cleaned: it holds what exists, not what happened, or is unknown to this "
                "version. Leave tables out to clean all that grow."
            )

    def _root_of(self, name: str) -> str | None:
        for root, facts in rules.ROOTS.items():
            # An unknown reference is an error when its table is cleaned, not for a name that has nothing to do with it.
            if root in self._schema.tables and name in facts.cascaded and name in self.cascaded(root):
                return root
        return None

    def cascaded(self, root: str) -> dict[str, Path]:
        """Return the dependents that are deleted with rows of a table, children first."""
        if root not in self._cascaded:
            facts = rules.ROOTS[root]
            self._cascaded[root] = dependents(
                self._schema, root, facts.cascaded, forgotten_by=facts.forgotten_by, is_guarded=root != rules.RUNS
            )
        return self._cascaded[root]

    def _check_dag_ids(self) -> None:
        without = {name for name in self.roots if not self._schema.tables[name].has("dag_id")}
        named = sorted(without & set(self._options.tables or ()))
        if named:
            raise MwaaInputError(f"Table {named[0]} has no DAG names. Leave out the table, or dag_ids.")
        self.roots -= without

    def _is_shorter(self, name: str) -> bool:
        return self._options.retention_of(name) < self._options.retention_of(rules.RUNS)

    def _check_retention(self, name: str) -> None:
        if name in self.roots or name in self.parts:
            return
        if name in rules.ALONE and rules.RUNS in self.roots:
            if self._options.retention_of(name) > self._options.retention_of(rules.RUNS):
                raise MwaaInputError(
                    f"retention_by_table: rows of {name} are deleted with their runs, and cannot be kept longer than "
                    f"the retention of dag_run, {self._options.retention_of(rules.RUNS)}."
                )
            if self._is_shorter(name):
                self.parts.append(name)
            return
        if name in rules.ROOTS[rules.RUNS].cascaded:
            raise MwaaInputError(
                f"retention_by_table: rows of {name} are deleted with their runs, and cannot have another retention."
            )
        raise MwaaInputError(f"retention_by_table: {name} is not among the tables to clean. Leave it out.")

    def of_root(self, name: str) -> CleanupUnit:
        """Return the unit of a table whose rows are deleted by their own age."""
        table = self._schema.tables[name]
        self._check_keys(name)
        cutoff = self._now - self._options.retention_of(name)
        parts = [self._part(child, path) for child, path in self.cascaded(name).items()]
        unit = CleanupUnit(
            name=name,
            schema=self._schema,
            root_table=table,
            parts=(*parts, DependentTable(table)),
            cutoff=cutoff,
            old_sql=self._old_sql(name, cutoff),
            undated_sql=self._undated_sql(name),
        )
        return replace(unit, guards=tuple(self._guards(unit)))

    def of_part(self, name: str, runs: CleanupUnit | None) -> CleanupUnit:
        """Return the unit of a table whose rows are deleted by the age of their run, which is kept."""
        cutoff = self._now - self._options.retention_of(name)
        self._check_keys(name)
        known = rules.ROOTS[rules.RUNS].cascaded
        cascaded = dependents(self._schema, rules.RUNS, known, is_kept=True)
        of_name = dependents(self._schema, name, known)
        parts = [self._part(child, path) for child, path in cascaded.items() if child in of_name or child == name]
        unit = CleanupUnit(
            name=name,
            schema=self._schema,
            root_table=self._schema.tables[rules.RUNS],
            parts=tuple(parts),
            cutoff=cutoff,
            old_sql=self._old_sql(rules.RUNS, cutoff),
            without=(runs,) if runs else (),
        )
        return replace(unit, guards=tuple(self._guards(unit)))

    def _check_keys(self, name: str) -> None:
        """Check that rows can be identified: those of the table itself, and, for runs, their tasks."""
        of_runs = (rules.RUNS, TASKS) if name == rules.RUNS or name in rules.ROOTS[rules.RUNS].cascaded else ()
        for needed in dict.fromkeys((name, *of_runs) if name in rules.ROOTS else of_runs):
            if not self._schema.tables[needed].key:
                raise MwaaInputError(
                    f"Table {needed} has no primary key (was it partitioned manually?), so its rows cannot be "
                    f"identified; nothing was deleted. Exclude {name}, or restore the key that Airflow created."
                )

    def _part(self, name: str, path: Path) -> DependentTable:
        table = self._schema.tables[name]
        return DependentTable(table, self._path(path), rules.YOUNG.get(name, ()), _direct(table, path))

    def _path(self, path: Path) -> Path:
        return path.shortened(self._schema) if self._is_for_counting else path

    def _old_sql(self, name: str, cutoff: datetime) -> str:
        table = self._schema.tables[name]
        time = first_time_sql(table, rules.ROOTS[name].time)
        if time is None:
            raise MwaaInputError(
                f"Table {name} has none of the columns that give the age of a row: it is unknown to this version. "
                f"Exclude {name}."
            )
        terms = [f"{time} < {time_literal(cutoff)}", *self._of_dags()]
        if self._options.max_age is not None:
            terms.append(f"{time} >= {time_literal(self._now - self._options.max_age)}")
        return " AND ".join(terms)

    def _undated_sql(self, name: str) -> str:
        """Return the condition for rows without a date; their IDs show whether they are old."""
        if self._options.max_age is not None or not _may_lack_time(self._schema, name):
            return ""
        time = first_time_sql(self._schema.tables[name], rules.ROOTS[name].time)
        return " AND ".join([f"{time} IS NULL", *self._of_dags()])

    def _of_dags(self) -> list[str]:
        ids = self._options.dag_ids
        return [] if ids is None else [f"t.dag_id IN ({', '.join(map(text_literal, ids))})"]

    def _guards(self, unit: CleanupUnit) -> Iterator[RetentionGuard]:
        yield from self._run_guards(unit)
        names = {name: self._schema.qualified(name) for name in self._schema.tables}
        for rule in rules.ROOTS[unit.root_table.name].retention_rules:
            if all(need in self._schema.tables for need in rule.needs):
                query, among = rule.query.format_map(names), rule.among.format_map(names)
                yield RetentionGuard(rule.why, rule.sql, query, rule.is_lack, among=among)
        for part in unit.parts:
            time = part.time_sql("c")
            if part.path is not None and time is not None:
                young = part.rows_sql(self._schema, f"{time} >= {time_literal(unit.cutoff)}")
                yield RetentionGuard(
                    f"a dependent row of {part.table.name} is younger",
                    query=young,
                    is_seen=TASKS in unit.tables,
                )
        if unit.root_table.name != rules.RUNS:
            yield from self._reference_guards(unit)

    def _run_guards(self, unit: CleanupUnit) -> Iterator[RetentionGuard]:
        if unit.root_table.name != rules.RUNS:
            return
        if self._options.own_run is not None:
            dag_id, run_id = map(text_literal, self._options.own_run)
            yield RetentionGuard("the cleanup runs in it", f"t.dag_id = {dag_id} AND t.run_id = {run_id}")
        if self._options.keep_last_run:
            yield RetentionGuard(
                "it is the last run of its DAG, or its last success",
                among=last_runs_sql(self._schema),
                is_precomputed=True,
            )
        yield RetentionGuard(
            "an unfinished run comes after it",
            query=self._runs_after_sql(),
            among=f"{self._runs_before_sql()} UNION ALL {self._runs_before_sql(but_manual=True)}",
        )
        states = ", ".join(f"'{state}'" for state in rules.ACTIVE_TASK_STATES)
        yield RetentionGuard(
            "one of its tasks is still active",
            query=f"SELECT 1 FROM {self._schema.qualified(TASKS)} i WHERE i.dag_id = t.dag_id "
            f"AND i.run_id = t.run_id AND i.state IN ({states})",
            is_seen=TASKS in unit.tables,
        )

    def _runs_before_sql(self, *, but_manual: bool = False) -> str:
        """Return a query for the runs before unfinished ones, which their tasks may wait for (``depends_on_past``)."""
        runs, name = self._schema.qualified(rules.RUNS), self._date_of_runs()
        manual = " AND r.run_type <> 'manual'" if but_manual else ""
        return (
            f"SELECT p.id FROM {runs} u, LATERAL (SELECT r.id FROM {runs} r WHERE r.dag_id = u.dag_id "
            f"AND r.{name} < u.{name}{manual} ORDER BY r.{name} DESC LIMIT 1) p "
            f"WHERE {_unfinished_sql('u')}"
        )

    def _runs_after_sql(self) -> str:
        """Return a query for an unfinished run that looks back to a run.

        That is the next run, or one up to the next that was not triggered manually. It finds the same as
        :meth:`_runs_before_sql`, for one run.
        """
        runs, name = self._schema.qualified(rules.RUNS), self._date_of_runs()
        # Each reads the index on DAG and date no further than it must.
        after = f"FROM {runs} u WHERE u.dag_id = t.dag_id AND u.{name} > t.{name}"
        following = f"SELECT u.state {after} ORDER BY u.{name} LIMIT 1"
        not_manual = f"SELECT u.{name} {after} AND u.run_type <> 'manual' ORDER BY u.{name} LIMIT 1"
        return (
            f"SELECT 1 FROM ({following}) u WHERE {_unfinished_sql('u')} "
            f"UNION ALL SELECT 1 {after} AND t.run_type <> 'manual' "
            f"AND u.{name} <= COALESCE(({not_manual}), 'infinity') AND {_unfinished_sql('u')}"
        )

    def _date_of_runs(self) -> str:
        return quoted(self._schema.tables[rules.RUNS].first_of(("execution_date", "logical_date"))[0])

    def _reference_guards(self, unit: CleanupUnit) -> Iterator[RetentionGuard]:
        """Return guards for rows that other tables refer to, whatever the references do on DELETE.

        They also keep a row if a reference to one of its dependents would be lost.
        """
        root, cascaded = unit.root_table.name, self.cascaded(unit.root_table.name)
        for parent in (root, *cascaded):
            for name, reference in referrers(self._schema, parent):
                if name in unit.tables or (parent != root and reference.on_delete in BINDING_ACTIONS):
                    continue
                rest = cascaded[parent].steps if parent != root else ()
                what = "it" if parent == root else f"its dependent row of {parent}"
                yield RetentionGuard(f"{name} refers to {what}", path=self._path(Path(name, (reference, *rest))))
        for name, column in rules.ROOTS[root].referrers:
            if name in self._schema.tables and self._schema.tables[name].has(column):
                known = Reference((column,), root, (unit.root_table.key[0],), "a")
                yield RetentionGuard(f"{name} refers to it", path=Path(name, (known,)))


def _unfinished_sql(alias: str) -> str:
    finished = ", ".join(map(text_literal, rules.FINISHED_RUN_STATES))
    return f"({alias}.state IS NULL OR {alias}.state NOT IN ({finished}))"


def _direct(table: Table, path: Path) -> Path | None:
    """Return a shorter path from a row to its run than by its task: columns that name the run, if an index has them."""
    if path.steps[-1].table != rules.RUNS or len(path.steps) == 1:
        return None
    for ours, theirs in ((("dag_run_id",), ("id",)), (("dag_id", "run_id"), ("dag_id", "run_id"))):
        if all(map(table.has, ours)) and any(set(index[: len(ours)]) == set(ours) for index in table.indexes):
            return replace(path, steps=(replace(path.steps[-1], columns=ours, foreign_columns=theirs),))
    return None


def _may_lack_time(schema: Schema, name: str) -> bool:
    table = schema.tables[name]
    columns = [table.column(column) for column in table.first_of(rules.ROOTS[name].time)]
    key = [table.column(column) for column in table.key]
    return all(c.is_nullable for c in columns) and len(key) == 1 and key[0].type in {"int2", "int4", "int8"}
