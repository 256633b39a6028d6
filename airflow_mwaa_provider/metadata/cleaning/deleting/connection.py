# SPDX-License-Identifier: Apache-2.0
"""Short transactions that delete: each is kept within its time, or rolled back."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg2

from airflow_mwaa_provider.exceptions import DatabaseRefused, DatabaseUnavailable
from airflow_mwaa_provider.metadata.database import BEGIN, database_errors
from airflow_mwaa_provider.metadata.interruptible import cancel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
    from airflow_mwaa_provider.metadata.database import Database

__all__ = ["CleanupConnection", "Deleted", "ProtectedRowDeleted", "Transaction", "TransactionAborted", "check_writable"]

log = logging.getLogger(__name__)
T = TypeVar("T")

_READ_LOCK_MS = 10_000
_PATIENCE_S, _PAUSE_S = 60.0, 0.5
"""How long to wait for a lost database, and the pause between two tries."""
_NAME = "SET LOCAL application_name TO 'airflow-mwaa cleanup'"
# If a policy would hide rows, such as those that keep others, the query fails.
_ALL_ROWS = "SET LOCAL row_security TO off"
_READING = f"{_NAME}; {_ALL_ROWS}; SET LOCAL TimeZone TO 'UTC'; SET LOCAL standard_conforming_strings TO on"
# Dependents of a few rows are found by index, regardless of the statistics, also in the foreign keys' own queries. If a
# crash of the server undoes the last transactions, the next cleanup repeats them.
_SETTINGS = (
    f"{_NAME}; {_ALL_ROWS}; SET LOCAL TimeZone TO 'UTC'; SET LOCAL DateStyle TO 'ISO, YMD'; "
    "SET LOCAL standard_conforming_strings TO on; "
    "SET LOCAL synchronous_commit TO off; SET LOCAL enable_seqscan TO off; SET LOCAL enable_hashjoin TO off; "
    "SET LOCAL enable_mergejoin TO off; SET LOCAL jit TO off; SET LOCAL max_parallel_workers_per_gather TO 0; "
    "SET LOCAL plan_cache_mode TO force_generic_plan"
)
# Out of time, locked by others, deadlocked, and serialization failures.
_GIVEN_UP = {"57014": "time", "55P03": "lock", "40P01": "lock", "40001": "lock"}


class TransactionAborted(Exception):
    """A transaction was rolled back; one with fewer rows may succeed.

    :param is_locked: because of other sessions, not because it took too long.
    :param why: the reason, if it isn't a lock.
    """

    def __init__(self, *, is_locked: bool, why: str = "") -> None:
        super().__init__(why)
        self.is_locked = is_locked
        self.why = why


class ProtectedRowDeleted(Exception):
    """A transaction had deleted a row that must be kept, and was rolled back."""


@dataclass
class Deleted:
    """What a transaction did.

    :param rows: rows deleted, by table.
    :param seconds: the time that this took, by table.
    :param locked: rows that were skipped because others had locked them.
    :param kept: rows that other rows keep.
    """

    rows: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    transaction_s: float = 0.0
    locked: int = 0
    kept: int = 0

    def add(self, table: str, rows: int, seconds: float) -> None:
        """Count rows deleted from a table."""
        self.rows[table] = self.rows.get(table, 0) + rows
        self.seconds[table] = self.seconds.get(table, 0.0) + seconds

    @property
    def total(self) -> int:
        """Rows deleted, all tables together."""
        return sum(self.rows.values())


class Transaction:
    """One running transaction."""

    def __init__(self, cursor: Any, limit_s: float, began: float, clock: Callable[[], float]) -> None:
        self._cursor = cursor
        self._limit_s = limit_s
        self._began = began
        self._clock = clock
        self.deleted = Deleted()
        self.table: str | None = None

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a query, and return its rows."""
        self._execute(statement)
        found: list[tuple[Any, ...]] = self._cursor.fetchall()
        return found

    def delete(self, table: str, statement: str, cascaded: Sequence[str] = ()) -> list[int]:
        """Run a statement that counts the rows that it deletes, and those among them that must be kept.

        :param cascaded: tables whose rows are deleted with them, and counted after its own.
        :return: the counts of deleted rows.
        :raises ProtectedRowDeleted: a row must be kept.
        """
        began, self.table = self._clock(), table
        [found] = self.rows(statement)
        if any(found[1::2]):
            raise ProtectedRowDeleted
        rows = list(found[::2])
        self.deleted.add(table, rows[0], self._clock() - began)
        for other, count in zip(cascaded, rows[1:], strict=True):
            self.deleted.add(other, count, 0.0)
        return rows

    def look(self, query: str) -> list[tuple[Any, ...]]:
        """Run a fast query with the full time limit, even if the transaction's time is nearly over."""
        self._cursor.execute(f"SET LOCAL statement_timeout TO {max(1, round(self._limit_s * 1000))}; {query}")
        found: list[tuple[Any, ...]] = self._cursor.fetchall()
        return found

    def set(self, settings: str) -> None:
        """Change settings for the rest of this transaction."""
        self._cursor.execute(settings)

    def delete_plain(self, table: str, statement: str) -> None:
        """Run a DELETE."""
        began, self.table = self._clock(), table
        self._execute(statement)
        self.deleted.add(table, self._cursor.rowcount, self._clock() - began)

    def _execute(self, statement: str) -> None:
        left = self._limit_s - (self._clock() - self._began)
        if left <= 0:
            raise TransactionAborted(is_locked=False)
        self._cursor.execute(f"SET LOCAL statement_timeout TO {max(1, round(left * 1000))}; {statement}")


class CleanupConnection:
    """A connection that runs one short transaction after another; a context.

    :param notify: called when the connection was lost.
    :param check: called with each transaction that has deleted something, before the commit; it raises to prevent it.

    ``table`` is the table that the last failed transaction was working on; ``longest_s`` is the time of the longest
    transaction.
    """

    def __init__(
        self,
        database: Database,
        options: CleanupOptions,
        notify: Callable[[str], None] = log.info,
        *,
        check: Callable[[Transaction], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label = database.label
        self._database = database
        self._limit_s = options.max_transaction.total_seconds()
        self._lock_ms = round(options.lock_timeout.total_seconds() * 1000)
        self._ask_timeout = f"SET LOCAL statement_timeout TO {round(options.statement_timeout.total_seconds() * 1000)}"
        self._notify = notify
        self._check = check
        self._clock = clock
        self._connection: Any = None
        self.longest_s = 0.0
        self.table: str | None = None

    def __enter__(self) -> CleanupConnection:
        self._connection = self._database.open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, and roll back what was not committed."""
        if self._connection is not None:
            with suppress(psycopg2.Error):
                self._connection.close()
            self._connection = None

    def cancel(self) -> None:
        """Cancel what the connection is doing, from another thread; do not wait for an answer."""
        if self._connection is not None:
            cancel(self._connection)

    def rows_of(self, read: Callable[[Any], Any], doing: str) -> Any:
        """Call a function with the raw connection, in a read-only transaction."""
        with database_errors(self.label, doing), self._connection.cursor() as cursor:
            cursor.execute(
                f"{BEGIN} READ ONLY; {_NAME}; {self._ask_timeout}; SET LOCAL lock_timeout TO {_READ_LOCK_MS}"
            )
            try:
                return read(self._connection)
            finally:
                with suppress(psycopg2.Error):
                    cursor.execute("ROLLBACK")

    def reopen(self) -> None:
        """Open another connection.

        :raises DatabaseUnavailable: it cannot be opened.
        """
        self.close()
        self._connection = self._database.open()

    def look(self, statement: str, doing: str) -> list[tuple[Any, ...]]:
        """Run a fast query by an index, in a transaction of its own, without locks."""
        return self._query(f"{_SETTINGS}; {self._ask_timeout}", statement, doing)

    def ask(self, statement: str, doing: str) -> list[tuple[Any, ...]]:
        """Run a query that may read a lot, without locks."""
        return self._query(f"{_READING}; {self._ask_timeout}", statement, doing)

    def _query(self, settings: str, statement: str, doing: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.with_reconnect(lambda: self._once(settings, statement, doing))
        return found

    def _once(self, settings: str, statement: str, doing: str) -> list[tuple[Any, ...]]:
        with database_errors(self.label, doing), self._connection.cursor() as cursor:
            try:
                # One after the other: the settings decide how the statement is parsed.
                cursor.execute(f"{BEGIN} READ ONLY; SET LOCAL lock_timeout TO {_READ_LOCK_MS}; {settings}")
                cursor.execute(statement)
                found: list[tuple[Any, ...]] = cursor.fetchall()
            except psycopg2.Error:
                with suppress(psycopg2.Error):
                    cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")
        return found

    def with_reconnect(self, work: Callable[[], T]) -> T:
        """Run some work, again if the connection is lost: work that was not committed is undone, so this is safe.

        :raises DatabaseUnavailable: the database was unavailable for longer than a minute.
        """
        deadline: float | None = None
        while True:
            try:
                if deadline is not None:
                    self.reopen()
                return work()
            except DatabaseUnavailable as error:
                if not error.transient:
                    raise
                now = self._clock()
                if deadline is None:
                    deadline = now + _PATIENCE_S
                    self._notify(f"The connection was lost; reconnecting: {error}")
                if now >= deadline:
                    raise
                time.sleep(_PAUSE_S)

    @contextmanager
    def transaction(self, doing: str) -> Iterator[Transaction]:
        """Run a transaction, and roll it back if the body raises.

        If it has deleted something, the connection's check runs before the commit, and may raise any error.

        :raises TransactionAborted: it took too long, or waited for a lock.
        :raises DatabaseRefused: the server rejected something else.
        :raises DatabaseUnavailable: the connection was lost; the transaction may or may not be committed.
        """
        began = self._clock()
        with database_errors(self.label, doing), self._connection.cursor() as cursor:
            transaction = Transaction(cursor, self._limit_s, began, self._clock)
            self.table = None
            try:
                cursor.execute(f"{BEGIN}; {_SETTINGS}; SET LOCAL lock_timeout TO {self._lock_ms}")
                try:
                    yield transaction
                except ProtectedRowDeleted:
                    # The cause may be a foreign key that was unknown.
                    if self._check is not None:
                        self._check(transaction)
                    raise
                if self._check is not None and transaction.deleted.total:
                    self._check(transaction)
                cursor.execute("COMMIT")
            except BaseException as error:
                with suppress(psycopg2.Error):
                    cursor.execute("ROLLBACK")
                self._note(began)
                self.table = transaction.table
                how = _GIVEN_UP.get(getattr(error, "pgcode", None) or "")
                if how is not None:
                    raise TransactionAborted(is_locked=how == "lock") from error
                raise
        transaction.deleted.transaction_s = self._note(began)

    def _note(self, began: float) -> float:
        seconds = self._clock() - began
        self.longest_s = max(self.longest_s, seconds)
        return seconds


def check_writable(connection: Any, tables: list[str], label: str) -> None:
    """Check, before the first deletion, that the user may delete rows of these tables.

    :raises DatabaseRefused: they may not.
    """
    with database_errors(label, "checking the privileges of its user"), connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user, pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on', "
            "array(SELECT name FROM unnest(%s) AS u(name) WHERE NOT has_table_privilege(name, 'SELECT') "
            "OR NOT has_table_privilege(name, 'UPDATE') OR NOT has_table_privilege(name, 'DELETE'))",
            (tables,),
        )
        user, is_replica, is_read_only, missing = cursor.fetchone()
    if is_replica or is_read_only:
        what = "is a read replica" if is_replica else f"is read-only for user {user}"
        raise DatabaseRefused(
            f"{label} {what}, so nothing can be deleted. Use the address of the writer, and a user who may write."
        )
    if missing:
        names = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise DatabaseRefused(
            f"{label}: its user {user} may not SELECT, UPDATE and DELETE {names}; nothing was deleted. GRANT these "
            "privileges, or exclude the tables."
        )
