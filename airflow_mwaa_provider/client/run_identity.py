# SPDX-License-Identifier: Apache-2.0
"""Whether a run was created for a request: what the two have in common, and how they differ."""

from __future__ import annotations

import json as jsonlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.http.errors import truncate
from airflow_mwaa_provider.client.models import RunRequest

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from airflow_mwaa_provider.client.models import DagRun


@dataclass(frozen=True)
class IdentifiedRequest(RunRequest):
    """A request, and the keys of its conf that distinguish it from others."""

    identified_by: Collection[str] | None = None

    def differences(self, run: DagRun) -> list[str]:
        """Return how a run differs from this request; values of the conf are not repeated."""
        found = []
        if self.logical_date is not None and self.logical_date != run.logical_date:
            its_own = run.logical_date.isoformat() if run.logical_date else "none"
            found.append(f"its logical date is {its_own}, and {self.logical_date.isoformat()} was requested")
        if self.data_interval is not None and run.data_interval is not None and self.data_interval != run.data_interval:
            asked_for = _interval(self.data_interval)
            found.append(f"its data interval is {_interval(run.data_interval)}, and {asked_for} was requested")
        if run.conf is None:
            return found
        # As it comes back from JSON, where a tuple is a list.
        asked, there = jsonlib.loads(jsonlib.dumps(self.conf)), run.conf
        keys = {*asked, *there} if self.identified_by is None else set(self.identified_by)
        for keys_so, how in (
            (sorted(keys & asked.keys() - there.keys()), "its conf lacks"),
            (sorted(keys & there.keys() - asked.keys()), "only its conf has"),
            (
                sorted(key for key in keys & asked.keys() & there.keys() if not _is_same(asked[key], there[key])),
                "its conf has another",
            ),
        ):
            if keys_so:
                found.append(f"{how} {_some(keys_so)}")
        return found


def _is_same(asked: Any, there: Any) -> bool:
    """Compare JSON's own types: true is not 1, and 1e23 may come back as an integer."""
    if isinstance(asked, dict) and isinstance(there, dict):
        return asked.keys() == there.keys() and all(_is_same(asked[key], there[key]) for key in asked)
    if isinstance(asked, list) and isinstance(there, list):
        return len(asked) == len(there) and all(map(_is_same, asked, there))
    if isinstance(asked, bool) or isinstance(there, bool):
        return asked is there
    if isinstance(asked, float) != isinstance(there, float) and isinstance(asked, int | float):
        return isinstance(there, int | float) and float(asked) == float(there)
    return bool(asked == there)


def _interval(interval: tuple[datetime, datetime]) -> str:
    return " to ".join(moment.isoformat() for moment in interval)


def _some(keys: Sequence[str], most: int = 5) -> str:
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(repr(truncate(key, 60)) for key in keys[:most]) + more
