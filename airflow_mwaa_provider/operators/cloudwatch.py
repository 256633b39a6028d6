# SPDX-License-Identifier: Apache-2.0
"""Publish metrics of one's own, and what a worker has of memory, CPU and disk, to CloudWatch."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_mwaa_provider.client.parameters import is_rendered_later
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.monitoring.metrics import check_namespace, metrics_of
from airflow_mwaa_provider.operators.base import MwaaOperator

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from airflow_mwaa_provider._compat import Context
    from airflow_mwaa_provider.monitoring.metrics import Metric

__all__ = ["CloudWatchMetricsOperator", "WorkerMetricsOperator"]


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
    repeated, and fails the task: give ``retries=0`` where a sum must not count twice.

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
