# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the packages that a requirements file leads to: yanked ones, sources, wheels, hashes, time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_mwaa_provider.packaging.image import image_of
from airflow_mwaa_provider.packaging.image_constraints import normalized
from airflow_mwaa_provider.packaging.problems import Problem, Severity
from airflow_mwaa_provider.packaging.requirements.conflicts import needed_by, way_to
from airflow_mwaa_provider.packaging.requirements.downloading import open_file
from airflow_mwaa_provider.packaging.requirements.lines import WRITE_HASHES, pinned_version, wants_hashes
from airflow_mwaa_provider.packaging.requirements.parsing import Kind
from airflow_mwaa_provider.packaging.requirements.question import is_remote
from airflow_mwaa_provider.packaging.requirements.report import PIP_TIME_S
from airflow_mwaa_provider.packaging.requirements.sources import SourceKind, kind_of_source
from airflow_mwaa_provider.packaging.wheels import wheel_content_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from airflow_mwaa_provider.packaging.requirements.messages import ResolverWarning
    from airflow_mwaa_provider.packaging.requirements.parsing import Line
    from airflow_mwaa_provider.packaging.requirements.question import RequirementsFile
    from airflow_mwaa_provider.packaging.requirements.report import RequirementsReport
    from airflow_mwaa_provider.packaging.requirements.resolving import Package, Resolution

__all__ = ["PackageChecks", "lines_by_package", "with_the_hashed_file"]

_AT_ONCE = 8
_AIRFLOW = "apache-airflow"


def lines_by_package(
    file: RequirementsFile, lines: Sequence[Line], packages: Sequence[Package]
) -> dict[str, Line | None]:
    """Return the line that asks for each package, by its name or its file; None if another package needs it.

    :param lines: that were resolved.
    """
    wanted = [line for line in file.lines if file.image.target.is_wanted(line)]

    def line_of(package: Package) -> Line | None:
        files = {each.name for each in (package.wheel, package.source) if each is not None}
        for line in (*lines, *wanted):
            name = line.requirement and normalized(line.requirement.name)
            if name == package.name or (name is None and line.file_name in files):
                return next(each for each in wanted if each.number == line.number)
        return None

    return {package.name: line_of(package) for package in packages}


def with_the_hashed_file(package: Package, line: Line | None) -> Package:
    """Return a package with the best of its files that has one of its line's hashes, as pip takes it."""
    given = line.hashes if line is not None else frozenset()
    for wheel in (package.wheel, *package.others):
        if wheel is not None and given & set(wheel.hashes):
            return replace(package, wheel=wheel)
    if package.source is not None and given & set(package.source.hashes):
        return replace(package, wheel=None)
    return package


@dataclass(frozen=True)
class PackageChecks:
    """The checks of what was resolved.

    :param lines: that were resolved.
    :param asked_for: the line that asks for each package; None if another package needs it.
    :param report: with the packages, without their problems.
    :param warnings: of the resolver.
    :param free: returns a resolution with what needs what; None if the resolver has none.
    """

    file: RequirementsFile
    lines: Sequence[Line]
    asked_for: Mapping[str, Line | None]
    report: RequirementsReport
    warnings: Sequence[ResolverWarning]
    free: Callable[[], Resolution] | None

    def problems(self) -> Iterator[Problem]:
        """Return what is wrong with the packages."""
        for warning in self.warnings:
            yield from self._warned(warning)
        yield from self._sources()
        yield from self._wheels_here()
        yield from self._install_time()
        yield from self._hashes()

    @property
    def _by_name(self) -> dict[str, Line]:
        return {normalized(line.requirement.name): line for line in reversed(self.lines) if line.requirement}

    def _warned(self, warning: ResolverWarning) -> Iterator[Problem]:
        """Return a problem for a yanked version, or for an extra that a package lacks."""
        by_name = self._by_name
        way = next(((name,) for name in warning.names if name in by_name), ()) or self._way_to_one_of(warning.names)
        line = by_name.get(way[0]) if way else None
        if line is None or line.requirement is None:
            return
        name, where = line.requirement.name, self.file.where(line.number)
        if warning.yanked_because is not None:
            which = name if len(way) == 1 else f"{way[-1]} ({' needs '.join(way)})"
            yield Problem(
                "yanked",
                where,
                f"This version of {which} was withdrawn by its authors: {warning.yanked_because}.",
                "Choose another version.",
                Severity.WARNING,
            )
        elif extras := sorted(line.requirement.extras & warning.quoted):
            yield Problem(
                "unknown-extra",
                where,
                f"{name} has no extra {extras[0]} in this version: pip ignores it.",
                "Correct the extra.",
                Severity.WARNING,
            )

    def _way_to_one_of(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the way from a line's package to the first of these that is installed; empty if there is none."""
        found = {package.name for package in self.report.resolved}
        name = next((name for name in names if name in found), None)
        return way_to(name, self.free(), list(self._by_name.values())) if name and self.free else ()

    def _install_time(self) -> Iterator[Problem]:
        report = self.report
        if report.estimated_s > PIP_TIME_S / 2:
            yield Problem(
                "install-time",
                self.file.where(1),
                f"pip has nine minutes, and may need about {report.estimated_s / 60:.0f}. Packages: "
                f"{len(report.resolved)} ({report.download_bytes / 1e6:,.0f} MB), to be built: "
                f"{len(report.from_source)}.",
                "Put the wheels into plugins.zip (--offline), or install fewer packages.",
                Severity.WARNING,
            )

    def _sources(self) -> Iterator[Problem]:
        by_name, packages, free = self._by_name, self.report.from_source, None
        if any(package.name not in by_name for package in packages) and self.free is not None:
            free = self.free()
            installed = self._installed(free)
            packages = tuple(
                package for package in packages if package.name in by_name or package.name not in installed
            )
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            kinds = pool.map(lambda package: kind_of_source(package.source), packages)
            for package, kind in zip(packages, kinds, strict=True):
                way: Sequence[str] = (package.name,)
                if free and package.name not in by_name:
                    way = way_to(package.name, free, self.lines)
                unnamed = (line for line in self.lines if line.requirement is None)
                line = by_name.get(way[0] if way else package.name) or next(unnamed, None)
                yield self._source(package, kind, line, way)

    def _installed(self, free: Resolution) -> set[str]:
        """Return packages that the image surely has in their versions: what Airflow itself needs."""
        airflow, pins = self._by_name.get(_AIRFLOW), self.file.image.pins
        if airflow is not None and airflow.requirement is not None and airflow.requirement.extras:
            return set()  # what an extra needs, which the image may lack, looks the same
        return {name for name in needed_by(_AIRFLOW, free) if free.packages[name].version == pins.get(name)}

    def _source(self, package: Package, kind: SourceKind, line: Line | None, way: Sequence[str]) -> Problem:
        where = self.file.where(line.number if line else 1)
        chain = f" ({' needs '.join(way)})" if len(way) > 1 else ""
        what = f"{package.name} {package.version}{chain} has no wheel for the image"
        if kind is SourceKind.PURE:
            return Problem(
                "source-only",
                where,
                f"{what}; its source is pure Python, and is built there at each start of a container.",
                "Build it once with --offline, or leave it as it is.",
                Severity.WARNING,
            )
        needs = "; its source has code that needs a compiler"
        if kind is SourceKind.UNKNOWN:
            needs = "; its source could not be examined, and may need a compiler"
        return Problem(
            "needs-compiler",
            where,
            f"{what}{needs}, which the image may not have.",
            "Choose a version that has a wheel, or build one on Amazon Linux 2023 and put it into plugins.zip.",
            Severity.WARNING,
        )

    def _wheels_here(self) -> Iterator[Problem]:
        """Return a problem for each wheel of this machine whose content the image's pip refuses."""
        image, by_name = image_of(self.file.image.target.airflow_version), self._by_name
        for wheel, name in ((package.wheel, package.name) for package in self.report.resolved):
            if wheel is None or is_remote(wheel.address):
                continue
            with open_file(wheel.address) as content:
                problem = wheel_content_problem(wheel.name, self.file.name, content, image)
            if problem is not None:
                where = self.file.where(by_name[name].number if name in by_name else 1)
                yield replace(problem, where=where, what=f"{wheel.name}: {problem.what}")

    def _hashes(self) -> Iterator[Problem]:
        number = wants_hashes(self.file.lines)
        for package in self.report.resolved:
            line = self.asked_for[package.name]
            if line is not None and line.hashes:
                yield from self._hash(package, line)
            elif line is None and number:
                is_pinned = package.version == self.file.image.pins.get(package.name)
                yield Problem(
                    "hashes-on-some",
                    self.file.where(number),
                    f"Lines have hashes, and {package.name} {package.version}, which one of them needs, has no "
                    f"line: pip refuses it{', unless the image has it' if is_pinned else ''}.",
                    WRITE_HASHES,
                    Severity.WARNING if is_pinned else Severity.ERROR,
                )

    def _hash(self, package: Package, line: Line) -> Iterator[Problem]:
        """Compare as pip does, which takes any of a package's files that has one of the hashes."""
        wheel, source = package.wheel, package.source
        files = [each for each in (wheel, *package.others, source) if each is not None]
        algorithms = {value.partition(":")[0] for value in line.hashes}
        for each in files:
            # A digest that the index does not provide cannot be compared.
            known = {value.partition(":")[0] for value in each.hashes}
            if line.hashes & set(each.hashes) or not algorithms <= known:
                return
        best = wheel or source
        if line.kind is Kind.NAME and not pinned_version(line):
            yield Problem(
                "hash-without-pin",
                self.file.where(line.number),
                f"None of its hashes is that of {package.name} {package.version}, the newest version that fits. pip "
                "looks for a version that has one of them; this check does not.",
                "Write name==version.",
                Severity.WARNING,
            )
        elif best is not None:
            yield Problem(
                "hash-of-another-file",
                self.file.where(line.number),
                f"None of its hashes is that of {best.name}, which pip would take.",
                f"Add --hash=sha256:{best.sha256}, if you trust it." if best.sha256 else "Correct the hash.",
            )
