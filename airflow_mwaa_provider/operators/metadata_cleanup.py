# SPDX-License-Identifier: Apache-2.0
"""Delete old rows from Airflow's metadata database; public as ``operators.metadata``."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_mwaa_provider._compat import stats
from airflow_mwaa_provider.client.parameters import check_database_timeout, check_duration, flag, names, number
from airflow_mwaa_provider.exceptions import CleanupFailed, MwaaInputError
from airflow_mwaa_provider.hooks.templating import is_rendered_later
from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions, read_place
from airflow_mwaa_provider.metadata.routes import CLEANUP_ROUTES, check_route
from airflow_mwaa_provider.operators.base import MwaaOperator

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from airflow_mwaa_provider._compat import Context
    from airflow_mwaa_provider.metadata.cleaners import Cleaner
    from airflow_mwaa_provider.metadata.cleanup import Outcome, Plan

__all__ = ["MetadataCleanupOperator"]

_LOG_EVERY_S = 30.0
_UNITS = {
    "retention": "days", "max_age": "days", "max_duration": "hours", "max_transaction": "seconds",
    "lock_timeout": "seconds", "max_pause": "seconds", "statement_timeout": "seconds", "wait_timeout": "seconds",
}  # fmt: skip
"""Parameters that are lengths of time, and the unit that errors name."""
_OR_ZERO = ("retention", "max_pause", "wait_timeout")
_OF_DATABASE = ("lock_timeout", "statement_timeout")
_ASKED = ("retention", "tables", "exclude", "max_age", "dag_ids", "keep_last_run", "max_duration", "force")
"""Templated parameters that decide what is deleted."""
_METRIC = "mwaa_provider.metadata_cleanup"


class MetadataCleanupOperator(MwaaOperator):
    """Delete old rows from Airflow's metadata database, while the environment keeps working.

    Rows are deleted in transactions of a fraction of a second, children before their parents. Rows that have not ended
    are kept at any age, and so are rows that are still needed: the last run of each DAG, triggers in use, versions of
    DAGs that a task refers to. If a task is interrupted, or ends by ``max_duration``, the next one continues there.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.base.MwaaOperator`.

    :param retention: how long ago a row must have ended to be deleted (templated); at least a day, unless ``force``.
    :param tables: tables to clean (templated); ``dag_run`` includes everything that depends on a run. ``None``: every
        table that grows.
    :param exclude: tables to skip (templated).
    :param retention_by_table: a different retention for some tables, such as ``{"xcom": timedelta(days=7)}``.
    :param max_age: do not touch rows older than this (templated).
    :param dag_ids: delete rows of these DAGs only (templated).
    :param keep_last_run: keep the last run of each DAG and of each kind of run (templated).
    :param dry_run: count and log what would be deleted, and delete nothing (templated).
    :param archive_to: ``s3://BUCKET/PREFIX`` (templated): archive the rows there first, read them back, and delete only
        those that are in the archive and have not changed.
    :param batch_rows: the most rows that a transaction deletes.
    :param max_transaction: a transaction that takes longer is rolled back, and tried again with fewer rows.
    :param lock_timeout: rows that stay locked for longer are skipped.
    :param max_pause: the longest pause while the environment is under load; then the next transaction is tried anyway.
    :param max_duration: start no transaction after this time (templated); the next cleanup deletes the rest.
    :param workers: connections that delete in parallel, 1 to 8.
    :param statement_timeout: for the queries that count rows.
    :param wait_timeout: how long to wait for another cleanup to end.
    :param force: allow a retention below a day (templated).
    :param route: ``"database"``, ``"mwaa_environment"``, ``"api"``, ``"cli"`` or ``"auto"`` (templated); see
        :class:`~airflow_mwaa_provider.hooks.metadata.MetadataHook`.
    :param env_name: the environment whose web server routes ``api`` and ``cli`` call (templated); the task's own by
        default.
    :param metadata_conn_id: a ``postgres`` connection to the database (templated); on Airflow 2 the environment's own
        by default.
    :param kms_key_id: encrypt the archive with this KMS key (templated).
    :param bucket_owner: the account that must own the archive's bucket (templated).
    :param s3_conn_id: connection for S3 (templated); ``None`` takes ``aws_conn_id``.
    :return: by table ``{"matched", "deleted", "batches", "seconds", "longest_transaction_s"}``: rows to delete, rows
        deleted, transactions, and times in seconds.
    """

    template_fields: Sequence[str] = (
        *MwaaOperator.template_fields,
        "retention",
        "tables",
        "exclude",
        "max_age",
        "dag_ids",
        "keep_last_run",
        "is_dry_run",
        "archive_to",
        "max_duration",
        "force",
        "route",
        "env_name",
        "metadata_conn_id",
        "kms_key_id",
        "bucket_owner",
        "s3_conn_id",
    )
    text_fields: ClassVar[Collection[str]] = (
        *MwaaOperator.text_fields, "archive_to", "route", "env_name", "metadata_conn_id", "kms_key_id", "bucket_owner",
        "s3_conn_id",
    )  # fmt: skip
    narrowing_fields: ClassVar[Collection[str]] = (
        "tables", "max_age", "dag_ids", "archive_to", "max_duration", "env_name", "metadata_conn_id",
    )  # fmt: skip
    ui_color = "#f2d6c2"

    def __init__(
        self,
        *,
        retention: timedelta = timedelta(days=30),
        tables: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        retention_by_table: Mapping[str, timedelta] | None = None,
        max_age: timedelta | None = None,
        dag_ids: Sequence[str] | None = None,
        keep_last_run: bool = True,
        dry_run: bool = False,
        archive_to: str | None = None,
        batch_rows: int = 10_000,
        max_transaction: timedelta = timedelta(seconds=1),
        lock_timeout: timedelta = timedelta(milliseconds=500),
        max_pause: timedelta = timedelta(minutes=1),
        max_duration: timedelta | None = None,
        workers: int = 1,
        statement_timeout: timedelta = timedelta(hours=1),
        wait_timeout: timedelta = timedelta(0),
        force: bool = False,
        route: str = "auto",
        env_name: str | None = None,
        metadata_conn_id: str | None = None,
        kms_key_id: str | None = None,
        bucket_owner: str | None = None,
        s3_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.retention = retention
        self.tables = tables
        self.exclude = exclude
        self.retention_by_table = retention_by_table
        self.max_age = max_age
        self.dag_ids = dag_ids
        self.keep_last_run = keep_last_run
        # Not dry_run: that is a method of every operator.
        self.is_dry_run = dry_run
        self.archive_to = archive_to
        self.batch_rows = batch_rows
        self.max_transaction = max_transaction
        self.lock_timeout = lock_timeout
        self.max_pause = max_pause
        self.max_duration = max_duration
        self.workers = workers
        self.statement_timeout = statement_timeout
        self.wait_timeout = wait_timeout
        self.force = force
        self.route = route
        self.env_name = env_name
        self.metadata_conn_id = metadata_conn_id
        self.kms_key_id = kms_key_id
        self.bucket_owner = bucket_owner
        self.s3_conn_id = s3_conn_id
        self._check_when_parsed()

    def execute(self, context: Context) -> dict[str, dict[str, Any]]:
        """Delete old rows; with ``dry_run``, count them.

        :raises MwaaInputError: a parameter is wrong; nothing was deleted.
        :raises CleanupUnderWay: another cleanup of this database is running.
        :raises CleanupFailed: some tables failed; the others are cleaned.
        :raises MetadataError: the database rejected something, or was lost; rows may have been deleted by then.
        :raises StorageError: S3 rejected a request, or returned something else than was written; nothing was deleted.
        """
        self.read_rendered(required=("retention", "route", "exclude", "keep_last_run", "is_dry_run", "force"))
        cleaner = self._cleaner(self._options(context.get("dag_run")))
        if flag(self.is_dry_run, "dry_run"):
            plan = cleaner.plan()
            self._log_plan(plan)
            return plan.summary()
        outcome = cleaner.run(self._progress())
        self._report(outcome)
        return outcome.summary()

    def _check_when_parsed(self) -> None:
        """Check the parameters that are known before the task runs."""

        def known(*names: str) -> bool:
            return not any(is_rendered_later(getattr(self, name)) for name in names)

        if known("route", "metadata_conn_id"):
            check_route(self.route, CLEANUP_ROUTES, metadata_conn_id=self.metadata_conn_id)
        if known("archive_to") and self.archive_to:
            read_place(self.archive_to)
        self._check_durations(*(name for name in _UNITS if known(name)))
        if known(*_ASKED):
            self._options(None)

    def _check_durations(self, *parameters: str) -> None:
        for name in parameters:
            value = getattr(self, name)
            if name in _OF_DATABASE:
                check_database_timeout(value, name)
            elif value is not None or name not in ("max_age", "max_duration"):
                check_duration(value, name, _UNITS[name], or_zero=name in _OR_ZERO)
        for table, value in (self.retention_by_table or {}).items():
            check_duration(value, f"retention_by_table[{table!r}]", "days", or_zero=True)

    def _options(self, run: Any) -> CleanupOptions:
        self._check_durations(*_UNITS)
        rows, workers = number(self.batch_rows, "batch_rows"), number(self.workers, "workers")
        if rows is None or workers is None:
            raise MwaaInputError("batch_rows and workers must be numbers.")
        return CleanupOptions(
            retention=self.retention,
            tables=names(self.tables, "tables"),
            exclude=names(self.exclude, "exclude") or (),
            retention_by_table=dict(self.retention_by_table or {}),
            max_age=self.max_age,
            dag_ids=names(self.dag_ids, "dag_ids", example="['etl', 'report']"),
            keep_last_run=flag(self.keep_last_run, "keep_last_run"),
            batch_rows=int(rows),
            max_transaction=self.max_transaction,
            lock_timeout=self.lock_timeout,
            max_pause=self.max_pause,
            max_duration=self.max_duration,
            workers=int(workers),
            statement_timeout=self.statement_timeout,
            force=flag(self.force, "force"),
            own_run=(run.dag_id, run.run_id) if run is not None else None,
        )

    def _cleaner(self, options: CleanupOptions) -> Cleaner:
        from airflow_mwaa_provider.hooks.metadata import MetadataHook

        hook = MetadataHook(
            self.metadata_conn_id,
            self.route,
            self.env_name,
            self.aws_conn_id,
            self.region_name,
            self.verify,
            self.botocore_config,
        )
        return hook.cleaner(
            options,
            archive_to=self.archive_to,
            s3_conn_id=self.s3_conn_id,
            kms_key_id=self.kms_key_id,
            bucket_owner=self.bucket_owner,
            wait_timeout=self.wait_timeout,
        )

    def _log_plan(self, plan: Plan) -> None:
        if plan.older_than is not None:
            until = plan.older_than.strftime("%Y-%m-%d %H:%M")
            self.log.info("Metadata of %s, older than %s UTC", plan.source or "this environment", until)
        for table in plan.tables:
            if table.rows:
                self.log.info(
                    "%s: %s rows would be deleted, about %s bytes", table.table, f"{table.rows:,}", f"{table.bytes:,}"
                )
        for kept in plan.kept:
            count = "rows" if kept.rows is None else f"{kept.rows:,} rows"
            self.log.info("%s: %s are kept: %s", kept.table, count, kept.why)
        for advice in plan.advice:
            self.log.info("%s", advice)
        self.log.info(
            "A cleanup would delete %s rows, in about %.0f s; nothing was deleted", f"{plan.rows:,}", plan.seconds
        )

    def _progress(self) -> Any:
        """Return a callback that logs the start of each table, and its progress every half a minute."""
        last: dict[str, Any] = {"table": "", "logged": 0.0}

        def on_progress(table: str, rows: int, expected: int | None) -> None:
            now = time.monotonic()
            if table != last["table"]:
                last.update(table=table, logged=now)
                self.log.info("Cleaning %s", table)
            elif now - last["logged"] >= _LOG_EVERY_S:
                last["logged"] = now
                of = f" of {expected:,}" if expected else ""
                self.log.info("%s: %s%s rows are deleted", table, f"{rows:,}", of)

        return on_progress

    def _report(self, outcome: Outcome) -> None:
        """Log what happened, and send it to Airflow's metrics.

        :raises CleanupFailed: a table failed.
        """
        metrics = stats()
        for name, table in outcome.tables.items():
            if table.deleted:
                self.log.info("%s: %s rows deleted in %s transactions", name, f"{table.deleted:,}", table.batches)
                metrics.incr(f"{_METRIC}.deleted", table.deleted, tags={"table": name})
        metrics.gauge(f"{_METRIC}.longest_transaction_s", outcome.longest_transaction_s)
        for why, seconds in outcome.paused_why.items():
            self.log.info("Paused for %.1f s: %s", seconds, why)
        for why in outcome.skipped:
            self.log.warning("Not done: %s", why)
        if outcome.archive:
            self.log.info("The deleted rows are in %s", outcome.archive)
        self.log.info(
            "Deleted %s rows in %.1f s by route %s; the longest transaction took %.2f s",
            f"{outcome.deleted:,}", outcome.seconds, outcome.route, outcome.longest_transaction_s,
        )  # fmt: skip
        if outcome.failures:
            name, why = next(iter(outcome.failures.items()))
            others = f" and {len(outcome.failures) - 1} other tables" if len(outcome.failures) > 1 else ""
            raise CleanupFailed(f"Cleaning {name}{others} failed: {why}", failures=outcome.failures)
