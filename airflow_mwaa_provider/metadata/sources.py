# SPDX-License-Identifier: Apache-2.0
"""The metadata database as the source of an export's rows."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import DatabaseUnavailable
from airflow_mwaa_provider.metadata.catalog.schema import Schema, read_schema
from airflow_mwaa_provider.metadata.catalog.snapshot import Snapshot
from airflow_mwaa_provider.metadata.catalog.witnesses import find_contradiction, read_witnesses
from airflow_mwaa_provider.metadata.database import Database, ask_if_it_can, database_errors
from airflow_mwaa_provider.metadata.export.copy import Chunk, copied
from airflow_mwaa_provider.metadata.export.formats import value_writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from airflow_mwaa_provider.metadata.catalog.selection import TableRows
    from airflow_mwaa_provider.metadata.catalog.witnesses import TableWitness
    from airflow_mwaa_provider.metadata.export.formats import FileFormat

__all__ = ["DatabaseSource"]

# A row's updated_at is set by the clock of the worker that wrote it, and becomes visible when the worker commits.
_CLOCKS_DIFFER = timedelta(seconds=60)


class DatabaseSource:
    """All tables of a database in one snapshot; a context.

    :param airflow_version: of the environment, if the caller knows it.
    """

    route = "database"

    def __init__(
        self,
        database: Database,
        *,
        statement_timeout_s: float = 3600.0,
        route: str = "database",
        airflow_version: str | None = None,
    ) -> None:
        self.route = route
        self.airflow_version = airflow_version
        self._database = database
        self._statement_timeout_s = statement_timeout_s
        self._stack = ExitStack()
        self._connection: Any = None
        self._schema: Schema | None = None
        self._now: datetime | None = None
        self._is_standby = False
        self._replayed: datetime | None = None
        self._snapshot: Snapshot | None = None

    def __enter__(self) -> DatabaseSource:
        snapshot = self._database.snapshot(statement_timeout_s=self._statement_timeout_s)
        self._connection = self._stack.enter_context(snapshot)
        try:
            with self.errors("reading its tables"):
                self._schema = read_schema(self._connection)
                self._now, self._is_standby = self._ask_row("SELECT now(), pg_is_in_recovery()")
                if self._is_standby:
                    (self._replayed,) = ask_if_it_can(self._connection, _REPLAYED) or (None,)
                self._snapshot = self._see()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def schema(self) -> Schema:
        """The tables of the database."""
        assert self._schema is not None
        return self._schema

    @property
    def now(self) -> datetime:
        """When the snapshot was taken, by the server's clock; for a standby, the time of what it replayed last."""
        assert self._now is not None
        return self._now if self._replayed is None else min(self._now, self._replayed)

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot as transactions."""
        assert self._snapshot is not None
        return self._snapshot

    @property
    def connection(self) -> Any:
        """The psycopg2 connection of the snapshot."""
        return self._connection

    def witnesses(self) -> tuple[TableWitness, ...]:
        """Return evidence of the database's state, which a later export compares."""
        with self.errors("looking at its newest rows"):
            return read_witnesses(self._connection, self.schema)

    def find_contradiction(self, witnesses: Sequence[TableWitness]) -> str | None:
        """Return a description of what shows that the database has been restored since; ``None`` if nothing does."""
        with self.errors("looking for what was exported"):
            return find_contradiction(self._connection, self.schema, witnesses)

    def errors(self, doing: str) -> AbstractContextManager[None]:
        """Return a context that turns psycopg2's errors into ours, which name what was being done."""
        return database_errors(self._database.label, doing)

    def horizon(self) -> datetime:
        """Return the time up to which the tables are practically complete: no current writer began before it.

        Rows of writers that this user cannot see, such as all writers of a standby's primary, may arrive late.
        """
        with self.errors("asking who writes"):
            oldest: datetime | None = self._ask(_WRITERS)
        return (self.now if oldest is None else min(self.now, oldest)) - _CLOCKS_DIFFER

    def check_until(self, until: datetime) -> None:
        """Check that a standby has replayed what was written before a time.

        :raises DatabaseUnavailable: it may not have; ``transient`` if it reports how far it is.
        """
        if not self._is_standby:
            return
        if self._replayed is None:
            raise DatabaseUnavailable(
                f"{self._database.label} is a standby that does not report up to when it has replayed, and rows before "
                f"until={until.isoformat()} may be missing. Export from the primary, or leave out until."
            )
        # Writers date their rows by their own clocks, and some time before they commit.
        replayed = self._replayed - _CLOCKS_DIFFER
        if until > replayed:
            raise DatabaseUnavailable(
                f"{self._database.label} is a standby that has replayed until {replayed.astimezone(UTC).isoformat()}, "
                f"and rows before until={until.isoformat()} may be missing. Wait until it has caught up, or export "
                "from the primary.",
                transient=True,
            )

    def limit(self, seconds: float) -> None:
        """Limit the time of each statement from now on."""
        with self.connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout TO %s", (f"{max(1, round(seconds * 1000))}",))

    def lock_one_of(self, key: int, count: int) -> bool:
        """Acquire one of ``count`` locks of all processes, until the snapshot ends; ``False`` if none is free."""
        with self.errors("asking who else exports"):
            return any(self._ask(f"SELECT pg_try_advisory_xact_lock({int(key)}, {number})") for number in range(count))

    @contextmanager
    def chunks(self, rows: TableRows, form: FileFormat, partition_sql: str | None) -> Iterator[Iterator[Chunk]]:
        """Read the rows of a table."""
        query = rows.select(value_writer(form), first=partition_sql)
        with (
            self.errors(f"reading table {rows.name}"),
            copied(self._connection, query, is_partitioned=partition_sql is not None) as chunks,
        ):
            yield chunks

    def _see(self) -> Snapshot:
        server = ask_if_it_can(self._connection, _SERVER) or ()
        database, oldest = self._ask_row(_TRANSACTIONS)
        return Snapshot(".".join(str(part) for part in (*server, database, self.schema.revision)), int(oldest))

    def _ask(self, query: str) -> Any:
        return self._ask_row(query)[0]

    def _ask_row(self, query: str) -> Any:
        with self._connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()


_REPLAYED = "SELECT pg_last_xact_replay_timestamp()"
# A user who may not see the statistics of others reads NULL here.
_WRITERS = """
SELECT min(xact_start) FILTER (WHERE backend_xid IS NOT NULL)
FROM pg_stat_activity WHERE datname = current_database()
"""
# A server that was restored to an earlier time continues in another timeline, and reuses transaction numbers.
_SERVER = "SELECT s.system_identifier, c.timeline_id FROM pg_control_system() s, pg_control_checkpoint() c"
_TRANSACTIONS = """
SELECT oid, txid_snapshot_xmin(txid_current_snapshot()) FROM pg_database WHERE datname = current_database()
"""
