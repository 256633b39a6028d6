# SPDX-License-Identifier: Apache-2.0
"""Which rows go with which: the references between tables, as the database's own catalog has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.schema import quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from airflow_mwaa_provider.metadata.schema import Reference, Schema

__all__ = ["CASCADE", "TAKES_ALONG", "Path", "ancestry", "dependents", "referrers"]

CASCADE = "c"
TAKES_ALONG = f"{CASCADE}ar"
"""What ``ON DELETE`` says where a row cannot outlive the other: cascade, no action, restrict."""


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

    def joins(self, schema: Schema, alias: str = "t") -> tuple[list[str], list[tuple[str, str]]]:
        """Write it as SQL: the tables on the way, and what of the last of them equals which column of the end.

        :return: items of FROM, in the order from the end to the beginning, each with its condition; and pairs of an
            expression and a column of the table at the end.
        """
        between: list[str] = []
        here = alias
        for number, step in enumerate(self.steps[:-1]):
            there = f"{alias}{number + 1}"
            same = " AND ".join(
                f"{here}.{quoted(ours)} = {there}.{quoted(theirs)}"
                for ours, theirs in zip(step.columns, step.foreign_columns, strict=True)
            )
            between.append(f"JOIN {schema.qualified(step.table)} {there} ON {same}")
            here = there
        last = self.steps[-1]
        ends = [
            (f"{here}.{quoted(ours)}", theirs) for ours, theirs in zip(last.columns, last.foreign_columns, strict=True)
        ]
        return between, ends


def referrers(schema: Schema, table: str) -> Iterator[tuple[str, Reference]]:
    """Give every reference to a table, with the table that has it; one that is declared twice once."""
    seen = set()
    for name, found in schema.tables.items():
        for reference in found.references:
            if reference.table == table and (name, reference) not in seen:
                seen.add((name, reference))
                yield name, reference


def dependents(schema: Schema, root: str, known: Collection[str], *, is_guarded: bool = False) -> dict[str, Path]:
    """Find all tables whose rows go when a row of ``root`` goes, children before what they refer to.

    :param known: names of tables that may go along.
    :param is_guarded: whether rows of ``root`` that other tables refer to stay, so that these need not be known.
    :return: each with its shortest path to ``root``, which itself is not in it.
    :raises MwaaInputError: a table that isn't known would lose rows, or keep others from going.
    """
    paths: dict[str, Path] = {}
    level = [root]
    while level:
        following = []
        for parent in level:
            for name, reference in referrers(schema, parent):
                if reference.on_delete not in TAKES_ALONG or name in paths or name == root:
                    continue
                if name not in known and parent == root and is_guarded:
                    continue
                if name not in known:
                    raise MwaaInputError(
                        f"Table {name} refers to {parent}, and isn't known here: rows of it would be deleted along, or "
                        f"keep {parent}'s from being deleted. Exclude {root}, or install a newer "
                        "airflow-mwaa-provider that knows it."
                    )
                steps = (reference, *(paths[parent].steps if parent != root else ()))
                paths[name] = Path(name, steps)
                following.append(name)
        level = following
    order: list[str] = []
    for name in paths:
        _visit(schema, name, paths, order)
    return {name: paths[name] for name in order}


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
