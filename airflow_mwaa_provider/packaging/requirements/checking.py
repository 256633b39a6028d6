# SPDX-License-Identifier: Apache-2.0
"""A requirements file, checked as MWAA's image would install it."""

from __future__ import annotations

import functools
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from airflow_mwaa_provider.exceptions import MwaaInputError, ResolverUnavailable
from airflow_mwaa_provider.packaging import image_constraints
from airflow_mwaa_provider.packaging.image import image_of
from airflow_mwaa_provider.packaging.image_constraints import normalized
from airflow_mwaa_provider.packaging.masking import masked, masked_address, masked_line
from airflow_mwaa_provider.packaging.problems import Problem, Severity
from airflow_mwaa_provider.packaging.requirements import lines as line_checks
from airflow_mwaa_provider.packaging.requirements.conflicts import Conflicts, left_open, moved_pins, needed_by, way_to
from airflow_mwaa_provider.packaging.requirements.downloading import open_file
from airflow_mwaa_provider.packaging.requirements.parsing import VARIABLE, Kind, Line, address_for_uv, decode, parse
from airflow_mwaa_provider.packaging.requirements.regime import Regime, essential_pins, regime_of
from airflow_mwaa_provider.packaging.requirements.report import PIP_TIME_S, RequirementsReport, not_resolved
from airflow_mwaa_provider.packaging.requirements.resolving import Asked, Unresolvable, find_resolver
from airflow_mwaa_provider.packaging.requirements.sources import SourceKind, kind_of_source
from airflow_mwaa_provider.packaging.requirements.target import Target
from airflow_mwaa_provider.packaging.wheels import wheel_content_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from airflow_mwaa_provider.packaging.requirements.report import MovedPin
    from airflow_mwaa_provider.packaging.requirements.resolving import Package, Resolution, Resolver

__all__ = ["check_requirements"]

MAX_BYTES = 1_048_576
_AT_ONCE = 8
_AIRFLOW = "apache-airflow"
_INDEXES = ("index-url", "extra-index-url", "find-links")
_ALL_RELEASES = ("all-releases", ":all:")
"""Another way to write --pre."""
_INDEX_OPTIONS = (*_INDEXES, "no-index", "pre", "trusted-host", "no-binary", "only-binary")


def check_requirements(
    requirements: Path | str,
    airflow_version: str,
    *,
    name: str | None = None,
    private_web_server: bool = False,
    wheels: Path | None = None,
    constraints: Path | None = None,
    resolver: Resolver | None = None,
) -> RequirementsReport:
    """Check a requirements file as the image of an Airflow version would install it.

    Nothing is installed. The package index is asked, by uv or pip; where lines have errors of their own, the others are
    resolved all the same. Where nothing can be resolved, because the index cannot be reached or there is neither uv nor
    pip, that is a problem beside those that were found without it.

    :param requirements: path of the file, or its text.
    :param airflow_version: of the environment, such as ``3.3.1``.
    :param name: what problems call the file; its own name if not given.
    :param private_web_server: the environment's web server reaches no package index.
    :param wheels: a folder with wheels of one's own, which stands for ``/usr/local/airflow/plugins``.
    :param constraints: a copy of the constraints file that the requirements name by its path in the environment.
    :param resolver: what resolves; uv, else pip, if not given.
    :return: the problems, and what would be installed.
    :raises MwaaInputError: no image has that version, or a file cannot be read.
    """
    if isinstance(requirements, Path):
        content, name = _read(requirements), name or requirements.name
    else:
        content, name = requirements.encode(), name or "requirements.txt"
    if wheels is not None and not wheels.is_dir():
        raise MwaaInputError(f"{wheels}: there is no such folder of wheels. Give another.")
    if constraints is not None and not constraints.is_file():
        raise MwaaInputError(f"{constraints}: there is no such file of constraints. Give another.")
    target = Target.of(airflow_version)
    if len(content) > MAX_BYTES:
        too_large = Problem(
            "too-large",
            f"{name}:1",
            f"The file has more than {MAX_BYTES:,} bytes, and is no list of requirements that pip installs in time.",
            "Give the file that lists your packages.",
        )
        return RequirementsReport(name, target, Regime.IMAGE, "", (too_large,))
    text, encoding = decode(content)
    lines = parse(text)
    regime = regime_of(text)
    named = (value for line in lines for option, value in line.settings if option == "constraint")
    image = line_checks.Image(
        target,
        image_constraints.pins_of(airflow_version),
        essential_pins(airflow_version),
        regime,
        private_web_server,
        regime is Regime.IMAGE or any(line_checks.is_the_images(value, target) for value in named),
    )
    problems = [
        *line_checks.check_encoding(text, encoding, name),
        *line_checks.check_lines(text, lines, image, name),
    ]
    check = _Check(name, image, lines, wheels, constraints, problems, resolver)
    return check.report()


@dataclass
class _Check:
    name: str
    image: line_checks.Image
    lines: Sequence[Line]
    wheels: Path | None
    constraints: Path | None
    problems: list[Problem]
    resolver: Resolver | None
    resolution: Resolution | None = None
    moved: tuple[MovedPin, ...] = ()
    free: Callable[[], Resolution] | None = None
    left_out: str = ""
    """A place where packages may be, which was not asked."""

    def report(self) -> RequirementsReport:
        constraints = self._constraints()
        lines = self._resolvable()
        resolver_name = ""
        if lines:
            try:
                resolver = self.resolver or find_resolver(self.image.target, self.wheels)
                resolver_name = resolver.name
                self._resolve(resolver, lines, constraints)
            except ResolverUnavailable as error:
                self.problems.append(not_resolved(error, self._where_the_index_is_named()))
        found = tuple(self.resolution.packages.values()) if self.resolution else ()
        asked_for = {package.name: self._line_of(package, lines) for package in found}
        packages = tuple(_of_hashes(package, asked_for[package.name]) for package in found)
        report = RequirementsReport(
            self.name,
            self.image.target,
            self.image.regime,
            resolver_name,
            (),
            packages,
            self.moved,
            len(self.lines),
        )
        self.problems += [*self._of_packages(report, lines), *self._of_hashes(report, asked_for)]
        return replace(report, problems=tuple(sorted(self.problems, key=_worst_first)))

    def _line_of(self, package: Package, lines: Sequence[Line]) -> Line | None:
        """Return the line that asks for a package, by its name or its file; None if another package needs it."""
        wanted = [line for line in self.lines if self.image.target.is_wanted(line)]
        files = {file.name for file in (package.wheel, package.source) if file is not None}
        for line in (*lines, *wanted):
            name = line.requirement and normalized(line.requirement.name)
            if name == package.name or (name is None and _file_name(line) in files):
                return next(each for each in wanted if each.number == line.number)
        return None

    def _resolve(self, resolver: Resolver, lines: Sequence[Line], constraints: tuple[str, ...]) -> None:
        options = self._index_options()
        direct = [(line, pin) for line in lines if (pin := self._contradicted(line))]
        told = {line.number for line, _ in direct}
        lines = [left_open(line) if line.number in told else line for line in lines]
        while lines and self.resolution is None:
            asked = Asked(tuple(line.asked for line in lines), constraints, options=options)
            try:
                self._take(resolver, asked, lines)
            except Unresolvable as error:
                conflicts = Conflicts(resolver, self.image, self.name, lines, asked, error, left_out=self.left_out)
                found, moved = conflicts.explain()
                self.problems += found
                self.moved += tuple(moved)
                # What the other lines lead to is told as well.
                bad = {_number(problem) for problem in found}
                others = [line for line in lines if line.number not in bad]
                lines = others if len(others) < len(lines) else []
        self._report_direct(direct)

    def _where_the_index_is_named(self) -> str:
        numbers = [line.number for line in self.lines for option, _ in line.settings if option in _INDEXES]
        return f"{self.name}:{min(numbers, default=1)}"

    def _index_options(self) -> tuple[tuple[str, str], ...]:
        """Return the file's options for indexes, with the folder of wheels for the environment's plugins.

        Where the wheels are not here, the index is asked in their place.
        """
        bad = self._bad_lines()
        given = [
            (line.number, option, value)
            for line in self.lines
            for option, value in line.settings
            if option in _INDEX_OPTIONS and not VARIABLE.search(value) and line.number not in bad
        ]
        given += [(line.number, "pre", "") for line in self.lines if _ALL_RELEASES in line.settings]
        asked = {(number, option) for number, option, _ in given}
        self.left_out = next(
            (
                f"what line {line.number} names"
                for line in self.lines
                for option, _ in line.settings
                if option in _INDEXES and (line.number, option) not in asked
            ),
            "",
        )
        local = [number for number, option, value in given if option == "find-links" and not _is_remote(value)]
        if local and self.wheels is None:
            self.left_out = self.left_out or "plugins.zip"
        if local and self.wheels is None and not self._has_problem(local[0]):
            self._not_here(local[0], "The wheels in plugins.zip are not here, so that the package index is asked.")
        has_links = self.wheels is not None or any(
            option == "find-links" and number not in local for number, option, _ in given
        )
        return tuple(
            (option, value)
            for number, option, value in given
            if not (option == "find-links" and number in local) and (has_links or option != "no-index")
        )

    def _not_here(self, number: int, what: str) -> None:
        self.problems.append(
            Problem(
                "not-here",
                f"{self.name}:{number}",
                what,
                "Give the folder with the wheels: --wheels FOLDER.",
                Severity.WARNING,
            )
        )

    def _has_problem(self, number: int) -> bool:
        return any(problem.where == f"{self.name}:{number}" for problem in self.problems)

    def _take(self, resolver: Resolver, asked: Asked, lines: Sequence[Line]) -> None:
        if self.image.regime is not Regime.IMAGE and resolver.keeps_preferred:
            asked = self._as_installed(resolver, asked, lines)
        self.resolution = found = resolver.resolve(asked)
        if resolver.keeps_preferred:
            self.free = functools.cache(lambda: resolver.trace_again(asked, found))

    def _contradicted(self, line: Line) -> str | None:
        if line.requirement is None or line.kind is not Kind.NAME:
            return None
        name = normalized(line.requirement.name)
        pin = self.image.pins.get(name) if self.image.regime is Regime.IMAGE else None
        if pin is None or line.requirement.specifier.contains(pin, prereleases=True):
            return None
        return pin

    def _report_direct(self, direct: Sequence[tuple[Line, str]]) -> None:
        for line, pin in direct:
            assert line.requirement is not None
            name = normalized(line.requirement.name)
            fix = f"Write {line_checks.pinned_line(line, pin)}, or leave the version out."
            if self.resolution is None:
                fix = f"The image has {pin}: leave the version out."
            version = line_checks.pinned_version(line)
            if name.startswith("apache-airflow-providers-") and version:
                short = name.removeprefix("apache-airflow-providers-")
                fix = f"{fix[:-1]}, or let it move with --update-provider {short}=={version}."
            self.problems.append(
                Problem(
                    "pin-conflict",
                    f"{self.name}:{line.number}",
                    f"{line.asked} is not {pin}, which the image's constraints pin.",
                    fix,
                )
            )

    def _as_installed(self, resolver: Resolver, asked: Asked, lines: Sequence[Line]) -> Asked:
        """Return what is asked in the versions that pip takes: what the image has stays where it can."""
        pins = {**self.image.pins, **self.image.essential}
        preferred = tuple(f"{name}=={version}" for name, version in pins.items())
        free = resolver.trace(replace(asked, preferred=preferred))
        self.moved = tuple(moved_pins(free, lines, self.image))
        for pin in self.moved:
            chain = f" ({' needs '.join(pin.chain)})" if len(pin.chain) > 1 else ""
            self.problems.append(
                Problem(
                    "moves-pin",
                    f"{self.name}:{pin.line}",
                    f"{pin.name} becomes {pin.wanted}{chain}; the image was tested with {pin.pinned}.",
                    "Test your DAGs with it, or use the image's constraints.",
                    Severity.WARNING,
                )
            )
        exact = tuple(f"{name}=={package.version}" for name, package in free.packages.items() if package.version)
        return replace(asked, kept=exact)

    def _resolvable(self) -> list[Line]:
        """Return the lines that a resolver can be given: those without an error, wanted on the image."""
        bad = self._bad_lines()
        found = []
        for line in self.lines:
            if line.number in bad or VARIABLE.search(line.asked) or not self.image.target.is_wanted(line):
                continue
            if line.kind is Kind.NAME:
                found.append(replace(line, asked=line.asked.rstrip("; ")))
            elif line.kind in (Kind.URL, Kind.PATH):
                found += self._by_place(line)
        return found

    def _bad_lines(self) -> set[int]:
        """Return the numbers of lines with an error, but for those that can be resolved all the same."""
        kept = ("hashes-on-some", "no-index-missing", "nowhere-to-look")
        return {
            _number(problem)
            for problem in self.problems
            if problem.severity is Severity.ERROR and problem.code not in kept
        }

    def _by_place(self, line: Line) -> list[Line]:
        """Return a line for an archive, named if its name is known; a file of the environment is one in ``wheels``."""
        file_name = PurePosixPath(line.address.partition("#")[0].partition("?")[0]).name
        address = address_for_uv(line.address)
        if line.kind is Kind.PATH:
            local = self.wheels / file_name if self.wheels else None
            if local is None or not local.is_file():
                where = masked(line.address)[:200]
                self._not_here(line.number, f"{where} cannot be checked: it is in the environment only.")
                return []
            address = local.absolute().as_uri()
        shown = line.shown or line.asked
        if line.requirement is not None:
            text = line_checks.at_address(line, address)
        else:
            try:
                text = f"{parse_wheel_filename(file_name)[0]}{line_checks.extras_of(line)} @ {address}"
            except InvalidWheelFilename:
                return [replace(line, asked=address, shown=shown)]
        return [replace(line, asked=text, requirement=Requirement(text), shown=shown)]

    def _constraints(self) -> tuple[str, ...]:
        """Return the constraints that the image gives pip, as lines."""
        pins = dict(self.image.essential)
        if self.image.regime is Regime.IMAGE:
            pins = {**self.image.pins, **pins}
        found = [f"{name}=={version}" for name, version in pins.items()]
        for line in self.lines:
            for option, value in line.settings:
                if option == "constraint":
                    found += self._own_constraints(value, line.number)
        return tuple(dict.fromkeys(found))

    def _own_constraints(self, value: str, number: int) -> list[str]:
        target = self.image.target
        if line_checks.is_the_images(value, target):
            return [f"{name}=={version}" for name, version in self.image.pins.items()]
        if self.constraints is not None and PurePosixPath(value).name == self.constraints.name:
            text, _ = decode(_read(self.constraints))
            lines = parse(text)
            self.problems += self._of_constraints(lines, self.constraints.name, number)
            found: list[Line] = []
            for line in lines:
                if line.requirement is None or line.extras or not target.is_wanted(line):
                    continue
                if line.kind is Kind.NAME:
                    found.append(replace(line, asked=line.asked.rstrip("; ")))
                elif line.kind is not Kind.VERSION_CONTROL:
                    found += self._by_place(replace(line, number=number))
            return [line.asked for line in found]
        if not self._has_problem(number):
            same = (
                "of the same name" if self.constraints is None else f"named {PurePosixPath(masked_address(value)).name}"
            )
            self.problems.append(
                Problem(
                    "constraints-not-here",
                    f"{self.name}:{number}",
                    "The constraints file that it names cannot be read here: the check goes on without it.",
                    f"Give a copy {same}: --constraints FILE.",
                    Severity.WARNING,
                )
            )
        return []

    def _of_constraints(self, lines: Sequence[Line], file_name: str, number: int) -> Iterator[Problem]:
        """Return what pip refuses of a constraints file, and does not of a requirements file."""
        for line in lines:
            if line.kind is Kind.INVALID and not VARIABLE.search(line.text):
                what = "it cannot be read"
            elif line.kind is Kind.EDITABLE:
                what = "it is editable"
            elif line.extras:
                what = "it has extras"
            elif line.requirement is None and line.asked:
                what = "it has no name"
            elif any(option in ("requirement", "constraint") for option, _ in line.settings):
                what = "that other file is not in the environment, unless you upload it, too"
            else:
                continue
            yield Problem(
                "not-a-requirement",
                f"{self.name}:{number}",
                f"pip refuses {masked_line(line.text)[:60]!r} in line {line.number} of {file_name}: {what}.",
                "Write name==version there.",
            )

    def _of_packages(self, report: RequirementsReport, lines: Sequence[Line]) -> Iterator[Problem]:
        numbers = {normalized(line.requirement.name): line for line in reversed(lines) if line.requirement}
        for warning in self.resolution.warnings if self.resolution else ():
            yield from self._of_warning(warning, numbers)
        yield from self._of_sources(report.from_source, lines, numbers)
        yield from self._of_wheels_here(report.resolved, numbers)
        if report.estimated_s > PIP_TIME_S / 2:
            yield Problem(
                "install-time",
                f"{self.name}:1",
                f"pip has nine minutes, and may need some {report.estimated_s / 60:.0f}: {len(report.resolved)} of its "
                f"packages have {report.download_bytes / 1e6:,.0f} MB, {len(report.from_source)} have to be built.",
                "Put the wheels into plugins.zip (--offline), or take fewer packages.",
                Severity.WARNING,
            )

    def _of_warning(self, warning: str, lines: dict[str, Line]) -> Iterator[Problem]:
        """Return a problem for what uv and pip warn of: a yanked version, an extra that the package has not."""
        words = [normalized(word.strip("`'\"(),").partition("==")[0]) for word in warning.split()]
        way = next(((word,) for word in words if word in lines), ()) or self._way_to_one_of(words, lines)
        line = lines.get(way[0]) if way else None
        if line is None or line.requirement is None:
            return
        name, where = line.requirement.name, f"{self.name}:{line.number}"
        if "yanked" in warning:
            reason = warning.rpartition("eason")[2].partition(":")[2].strip(" \"')")
            which = name if len(way) == 1 else f"{way[-1]} ({' needs '.join(way)})"
            yield Problem(
                "yanked",
                where,
                f"This version of {which} was withdrawn by its authors: {reason}.",
                "Choose another version.",
                Severity.WARNING,
            )
        elif extras := [extra for extra in sorted(line.requirement.extras) if re.search(f"[`']{extra}[`']", warning)]:
            yield Problem(
                "unknown-extra",
                where,
                f"{name} has no extra {extras[0]} in this version: pip goes on without it.",
                "Correct the extra.",
                Severity.WARNING,
            )

    def _way_to_one_of(self, names: Sequence[str], lines: Mapping[str, Line]) -> tuple[str, ...]:
        """Return the way from a line's package to the first of these that is installed; empty if there is none."""
        found = self.resolution.packages if self.resolution else {}
        name = next((name for name in names if name in found), None)
        return way_to(name, self.free(), list(lines.values())) if name and self.free else ()

    def _of_sources(
        self, packages: Sequence[Package], lines: Sequence[Line], numbers: Mapping[str, Line]
    ) -> Iterator[Problem]:
        free = None
        if any(package.name not in numbers for package in packages) and self.free is not None:
            free = self.free()
            there = self._installed(free, numbers)
            packages = [package for package in packages if package.name in numbers or package.name not in there]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            kinds = pool.map(lambda package: kind_of_source(package.source), packages)
            for package, kind in zip(packages, kinds, strict=True):
                way = way_to(package.name, free, lines) if free and package.name not in numbers else (package.name,)
                unnamed = (line for line in lines if line.requirement is None)
                line = numbers.get(way[0] if way else package.name) or next(unnamed, None)
                yield self._of_source(package, kind, line, way)

    def _installed(self, free: Resolution, lines: Mapping[str, Line]) -> set[str]:
        """Return packages that the image surely has, in their versions: what Airflow itself needs."""
        airflow = lines.get(_AIRFLOW)
        if airflow is not None and airflow.requirement is not None and airflow.requirement.extras:
            return set()  # the needs of an extra, which the image may lack, look the same
        return {name for name in needed_by(_AIRFLOW, free) if free.packages[name].version == self.image.pins.get(name)}

    def _of_wheels_here(self, packages: Sequence[Package], numbers: Mapping[str, Line]) -> Iterator[Problem]:
        """Return a problem for each wheel of this machine that the image's pip refuses for what is in it."""
        for wheel, name in ((package.wheel, package.name) for package in packages):
            if wheel is None or _is_remote(wheel.address):
                continue
            with open_file(wheel.address) as content:
                problem = wheel_content_problem(
                    wheel.name, self.name, content, image_of(self.image.target.airflow_version)
                )
            if problem is not None:
                number = numbers[name].number if name in numbers else 1
                yield replace(problem, where=f"{self.name}:{number}", what=f"{wheel.name}: {problem.what}")

    def _of_source(self, package: Package, kind: SourceKind, line: Line | None, way: Sequence[str]) -> Problem:
        where = f"{self.name}:{line.number if line else 1}"
        chain = f" ({' needs '.join(way)})" if len(way) > 1 else ""
        what = f"{package.name} {package.version}{chain} has no wheel for the image"
        if kind is SourceKind.PURE:
            return Problem(
                "source-only",
                where,
                f"{what}; its source is pure Python, and builds there at each start of a container.",
                "Let --offline build it once, or leave it so.",
                Severity.WARNING,
            )
        unknown = "; its source could not be looked at, and" if kind is SourceKind.UNKNOWN else "; its source"
        needs = " may need a compiler" if kind is SourceKind.UNKNOWN else " has code that needs a compiler"
        return Problem(
            "needs-compiler",
            where,
            f"{what}{unknown}{needs}, and none is sure to be in the image.",
            "Choose a version that has a wheel, or build one on Amazon Linux 2023 and put it into plugins.zip.",
            Severity.WARNING,
        )

    def _of_hashes(self, report: RequirementsReport, asked_for: Mapping[str, Line | None]) -> Iterator[Problem]:
        number = line_checks.wants_hashes(self.lines)
        for package in report.resolved:
            line = asked_for[package.name]
            if line is not None and line.hashes:
                yield from self._of_hash(package, line)
            elif line is None and number:
                is_there = package.version == self.image.pins.get(package.name)
                yield Problem(
                    "hashes-on-some",
                    f"{self.name}:{number}",
                    f"Lines have hashes, and {package.name} {package.version}, which one of them needs, has no "
                    f"line: pip refuses it{', unless the image has it' if is_there else ''}.",
                    line_checks.WRITE_HASHES,
                    Severity.WARNING if is_there else Severity.ERROR,
                )

    def _of_hash(self, package: Package, line: Line) -> Iterator[Problem]:
        """Compare as pip does, which takes any of a package's files that has one of the hashes."""
        wheel, source = package.wheel, package.source
        files = [file for file in (wheel, *package.others, source) if file is not None]
        algorithms = {value.partition(":")[0] for value in line.hashes}
        for file in files:
            # A digest that the index does not give cannot be compared.
            known = {value.partition(":")[0] for value in file.hashes}
            if line.hashes & set(file.hashes) or not algorithms <= known:
                return
        best = wheel or source
        if line.kind is Kind.NAME and not line_checks.pinned_version(line):
            yield Problem(
                "hash-without-pin",
                f"{self.name}:{line.number}",
                f"None of its hashes is that of {package.name} {package.version}, the newest that fits: pip looks for "
                "a version that has one of them, which the check does not.",
                "Write name==version.",
                Severity.WARNING,
            )
        elif best is not None:
            yield Problem(
                "hash-of-another-file",
                f"{self.name}:{line.number}",
                f"None of its hashes is that of {best.name}, which pip would take.",
                f"Add --hash=sha256:{best.sha256}, if you trust it." if best.sha256 else "Correct the hash.",
            )


def _file_name(line: Line) -> str:
    return unquote(PurePosixPath(urlsplit(line.address).path).name)


def _of_hashes(package: Package, line: Line | None) -> Package:
    """Return a package with the best of its files that has one of its line's hashes, as pip takes it."""
    given = line.hashes if line is not None else frozenset()
    for wheel in (package.wheel, *package.others):
        if wheel is not None and given & set(wheel.hashes):
            return replace(package, wheel=wheel)
    if package.source is not None and given & set(package.source.hashes):
        return replace(package, wheel=None)
    return package


def _worst_first(problem: Problem) -> tuple[bool, int]:
    return problem.severity is not Severity.ERROR, _number(problem)


def _number(problem: Problem) -> int:
    return int(problem.where.rpartition(":")[2])


def _is_remote(place: str) -> bool:
    return "://" in place and not place.lower().startswith("file:")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise MwaaInputError(f"{path} cannot be read: {error.strerror or error}. Give another file.") from error
