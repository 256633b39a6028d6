# SPDX-License-Identifier: Apache-2.0
"""A requirements file, checked as MWAA's image would install it."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaInputError, ResolverUnavailable
from airflow_mwaa_provider.packaging import image_constraints
from airflow_mwaa_provider.packaging.image_constraints import normalized
from airflow_mwaa_provider.packaging.problems import Problem, Severity
from airflow_mwaa_provider.packaging.requirements.conflicts import Conflicts, left_open, moved_pins
from airflow_mwaa_provider.packaging.requirements.lines import (
    Image,
    check_encoding,
    check_lines,
    is_the_images,
    pinned_line,
    pinned_version,
)
from airflow_mwaa_provider.packaging.requirements.packages import PackageChecks, lines_by_package, with_the_hashed_file
from airflow_mwaa_provider.packaging.requirements.parsing import Kind, decode, parse
from airflow_mwaa_provider.packaging.requirements.question import (
    MAX_BYTES,
    RequirementsFile,
    constraints_to_ask,
    index_options,
    lines_to_ask,
    number_of,
    read_file,
    where_the_index_is_named,
)
from airflow_mwaa_provider.packaging.requirements.regime import Regime, essential_pins, regime_of
from airflow_mwaa_provider.packaging.requirements.report import RequirementsReport, not_resolved
from airflow_mwaa_provider.packaging.requirements.resolving import Asked, Unresolvable, find_resolver
from airflow_mwaa_provider.packaging.requirements.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from airflow_mwaa_provider.packaging.requirements.parsing import Line
    from airflow_mwaa_provider.packaging.requirements.report import MovedPin
    from airflow_mwaa_provider.packaging.requirements.resolving import Resolution, Resolver

__all__ = ["check_requirements"]

_PROVIDER = "apache-airflow-providers-"


def check_requirements(
    requirements: Path | str,
    airflow_version: str,
    *,
    name: str | None = None,
    private_web_server: bool = False,
    wheels: Path | None = None,
    constraints: Path | None = None,
    resolver: Resolver | None = None,
    expected_moves: Mapping[str, str] | None = None,
) -> RequirementsReport:
    """Check a requirements file as the image of an Airflow version would install it.

    Nothing is installed. uv or pip asks the package index; lines that have errors of their own do not keep the others
    from being resolved. If nothing can be resolved, because the index cannot be reached or neither uv nor pip exists,
    that is one more problem beside those found without it.

    :param requirements: path of the file, or its text.
    :param airflow_version: of the environment, such as ``3.3.1``.
    :param name: what problems call the file; by default its own name.
    :param private_web_server: the environment's web server reaches no package index.
    :param wheels: a folder with your own wheels, which stands for ``/usr/local/airflow/plugins``.
    :param constraints: a copy of the constraints file that the requirements name by its path in the environment.
    :param resolver: by default uv, else pip.
    :param expected_moves: versions by name: no warning is given of packages that move to them from the image's pins.
    :return: the problems, and what would be installed.
    :raises MwaaInputError: no image has that version, or a file cannot be read.
    """
    if isinstance(requirements, Path):
        content, name = read_file(requirements), name or requirements.name
    else:
        content, name = requirements.encode(), name or "requirements.txt"
    if wheels is not None and not wheels.is_dir():
        raise MwaaInputError(f"{wheels}: no such folder of wheels. Give another.")
    if constraints is not None and not constraints.is_file():
        raise MwaaInputError(f"{constraints}: no such constraints file. Give another.")
    target = Target.of(airflow_version)
    if len(content) > MAX_BYTES:
        return RequirementsReport(name, target, Regime.IMAGE, "", (_too_large(name),))
    text, encoding = decode(content)
    lines = parse(text)
    image = _image(target, text, lines, is_private=private_web_server)
    file = RequirementsFile(name, image, lines, wheels, constraints, expected_moves or {})

    problems = [*check_encoding(text, encoding, name), *check_lines(text, lines, image, name)]
    constraint_lines, found = constraints_to_ask(file, problems)
    problems += found
    asked_lines, found = lines_to_ask(file, problems)
    problems += found
    answer = _ask(file, asked_lines, constraint_lines, problems, resolver) if asked_lines else _Answer()
    problems += answer.problems

    resolved = tuple(answer.resolution.packages.values()) if answer.resolution else ()
    asked_for = lines_by_package(file, asked_lines, resolved)
    packages = tuple(with_the_hashed_file(package, asked_for[package.name]) for package in resolved)
    report = RequirementsReport(
        name, target, image.regime, answer.resolver, (), packages, answer.moved_pins, len(lines)
    )
    warnings = answer.resolution.warnings if answer.resolution else ()
    problems += PackageChecks(file, asked_lines, asked_for, report, warnings, answer.free).problems()
    return replace(report, problems=tuple(sorted(problems, key=_worst_first)))


def _too_large(name: str) -> Problem:
    return Problem(
        "too-large",
        f"{name}:1",
        f"The file has more than {MAX_BYTES:,} bytes, and is no list of requirements that pip installs in time.",
        "Give the file that lists your packages.",
    )


def _image(target: Target, text: str, lines: Sequence[Line], *, is_private: bool) -> Image:
    version, regime = target.airflow_version, regime_of(text)
    named = (value for line in lines for option, value in line.settings if option == "constraint")
    has_its_pins = regime is Regime.IMAGE or any(is_the_images(value, target) for value in named)
    pins, essential = image_constraints.pins_of(version), essential_pins(version)
    return Image(target, pins, essential, regime, is_private, has_its_pins)


@dataclass(frozen=True)
class _Answer:
    """What a resolver has found.

    :param resolver: its name and version; empty if none was asked.
    :param free: returns a resolution with what needs what; None if the resolver has none.
    """

    resolver: str = ""
    resolution: Resolution | None = None
    moved_pins: tuple[MovedPin, ...] = ()
    problems: tuple[Problem, ...] = ()
    free: Callable[[], Resolution] | None = None


def _ask(
    file: RequirementsFile,
    lines: Sequence[Line],
    constraints: tuple[str, ...],
    known: Sequence[Problem],
    resolver: Resolver | None,
) -> _Answer:
    """Resolve the lines; those that conflict are left out, so that problems of the others are found as well.

    :param known: problems that were found before.
    """
    answer = _Answer()
    try:
        resolver = resolver or find_resolver(file.image.target, file.wheels)
        options = index_options(file, known)
        answer = replace(answer, resolver=resolver.name, problems=options.problems)
        contradicted = {line.number: (line, pin) for line in lines if (pin := _contradicted_pin(file.image, line))}
        lines = [left_open(line) if line.number in contradicted else line for line in lines]
        while lines and answer.resolution is None:
            asked = Asked(tuple(line.asked for line in lines), constraints, options=options.options)
            try:
                exact = asked
                if file.image.regime is not Regime.IMAGE and resolver.keeps_preferred:
                    exact, moved = _as_installed(file, resolver, asked, lines)
                    warnings = _moves(file, moved)
                    answer = replace(answer, moved_pins=moved, problems=(*answer.problems, *warnings))
                resolution = resolver.resolve(exact)
                answer = replace(answer, resolution=resolution, free=_tracing(resolver, exact, resolution))
            except Unresolvable as error:
                conflicts = Conflicts(resolver, file.image, file.name, lines, asked, error, left_out=options.left_out)
                problems, moved_by_lines = conflicts.explain()
                answer = replace(
                    answer,
                    moved_pins=(*answer.moved_pins, *moved_by_lines),
                    problems=(*answer.problems, *problems),
                )
                bad = {number_of(problem) for problem in problems}
                others = [line for line in lines if line.number not in bad]
                lines = others if len(others) < len(lines) else []
        direct = _contradictions(file, contradicted.values(), is_resolved=answer.resolution is not None)
        return replace(answer, problems=(*answer.problems, *direct))
    except ResolverUnavailable as error:
        return replace(answer, problems=(*answer.problems, not_resolved(error, where_the_index_is_named(file))))


def _tracing(resolver: Resolver, asked: Asked, found: Resolution) -> Callable[[], Resolution] | None:
    if not resolver.keeps_preferred:
        return None
    return functools.cache(lambda: resolver.trace_again(asked, found))


def _contradicted_pin(image: Image, line: Line) -> str | None:
    """Return the version that the image's constraints pin, if a line excludes it."""
    if line.requirement is None or line.kind is not Kind.NAME or image.regime is not Regime.IMAGE:
        return None
    pin = image.pins.get(normalized(line.requirement.name))
    return None if pin is None or line.requirement.specifier.contains(pin, prereleases=True) else pin


def _contradictions(
    file: RequirementsFile, contradicted: Iterable[tuple[Line, str]], *, is_resolved: bool
) -> Iterator[Problem]:
    for line, pin in contradicted:
        assert line.requirement is not None
        name, version = normalized(line.requirement.name), pinned_version(line)
        fix = f"Write {pinned_line(line, pin)}, or leave the version out."
        if not is_resolved:
            fix = f"The image has {pin}: leave the version out."
        if name.startswith(_PROVIDER) and version:
            short = name.removeprefix(_PROVIDER)
            fix = f"{fix[:-1]}, or let it move with --update-provider {short}=={version}."
        yield Problem(
            "pin-conflict",
            file.where(line.number),
            f"{line.asked} is not {pin}, which the image's constraints pin.",
            fix,
        )


def _as_installed(
    file: RequirementsFile, resolver: Resolver, asked: Asked, lines: Sequence[Line]
) -> tuple[Asked, tuple[MovedPin, ...]]:
    """Return the question for the versions that pip takes, which keeps what the image has where it can.

    The pins that move nevertheless are returned, too.
    """
    pins = {**file.image.pins, **file.image.essential}
    preferred = tuple(f"{name}=={version}" for name, version in pins.items())
    free = resolver.trace(replace(asked, preferred=preferred))
    exact = tuple(f"{name}=={package.version}" for name, package in free.packages.items() if package.version)
    return replace(asked, kept=exact), tuple(moved_pins(free, lines, file.image))


def _moves(file: RequirementsFile, moved: Sequence[MovedPin]) -> Iterator[Problem]:
    for pin in moved:
        if file.expected_moves.get(pin.name) == pin.wanted:
            continue
        chain = f" ({' needs '.join(pin.chain)})" if len(pin.chain) > 1 else ""
        yield Problem(
            "moves-pin",
            file.where(pin.line),
            f"{pin.name} becomes {pin.wanted}{chain}; the image was tested with {pin.pinned}.",
            "Test your DAGs with it, or use the image's constraints.",
            Severity.WARNING,
        )


def _worst_first(problem: Problem) -> tuple[bool, int]:
    return problem.severity is not Severity.ERROR, number_of(problem)
