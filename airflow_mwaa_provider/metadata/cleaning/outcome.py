# SPDX-License-Identifier: Apache-2.0
"""The plan and the outcome of a cleanup, table by table; the same for every route."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from datetime import datetime, timedelta

__all__ = ["Outcome", "Plan", "Progress", "RetainedRows", "TableOutcome", "TablePlan"]


class Progress(Protocol):
    """A callback for the progress of a cleanup or a restore; called often, from one thread."""

    def __call__(self, table: str, rows: int, of_rows: int | None, /) -> None:
        """Receive how many rows of a table are done, and of how many; ``None`` if that is unknown."""


@dataclass(frozen=True)
class RetainedRows:
    """Rows that are old enough, and are kept.

    :param why: a clause: ``it is the last run of its DAG``.
    :param rows: how many; ``None`` if they were not counted.
    """

    table: str
    why: str
    rows: int | None = None


@dataclass(frozen=True)
class TablePlan:
    """The rows of one table that would be deleted.

    :param root: the table whose rows they are deleted with, or the table itself.
    :param rows: how many.
    :param bytes: their size on disk, indexes included, estimated from the size of the table.
    :param of_rows: PostgreSQL's estimate of all rows of the table.
    :param older_than: the cutoff: rows that ended before it are deleted.
    """

    table: str
    root: str
    rows: int
    bytes: int
    of_rows: int | None
    older_than: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return it in JSON's own types."""
        return {**asdict(self), "older_than": self.older_than.isoformat()}


@dataclass(frozen=True)
class Plan:
    """What a cleanup would delete.

    :param tables: in the order of deletion, children before their parents.
    :param seconds: about how long it would take.
    :param advice: what else to do, a sentence each.
    :param source: the database and its host, or the environment; never with a password.
    """

    tables: tuple[TablePlan, ...]
    kept: tuple[RetainedRows, ...]
    advice: tuple[str, ...]
    seconds: float
    now: datetime
    route: str = "database"
    airflow_version: str | None = None
    source: str = field(default="", compare=False)

    @property
    def older_than(self) -> datetime | None:
        """The cutoff before which rows are deleted; the latest, if tables have different ones."""
        return max((table.older_than for table in self.tables), default=None)

    @property
    def rows(self) -> int:
        """How many rows would be deleted, all tables together."""
        return sum(table.rows for table in self.tables)

    @property
    def bytes(self) -> int:
        """The size of these rows on disk."""
        return sum(table.bytes for table in self.tables)

    def document(self) -> dict[str, Any]:
        """Return the plan in JSON's own types."""
        return {
            "route": self.route,
            "source": self.source,
            "airflow_version": self.airflow_version,
            "now": self.now.isoformat(),
            "rows": self.rows,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 1),
            "tables": {table.table: table.to_dict() for table in self.tables},
            "kept": [asdict(kept) for kept in self.kept],
            "advice": list(self.advice),
        }

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return the plan in the form of an outcome that has deleted nothing."""
        return {table.table: TableOutcome(matched=table.rows).to_dict() for table in self.tables}


@dataclass
class TableOutcome:
    """What happened to one table.

    :param matched: rows to delete.
    :param deleted: rows deleted.
    :param batches: transactions that deleted some of them.
    :param seconds: the time that this took.
    :param longest_transaction_s: the longest of these transactions, including what they deleted from other tables.
    :param failure: why the rest was not deleted, if something failed; one line.
    """

    matched: int = 0
    deleted: int = 0
    batches: int = 0
    seconds: float = 0.0
    longest_transaction_s: float = 0.0
    failure: str | None = None

    def add(self, rows: int, seconds: float, transaction_s: float) -> None:
        """Count a transaction that deleted rows of the table."""
        self.deleted += rows
        self.batches += 1
        self.seconds += seconds
        self.longest_transaction_s = max(self.longest_transaction_s, transaction_s)

    def to_dict(self) -> dict[str, Any]:
        """Return it in JSON's own types; ``failure`` only if it failed."""
        found = asdict(self)
        for name in ("seconds", "longest_transaction_s"):
            found[name] = round(found[name], 3)
        if self.failure is None:
            del found["failure"]
        return found


@dataclass
class Outcome:
    """What a cleanup has done.

    :param tables: in the order of the plan.
    :param is_complete: whether all rows to delete were deleted.
    :param skipped: why not, a sentence each: rows were locked, the time was over.
    :param paused_s: how long the cleanup paused because the environment was under load.
    :param paused_why: the reasons, and how many seconds for each.
    :param archive: the manifest of the archive that has the deleted rows, ``s3://BUCKET/KEY``.
    :param timed_out: the sentence of ``skipped`` for an exceeded ``max_duration``; ``None`` if it was not exceeded.
    """

    tables: dict[str, TableOutcome] = field(default_factory=dict)
    route: str = "database"
    is_complete: bool = True
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0
    paused_s: float = 0.0
    paused_why: dict[str, float] = field(default_factory=dict)
    longest_transaction_s: float = 0.0
    archive: str | None = None
    timed_out: str | None = field(default=None, compare=False)

    def table(self, name: str) -> TableOutcome:
        """Return the outcome of a table, a new one if it has none."""
        return self.tables.setdefault(name, TableOutcome())

    @property
    def deleted(self) -> int:
        """How many rows were deleted, all tables together."""
        return sum(table.deleted for table in self.tables.values())

    def pause(self, why: str, seconds: float) -> None:
        """Count a pause."""
        self.paused_s += seconds
        self.paused_why[why] = self.paused_why.get(why, 0.0) + seconds

    @property
    def left(self) -> list[str]:
        """Deprecated name of :attr:`skipped`."""
        warnings.warn("Outcome.left is called skipped: use that name.", DeprecationWarning, stacklevel=2)
        return self.skipped

    @property
    def failures(self) -> dict[str, str]:
        """Why these tables failed, by name."""
        return {name: table.failure for name, table in self.tables.items() if table.failure is not None}

    def record_skipped(self, why: str) -> None:
        """Record why some rows to delete were not deleted."""
        self.is_complete = False
        if why not in self.skipped:
            self.skipped.append(why)

    def time_out(self, limit: timedelta | None, on_timeout: str = "the next cleanup continues here") -> None:
        """Record that ``max_duration`` was over."""
        self.timed_out = f"max_duration of {limit} was over: {on_timeout}"
        self.record_skipped(self.timed_out)

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return what happened to each table, in JSON's own types."""
        return {name: table.to_dict() for name, table in self.tables.items()}

    def document(self) -> dict[str, Any]:
        """Return the outcome in JSON's own types."""
        return {
            "route": self.route,
            "is_complete": self.is_complete,
            "deleted": self.deleted,
            "seconds": round(self.seconds, 3),
            "paused_s": round(self.paused_s, 3),
            "paused_why": {why: round(seconds, 3) for why, seconds in self.paused_why.items()},
            "longest_transaction_s": round(self.longest_transaction_s, 3),
            "left": self.skipped,
            "archive": self.archive,
            "tables": self.summary(),
        }


def __getattr__(name: str) -> Any:
    """Return what a deprecated name stands for."""
    if name == "Kept":
        warnings.warn("Kept is called RetainedRows: use that name.", DeprecationWarning, stacklevel=2)
        return RetainedRows
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
