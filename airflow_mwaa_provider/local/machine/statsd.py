# SPDX-License-Identifier: Apache-2.0
"""A StatsD server that only aggregates what is reported over UDP on loopback, until it is collected.

Source: StatsD's "Metric Types Supported". Tags, as in DataDog and InfluxDB, are ignored.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass
from enum import StrEnum

log = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_MAX_SERIES = 20_000
"""The limit for names until they are collected: a name may contain any task's id, and there may be too many."""


class Kind(StrEnum):
    """The types of StatsD metrics, as in its lines."""

    COUNTER = "c"
    GAUGE = "g"
    TIMER = "ms"


@dataclass(slots=True)
class Series:
    """What was reported under one name since the last collection; for a gauge, its last value."""

    count: int
    total: float
    minimum: float
    maximum: float

    def add(self, value: float) -> None:
        """Add a value."""
        self.count += 1
        self.total += value
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)


class Totals:
    """Aggregates StatsD lines."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, Kind], Series] = {}
        self._gauges: dict[str, float] = {}
        self._is_full = False

    def add(self, datagram: bytes) -> None:
        """Add the lines of a datagram; anything that is not a StatsD line is skipped."""
        for line in datagram.decode("utf-8", "replace").splitlines():
            name, separator, rest = line.partition(":")
            value, *fields = rest.split("|")
            if not separator or not fields:
                continue
            try:
                rate = next((float(field[1:]) for field in fields[1:] if field.startswith("@")), 1.0)
                self._add(name.partition(",")[0], value, Kind(fields[0]), rate)
            except (ValueError, ZeroDivisionError):
                continue

    def _add(self, name: str, text: str, kind: Kind, rate: float) -> None:
        value = float(text)
        if not math.isfinite(value):
            return  # CloudWatch accepts none
        if kind is Kind.COUNTER:
            value /= rate
        elif kind is Kind.GAUGE:
            # With a sign, it is added to the gauge's previous value.
            value += self._gauges.get(name, 0.0) if text[:1] in "+-" else 0.0
            self._gauges[name] = value
        found = self._series.get((name, kind))
        if found is None:
            if len(self._series) < _MAX_SERIES:
                self._series[name, kind] = Series(1, value, value, value)
            elif not self._is_full:
                self._is_full = True
                log.warning("more than %d names of metrics at a time: the others are dropped", _MAX_SERIES)
        elif kind is Kind.GAUGE:
            self._series[name, kind] = Series(1, value, value, value)
        else:
            found.add(value)

    def take(self) -> dict[tuple[str, Kind], Series]:
        """Return what was reported since the last call, and start again."""
        taken, self._series = self._series, {}
        self._is_full = False
        if len(self._gauges) > _MAX_SERIES:
            self._gauges.clear()
        return taken


class StatsdListener(asyncio.DatagramProtocol):
    """Receives StatsD on a free port of loopback."""

    def __init__(self) -> None:
        self.totals = Totals()
        self._transport: asyncio.BaseTransport | None = None

    @classmethod
    async def open(cls) -> StatsdListener:
        """Begin to listen.

        :raises OSError: there is no free port.
        """
        _, listener = await asyncio.get_running_loop().create_datagram_endpoint(cls, local_addr=(_HOST, 0))
        return listener

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: host and port."""
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")[:2]
        return host, port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport, which ends it."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:  # noqa: ARG002
        """Add a datagram."""
        self.totals.add(data)

    def close(self) -> None:
        """Stop listening."""
        if self._transport is not None:
            self._transport.close()
