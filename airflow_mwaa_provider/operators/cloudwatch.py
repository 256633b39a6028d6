# SPDX-License-Identifier: Apache-2.0
"""Publish to CloudWatch: metrics of one's own, of a worker, of the metadata database, and of changed privileges."""

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
    """Base of operators that publish metrics."""

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
    """Publish metrics to CloudWatch, as few requests as its limits allow.

    All are checked before the first request. A request of which nobody knows whether CloudWatch took it is not
    repeated, and fails the task. A retry of the task sends all metrics again, those too that CloudWatch has by then:
    give ``retries=0`` where a sum must not count twice.

    :param namespace: namespace of the metrics (templated); none of AWS's own.
    :param metrics: one or many :class:`~airflow_mwaa_provider.monitoring.metrics.Metric`, or dicts of its fields
        (templated), or what another task returned.
    :param repeat_unsure: repeat such a request; right where nobody looks at the metrics' sums and sample counts.
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
        """Publish them.

        :raises MwaaInputError: CloudWatch would refuse something; nothing was sent.
        :raises MetricsNotSent: a request failed; says which metrics were sent.
        """
        self.read_rendered(required=("namespace", "metrics"))
        return self._publish(metrics_of(self.metrics), repeat_unsure=self.repeat_unsure)


class WorkerMetricsOperator(_MetricsOperator):
    """Publish what the worker that this task runs on has of memory, CPU, disk and processes, in one request.

    The ten metrics of AWS's sample keep their names and dimensions (Environment, Category, Host). They are those of the
    machine below; added is what the container says, whose limit is the one that tasks are killed at. A number that
    cannot be had is left out, and a line of the log says why.

    :param namespace: namespace of the metrics (templated).
    :param env_name: value of the dimension Environment (templated); if not given, the environment that the task runs
        in, from ``AIRFLOW_ENV_NAME``; where that is not set, the dimension is left out.
    :param disk_path: a folder on the disk whose space is measured (templated); by default that of temporary files.
    :return: the numbers by the metrics' names.
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
        :raises MetricsNotSent: CloudWatch did not take the metrics.
        """
        from airflow_mwaa_provider.monitoring.worker import measure_worker

        self.read_rendered(required=("namespace",))
        env_name = self.env_name or os.environ.get("AIRFLOW_ENV_NAME")
        if not env_name:
            self.log.warning(
                "The environment has no name here (AIRFLOW_ENV_NAME), so the metrics have no dimension Environment. "
                "Give env_name."
            )
        measured = measure_worker(self.disk_path or tempfile.gettempdir())
        for what, why in measured.missing.items():
            self.log.warning("No metrics of the %s: %s", what, why)
        if not measured.numbers:
            raise MwaaInputError("Worker metrics: nothing could be measured; the log says why.")
        # A repetition changes no mean, least or greatest value, and a sum of these says nothing.
        self._publish(measured.metrics(env_name), repeat_unsure=True)
        return dict(measured.numbers)


class MetadataMetricsOperator(_MetricsOperator):
    """Publish what is in Airflow's metadata database, in one request: runs and tasks by state, ages, and sizes.

    Names, units and dimensions (Environment, State, Table) are fixed; see
    :data:`~airflow_mwaa_provider.monitoring.metadata_metrics.METADATA_METRICS`. No table with a history is read as a
    whole, and memory does not grow with the database. A number that cannot be had by this route, or in time, is left
    out, and a line of the log says why.

    :param namespace: namespace of the metrics (templated).
    :param env_name: value of the dimension Environment, and the environment whose web server routes ``api`` and
        ``rest`` ask (templated); the task's own, from ``AIRFLOW_ENV_NAME``, if not given.
    :param route: ``"database"``, ``"mwaa_environment"``, ``"api"``, ``"rest"`` or ``"auto"`` (templated); see
        :class:`~airflow_mwaa_provider.hooks.metadata.MetadataHook`.
    :param metadata_conn_id: a ``postgres`` connection to the database (templated); on Airflow 2 the environment's own
        if not given.
    :param statement_timeout: the database ends a question that takes longer; route ``api`` has the web server's own
        limit, and ``rest`` has none.
    :return: the numbers by the metrics' names, by state or table within; ages and delays in seconds, sizes in bytes.
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

        :raises MwaaInputError: the environment has no name here, no route can be used, or nothing could be measured.
        :raises AccessDenied: the role may not ask the environment, or its user there not read runs and tasks.
        :raises MetadataError: the database could not be opened, or was lost.
        :raises MetricsNotSent: CloudWatch did not take the metrics.
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
                "Metadata metrics: the environment has no name here (AIRFLOW_ENV_NAME), and its metrics would be "
                "nobody's. Give env_name."
            )
        measures = hook.measure(statement_timeout=self.statement_timeout)
        for why in dict.fromkeys(measures.missing.values()):
            names = ", ".join(name for name, each in measures.missing.items() if each == why)
            self.log.warning("Not published: %s: %s", names, why)
        metrics = metadata_metrics(measures.numbers, hook.env_name)
        if not metrics:
            raise MwaaInputError("Metadata metrics: nothing could be measured; the log says why.")
        # A repetition changes no mean, least or greatest value, and a sum of these says nothing.
        self._publish(metrics, repeat_unsure=True)
        return measures.numbers


class PrivilegeChangesOperator(_MetricsOperator):
    """Find out who changed whose privileges, from an environment's log groups, and publish how many changes there were.

    What is found, and what cannot be, is in ``docs/privilege-changes.md``.

    :param namespace: namespace of the metric ``privilege_changes`` (templated).
    :param env_name: the environment (templated); if not given, the one that the task runs in, from
        ``AIRFLOW_ENV_NAME``.
    :param start: first moment that is searched, a datetime or ISO 8601 text with a time zone (templated); if not given,
        what a scheduled run's data interval says, else ``window`` before ``end``.
    :param end: first moment after it (templated); if not given, the end of a scheduled run's data interval, else now.
    :param window: how much is searched where the data interval says nothing.
    :param delay: how long lines take to come to CloudWatch Logs: a scheduled run searches what is this much older.
    :param changes: which of :data:`~airflow_mwaa_provider.monitoring.privileges.CHANGES` count; all but
        ``"user-added"`` by default.
    :return: ``{"count": …, "by_change": {…}, "start": …, "end": …, "findings": [{…}, …]}``, the first 1,000 of them.
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
            raise MwaaInputError(f"changes={changes!r}: must be a list; there are {', '.join(CHANGES)}.")

    def execute(self, context: Context) -> dict[str, Any]:
        """Search, and publish.

        :raises MwaaInputError: the environment has no name here, or no log group that can be searched; or ``start`` is
            not before ``end``.
        :raises AccessDenied: a permission is missing; names it.
        :raises MetricsNotSent: CloudWatch did not take the metric.
        """
        self.read_rendered(required=("namespace",))
        env_name = self.env_name or os.environ.get("AIRFLOW_ENV_NAME")
        if not env_name:
            raise MwaaInputError("The environment has no name here (AIRFLOW_ENV_NAME). Give env_name.")
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
        # Without the lines' own words, which would be found again, in this log.
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
        """Return the first moment that is searched, and the first after it."""
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
            raise MwaaInputError(f"start={start.isoformat()} is not before end={end.isoformat()}. Correct one of them.")
        return start, end

    def _found(self, env_name: str, start: datetime, end: datetime) -> Iterator[Finding]:
        from airflow_mwaa_provider.client.aws.calls import AwsCalls
        from airflow_mwaa_provider.client.http.retrying import RetryPolicy, call_with_retries
        from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook
        from airflow_mwaa_provider.monitoring.privileges import find_changes, log_groups

        hook = MwaaEnvironmentHook(self.aws_conn_id, self.region_name, self.verify, self.botocore_config)
        environment = call_with_retries(functools.partial(hook.control_plane.get_environment, env_name), RetryPolicy())
        groups, blind = log_groups(environment)
        if not groups:
            raise MwaaInputError(
                f"Environment {env_name!r} has no log group enabled, so nothing can be found. Enable its logs at INFO."
            )
        for why in blind:
            self.log.warning("%s Enable them at INFO.", why)
        logs = AwsCalls(hook.aws_client("logs", attempts=1), "CloudWatch Logs", "logs")
        for group in groups:
            try:
                yield from find_changes(logs, group, start, end, self.changes)
            except AwsError as error:
                if error.code != "ResourceNotFoundException":
                    raise
                self.log.warning("Log group %r does not exist, so nothing is found in it.", group.name)

    def _publish_counts(self, env_name: str, counts: Mapping[str, int], end: datetime) -> None:
        if datetime.now(UTC) - end > timedelta(seconds=OLDEST_S - 60):
            self.log.warning("Nothing is published: CloudWatch takes no metric of more than two weeks ago.")
            return
        environment = {"Environment": env_name}
        metrics = [Metric(PRIVILEGES_METRIC, sum(counts.values()), "Count", environment, end)]
        for change, count in counts.items():
            metrics.append(Metric(PRIVILEGES_METRIC, count, "Count", {**environment, "Change": change}, end))
        # A repetition does not change the maximum, which is what is to be looked at.
        self._publish(metrics, repeat_unsure=True)
