# SPDX-License-Identifier: Apache-2.0
"""The result of a check of requirements: problems, what would be installed, which pins would move."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.packaging.masking import masked
from airflow_mwaa_provider.packaging.problems import Problem, Severity

if TYPE_CHECKING:
    from airflow_mwaa_provider.exceptions import ResolverUnavailable
    from airflow_mwaa_provider.packaging.requirements.regime import Regime
    from airflow_mwaa_provider.packaging.requirements.resolving import Package
    from airflow_mwaa_provider.packaging.requirements.target import Target

__all__ = ["MovedPin", "RequirementsReport", "not_resolved"]

_NOT_RESOLVED = "not-resolved"

PIP_TIME_S = 540
"""How long MWAA lets pip run, in seconds."""
# Measured: pip download takes 48 s for 357 packages of 422 MB; a source archive is also unpacked and built.
_BYTES_A_SECOND = 10_000_000
_SECONDS_A_PACKAGE = 0.15
_SECONDS_A_SOURCE = 20


@dataclass(frozen=True)
class MovedPin:
    """A package of the image that would get another version.

    :param pinned: the image's version.
    :param wanted: the version that the requirements lead to.
    :param line: number of the line that leads to it.
    :param chain: names from that line's package to this one.
    :param is_essential: MWAA never lets it move.
    """

    name: str
    pinned: str
    wanted: str
    line: int
    chain: tuple[str, ...]
    is_essential: bool

    def as_dict(self) -> dict[str, Any]:
        """Return this as a JSON object."""
        return {
            "name": self.name,
            "pinned": self.pinned,
            "wanted": self.wanted,
            "line": self.line,
            "chain": list(self.chain),
            "essential": self.is_essential,
        }


@dataclass(frozen=True)
class RequirementsReport:
    """The result of a check of a requirements file.

    :param name: of the file.
    :param regime: whose constraints the image uses.
    :param resolver: name and version of the program that resolved it; empty if nothing was resolved.
    :param problems: errors first, then by line.
    :param resolved: what would be installed; empty if no versions satisfy the file.
    :param moved_pins: packages of the image that would get another version.
    """

    name: str
    target: Target
    regime: Regime
    resolver: str
    problems: tuple[Problem, ...]
    resolved: tuple[Package, ...] = ()
    moved_pins: tuple[MovedPin, ...] = ()
    lines: int = field(default=0)

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems because of which MWAA cannot install the file."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)

    @property
    def is_complete(self) -> bool:
        """Whether the check is complete: there was a resolver, and it reached the package index."""
        return all(problem.code != _NOT_RESOLVED for problem in self.problems)

    @property
    def download_bytes(self) -> int:
        """The most bytes that pip downloads, including what the image already has. Unknown sizes count as 0."""
        files = (package.wheel or package.source for package in self.resolved)
        return sum(file.size_bytes or 0 for file in files if file is not None)

    @property
    def from_source(self) -> tuple[Package, ...]:
        """Packages without a wheel that fits the image."""
        return tuple(package for package in self.resolved if package.wheel is None and package.source is not None)

    @property
    def estimated_s(self) -> float:
        """The most seconds that pip may take, estimated from bytes, packages, and sources to build."""
        return (
            self.download_bytes / _BYTES_A_SECOND
            + len(self.resolved) * _SECONDS_A_PACKAGE
            + len(self.from_source) * _SECONDS_A_SOURCE
        )

    def as_dict(self) -> dict[str, Any]:
        """Return this as a JSON object."""
        return {
            "file": self.name,
            "airflow": self.target.airflow_version,
            "python": self.target.python,
            "platform": self.target.uv_platform,
            "constraints": self.regime.value,
            "resolver": self.resolver,
            "ok": not self.errors,
            "problems": [problem.as_dict() for problem in self.problems],
            "moved_pins": [pin.as_dict() for pin in self.moved_pins],
            "resolved": [_as_dict(package) for package in self.resolved],
            "download_bytes": self.download_bytes,
            "estimated_s": round(self.estimated_s),
        }


def not_resolved(error: ResolverUnavailable, where: str) -> Problem:
    """Return the problem that nothing could be resolved."""
    return Problem(_NOT_RESOLVED, where, error.what, error.fix)


def _as_dict(package: Package) -> dict[str, Any]:
    file = package.wheel or package.source
    return {
        "name": package.name,
        "version": package.version,
        "file": file.name if file else None,
        "url": masked(file.address) if file else None,
        "is_wheel": package.wheel is not None,
        "size_bytes": file.size_bytes if file else None,
    }
