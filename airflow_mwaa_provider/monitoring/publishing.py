# SPDX-License-Identifier: Apache-2.0
"""Metrics on their way to CloudWatch: as few requests as its limits allow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from airflow_mwaa_provider.client.aws_calls import AwsCalls
from airflow_mwaa_provider.client.network_faults import shortened
from airflow_mwaa_provider.exceptions import MetricsNotSent, MwaaError
from airflow_mwaa_provider.monitoring.metrics import check_namespace, metrics_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_mwaa_provider.client.retrying import RetryPolicy
    from airflow_mwaa_provider.monitoring.metrics import Metric

__all__ = ["MAX_REQUEST_BYTES", "MAX_REQUEST_METRICS", "put_metrics"]

MAX_REQUEST_METRICS = 1000
MAX_REQUEST_BYTES = 1_000_000
"""Of a request's body, before it is compressed."""
_ROOM_BYTES = 1000
"""For what a body has beside its metrics: action, version, namespace."""
_PATH_BYTES = len("&MetricData.member.1000.Dimensions.member.30.Value=")
_NUMBER_BYTES = len("-1.7976931348623157e+308")
_NAMES_SHOWN, _NAME_CHARS_SHOWN = 5, 60


def put_metrics(
    client: Any,
    namespace: str,
    metrics: Any,
    *,
    repeat_unsure: bool = False,
    policy: RetryPolicy | None = None,
) -> int:
    """Send metrics; return by how many requests.

    All are checked before the first request. A request of which nobody knows whether it was taken is not repeated,
    because CloudWatch would count its values twice.

    :param client: boto3's client of CloudWatch, without retries of its own.
    :param metrics: a metric, or any number of them; dicts of a metric's fields will do.
    :param repeat_unsure: repeat such a request: right where a sum or a number of samples is never looked at.
    :param policy: how long, and how patiently, one request is repeated.
    :raises MwaaInputError: CloudWatch would refuse something; nothing was sent.
    :raises MetricsNotSent: a request failed; says which metrics were sent.
    """
    check_namespace(namespace)
    listed = metrics_of(metrics)
    now_s = time.time()
    for metric in listed:
        metric.entries(now_s)
    calls = AwsCalls(client, "CloudWatch", "cloudwatch", policy=policy)
    room = MAX_REQUEST_BYTES - _ROOM_BYTES - 3 * len(namespace)
    requests = 0
    for begin, end, entries in _requests(listed, now_s, room):
        try:
            calls.call(
                "PutMetricData",
                f"Namespace {namespace!r}",
                acts=True,
                repeat_unsure=repeat_unsure,
                Namespace=namespace,
                MetricData=entries,
            )
        except MwaaError as error:
            raise _not_sent(listed, begin, end, error) from error
        requests += 1
    return requests


def _requests(metrics: Sequence[Metric], now_s: float, room: int) -> Iterator[tuple[int, int, list[dict[str, Any]]]]:
    """Divide metrics into requests: of each the first metric, the one after its last, and its entries."""
    begin, last, used = 0, 0, 0
    entries: list[dict[str, Any]] = []
    for number, metric in enumerate(metrics):
        for entry in metric.entries(now_s):
            needed = _most_bytes(entry)
            if entries and (len(entries) == MAX_REQUEST_METRICS or used + needed > room):
                yield begin, last + 1, entries
                entries, used = [], 0
            if not entries:
                begin = number
            entries.append(entry)
            used += needed
            last = number
    if entries:
        yield begin, len(metrics), entries


def _most_bytes(entry: dict[str, Any]) -> int:
    """Return how many bytes an entry has at most, in whichever protocol the installed botocore speaks.

    That of forms, the oldest, is the longest: each name, value and number stands behind its whole path.
    """
    texts = [entry["MetricName"], entry["Unit"]]
    for dimension in entry["Dimensions"]:
        texts += dimension.values()
    numbers = len(entry.get("Values", ())) + len(entry.get("Counts", ())) + 5  # or a value, or four statistics
    return sum(_PATH_BYTES + len(quote_plus(text)) for text in texts) + numbers * (_PATH_BYTES + _NUMBER_BYTES)


def _not_sent(metrics: Sequence[Metric], begin: int, end: int, error: MwaaError) -> MetricsNotSent:
    failed = metrics[begin:end]
    names = [shortened(repr(name), _NAME_CHARS_SHOWN) for name in dict.fromkeys(metric.name for metric in failed)]
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
