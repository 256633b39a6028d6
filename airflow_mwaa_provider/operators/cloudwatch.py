# SPDX-License-Identifier: Apache-2.0
"""Publish metrics to CloudWatch: custom ones, and those of a worker, the metadata database and changed privileges."""

from __future__ import annotations

import functools
import heapq
import itertools
import os
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_mwaa_provider.client.parameters import check_database_timeout, parse_datetime
from airflow_mwaa_provider.exceptions import AwsError, MwaaInputError
from airflow_mwaa_provider.hooks.templating import is_rendered_later
from airflow_mwaa_provider.metadata.routes import ROUTES, check_route
from airflow_mwaa_provider.monitoring.metrics import OLDEST_S, Metric, check_namespace, metrics_of
from airflow_mwaa_provider.monitoring.privileges import CHANGES, PRIVILEGES_METRIC
from airflow_mwaa_provider.operators.base import MwaaOperator

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from airflow_mwaa_provider._compat import Context
    from airflow_mwaa_provider.monitoring.privileges import Finding

__all__ = [
    "CloudWatchMetricsOperator",
    "MetadataMetricsOperator",
    "PrivilegeChangesOperator",
    "WorkerMetricsOperator",
]

_MAX_FINDINGS = 1_000


class _MetricsOperator(MwaaOperator):
    """Base of the operators that publish metrics.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.base.MwaaOperator`.
    """

    template_fields: Sequence[str] = (*MwaaOperator.template_fields, "namespace")
    text_fields: ClassVar[Collection[str]] = (*MwaaOperator.text_fields, "namespace")

    def __init__(self, *, namespace: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.namespace = namespace
        if not is_rendered_later(namespace):
            check_namespace(namespace)

    def _publish(self, metrics: Sequence[Metric], *, repeat_unsure: bool = False) -> dict[str, int]:
        from airflow_mwaa_provider.hooks.cloudwatch import CloudWatchMetricsHook

        hook = CloudWatchMetricsHook(self.aws_conn_id, self.region_name, self.verify, self.botocore_config)
        requests = hook.put_metrics(self.namespace, metrics, repeat_unsure=repeat_unsure)
        self.log.info("Sent %d metrics to namespace %r in %d request(s)", len(metrics), self.namespace, requests)
        return {"metrics": len(metrics), "requests": requests}


class CloudWatchMetricsOperator(_MetricsOperator):
    """Publish metrics to CloudWatch, in as few requests as its limits allow.

    All metrics are checked before the first request. If a request fails and CloudWatch may have accepted it, it is not
    repeated, and the task fails. A retry of the task sends all metrics again, including those that CloudWatch has
    accepted. Set ``retries=0`` where a sum must not count twice.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.base.MwaaOperator`.

    :param namespace: namespace of the metrics (templated); not one of AWS's own.
    :param metrics: one or many :class:`~airflow_mwaa_provider.monitoring.metrics.Metric`, or dicts of its fields
        (templated), or what another task returned.
    :param repeat_unsure: repeat a request that CloudWatch may have accepted. Safe if the metrics' sums and
        sample counts are not used.
    :return: ``{"metrics": …, "requests": …}``.
    """

    template_fields: Sequence[str] = (*_MetricsOperator.template_fields, "metrics")
    template_fields_renderers: ClassVar[dict[str, str]] = {"metrics": "json"}

    def __init__(
        self,
        *,
        namespace: str,
        metrics: Metric | Mapping[str, Any] | Sequence[Metric | Mapping[str, Any]],
        repeat_unsure: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(namespace=namespace, **kwargs)
        self.metrics = metrics
        self.repeat_unsure = repeat_unsure

    def execute(self, context: Context) -> dict[str, int]:  # noqa: ARG002 - Airflow's signature
        """Publish the metrics.

        :raises MwaaInputError: CloudWatch would reject a metric. Nothing was sent.
        :raises MetricsNotSent: a request failed; says which metrics were sent.
        """
        self.read_rendered(required=("namespace", "metrics"))
        return self._publish(metrics_of(self.metrics), repeat_unsure=self.repeat_unsure)


class WorkerMetricsOperator(_MetricsOperator):
    """Publish the memory, CPU, disk and processes of the worker that this task runs on, in one request.

    The ten metrics of AWS's sample keep their names and dimensions (Environment, Category, Host). They describe the
    machine. Metrics of the container are added, because tasks are killed at the container's memory limit. A number that
    cannot be measured is left out, and the reason is logged.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.base.MwaaOperator`.

    :param namespace: namespace of the metrics (templated).
    :param env_name: value of the dimension Environment (templated). The default is the environment that the task runs
        in, from ``AIRFLOW_ENV_NAME``. If that is not set, the dimension is left out.
    :param disk_path: a folder on the disk whose space is measured (templated). The default is the folder of temporary
        files.
    :return: the numbers, by the metrics' names.
    """

    template_fields: Sequence[str] = (*_MetricsOperator.template_fields, "env_name", "disk_path")
    text_fields: ClassVar[Collection[str]] = (*_MetricsOperator.text_fields, "env_name", "disk_path")

    def __init__(
        self,
        *,
        namespace: str = "MWAA-Custom",
        env_name: str | None = None,
        disk_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(namespace=namespace, **kwargs)
        self.env_name = env_name
        self.disk_path = disk_path

    def execute(self, context: Context) -> dict[str, float]:  # noqa: ARG002 - Airflow's signature
        """Measure, and publish.

        :raises MwaaInputError: nothing could be measured.
        :raises MetricsNotSent: CloudWatch did not accept the metrics.
        """
        from airflow_mwaa_provider.monitoring.worker import measure_worker

        self.read_rendered(required=("namespace",))
        env_name = self.env_name or os.environ.get("AIRFLOW_ENV_NAME")
        if not env_name:
            self.log.warning(
                "AIRFLOW_ENV_NAME is not set, so the metrics have no dimension Environment. Give env_name."
            )
        measured = measure_worker(self.disk_path or tempfile.gettempdir())
        for what, why in measured.missing.items():
            self.log.warning("No metrics of %s: %s", what, why)
        if not measured.numbers:
            raise MwaaInputError("Worker metrics: nothing could be measured. See the task log for the reasons.")
        # A repetition changes no average, minimum or maximum, and a sum of these values means nothing.
        self._publish(measured.metrics(env_name), repeat_unsure=True)
        return dict(measured.numbers)


class MetadataMetricsOperator(_MetricsOperator):
    """Publish metrics of Airflow's metadata database, in one request: runs and tasks by state, ages, and sizes.

    Names, units and dimensions (Environment, State, Table) are fixed; see
    :data:`~airflow_mwaa_provider.monitoring.metadata_metrics.METADATA_METRICS`. No table with a history is read as a
    whole, and memory does not grow with the database. A number that cannot be read by this route, or in time, is left
    out, and the reason is logged.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.base.MwaaOperator`.

    :param namespace: namespace of the metrics (templated).
    :param env_name: value of the dimension Environment, and the environment whose web server routes ``api`` and
        ``rest`` call (templated). The default is the task's own environment, from ``AIRFLOW_ENV_NAME``.
    :param route: ``"database"``, ``"mwaa_environment"``, ``"api"``, ``"rest"`` or ``"auto"`` (templated); see
        :class:`~airflow_mwaa_provider.hooks.metadata.MetadataHook`.
    :param metadata_conn_id: a ``postgres`` connection to the database (templated). The default on Airflow 2 is the
        environment's own database.
    :param statement_timeout: the database cancels a query that takes longer. Route ``api`` has the web server's own
        limit, and ``rest`` has none.
    :return: the numbers, by the metrics' names, and within these by state or table; ages and delays in seconds, sizes
        in bytes.
    """

    template_fields: Sequence[str] = (*_MetricsOperator.template_fields, "env_name", "route", "metadata_conn_id")
    text_fields: ClassVar[Collection[str]] = (*_MetricsOperator.text_fields, "env_name", "route", "metadata_conn_id")
    narrowing_fields: ClassVar[Collection[str]] = ("env_name", "metadata_conn_id")

    def __init__(
        self,
        *,
        namespace: str = "MWAA-Custom",
        env_name: str | None = None,
        route: str = "auto",
        metadata_conn_id: str | None = None,
        statement_timeout: timedelta = timedelta(seconds=30),
        **kwargs: Any,
    ) -> None:
        super().__init__(namespace=namespace, **kwargs)
        self.env_name = env_name
        self.route = route
        self.metadata_conn_id = metadata_conn_id
        self.statement_timeout = statement_timeout
        check_database_timeout(statement_timeout, "statement_timeout")
        if not is_rendered_later(route) and not is_rendered_later(metadata_conn_id):
            check_route(route, ROUTES, metadata_conn_id=metadata_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Measure, and publish.

        :raises MwaaInputError: the environment's name is not known, no route can be used, or nothing could be measured.
        :raises AccessDenied: the role may not call the environment, or its user there may not read runs and tasks.
        :raises MetadataError: the database could not be opened, or the connection was lost.
        :raises MetricsNotSent: CloudWatch did not accept the metrics.
        """
        from airflow_mwaa_provider.hooks.metadata import MetadataHook
        from airflow_mwaa_provider.monitoring.metadata_metrics import metadata_metrics

        self.read_rendered(required=("namespace", "route"))
        hook = MetadataHook(
            self.metadata_conn_id,
            self.route,
            self.env_name,
            self.aws_conn_id,
            self.region_name,
            self.verify,
            self.botocore_config,
        )
        if hook.env_name is None:
            raise MwaaInputError(
                "Metadata metrics: AIRFLOW_ENV_NAME is not set, so the metrics would belong to no environment. Give "
                "env_name."
            )
        measures = hook.measure(statement_timeout=self.statement_timeout)
        for why in dict.fromkeys(measures.missing.values()):
            names = ", ".join(name for name, each in measures.missing.items() if each == why)
            self.log.warning("Not published: %s: %s", names, why)
        metrics = metadata_metrics(measures.numbers, hook.env_name)
        if not metrics:
            raise MwaaInputError("Metadata metrics: nothing could be measured. See the task log for the reasons.")
        # A repetition changes no average, minimum or maximum, and a sum of these values means nothing.
        self._publish(metrics, repeat_unsure=True)
        return measures.numbers


class PrivilegeChangesOperator(_MetricsOperator):
    """Search an environment's log groups for changes of privileges, and publish how many there were.

    See ``docs/privilege-changes.md`` for what is found, and what cannot be found.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.base.MwaaOperator`.

    :param namespace: namespace of the metric ``privilege_changes`` (templated).
    :param env_name: the environment (templated). The default is the one that the task runs in, from
        ``AIRFLOW_ENV_NAME``.
    :param start: search lines from this time on, a datetime or an ISO 8601 string with a time zone (templated). The
        default is the start of a scheduled run's data interval, or ``window`` before ``end``.
    :param end: search lines before this time (templated). The default is the end of a scheduled run's data interval,
        or now.
    :param window: how much to search if there is no data interval.
    :param delay: how long lines take to arrive in CloudWatch Logs. A scheduled run searches lines that are this much
        older than its data interval.
    :param changes: which of :data:`~airflow_mwaa_provider.monitoring.privileges.CHANGES` count. The default is all but
        ``"user-added"``.
    :return: ``{"count": …, "by_change": {…}, "start": …, "end": …, "findings": [{…}, …]}``, with the first 1,000
        findings.
    """

    template_fields: Sequence[str] = (*_MetricsOperator.template_fields, "env_name", "start", "end")
    text_fields: ClassVar[Collection[str]] = (*_MetricsOperator.text_fields, "env_name")
    narrowing_fields: ClassVar[Collection[str]] = ("env_name", "start", "end")

    def __init__(
        self,
        *,
        namespace: str = "MWAA-Custom",
        env_name: str | None = None,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        window: timedelta = timedelta(hours=1),
        delay: timedelta = timedelta(minutes=5),
        changes: Collection[str] = CHANGES[:-1],
        **kwargs: Any,
    ) -> None:
        super().__init__(namespace=namespace, **kwargs)
        self.env_name = env_name
        self.start = start
        self.end = end
        self.window = window
        self.delay = delay
        self.changes = changes
        if window <= timedelta(0) or delay < timedelta(0):
            raise MwaaInputError(f"window={window} must be positive, and delay={delay} must not be negative.")
        unknown = sorted(set(changes) - set(CHANGES))
        if unknown or isinstance(changes, str):
            raise MwaaInputError(f"changes={changes!r} must be a list of {', '.join(CHANGES)}.")

    def execute(self, context: Context) -> dict[str, Any]:
        """Search, and publish.

        :raises MwaaInputError: the environment's name is not known, it has no log group that can be searched, or
            ``start`` is not before ``end``.
        :raises AccessDenied: a permission is missing; names it.
        :raises MetricsNotSent: CloudWatch did not accept the metric.
        """
        self.read_rendered(required=("namespace",))
        env_name = self.env_name or os.environ.get("AIRFLOW_ENV_NAME")
        if not env_name:
            raise MwaaInputError("Privilege changes: AIRFLOW_ENV_NAME is not set. Give env_name.")
        start, end = self._searched(context)
        counts: Counter[str] = Counter()
        places: Counter[tuple[str, str, str, str]] = Counter()

        def counted(found: Iterator[Finding]) -> Iterator[Finding]:
            for finding in found:
                counts[finding.change] += 1
                places[finding.change, finding.evidence, finding.component, finding.log_stream] += 1
                yield finding

        oldest = heapq.nsmallest(
            _MAX_FINDINGS, counted(self._found(env_name, start, end)), key=lambda finding: finding.time
        )
        # Without the text of the lines, because the next search would find it in this log.
        for (change, evidence, component, stream), count in itertools.islice(places.items(), _MAX_FINDINGS):
            self.log.warning("%s: %d line(s), %s, in the log of %s: %s", change, count, evidence, component, stream)
        self.log.info(
            "%d change(s) of privileges from %s to %s in environment %r",
            counts.total(), start.isoformat(), end.isoformat(), env_name,
        )  # fmt: skip
        self._publish_counts(env_name, counts, end)
        return {
            "count": counts.total(),
            "by_change": dict(counts),
            "start": start.isoformat(),
            "end": end.isoformat(),
            "findings": [finding.as_dict() for finding in oldest],
        }

    def _searched(self, context: Context) -> tuple[datetime, datetime]:
        """Return the time to search from, and the time to search until."""
        start, end = parse_datetime(self.start, "start"), parse_datetime(self.end, "end")
        run: Any = context.get("dag_run")
        interval_start: Any = context.get("data_interval_start")
        interval_end: Any = context.get("data_interval_end")
        if end is None and interval_end is not None and getattr(run, "run_type", None) in ("scheduled", "backfill"):
            end = interval_end - self.delay
            if start is None and interval_start < interval_end:
                start = interval_start - self.delay
        end = end or datetime.now(UTC)
        start = start or end - self.window
        if start >= end:
            raise MwaaInputError(
                f"start={start.isoformat()} must be before end={end.isoformat()}. Correct one of them."
            )
        return start, end

    def _found(self, env_name: str, start: datetime, end: datetime) -> Iterator[Finding]:
        from airflow_mwaa_provider.client.aws.calls import AwsCalls
        from airflow_mwaa_provider.client.http.retrying import RetryPolicy, call_with_retries
        from airflow_mwaa_provider.monitoring.privileges import find_changes, log_groups

        hook = self.hook_settings.hook()
        environment = call_with_retries(functools.partial(hook.control_plane.get_environment, env_name), RetryPolicy())
        groups, blind = log_groups(environment)
        if not groups:
            raise MwaaInputError(
                f"Environment {env_name!r} has no log group enabled, so nothing can be found. Enable its logs at level "
                "INFO."
            )
        for why in blind:
            self.log.warning("%s Enable them at level INFO.", why)
        logs = AwsCalls(hook.aws_client("logs", attempts=1), "CloudWatch Logs", "logs")
        for group in groups:
            try:
                yield from find_changes(logs, group, start, end, self.changes)
            except AwsError as error:
                if error.code != "ResourceNotFoundException":
                    raise
                self.log.warning("Log group %r does not exist, so nothing can be found in it.", group.name)

    def _publish_counts(self, env_name: str, counts: Mapping[str, int], end: datetime) -> None:
        if datetime.now(UTC) - end > timedelta(seconds=OLDEST_S - 60):
            self.log.warning("Nothing is published, because CloudWatch accepts no metric that is older than two weeks.")
            return
        environment = {"Environment": env_name}
        metrics = [Metric(PRIVILEGES_METRIC, sum(counts.values()), "Count", environment, end)]
        for change, count in counts.items():
            metrics.append(Metric(PRIVILEGES_METRIC, count, "Count", {**environment, "Change": change}, end))
        # A repetition does not change the maximum, which is what alarms and dashboards use.
        self._publish(metrics, repeat_unsure=True)
