# SPDX-License-Identifier: Apache-2.0
"""Which rows go with which: the references between tables, as the database's own catalog has them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.catalog.schema import quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from airflow_mwaa_provider.metadata.catalog.schema import Reference, Schema

__all__ = ["CASCADE", "TAKES_ALONG", "Join", "Path", "ancestry", "dependents", "referrers"]

CASCADE = "c"
TAKES_ALONG = f"{CASCADE}ar"
"""What ``ON DELETE`` says where a row cannot outlive the other: cascade, no action, restrict."""


class Join(NamedTuple):
    """A table to join, under its alias, and on which condition."""

    source: str
    condition: str

    def __str__(self) -> str:
        return f"JOIN {self.source} ON {self.condition}"


@dataclass(frozen=True)
class Path:
    """How a row of a table leads to the row that it goes with: reference by reference.

    :param table: where it begins.
    :param steps: each leads from the table before to ``step.table``.
    """

    table: str
    steps: tuple[Reference, ...] = ()

    @property
    def first_columns(self) -> tuple[str, ...]:
        """Columns of the last table that the path arrives at."""
        return self.steps[-1].foreign_columns

    def shortened(self, schema: Schema) -> Path:
        """Return a path that leads to the same row over fewer tables.

        A table is left out where the columns that lead on from it are those by which it is referred to: rows have
        their values already. That is quicker to join for all rows at once; for single ones it may lack an index.
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
        """Write it as SQL: the tables on the way, and what of the last of them equals which column of the end.

        :return: tables to join, from the beginning on; and pairs of an expression and a column of the table at the end.
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
    """Return a reference that does what two in a row do; ``None`` where the first lacks what the second needs."""
    own = schema.tables.get(table)
    if own is None or not set(second.columns) <= set(first.foreign_columns):
        return None
    # A reference with a NULL in it refers to nothing, although its other columns may name a row.
    if any(own.column(name).is_nullable for name in first.columns):
        return None
    ours = dict(zip(first.foreign_columns, first.columns, strict=True))
    return replace(second, columns=tuple(ours[name] for name in second.columns))


def referrers(schema: Schema, table: str) -> Iterator[tuple[str, Reference]]:
    """Return every reference to a table, with the table that has it, of any schema; one that is declared twice once."""
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
    """Find all tables whose rows are deleted with a row of ``root``, children before what they refer to.

    :param known: names of tables whose rows may be deleted along.
    :param forgotten_by: tables and columns that may lose what they refer to (``ON DELETE SET NULL``).
    :param is_guarded: whether rows of ``root`` that something else refers to are kept, itself or what is deleted along:
        then what refers to ``root``, and columns that would lose what they refer to, need not be known.
    :param is_kept: whether rows of ``root`` are not deleted, so that what isn't known can be passed over.
    :return: each with its shortest path to ``root``, which itself is not in it.
    :raises MwaaInputError: a table that isn't known would lose rows or references, or keep others from being deleted.
    """
    paths: dict[str, Path] = {}
    level = [root]
    while level:
        following = []
        for parent in level:
            for name, reference in referrers(schema, parent):
                if reference.on_delete not in TAKES_ALONG:
                    if not (is_guarded or is_kept) and (name, *reference.columns) not in forgotten_by:
                        raise _unknown(name, parent, root, f"its {' and '.join(reference.columns)} would be emptied")
                    continue
                if name in paths or name == root:
                    continue
                if name not in known:
                    if is_kept or (parent == root and is_guarded):
                        continue
                    what = f"rows of it would be deleted along, or keep {parent}'s from being deleted"
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
        f"Table {name} refers to {parent}, and isn't known here: {what}. Nothing was deleted. Exclude {root}, or drop "
        "that reference, or install an airflow-mwaa-provider that knows the table."
    )


def ancestry(schema: Schema, names: Collection[str]) -> list[str]:
    """Sort tables so that each comes after those that it refers to."""
    order: list[str] = []
    for name in names:
        _visit(schema, name, names, order)
    return order[::-1]


def _visit(schema: Schema, name: str, among: Collection[str], order: list[str]) -> None:
    """Append a table after all among them that refer to it."""
    if name in order:
        return
    for child, _ in referrers(schema, name):
        if child in among and child != name:
            _visit(schema, child, among, order)
    if name not in order:
        order.append(name)
