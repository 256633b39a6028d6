# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a file before it is uploaded: where, what, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from airflow_mwaa_provider.packaging.masking import masked

__all__ = ["Problem", "Severity"]


class Severity(StrEnum):
    """The severity of a problem."""

    ERROR = "error"
    """MWAA cannot install or use the file."""
    WARNING = "warning"
    """MWAA can use it, but probably not as its author intends."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a file. Users and passwords in addresses are masked in its sentences.

    :param code: the kind of problem, in words joined by dashes: stable, for machines and for the docs.
    :param where: file and line (``requirements.txt:12``), or archive and entry (``plugins.zip: my/plugin.py``).
    :param what: a sentence that names the thing.
    :param fix: a sentence with what to do.
    """

    code: str
    where: str
    what: str
    fix: str
    severity: Severity = Severity.ERROR

    def __post_init__(self) -> None:
        object.__setattr__(self, "what", masked(self.what))
        object.__setattr__(self, "fix", masked(self.fix))

    def __str__(self) -> str:
        return f"{self.where}: {self.what} {self.fix}"

    def as_dict(self) -> dict[str, str]:
        """Return the problem as a JSON object."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "where": self.where,
            "what": self.what,
            "fix": self.fix,
        }
