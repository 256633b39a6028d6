# SPDX-License-Identifier: Apache-2.0
"""Which rows depend on which: the references between tables, from the database's own catalog."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.catalog.schema import quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from airflow_mwaa_provider.metadata.catalog.schema import Reference, Schema

__all__ = ["BINDING_ACTIONS", "CASCADE", "Join", "Path", "ancestry", "dependents", "referrers"]

CASCADE = "c"
BINDING_ACTIONS = f"{CASCADE}ar"
"""The ``ON DELETE`` actions with which a row cannot outlive the other: cascade, no action, restrict."""


class Join(NamedTuple):
    """A table to join, with its alias, and the condition."""

    source: str
    condition: str

    def __str__(self) -> str:
        return f"JOIN {self.source} ON {self.condition}"


@dataclass(frozen=True)
class Path:
    """How a row of a table refers to the row that it depends on, reference by reference.

    :param table: the first table.
    :param steps: each leads from the table before to ``step.table``.
    """

    table: str
    steps: tuple[Reference, ...] = ()

    @property
    def first_columns(self) -> tuple[str, ...]:
        """Columns of the table at the end to which the last reference leads."""
        return self.steps[-1].foreign_columns

    def shortened(self, schema: Schema) -> Path:
        """Return a path to the same row over fewer tables.

        A table is skipped if the columns that lead on from it are those by which it is referred to: the rows already
        have their values. This is faster to join for all rows at once; for single rows it may lack an index.
        """
        steps: list[Reference] = []
        here = self.table
        for step in self.steps:
            if steps and (merged := _merged(schema, here, steps[-1], step)):
                steps[-1] = merged
            else:
                here = steps[-1].table if steps else self.table
                steps.append(step)
        return Path(self.table, tuple(steps))

    def joins(self, schema: Schema, alias: str = "t") -> tuple[list[Join], list[tuple[str, str]]]:
        """Return the SQL of the path: the tables on the way, and the condition at the end.

        :return: tables to join, in their order; and pairs of an expression and the column of the last table that it
            equals.
        """
        between: list[Join] = []
        here = alias
        for number, step in enumerate(self.steps[:-1]):
            there = f"{alias}{number + 1}"
            same = " AND ".join(
                f"{here}.{quoted(ours)} = {there}.{quoted(theirs)}"
                for ours, theirs in zip(step.columns, step.foreign_columns, strict=True)
            )
            between.append(Join(f"{schema.qualified(step.table)} {there}", same))
            here = there
        last = self.steps[-1]
        ends = [
            (f"{here}.{quoted(ours)}", theirs) for ours, theirs in zip(last.columns, last.foreign_columns, strict=True)
        ]
        return between, ends


def _merged(schema: Schema, table: str, first: Reference, second: Reference) -> Reference | None:
    """Return one reference that replaces two in a row; ``None`` if the first lacks columns that the second needs."""
    own = schema.tables.get(table)
    if own is None or not set(second.columns) <= set(first.foreign_columns):
        return None
    # A reference with a NULL refers to nothing, even if its other columns name a row.
    if any(own.column(name).is_nullable for name in first.columns):
        return None
    ours = dict(zip(first.foreign_columns, first.columns, strict=True))
    return replace(second, columns=tuple(ours[name] for name in second.columns))


def referrers(schema: Schema, table: str) -> Iterator[tuple[str, Reference]]:
    """Return every reference to a table from any schema, with its table; one that is declared twice only once."""
    seen = set()
    inside = ((name, table.references) for name, table in schema.tables.items())
    outside = ((name, table.references) for name, table in schema.outside.items())
    for name, references in (*inside, *outside):
        for reference in references:
            if reference.table == table and (name, reference) not in seen:
                seen.add((name, reference))
                yield name, reference


def dependents(
    schema: Schema,
    root: str,
    known: Collection[str],
    *,
    forgotten_by: Collection[tuple[str, str]] = (),
    is_guarded: bool = False,
    is_kept: bool = False,
) -> dict[str, Path]:
    """Find all tables whose rows are deleted with a row of ``root``, children before their parents.

    :param known: names of tables whose rows may be deleted with it.
    :param forgotten_by: tables and columns whose references may be set to NULL (``ON DELETE SET NULL``).
    :param is_guarded: whether a row of ``root`` is kept if another table refers to it or to its dependents. Then tables
        that refer to ``root``, and references that would be set to NULL, need not be known.
    :param is_kept: whether rows of ``root`` are not deleted, so that unknown tables can be skipped.
    :return: each table, without ``root``, with its shortest path to ``root``.
    :raises MwaaInputError: an unknown table would lose rows or references, or would prevent the deletion.
    """
    paths: dict[str, Path] = {}
    level = [root]
    while level:
        following = []
        for parent in level:
            for name, reference in referrers(schema, parent):
                if reference.on_delete not in BINDING_ACTIONS:
                    if not (is_guarded or is_kept) and (name, *reference.columns) not in forgotten_by:
                        raise _unknown(
                            name, parent, root, f"its {' and '.join(reference.columns)} would be set to NULL"
                        )
                    continue
                if name in paths or name == root:
                    continue
                if name not in known:
                    if is_kept or (parent == root and is_guarded):
                        continue
                    what = f"its rows would be deleted too, or would prevent the deletion of those of {parent}"
                    raise _unknown(name, parent, root, what)
                steps = (reference, *(paths[parent].steps if parent != root else ()))
                paths[name] = Path(name, steps)
                following.append(name)
        level = following
    order: list[str] = []
    for name in paths:
        _visit(schema, name, paths, order)
    return {name: paths[name] for name in order}


def _unknown(name: str, parent: str, root: str, what: str) -> MwaaInputError:
    return MwaaInputError(
        f"Table {name} refers to {parent}, and is unknown to this version: {what}. Nothing was deleted. Exclude "
        f"{root}, or drop that reference, or install an airflow-mwaa-provider that supports the table."
    )


def ancestry(schema: Schema, names: Collection[str]) -> list[str]:
    """Return the tables in an order in which each comes after those that it refers to."""
    order: list[str] = []
    for name in names:
        _visit(schema, name, names, order)
    return order[::-1]


def _visit(schema: Schema, name: str, among: Collection[str], order: list[str]) -> None:
    """Append a table after all tables among them that refer to it."""
    if name in order:
        return
    for child, _ in referrers(schema, name):
        if child in among and child != name:
            _visit(schema, child, among, order)
    if name not in order:
        order.append(name)
