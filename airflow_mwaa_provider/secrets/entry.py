# SPDX-License-Identifier: Apache-2.0
"""What the cache knows about one look-up."""

from __future__ import annotations

import json
import os
import time
from typing import Any

__all__ = ["ABSENT", "DENIED", "VALUE", "Entry", "Identity", "boot_id", "now_s"]

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_FORM = 1
VALUE = "value"
ABSENT = "absent"
DENIED = "denied"

Identity = tuple[str, str, str, str]
"""Scope, kind, id and team of a look-up."""


class Entry:
    """The answer to one look-up, and when it was given.

    Plain on purpose: the code that ``dataclass`` writes takes longer to compile than a look-up.

    :param outcome: whether there was a value, none, or access was denied.
    :param value: the value; ``None`` unless there was one.
    :param names: the names that were asked for in Secrets Manager, in their order.
    :param problem: what is wrong with the answer, in a sentence without the value; empty if nothing is.
    :param jitter: the share of the time to live after which this entry is no longer fresh, so that not all end at once.
    :param read_at_s: when Secrets Manager gave the answer, by :func:`~airflow_mwaa_provider.secrets.clock.now_s`.
    :param failed_at_s: when it was last asked again in vain; 0 if never.
    """

    __slots__ = (
        "boot", "failed_at_s", "identity", "jitter", "names", "outcome", "problem", "read_at_s", "value", "wall_s",
    )  # fmt: skip

    def __init__(
        self,
        identity: Identity,
        outcome: str,
        value: str | None = None,
        *,
        names: tuple[str, ...] = (),
        problem: str = "",
        jitter: float = 1.0,
        read_at_s: float | None = None,
        wall_s: float | None = None,
        boot: str | None = None,
        failed_at_s: float = 0.0,
    ) -> None:
        self.identity = identity
        self.outcome = outcome
        self.value = value
        self.names = names
        self.problem = problem
        self.jitter = jitter
        self.read_at_s = now_s() if read_at_s is None else read_at_s
        self.wall_s = time.time() if wall_s is None else wall_s
        self.boot = boot_id() if boot is None else boot
        self.failed_at_s = failed_at_s

    def __repr__(self) -> str:
        return f"<Entry {self.identity[1]} {self.identity[2]!r}: {self.outcome}>"

    @property
    def has_value(self) -> bool:
        """Whether there was a value."""
        return self.outcome == VALUE

    @property
    def is_denied(self) -> bool:
        """Whether access was denied."""
        return self.outcome == DENIED

    def age_s(self) -> float | None:
        """Return how old the answer is; ``None`` if that cannot be told: it is of another start of the machine."""
        age = now_s() - self.read_at_s
        if self.boot != boot_id() or age < 0:
            return None
        # Without a name for the start of the machine, the two clocks must confirm each other.
        return age if self.boot else max(age, time.time() - self.wall_s)

    def to_bytes(self) -> bytes:
        """Return it as it is encrypted."""
        fields = {
            "form": _FORM,
            "identity": self.identity,
            "outcome": self.outcome,
            "value": self.value,
            "names": self.names,
            "problem": self.problem,
            "jitter": self.jitter,
            "read_at_s": self.read_at_s,
            "wall_s": self.wall_s,
            "boot": self.boot,
            "failed_at_s": self.failed_at_s,
        }
        return json.dumps(fields).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Entry | None:
        """Return the entry; ``None`` if another version of this package has written it."""
        fields: dict[str, Any] = json.loads(data)
        if fields.pop("form", None) != _FORM:
            return None
        scope, kind, secret_id, team = fields.pop("identity")
        names = tuple(fields.pop("names"))
        return cls((scope, kind, secret_id, team), fields.pop("outcome"), fields.pop("value"), names=names, **fields)


def now_s() -> float:
    """Return the seconds since the machine was started: time that its processes share, and that nobody can set."""
    return time.clock_gettime(_CLOCK)


def boot_id() -> str:
    """Return what names this start of this machine; empty where the system does not tell."""
    global _boot_id
    if _boot_id is None:
        try:
            file = os.open(_BOOT_ID, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _boot_id = os.read(file, 100).decode().strip()
            finally:
                os.close(file)
        except OSError:
            _boot_id = ""
    return _boot_id


_boot_id: str | None = None
