# SPDX-License-Identifier: Apache-2.0
"""What a cleanup plans and what it has done, table by table; the same for every route."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from datetime import datetime, timedelta

__all__ = ["Outcome", "Plan", "Progress", "RetainedRows", "TableOutcome", "TablePlan"]


class Progress(Protocol):
    """Is told how far a cleanup or a restore is; called often, from one thread."""

    def __call__(self, table: str, rows: int, of_rows: int | None, /) -> None:
        """Take the rows of a table that are done, and how many there are in all; ``None`` where that is unknown."""


@dataclass(frozen=True)
class RetainedRows:
    """Rows that are old enough, and stay.

    :param why: a clause: ``it is the last run of its DAG``.
    :param rows: how many; ``None`` where that isn't counted.
    """

    table: str
    why: str
    rows: int | None = None


@dataclass(frozen=True)
class TablePlan:
    """What is to go of one table.

    :param root: the table whose rows it goes with, or itself.
    :param rows: how many are to go.
    :param bytes: what they take on disk, indexes included, as far as can be told from the size of all.
    :param of_rows: PostgreSQL's estimate of how many there are.
    :param older_than: what ended before this goes.
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
    """What a cleanup would delete, in the order in which it would.

    :param tables: children before what they refer to.
    :param seconds: about how long it would take.
    :param advice: what else is worth doing, a sentence each.
    :param source: whose metadata they are: a database and its host, or an environment; never with a password.
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
        """The moment before which things are deleted; the latest, where tables have several."""
        return max((table.older_than for table in self.tables), default=None)

    @property
    def rows(self) -> int:
        """Rows to go, of all tables."""
        return sum(table.rows for table in self.tables)

    @property
    def bytes(self) -> int:
        """What they take."""
        return sum(table.bytes for table in self.tables)

    def document(self) -> dict[str, Any]:
        """Give it in JSON's own types."""
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
        """Give it as a cleanup that has deleted nothing."""
        return {table.table: TableOutcome(matched=table.rows).to_dict() for table in self.tables}


@dataclass
class TableOutcome:
    """What happened to one table.

    :param matched: rows that were to go.
    :param deleted: rows that are gone.
    :param batches: transactions that deleted some of them.
    :param seconds: time that deleting them took.
    :param longest_transaction_s: of those transactions, whatever else they deleted.
    :param failure: why the rest of them stayed, if something went wrong; one line.
    """

    matched: int = 0
    deleted: int = 0
    batches: int = 0
    seconds: float = 0.0
    longest_transaction_s: float = 0.0
    failure: str | None = None

    def add(self, rows: int, seconds: float, transaction_s: float) -> None:
        """Count a transaction that deleted rows of it."""
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
    :param is_complete: whether all that was to go is gone.
    :param skipped: why not, a sentence each: rows that were locked, the time that was up.
    :param paused_s: how long it has paused, because the environment suffered.
    :param paused_why: for what, and how many seconds for each.
    :param archive: where the rows that went are, ``s3://BUCKET/KEY`` of a manifest.
    :param timed_out: that sentence of ``left`` which says that ``max_duration`` was over; ``None`` if it was not.
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
        """Give a table's part, begun where there is none yet."""
        return self.tables.setdefault(name, TableOutcome())

    @property
    def deleted(self) -> int:
        """Rows that are gone, of all tables."""
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
        """Why rows of these tables stayed."""
        return {name: table.failure for name, table in self.tables.items() if table.failure is not None}

    def record_skipped(self, why: str) -> None:
        """Say why something that was to go is still there."""
        self.is_complete = False
        if why not in self.skipped:
            self.skipped.append(why)

    def time_out(self, limit: timedelta | None, goes_on: str = "the next cleanup goes on here") -> None:
        """Record that ``max_duration`` was over."""
        self.timed_out = f"max_duration of {limit} was over: {goes_on}"
        self.record_skipped(self.timed_out)

    def summary(self) -> dict[str, dict[str, Any]]:
        """Give what happened to each table, in JSON's own types."""
        return {name: table.to_dict() for name, table in self.tables.items()}

    def document(self) -> dict[str, Any]:
        """Give all of it in JSON's own types."""
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
