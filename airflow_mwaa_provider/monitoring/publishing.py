# SPDX-License-Identifier: Apache-2.0
"""Send metrics to CloudWatch, in as few requests as its limits allow."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from airflow_mwaa_provider.client.aws.calls import AwsCalls
from airflow_mwaa_provider.client.http.errors import truncate
from airflow_mwaa_provider.exceptions import MetricsNotSent, MwaaError
from airflow_mwaa_provider.monitoring.metrics import check_namespace, metrics_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_mwaa_provider.client.http.retrying import RetryPolicy
    from airflow_mwaa_provider.monitoring.metrics import Metric

__all__ = ["MAX_REQUEST_BYTES", "MAX_REQUEST_METRICS", "put_metrics"]

MAX_REQUEST_METRICS = 1000
MAX_REQUEST_BYTES = 1_000_000
"""The limit for a request's body before compression."""
_ROOM_BYTES = 200
"""Room for the rest of a body, action and version; the namespace is added."""
_NAMES_SHOWN, _NAME_CHARS_SHOWN = 5, 60


def put_metrics(
    client: Any,
    namespace: str,
    metrics: Any,
    *,
    repeat_unsure: bool = False,
    policy: RetryPolicy | None = None,
) -> int:
    """Send metrics; return the number of requests.

    All metrics are checked before the first request. If it is unknown whether a request was accepted, it is not
    repeated, because CloudWatch would count its values twice. Each metric is sent whole, in one request; a metric too
    large for any request is sent, and counted, as several with up to 150 values each.

    :param client: a boto3 client for CloudWatch, without retries of its own.
    :param metrics: one metric or several, as objects or as dicts of their fields.
    :param repeat_unsure: repeat such a request anyway; right if sums and sample counts are never used.
    :param policy: how a request is retried.
    :raises MwaaInputError: CloudWatch would reject something; nothing was sent.
    :raises MetricsNotSent: a request failed; the error has the metrics that were sent and not sent.
    """
    check_namespace(namespace)
    now_s = time.time()
    room = MAX_REQUEST_BYTES - _ROOM_BYTES - 3 * len(namespace)
    size_of = _json_bytes if _protocol(client) == "json" else _form_bytes
    listed = [piece for metric in metrics_of(metrics) for piece in _pieces(metric, now_s, room, size_of)]
    calls = AwsCalls(client, "CloudWatch", "cloudwatch", policy=policy)
    requests = 0
    for begin, end, entries in _requests(listed, now_s, room, size_of):
        try:
            calls.call(
                "PutMetricData",
                f"Namespace {namespace!r}",
                is_mutating=True,
                repeat_unsure=repeat_unsure,
                Namespace=namespace,
                MetricData=entries,
            )
        except MwaaError as error:
            raise _not_sent(listed, begin, end, error) from error
        requests += 1
    return requests


def _pieces(metric: Metric, now_s: float, room: int, size_of: Callable[[Any], int]) -> Sequence[Metric]:
    """Return a metric, or if it is too large for any request, one metric for each of its entries."""
    entries = metric.entries(now_s)
    if len(entries) == 1 or (len(entries) <= MAX_REQUEST_METRICS and sum(map(size_of, entries)) <= room):
        return [metric]
    return [replace(metric, values=entry["Values"], counts=entry["Counts"]) for entry in entries]


def _requests(
    metrics: Sequence[Metric], now_s: float, room: int, size_of: Callable[[Any], int]
) -> Iterator[tuple[int, int, list[dict[str, Any]]]]:
    """Divide metrics into requests. Yield the first metric of each, the one after its last, and its entries."""
    begin, used = 0, 0
    entries: list[dict[str, Any]] = []
    for number, metric in enumerate(metrics):
        # Built a second time: kept since the check, the entries of 100,000 metrics would take 100 MB, and save 0.8 s.
        added = metric.entries(now_s)
        needed = sum(map(size_of, added))
        if entries and (len(entries) + len(added) > MAX_REQUEST_METRICS or used + needed > room):
            yield begin, number, entries
            begin, entries, used = number, [], 0
        entries += added
        used += needed
    if entries:
        yield begin, len(metrics), entries


def _protocol(client: Any) -> str:
    """Return the protocol that the installed botocore uses for CloudWatch."""
    model = client.meta.service_model
    return str(getattr(model, "resolved_protocol", None) or model.protocol)  # the former in newer versions


def _json_bytes(entry: dict[str, Any]) -> int:
    """Return the size of an entry in JSON."""
    return len(json.dumps(entry, default=datetime.timestamp)) + len(", ")


def _form_bytes(entry: Any, path_bytes: int = len("&MetricData.member.1000")) -> int:
    """Return the size of an entry in a form, where each string and number follows its whole path.

    No other protocol needs more, because none repeats the paths.
    """
    if isinstance(entry, dict):
        return sum(_form_bytes(each, path_bytes + len(f".{name}")) for name, each in entry.items())
    if isinstance(entry, list):
        return sum(_form_bytes(each, path_bytes + len(f".member.{number}")) for number, each in enumerate(entry, 1))
    text = f"{entry:%Y-%m-%dT%H:%M:%S.%fZ}" if isinstance(entry, datetime) else str(entry)
    return path_bytes + len("=") + len(quote_plus(text))


def _not_sent(metrics: Sequence[Metric], begin: int, end: int, error: MwaaError) -> MetricsNotSent:
    failed = metrics[begin:end]
    names = [truncate(repr(name), _NAME_CHARS_SHOWN) for name in dict.fromkeys(metric.name for metric in failed)]
    shown = ", ".join(names[:_NAMES_SHOWN])
    if len(names) > _NAMES_SHOWN:
        shown += f" and {len(names) - _NAMES_SHOWN} more names"
    rest = len(metrics) - end
    return MetricsNotSent(
        f"{error} Of {len(metrics):,} metrics {begin:,} were sent; this request had {len(failed):,} ({shown})"
        + (f", and {rest:,} come after it." if rest else "."),
        sent=begin,
        doubtful=failed if error.ambiguous else (),
        unsent=metrics[end if error.ambiguous else begin :],
        code=getattr(error, "code", None),
        transient=error.transient,
        ambiguous=error.ambiguous,
    )
