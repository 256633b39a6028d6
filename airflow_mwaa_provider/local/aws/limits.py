# SPDX-License-Identifier: Apache-2.0
"""The limits of the local MWAA, which can be changed while it runs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class LimitError(ValueError):
    """A limit of that name does not exist, or cannot have that value; the message is one line."""


@dataclass
class Limits:
    """MWAA's limits, with MWAA's own values as defaults.

    Source: the user guide's chapter "Access to Apache Airflow" (tokens 60 s, session 12 h), FACTS.md (4 CLI
    commands at once, 10 s, 6 MB, path of 64, about 10 calls a second), both of 2026-11.
    """

    update_min_s: float = 3.0
    """The minimum time of an update, even if it restarts nothing: MWAA takes minutes for each."""
    token_lifetime_s: float = 60.0
    session_lifetime_s: float = 12 * 3600.0
    cli_concurrency: int = 4
    cli_timeout_s: float = 300.0
    """Unproven: MWAA's own value is not published. Long enough for any command that its web server finishes."""
    rest_timeout_s: float = 10.0
    rest_response_max_bytes: int = 6 * 1024 * 1024
    rest_path_max_chars: int = 64
    rest_calls_per_second: float = 10.0

    def change(self, values: Mapping[str, object]) -> None:
        """Change some limits, or none of them.

        :raises LimitError: a name is unknown, or a value is not a positive number of the limit's type.
        """
        checked: dict[str, float | int] = {}
        known = self.as_dict()
        for name, value in values.items():
            if name not in known:
                raise LimitError(f"no such limit: {name!r}; known are {', '.join(sorted(known))}")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
                raise LimitError(f"{name} must be a positive number, not {value!r}")
            whole = isinstance(known[name], int)
            if whole and value != int(value):
                raise LimitError(f"{name} must be a whole number, not {value!r}")
            checked[name] = int(value) if whole else float(value)
        for name, number in checked.items():
            setattr(self, name, number)

    def as_dict(self) -> dict[str, float | int]:
        """Return all limits by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
