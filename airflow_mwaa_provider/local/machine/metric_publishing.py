# SPDX-License-Identifier: Apache-2.0
"""Publish metrics to moto's CloudWatch, once a minute like MWAA.

They bypass the endpoint, which keeps users out of AWS's namespaces. What cannot be sent is dropped, because a metric of
a past minute is worth less than a current one.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlencode, urlsplit

from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine.threads import run_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

log = logging.getLogger(__name__)

_PER_CALL = 150
"""Older releases of moto take a time that grows with the square of a call's size."""
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Statistics:
    """A summary of several values."""

    count: float
    total: float
    minimum: float
    maximum: float


@dataclass(frozen=True)
class Datum:
    """One metric's value, or values."""

    namespace: str
    name: str
    unit: str
    dimensions: tuple[tuple[str, str], ...]
    value: float | Statistics


class MetricSource(Protocol):
    """A source of metrics."""

    async def measure(self) -> Sequence[Datum]:
        """Return the metrics since the last call."""


class CloudWatchUnreachable(Exception):
    """CloudWatch does not answer, or gives an unexpected answer."""


class MetricPublishing:
    """Publishes the metrics of all sources, as long as it runs.

    :param interval_s: the time between two publications.
    """

    def __init__(self, cloudwatch_url: str, region: str, interval_s: float) -> None:
        self._url = cloudwatch_url
        self._region = region
        self._interval_s = interval_s
        self._is_reached = True

    async def run(self, sources: Callable[[], Iterable[MetricSource]]) -> None:
        """Publish forever; failures are logged, and their metrics dropped."""
        while True:
            await asyncio.sleep(self._interval_s)
            for source in list(sources()):
                try:
                    await run_whole(self.publish, await source.measure())
                except (CloudWatchUnreachable, LocalMwaaError) as error:
                    if self._is_reached:
                        log.warning("metrics are dropped until CloudWatch answers: %s", error)
                    self._is_reached = False
                except Exception:
                    # A failure to publish must not end what is measured.
                    log.exception("metrics could not be published")
                else:
                    self._is_reached = True

    def publish(self, data: Sequence[Datum]) -> None:
        """Send metrics to CloudWatch.

        :raises CloudWatchUnreachable: some of them were not accepted.
        """
        parts = urlsplit(self._url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=_TIMEOUT_S)
        # moto reads region and service from the signature, and checks no more of it.
        credential = f"local/20200101/{self._region}/monitoring/aws4_request"
        headers = {
            "Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        try:
            for form in forms(data):
                connection.request("POST", "/", urlencode(form), headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    raise CloudWatchUnreachable(f"PutMetricData: status {answer.status}")
        except (OSError, http.client.HTTPException) as error:
            raise CloudWatchUnreachable(f"CloudWatch can't be reached: {error or type(error).__name__}") from error
        finally:
            connection.close()


def forms(data: Sequence[Datum]) -> Iterator[dict[str, str]]:
    """Return the calls of PutMetricData for some data, in the query protocol, which every release of moto has."""
    for namespace in dict.fromkeys(datum.namespace for datum in data):
        chosen = [datum for datum in data if datum.namespace == namespace]
        for begin in range(0, len(chosen), _PER_CALL):
            form = {"Action": "PutMetricData", "Version": "2010-08-01", "Namespace": namespace}
            for number, datum in enumerate(chosen[begin : begin + _PER_CALL], start=1):
                form.update(_fields(datum, f"MetricData.member.{number}"))
            yield form


def _fields(datum: Datum, at: str) -> Iterator[tuple[str, str]]:
    yield f"{at}.MetricName", datum.name
    yield f"{at}.Unit", datum.unit
    for number, (name, value) in enumerate(datum.dimensions, start=1):
        yield f"{at}.Dimensions.member.{number}.Name", name
        yield f"{at}.Dimensions.member.{number}.Value", value
    if isinstance(datum.value, Statistics):
        for name, number_ in (
            ("SampleCount", datum.value.count),
            ("Sum", datum.value.total),
            ("Minimum", datum.value.minimum),
            ("Maximum", datum.value.maximum),
        ):
            yield f"{at}.StatisticValues.{name}", repr(number_)
    else:
        yield f"{at}.Value", repr(datum.value)
