# SPDX-License-Identifier: Apache-2.0
"""The program of the moto process: its server, with additions for a local MWAA.

Run with the arguments of ``moto_server``.
"""

from __future__ import annotations

import copy
import logging
import re
import threading
from typing import Any

from moto.cloudwatch.models import CloudWatchBackend, MetricAggregatedDatum, MetricDatum
from moto.logs.models import LogEvent, LogGroup, LogStream
from moto.s3 import models as s3
from moto.server import main

from airflow_mwaa_provider.local.machine.moto_eks import use_tagged_endpoints
from airflow_mwaa_provider.local.machine.moto_jobs import add_ecs_tasks, add_emr_steps

KEPT_BYTES = 32 * 1024 * 1024
"""The limit for each log group of an environment: moto keeps all events in memory, maybe for weeks."""
_EVENT_BYTES = 250
"""The bytes that moto needs for an event besides its text (measured)."""
KEPT_POINTS = 100_000
"""The limit for the metrics of all environments together: about half a day of two environments."""
_NAMESPACES = ("AmazonMWAA", "AWS/MWAA")
_GROUP = re.compile(r"airflow-.+-(?:DAGProcessing|Scheduler|Task|WebServer|Worker)")


def mark_checksums() -> None:
    """Mark the checksum of an object that was uploaded in parts as one of their checksums, as S3 does: "abc=-3".

    Releases of moto before about 5.1.11 do not, and newer releases of boto3 then reject what they read.
    """
    if hasattr(s3, "MultipartChecksumBuilder"):
        return
    patched: Any = s3.FakeMultipart
    complete = patched.complete

    def marked(self: Any, body: Any) -> Any:
        parts = list(body)
        value, etag, *checksum = complete(self, iter(parts))
        return value, etag, *(f"{text}-{len(parts)}" if text else text for text in checksum)

    patched.complete = marked


def bound_logs() -> None:
    """Make log groups of environments drop their oldest events."""
    patched: Any = LogGroup
    put = patched.put_log_events

    def put_and_forget(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = put(self, *args, **kwargs)
        if _GROUP.fullmatch(self.name):
            forget_oldest(self, KEPT_BYTES)
        return answer

    patched.put_log_events = put_and_forget
    _untrack(LogEvent, LogStream)


def bound_metrics() -> None:
    """Make metrics of environments drop their oldest points, and find metrics like CloudWatch."""
    patched: Any = CloudWatchBackend
    put, get = patched.put_metric_data, patched.get_metric_data

    one_at_a_time = threading.Lock()

    def put_and_forget(self: Any, namespace: str, metric_data: Any) -> None:
        with one_at_a_time:  # what others write meanwhile would be dropped, too
            put(self, namespace, metric_data)
            if namespace in _NAMESPACES:
                forget_oldest_points(self, KEPT_POINTS)

    def get_of_the_few(self: Any, queries: Any, *args: Any, **kwargs: Any) -> Any:
        # moto goes through all points for each query and period.
        metrics = [query["MetricStat"]["Metric"] for query in queries if "MetricStat" in query]
        asked = {(metric["Namespace"], metric["MetricName"]) for metric in metrics}
        if any(query.get("Expression", "").startswith("SELECT") for query in queries):
            return get(self, queries, *args, **kwargs)
        few = copy.copy(self)
        few.metric_data = [point for point in self.metric_data if (point.namespace, point.name) in asked]
        return get(few, queries, *args, **kwargs)

    patched.put_metric_data = put_and_forget
    patched.get_metric_data = get_of_the_few
    patched.get_filtered_metrics = list_series
    _untrack(MetricDatum, MetricAggregatedDatum)


def list_series(backend: Any, metric_name: str, namespace: str, dimensions: Any) -> list[Any]:
    """Return one point of each series: moto has a series for each time that it was published."""
    found: dict[tuple[str, str, frozenset[tuple[str, str]]], Any] = {}
    for point in backend.get_all_metrics():
        if point.filter(namespace=namespace, name=metric_name, dimensions=dimensions):
            own = frozenset((dimension.name, dimension.value) for dimension in point.dimensions)
            found.setdefault((point.namespace, point.name, own), point)
    return list(found.values())


def forget_oldest_points(backend: Any, kept: int) -> None:
    """Remove the oldest points of environments' metrics if there are too many. Users' own metrics are kept."""
    if len(backend.metric_data) <= kept:
        return
    count = sum(point.namespace in _NAMESPACES for point in backend.metric_data)
    # Well below the limit, so that this is not necessary at each call.
    surplus = count - kept * 3 // 4 if count > kept else 0
    left = []
    for point in backend.metric_data:
        if surplus > 0 and point.namespace in _NAMESPACES:
            surplus -= 1
        else:
            left.append(point)
    backend.metric_data = left


def _untrack(*models: type) -> None:
    # moto lists all objects that ever existed, for a page that is never read: memory would never be freed.
    for model in models:
        untracked: Any = model
        untracked.__new__ = staticmethod(_new)


def _new(model: type, *_args: Any, **_kwargs: Any) -> Any:
    return object.__new__(model)


def forget_oldest(group: Any, kept_bytes: int) -> None:
    """Remove the oldest events of a group that is too large, and streams that are then empty."""
    streams = list(group.streams.values())
    if sum(stream.stored_bytes + _EVENT_BYTES * len(stream.events) for stream in streams) <= kept_bytes:
        return
    events = sorted((event for stream in streams for event in stream.events), key=lambda event: -event.timestamp)
    # Well below the limit, so that this is not necessary at each call.
    left = kept_bytes * 3 // 4
    oldest = events[0].timestamp
    for event in events:
        left -= len(event.message) + _EVENT_BYTES
        if left < 0:
            break
        oldest = event.timestamp
    for name, stream in list(group.streams.items()):
        stream.events = [event for event in stream.events if event.timestamp >= oldest]
        stream.stored_bytes = sum(len(event.message) for event in stream.events)
        if not stream.events:
            del group.streams[name]


if __name__ == "__main__":
    # It would log every request of the buckets' mirrors.
    logging.getLogger("werkzeug").setLevel("WARNING")
    mark_checksums()
    bound_logs()
    bound_metrics()
    use_tagged_endpoints()
    add_emr_steps()
    add_ecs_tasks()
    main()
