# SPDX-License-Identifier: Apache-2.0
"""Faults that can be injected: wrong, late or missing answers.

``reset_before`` and ``reset_after`` look the same to the client (a connection reset, no answer), but with the second
the request has taken effect. An exactly-once client must find out which by another request.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import struct
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

_TARGETS = (
    "any",
    "control_plane",
    "create_cli_token",
    "create_web_login_token",
    "get_environment",
    "invoke_rest_api",
    "cli",
    "login",
    "rest",
)
_FIELDS = {
    "target", "kind", "environment", "method", "path", "status", "delay_s", "times", "probability", "seed",
}  # fmt: skip
_SMALL_BODY_BYTES = 1024 * 1024
_HTML = (
    "<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n"
    "<center><h1>{status} {reason}</h1></center>\r\n</body>\r\n</html>\r\n"
)
"""The page of an AWS load balancer."""


class FaultError(ValueError):
    """A fault's description is invalid; the message is one line that says why."""


class FaultKind(StrEnum):
    """What happens to the request."""

    STATUS = "status"
    """An error answer in the API's own form; the request takes no effect."""
    HTML = "html"
    """An error page of a load balancer; the request takes no effect."""
    DELAY = "delay"
    """The request is delayed, then carried out."""
    RESET_BEFORE = "reset_before"
    """The connection is reset; the request takes no effect."""
    RESET_AFTER = "reset_after"
    """The request is carried out; then the connection is reset instead of an answer."""
    STATUS_AFTER = "status_after"
    """The request is carried out; the answer is an error page of a load balancer."""

    @property
    def takes_effect(self) -> bool:
        """Return whether the request is carried out and its real answer discarded."""
        return self in (FaultKind.RESET_AFTER, FaultKind.STATUS_AFTER)


@dataclass
class Fault:
    """One fault and how often it has fired."""

    fault_id: int
    target: str
    kind: FaultKind
    environment: str | None = None
    method: str | None = None
    path: str | None = None
    status: int = 502
    delay_s: float = 0.0
    times: int | None = None
    probability: float | None = None
    seed: int | None = None
    fired: int = 0
    seen: int = 0
    """The number of requests that it could have hit."""
    _random: random.Random = field(default_factory=random.Random, repr=False)

    def matches(self, call: FaultCall) -> bool:
        """Return whether it applies to a call."""
        return (
            (self.target == "any" or self.target in call.targets)
            and self.environment in (None, call.environment)
            and self.method in (None, call.method)
            and (self.path is None or any(fnmatchcase(path, self.path) for path in call.paths))
        )

    def fires(self) -> bool:
        """Draw whether it hits this call; once per call, so that a seed determines the sequence."""
        self.seen += 1
        if self.times is not None and self.fired >= self.times:
            return False
        if self.probability is not None and self._random.random() >= self.probability:
            return False
        self.fired += 1
        return True

    def as_dict(self) -> dict[str, Any]:
        """Return the fault in the admin API's form."""
        names = ["target", "kind", "environment", "method", "path", "status", "delay_s", "times"]
        names += ["probability", "seed", "fired", "seen"]
        return {"id": self.fault_id, **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True)
class FaultCall:
    """A call, as faults see it."""

    targets: Sequence[str]
    environment: str | None
    method: str
    paths: Sequence[str]
    """All names that a pattern may match: the URL's path, Airflow's API path, a CLI command's words."""


class FaultPlan:
    """The faults of one local MWAA, in the order in which they were added: the first that fires wins."""

    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._ids = itertools.count(1)

    def add(self, description: Mapping[str, Any]) -> Fault:
        """Add a fault.

        :param description: ``{"target", "kind"}`` and optionally environment, method, path (a glob), status,
            delay_s, times, probability, seed.
        :raises FaultError: it is invalid.
        """
        unknown = set(description) - _FIELDS
        if unknown:
            raise FaultError(
                f"unknown fields of a fault: {', '.join(sorted(unknown))}; known are {', '.join(sorted(_FIELDS))}"
            )
        values = {name: value for name, value in description.items() if value is not None}
        if values.get("target") not in _TARGETS:
            raise FaultError(f"target must be one of {', '.join(_TARGETS)}")
        try:
            values["kind"] = FaultKind(values.get("kind", ""))
        except ValueError:
            raise FaultError(f"kind must be one of {', '.join(FaultKind)}") from None
        for name in ("environment", "method", "path"):
            if not isinstance(values.get(name, ""), str):
                raise FaultError(f"{name} must be a string")
        _number(values, "status", int, 400, 599)
        _number(values, "delay_s", float, 0, 3600)
        _number(values, "times", int, 1, 1_000_000)
        _number(values, "probability", float, 0, 1)
        _number(values, "seed", int, 0, 2**63)
        if values["kind"] is FaultKind.DELAY and not values.get("delay_s"):
            raise FaultError("a fault of kind delay needs a positive delay_s")
        if "seed" in values and "probability" not in values:
            raise FaultError("seed requires probability")
        generator = random.Random(values.get("seed"))  # noqa: S311 - chance, not cryptography
        fault = Fault(fault_id=next(self._ids), _random=generator, **values)
        self._faults[fault.fault_id] = fault
        return fault

    def all(self) -> list[Fault]:
        """Return all faults, including used-up ones, which show how often they fired."""
        return list(self._faults.values())

    def remove(self, fault_id: int) -> bool:
        """Remove one; return False if there is none with that id."""
        return self._faults.pop(fault_id, None) is not None

    def clear(self) -> None:
        """Remove all."""
        self._faults.clear()

    def pick(self, call: FaultCall) -> Fault | None:
        """Return the fault that hits this call, if any."""
        for fault in self._faults.values():
            if fault.matches(call) and fault.fires():
                return fault
        return None


def _number(values: dict[str, Any], name: str, kind: type, least: float, most: float) -> None:
    if name not in values:
        return
    value = values[name]
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most
    if not good or (kind is int and value != int(value)):
        raise FaultError(f"{name} must be a number from {least} to {most}")
    values[name] = kind(value)


def html_page(status: int) -> web.Response:
    """Return a load balancer's error page."""
    response = web.Response(status=status, content_type="text/html", headers={"Server": "awselb/2.0"})
    response.text = _HTML.format(status=status, reason=response.reason)
    return response


def reset_connection(request: web.Request) -> None:
    """Close a client's connection with a TCP reset, so that it cannot be mistaken for an empty answer."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        # Linger of zero seconds: closing sends RST instead of FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def hold_body(request: web.Request) -> bytes | None:
    """Read a small body now, so that the request can be carried out even if the client disconnects meanwhile.

    :return: None for a body that is large or of unknown size, which remains a stream.
    """
    if not request.body_exists or request.content_length is None or request.content_length > _SMALL_BODY_BYTES:
        return None
    # aiohttp keeps what was read with the request: the next read returns the same.
    return await request.read()


async def carry_out(
    fault: Fault | None,
    request: web.Request,
    *,
    answer: Callable[[], Awaitable[web.StreamResponse]],
    effect_only: Callable[[], Awaitable[object]],
    error: Callable[[int], web.StreamResponse],
) -> web.StreamResponse:
    """Answer a request with the selected fault, or normally.

    :param answer: carries out the request and answers it.
    :param effect_only: carries it out and reads the whole answer without sending it.
    :param error: creates the API's own error answer for a status.
    """
    if fault is None:
        return await answer()
    if fault.kind is FaultKind.DELAY:
        await hold_body(request)
        await asyncio.sleep(fault.delay_s)
        return await answer()
    if fault.kind is FaultKind.STATUS:
        return error(fault.status)
    if fault.kind is FaultKind.HTML:
        return html_page(fault.status)
    if fault.kind.takes_effect:
        await effect_only()
    if fault.kind is FaultKind.STATUS_AFTER:
        return html_page(fault.status)
    reset_connection(request)
    # aiohttp requires a response object, although there is no connection to send it on.
    return web.Response(status=fault.status)
