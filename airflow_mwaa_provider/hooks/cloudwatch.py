# SPDX-License-Identifier: Apache-2.0
"""Custom metrics in CloudWatch: from a hook, and from the body of a task."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import threading
import time
from collections.abc import Generator, Mapping
from contextvars import ContextVar, copy_context
from dataclasses import replace
from functools import cached_property
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_mwaa_provider._compat import BaseHook
from airflow_mwaa_provider.client.http.errors import reason, truncate
from airflow_mwaa_provider.client.http.retrying import RetryPolicy
from airflow_mwaa_provider.exceptions import CallTimeout, MwaaError, MwaaInputError
from airflow_mwaa_provider.monitoring.metrics import Metric, StatisticSet, check_namespace, number_of
from airflow_mwaa_provider.monitoring.publishing import put_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextvars import Context

__all__ = ["CloudWatchMetricsHook", "Metric", "StatisticSet", "count_metric", "task_metrics", "timed_metric"]

log = logging.getLogger(__name__)
Function = TypeVar("Function", bound="Callable[..., Any]")

_CONNECT_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 30.0


class CloudWatchMetricsHook(BaseHook):
    """Publishes metrics to CloudWatch.

    :param aws_conn_id: connection of type ``aws`` or ``mwaa``. ``None`` uses the role that the task runs with. See
        :class:`~airflow_mwaa_provider.hooks.mwaa.MwaaEnvironmentHook`.
    :param region_name: AWS region. The default is the connection's region, then boto3's.
    :param verify: ``False``, or the path of a CA bundle.
    :param botocore_config: keyword arguments of botocore's ``Config``.
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
        """boto3's CloudWatch client, without its own retries."""
        from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook

        return MwaaEnvironmentHook(self.aws_conn_id, self.region_name, self.verify, self.botocore_config).aws_client(
            "cloudwatch", connect_timeout=_CONNECT_TIMEOUT_S, read_timeout=_READ_TIMEOUT_S, attempts=1
        )

    def get_conn(self) -> Any:
        """Return boto3's CloudWatch client."""
        return self.conn

    def put_metrics(
        self, namespace: str, metrics: Any, *, repeat_unsure: bool = False, policy: RetryPolicy | None = None
    ) -> int:
        """Publish metrics, up to 1,000 or 1 MB per request, and return the number of requests.

        All metrics are checked before the first request. If no answer arrives, CloudWatch may have accepted the
        request. It is not repeated, because its values would be counted twice. The same holds for everything that
        CloudWatch has when a failed task is retried. The error's ``unsent`` metrics may be sent again.

        :param namespace: namespace of the metrics, such as ``"Sales"``; not one of AWS's own.
        :param metrics: one or many :class:`~airflow_mwaa_provider.monitoring.metrics.Metric`, or dicts of its fields.
        :param repeat_unsure: repeat a request that CloudWatch may have accepted. Safe if the metrics' sums
            and sample counts are not used.
        :param policy: how long and how often one request is repeated. Default: for 60 seconds.
        :raises MwaaInputError: CloudWatch would reject a metric. Nothing was sent.
        :raises MetricsNotSent: a request failed; says which metrics were sent.
        """
        return put_metrics(self.conn, namespace, metrics, repeat_unsure=repeat_unsure, policy=policy)


class _Block:
    """The measurements of one :class:`task_metrics` block.

    :param owner: the object that the block belongs to.
    :param outer: the enclosing block.
    """

    def __init__(self, owner: task_metrics, outer: _Block | None) -> None:
        self.owner = owner
        self.outer = outer
        self.thread_id = threading.get_ident()
        self._process_id = os.getpid()
        self._has_ended = False
        self._lock = threading.Lock()
        self._timed: list[Metric] = []
        self._counted: dict[str, Metric] = {}
        self._totals: dict[str, float] = {}
        self._refused: dict[str, MwaaInputError] = {}

    @property
    def is_open(self) -> bool:
        """Whether what is added will be sent. In a forked process the block is a copy, which nobody sends."""
        return not self._has_ended and self._process_id == os.getpid()

    def add_time(self, name: str, took_s: float, dimensions: Mapping[str, str] | None) -> None:
        """Add how long something took."""
        metric = Metric(name, 1000.0 * took_s, "Milliseconds", self._merged(dimensions), time.time())
        with self._lock:
            self._timed.append(metric)

    def add_count(self, name: str, number: Any, unit: str, dimensions: Mapping[str, str] | None) -> None:
        """Add to a sum. An invalid number or metric is detected here or at the end, and raises in neither place."""
        merged = self._merged(dimensions)
        # A string, because the given values may be neither sortable nor hashable.
        key = repr((name, unit, sorted(merged.items(), key=repr) if isinstance(merged, Mapping) else merged))
        try:
            added = number_of(number, f"Metric {truncate(repr(name), 60)}", "count")
        except MwaaInputError as error:
            self._refused[key] = error
            return
        with self._lock:
            if key not in self._counted:
                self._counted[key] = Metric(name, 0.0, unit, merged)
            self._totals[key] = self._totals.get(key, 0.0) + added

    def end(self) -> tuple[list[Metric], list[MwaaInputError]]:
        """Return the metrics, with one sum for each that was counted, and the errors of those that are left out."""
        with self._lock:
            self._has_ended = True
        metrics, refused = [], list(self._refused.values())
        counted = [key for key in self._counted if key not in self._refused]
        for metric in [*self._timed, *(replace(self._counted[key], value=self._totals[key]) for key in counted)]:
            try:
                metric.entries()
            except MwaaInputError as error:
                refused.append(error)
            else:
                metrics.append(metric)
        return metrics, refused

    def _merged(self, dimensions: Any) -> Any:
        common = self.owner.dimensions
        return {**common, **(dimensions or {})} if isinstance(dimensions or {}, Mapping) else dimensions


_innermost: ContextVar[_Block | None] = ContextVar("innermost", default=None)
_open: list[_Block] = []
"""The blocks of this process, in the order in which they began. Only a generator itself knows its blocks."""


class task_metrics:  # noqa: N801 - used as a function is: a block, or a decorator
    """Collects what :func:`timed_metric` and :func:`count_metric` measure, and sends it at the end in one request.

    Use it as a block in a task, or as a decorator below ``@task``, of a function, an ``async`` function or a generator
    function. The metrics are sent even if the block fails. If they cannot be sent, for whatever reason, a warning is
    logged. It neither fails the task nor replaces the task's own error.

    Threads that are started in a block count towards it. Processes do not: let them return their numbers, and count
    these in the task.

    :param namespace: namespace of the metrics.
    :param dimensions: dimensions that all metrics have.
    :param hook: the hook to send with. The default is a :class:`CloudWatchMetricsHook` with its defaults.
    :param timeout_s: how long the task waits for CloudWatch at the end, in seconds, for all attempts together. It is
        short, because it counts towards the task's ``execution_timeout``.
    :raises MwaaInputError: CloudWatch would reject the namespace, or the decorated function is already a task, or an
        asynchronous generator.
    """

    def __init__(
        self,
        namespace: str,
        *,
        dimensions: Mapping[str, str] | None = None,
        hook: CloudWatchMetricsHook | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        check_namespace(namespace)
        if not isinstance(dimensions or {}, Mapping):
            raise MwaaInputError("task_metrics: dimensions must be a dict such as {'Table': 'orders'}.")
        self.namespace = namespace
        self.dimensions = dict(dimensions or {})
        self.hook = hook
        self.timeout_s = timeout_s

    def __enter__(self) -> None:
        block = _Block(self, next(_around(), None))
        _open.append(block)
        _innermost.set(block)

    def __exit__(self, *_: object) -> None:
        # The object may have several blocks: it can be entered again, even by many threads and coroutines at once.
        block = next(each for each in (*_around(), *reversed(_open)) if each.owner is self)
        _open.remove(block)
        if _innermost.get() is block:
            _innermost.set(block.outer)
        self._finish(block)

    def __call__(self, function: Function) -> Function:
        """Decorate a function."""
        name = getattr(function, "__name__", "this")
        if hasattr(function, "override"):  # which @task adds to a function
            raise MwaaInputError(f"task_metrics: {name} is already a task. Put @task_metrics below @task.")
        if inspect.isasyncgenfunction(function):
            raise MwaaInputError(
                f"task_metrics: {name} is an asynchronous generator, which cannot be measured. Decorate the function "
                "that reads it."
            )

        @functools.wraps(function)
        def measured(*arguments: Any, **keywords: Any) -> Any:
            with self:
                return function(*arguments, **keywords)

        @functools.wraps(function)
        async def awaited(*arguments: Any, **keywords: Any) -> Any:
            with self:
                return await function(*arguments, **keywords)

        @functools.wraps(function)
        def generated(*arguments: Any, **keywords: Any) -> Any:
            block, context = _Block(self, next(_around(), None)), copy_context()
            context.run(_innermost.set, block)
            try:
                return (yield from _InContext(function(*arguments, **keywords), context))
            finally:
                self._finish(block)

        if inspect.iscoroutinefunction(function):
            return awaited  # type: ignore[return-value]
        return generated if inspect.isgeneratorfunction(function) else measured  # type: ignore[return-value]

    def _finish(self, block: _Block) -> None:
        """End a block and send its metrics. The result is only logged."""
        if not block.is_open:
            return
        metrics, refused = block.end()
        if refused:
            log.warning("%d metrics of this task were left out. The task continues. %s", len(refused), refused[0])
        if not metrics:
            return
        try:
            self._send(metrics)
        except Exception as error:  # noqa: BLE001 - whatever it is, the task continues, or ends with its own error
            why = error if isinstance(error, MwaaError) else f"{type(error).__name__}: {reason(error)}"
            log.warning("Sending %d metrics of this task failed. The task continues. %s", len(metrics), why)
        else:
            log.info("Sent %d metrics of this task to namespace %r", len(metrics), self.namespace)

    def _send(self, metrics: list[Metric]) -> None:
        """Send metrics in a thread, because no network timeout limits everything that a request may wait for."""
        hook = self.hook or CloudWatchMetricsHook()
        hook.get_conn()  # in the task's own thread, because it may ask Airflow for a connection
        outcome: SimpleQueue[Exception | None] = SimpleQueue()

        def send() -> None:
            try:
                hook.put_metrics(self.namespace, metrics, policy=RetryPolicy(deadline_s=0.8 * self.timeout_s))
            except Exception as error:  # noqa: BLE001 - raised again below
                outcome.put(error)
            else:
                outcome.put(None)

        threading.Thread(target=send, name="task-metrics", daemon=True).start()
        try:
            error = outcome.get(timeout=self.timeout_s)
        except Empty:
            raise CallTimeout(
                f"Namespace {self.namespace!r}: CloudWatch did not answer within {self.timeout_s:g} seconds. It may "
                "have accepted them anyway. Check the network."
            ) from None
        if error:
            raise error


class _InContext(Generator[Any, Any, Any]):
    """Runs each step of a generator in its own context, which the code that reads it does not see between the steps."""

    def __init__(self, generator: Generator[Any, Any, Any], context: Context) -> None:
        self._generator = generator
        self._context = context

    def send(self, value: Any) -> Any:
        return self._context.run(self._generator.send, value)

    def throw(self, *error: Any) -> Any:
        return self._context.run(self._generator.throw, *error)


@contextlib.contextmanager
def timed_metric(name: str, *, dimensions: Mapping[str, str] | None = None) -> Iterator[None]:
    """Measure how long a block takes, in milliseconds, even if it fails.

    :raises MwaaInputError: it is used outside of :class:`task_metrics`.
    """
    block = _current()
    began = time.monotonic()
    try:
        yield
    finally:
        block.add_time(name, time.monotonic() - began, dimensions)


def count_metric(
    name: str, number: float = 1, *, unit: str = "Count", dimensions: Mapping[str, str] | None = None
) -> None:
    """Add to a metric. The sum is sent at the end.

    If a value that is not a number was added to a metric, the metric is left out, with a warning.

    :raises MwaaInputError: it is used outside of :class:`task_metrics`.
    """
    _current().add_count(name, number, unit, dimensions)


def _around() -> Iterator[_Block]:
    """Yield the open blocks around the caller, innermost first."""
    block = _innermost.get()
    while block is not None:
        if block.is_open:
            yield block
        block = block.outer


def _current() -> _Block:
    block = next(_around(), None)
    if block is None:  # a thread does not inherit the context of the thread that started it
        of_process = [each for each in _open if each.is_open]
        block = next((each for each in reversed(of_process) if each.thread_id == of_process[0].thread_id), None)
    if block is None:
        raise MwaaInputError(
            "timed_metric and count_metric must be used within task_metrics. Decorate the task's function with "
            "@task_metrics('NAMESPACE'), below @task. Let processes that a task starts return their numbers, and count "
            "them in the task."
        )
    return block
