# SPDX-License-Identifier: Apache-2.0
"""The options of a cleanup, checked before any query is run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.s3_uri import S3Uri

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["MAX_TIMEOUT", "MAX_WORKERS", "CleanupOptions", "check_wait_timeout", "read_place"]

MIN_RETENTION = timedelta(days=1)
MIN_TRANSACTION = timedelta(milliseconds=50)
MAX_WORKERS = 8
MAX_PAUSE = timedelta(hours=1)
MAX_AGE = timedelta(days=36_500)
MIN_TIMEOUT, MAX_TIMEOUT = timedelta(milliseconds=1), timedelta(days=24)
"""PostgreSQL counts milliseconds in 31 bits, and takes 0 for no limit."""


@dataclass(frozen=True)
class CleanupOptions:
    """Which rows a cleanup deletes, and how gently.

    :param retention: how long ago a row must have ended to be deleted; at least a day, unless ``force``.
    :param tables: what to clean, by table: ``dag_run`` includes everything that depends on a run; one of its dependents
        (``xcom``) only its own rows of finished runs. ``None``: every table that grows.
    :param exclude: tables to skip.
    :param retention_by_table: a different retention for some tables. For dependents of runs it can only be shorter than
        that of runs, because they are deleted with them.
    :param max_age: do not touch rows older than this: with ``retention``, a window between two ages.
    :param dag_ids: delete rows of these DAGs only; tables without a DAG are skipped. ``None``: of all DAGs.
    :param keep_last_run: keep the last run of each DAG, by logical date, of each kind (scheduled, manual ...).
    :param batch_rows: the most rows that a transaction deletes, all tables together, as far as is known before.
    :param max_transaction: a transaction that takes longer is rolled back, and tried again with fewer rows.
    :param lock_timeout: rows that stay locked for longer are skipped. This and ``statement_timeout`` must be between a
        millisecond and 24 days.
    :param max_pause: the longest pause while the environment is under load (a late scheduler, sessions that wait for
        locks, a replica that lags behind); then the next transaction is tried anyway. 0: never pause.
    :param max_duration: start no transaction after this time; the next cleanup continues there.
    :param workers: connections that delete in parallel.
    :param statement_timeout: for the queries that count rows.
    :param force: allow a retention below a day.
    :param own_run: ``(dag_id, run_id)`` of the run that the cleanup runs in, which is kept in any state.
    :param now: the time that ages are counted from; ``None``: the database's own time.
    """

    retention: timedelta = timedelta(days=30)
    tables: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    retention_by_table: Mapping[str, timedelta] = field(default_factory=dict)
    max_age: timedelta | None = None
    dag_ids: Sequence[str] | None = None
    keep_last_run: bool = True
    batch_rows: int = 10_000
    max_transaction: timedelta = timedelta(seconds=1)
    lock_timeout: timedelta = timedelta(milliseconds=500)
    max_pause: timedelta = timedelta(minutes=1)
    max_duration: timedelta | None = None
    workers: int = 1
    statement_timeout: timedelta = timedelta(hours=1)
    force: bool = False
    own_run: tuple[str, str] | None = None
    now: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("tables", "exclude", "dag_ids"):
            self._check_names(name)
        self._check_retention("retention", self.retention)
        for table, retention in self.retention_by_table.items():
            self._check_retention(f"retention_by_table[{table!r}]", retention)
        oldest = max([self.retention, *self.retention_by_table.values()])
        if self.max_age is not None and self.max_age <= oldest:
            raise MwaaInputError(
                f"max_age={self.max_age} is not longer than the retention of {oldest}: no row lies between. Raise it."
            )
        if self.max_age is not None and self.max_age > MAX_AGE:
            raise MwaaInputError(f"max_age={self.max_age} is longer than a hundred years. Leave it out for no limit.")
        self._check_timeouts("lock_timeout", "statement_timeout")
        if self.max_duration is not None and self.max_duration <= timedelta(0):
            raise MwaaInputError(f"max_duration={self.max_duration} must be positive.")
        if not timedelta(0) <= self.max_pause <= MAX_PAUSE:
            raise MwaaInputError(f"max_pause={self.max_pause} must be between 0 and {MAX_PAUSE}.")
        if self.max_transaction < MIN_TRANSACTION:
            raise MwaaInputError(
                f"max_transaction={self.max_transaction} is too short to delete anything: it must be at least 50 "
                "milliseconds."
            )
        self._check_timeouts("max_transaction")
        if self.batch_rows < 1:
            raise MwaaInputError(f"batch_rows={self.batch_rows} must be a positive number.")
        if not 1 <= self.workers <= MAX_WORKERS:
            raise MwaaInputError(f"workers={self.workers} must be between 1 and {MAX_WORKERS}.")
        if self.now is not None and self.now.tzinfo is None:
            raise MwaaInputError(f"now={self.now} has no time zone. Write {self.now.isoformat()}+00:00.")

    def retention_of(self, table: str) -> timedelta:
        """Return the retention of a table."""
        return self.retention_by_table.get(table, self.retention)

    def _check_names(self, name: str) -> None:
        value = getattr(self, name)
        if value is None:
            return
        if isinstance(value, str):
            raise MwaaInputError(f"{name}={value!r} is a string. Pass a list of names: [{value!r}].")
        names = list(value)
        if not all(isinstance(item, str) and item for item in names):
            raise MwaaInputError(f"{name}={names!r} must contain only names.")
        if not names and name != "exclude":
            raise MwaaInputError(f"{name} is empty. Name at least one, or pass None for all.")
        if doubled := sorted({item for item in names if names.count(item) > 1}):
            raise MwaaInputError(f"{name} names {doubled[0]!r} twice.")

    def _check_retention(self, name: str, retention: timedelta) -> None:
        if retention > MAX_AGE:
            raise MwaaInputError(f"{name}={retention} is longer than a hundred years: no row is that old. Shorten it.")
        if retention < timedelta(0):
            raise MwaaInputError(f"{name}={retention} must not be negative.")
        if retention < MIN_RETENTION and not self.force:
            raise MwaaInputError(
                f"{name}={retention} is below one day, and would delete rows that people still look at.",
                advice="If you mean it, set {}.",
                parameter="force",
            )

    def _check_timeouts(self, *names: str) -> None:
        for name in names:
            value: timedelta = getattr(self, name)
            if value <= timedelta(0):
                raise MwaaInputError(f"{name}={value} must be positive.")
            if value < MIN_TIMEOUT:
                raise MwaaInputError(
                    f"{name}={value} is shorter than PostgreSQL can count: it must be at least 1 millisecond."
                )
            if value > MAX_TIMEOUT:
                raise MwaaInputError(f"{name}={value} is longer than PostgreSQL can count: it must be at most 24 days.")

    def document(self) -> dict[str, Any]:
        """Return the options in JSON's own types; lengths of time in seconds."""
        return {item.name: _plain(getattr(self, item.name)) for item in dataclasses.fields(self)}

    @classmethod
    def read(cls, document: Any) -> CleanupOptions:
        """Return the options of a :meth:`document`.

        :raises MwaaInputError: it is not such a document.
        """
        if not isinstance(document, dict):
            raise MwaaInputError("The options of a cleanup must be an object.")
        known = {item.name for item in dataclasses.fields(cls)}
        found = {name: value for name, value in document.items() if name in known and value is not None}
        try:
            for name in (
                "retention",
                "max_age",
                "max_transaction",
                "lock_timeout",
                "max_pause",
                "max_duration",
                "statement_timeout",
            ):
                if name in found:
                    found[name] = timedelta(seconds=found[name])
            by_table = found.get("retention_by_table", {})
            found["retention_by_table"] = {name: timedelta(seconds=value) for name, value in by_table.items()}
            if "own_run" in found:
                dag_id, run_id = found["own_run"]
                found["own_run"] = (str(dag_id), str(run_id))
            if "now" in found:
                found["now"] = datetime.fromisoformat(found["now"])
            return cls(**found)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            if isinstance(error, MwaaInputError):
                raise
            raise MwaaInputError(f"The options of a cleanup are invalid: {error}.") from error


def check_wait_timeout(seconds: float) -> None:
    """Check how long to wait for another cleanup to end.

    :raises MwaaInputError: it is negative, or not a number.
    """
    if not seconds >= 0:
        raise MwaaInputError(f"wait_timeout={seconds:g} s must not be negative.")


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return list(value) if isinstance(value, (tuple, list)) else value


def read_place(archive_to: str) -> S3Uri:
    """Return where to write an archive.

    :raises MwaaInputError: it is not an S3 URI.
    """
    uri = S3Uri.parse(archive_to)
    if uri is None:
        raise MwaaInputError(f"archive_to={archive_to!r} is not an S3 URI. Write s3://BUCKET/PREFIX.")
    return uri
