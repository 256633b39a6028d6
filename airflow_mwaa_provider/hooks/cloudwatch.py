# SPDX-License-Identifier: Apache-2.0
"""Metrics of one's own in CloudWatch: from a hook, and from the body of a task."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_mwaa_provider._compat import BaseHook
from airflow_mwaa_provider.exceptions import MwaaError, MwaaInputError
from airflow_mwaa_provider.monitoring.metrics import Metric, StatisticSet, check_namespace
from airflow_mwaa_provider.monitoring.publishing import put_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextvars import Token

    from airflow_mwaa_provider.client.retrying import RetryPolicy

__all__ = ["CloudWatchMetricsHook", "Metric", "StatisticSet", "count_metric", "task_metrics", "timed_metric"]

log = logging.getLogger(__name__)
Function = TypeVar("Function", bound="Callable[..., Any]")

_CONNECT_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 30.0


class CloudWatchMetricsHook(BaseHook):
    """Publishes metrics to CloudWatch.

    :param aws_conn_id: connection of type ``aws`` or ``mwaa``; ``None`` uses the role that the task runs with. See
        :class:`~airflow_mwaa_provider.hooks.mwaa.MwaaEnvironmentHook`.
    :param region_name: AWS region; if not given, the connection's, else boto3's.
    :param verify: ``False`` or the path of a CA bundle.
    :param botocore_config: keywords of botocore's ``Config``.
    """

    conn_name_attr = "aws_conn_id"
    default_conn_name = "aws_default"

    def __init__(
        self,
        aws_conn_id: str | None = default_conn_name,
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config

    @cached_property
    def conn(self) -> Any:
        """boto3's client of CloudWatch, without retries of its own."""
        from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook

        return MwaaEnvironmentHook(self.aws_conn_id, self.region_name, self.verify, self.botocore_config).aws_client(
            "cloudwatch", connect_timeout=_CONNECT_TIMEOUT_S, read_timeout=_READ_TIMEOUT_S, attempts=1
        )

    def get_conn(self) -> Any:
        """Return boto3's client of CloudWatch."""
        return self.conn

    def put_metrics(
        self, namespace: str, metrics: Any, *, repeat_unsure: bool = False, policy: RetryPolicy | None = None
    ) -> int:
        """Publish metrics, up to 1,000 or 1 MB a request; return the number of requests.

        All are checked before the first request. A request of which nobody knows whether CloudWatch took it, because
        no answer came, is not repeated: its values would be counted twice.

        :param namespace: theirs, such as ``"Sales"``; none of AWS's own.
        :param metrics: one or many :class:`~airflow_mwaa_provider.monitoring.metrics.Metric`, or dicts of its fields.
        :param repeat_unsure: repeat such a request; right where nobody looks at the metrics' sums and sample counts.
        :param policy: how long, and how patiently, one request is repeated; 60 seconds by default.
        :raises MwaaInputError: CloudWatch would refuse something; nothing was sent.
        :raises MetricsNotSent: a request failed; says which metrics were sent.
        """
        return put_metrics(self.conn, namespace, metrics, repeat_unsure=repeat_unsure, policy=policy)


class _Collected:
    """What a task has measured."""

    def __init__(self, dimensions: Mapping[str, str]) -> None:
        self.dimensions = dict(dimensions)
        self.metrics: list[Metric] = []
        self.counts: dict[tuple[str, str, tuple[tuple[str, str], ...]], float] = {}

    def all(self) -> list[Metric]:
        """Return the metrics: those that were counted once each, with their sums."""
        counted = [
            Metric(name, total, unit, dict(dimensions)) for (name, unit, dimensions), total in self.counts.items()
        ]
        return self.metrics + counted


_collected: ContextVar[_Collected | None] = ContextVar("collected", default=None)


class task_metrics:  # noqa: N801 - used as a function is: a block, or a decorator
    """Collects what :func:`timed_metric` and :func:`count_metric` measure, and sends it at the end, in one request.

    Use it as a decorator under ``@task``, or as a block in a task. It is sent whether the block ended well or not. That
    it cannot be sent is logged as a warning, and does not fail the task.

    :param namespace: namespace of the metrics.
    :param dimensions: what all of them have in common.
    :param hook: how CloudWatch is reached; a :class:`CloudWatchMetricsHook` of its defaults if not given.
    :raises MwaaInputError: the namespace is one that CloudWatch refuses.
    """

    def __init__(
        self,
        namespace: str,
        *,
        dimensions: Mapping[str, str] | None = None,
        hook: CloudWatchMetricsHook | None = None,
    ) -> None:
        check_namespace(namespace)
        self.namespace = namespace
        self.dimensions = dict(dimensions or {})
        self.hook = hook
        self._blocks: list[tuple[_Collected, Token[_Collected | None]]] = []

    def __enter__(self) -> None:
        collected = _Collected(self.dimensions)
        self._blocks.append((collected, _collected.set(collected)))

    def __exit__(self, *_: object) -> None:
        collected, before = self._blocks.pop()
        _collected.reset(before)
        metrics = collected.all()
        if not metrics:
            return
        try:
            hook = self.hook or CloudWatchMetricsHook()
            hook.put_metrics(self.namespace, metrics)
        except MwaaError as error:
            log.warning("%d metrics of this task were not sent, and it goes on: %s", len(metrics), error)
        else:
            log.info("Sent %d metrics of this task to namespace %r", len(metrics), self.namespace)

    def __call__(self, function: Function) -> Function:
        """Decorate a function with it."""

        @functools.wraps(function)
        def measured(*arguments: Any, **keywords: Any) -> Any:
            with task_metrics(self.namespace, dimensions=self.dimensions, hook=self.hook):
                return function(*arguments, **keywords)

        return measured  # type: ignore[return-value]


@contextlib.contextmanager
def timed_metric(name: str, *, dimensions: Mapping[str, str] | None = None) -> Iterator[None]:
    """Measure how long a block takes, in milliseconds; one that fails is measured too.

    :raises MwaaInputError: it is not used within :class:`task_metrics`.
    """
    collected = _current()
    began = time.monotonic()
    try:
        yield
    finally:
        took = (time.monotonic() - began) * 1000.0
        collected.metrics.append(
            Metric(name, took, "Milliseconds", {**collected.dimensions, **(dimensions or {})}, time.time())
        )


def count_metric(
    name: str, number: float = 1, *, unit: str = "Count", dimensions: Mapping[str, str] | None = None
) -> None:
    """Add to a metric; what is sent at the end is the sum.

    :raises MwaaInputError: it is not used within :class:`task_metrics`.
    """
    collected = _current()
    key = (name, unit, tuple(sorted({**collected.dimensions, **(dimensions or {})}.items())))
    collected.counts[key] = collected.counts.get(key, 0.0) + number


def _current() -> _Collected:
    collected = _collected.get()
    if collected is None:
        raise MwaaInputError(
            "timed_metric and count_metric: nothing collects them here. Decorate the task's function with "
            "@task_metrics('NAMESPACE'), below @task."
        )
    return collected
