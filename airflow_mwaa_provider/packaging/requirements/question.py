# SPDX-License-Identifier: Apache-2.0
"""What a resolver is asked about a requirements file: its lines, its constraints, and its options for indexes.

Each function returns its part of the question, and the problems that it has found on the way.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.masking import masked, masked_address, masked_line
from airflow_mwaa_provider.packaging.problems import Problem, Severity
from airflow_mwaa_provider.packaging.requirements.lines import at_address, extras_of, is_the_images
from airflow_mwaa_provider.packaging.requirements.parsing import VARIABLE, Kind, Line, address_for_uv, decode, parse
from airflow_mwaa_provider.packaging.requirements.regime import Regime

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from airflow_mwaa_provider.packaging.requirements.lines import Image

__all__ = [
    "MAX_BYTES",
    "IndexOptions",
    "RequirementsFile",
    "constraints_to_ask",
    "index_options",
    "is_remote",
    "lines_to_ask",
    "number_of",
    "read_file",
    "where_the_index_is_named",
]

MAX_BYTES = 1_048_576
_INDEXES = ("index-url", "extra-index-url", "find-links")
_ALL_RELEASES = ("all-releases", ":all:")
"""Another way to write --pre."""
_INDEX_OPTIONS = (*_INDEXES, "no-index", "pre", "trusted-host", "no-binary", "only-binary")
_STILL_RESOLVED = ("hashes-on-some", "no-index-missing", "nowhere-to-look")
"""Errors of lines that a resolver is given nevertheless."""


@dataclass(frozen=True)
class RequirementsFile:
    """A requirements file that is checked.

    :param name: what problems call it.
    :param image: that installs it.
    :param wheels: a folder that stands for ``/usr/local/airflow/plugins``.
    :param constraints: a copy of the constraints file that it names.
    :param expected_moves: versions by name of packages that may move from what the image pins.
    """

    name: str
    image: Image
    lines: Sequence[Line]
    wheels: Path | None = None
    constraints: Path | None = None
    expected_moves: Mapping[str, str] = field(default_factory=dict)

    def where(self, number: int) -> str:
        """Return what problems call a line."""
        return f"{self.name}:{number}"


@dataclass(frozen=True)
class IndexOptions:
    """A file's options for indexes.

    :param options: pairs of a long name and a value.
    :param left_out: a place where packages may be, which is not asked; empty if all are.
    """

    options: tuple[tuple[str, str], ...]
    left_out: str
    problems: tuple[Problem, ...]


def constraints_to_ask(file: RequirementsFile, known: Sequence[Problem]) -> tuple[tuple[str, ...], list[Problem]]:
    """Return the constraints that the image passes to pip, as lines.

    :param known: problems that were found before.
    :raises MwaaInputError: the copy of the constraints file cannot be read.
    """
    pins = dict(file.image.essential)
    if file.image.regime is Regime.IMAGE:
        pins = {**file.image.pins, **pins}
    lines = [f"{name}=={version}" for name, version in pins.items()]
    problems: list[Problem] = []
    for line in file.lines:
        for option, value in line.settings:
            if option == "constraint":
                more, found = _named_constraints(file, value, line.number, [*known, *problems])
                lines += more
                problems += found
    return tuple(dict.fromkeys(lines)), problems


def _named_constraints(
    file: RequirementsFile, value: str, number: int, known: Sequence[Problem]
) -> tuple[list[str], list[Problem]]:
    """Return the constraints that an option names."""
    if is_the_images(value, file.image.target):
        return [f"{name}=={version}" for name, version in file.image.pins.items()], []
    if file.constraints is not None and PurePosixPath(value).name == file.constraints.name:
        text, _ = decode(read_file(file.constraints))
        lines = parse(text)
        problems = list(_problems_of_constraints(file, lines, number))
        found: list[Line] = []
        for line in lines:
            if line.requirement is None or line.extras or not file.image.target.is_wanted(line):
                continue
            if line.kind is Kind.NAME:
                found.append(replace(line, asked=line.asked.rstrip("; ")))
            elif line.kind is not Kind.VERSION_CONTROL:
                archive, problem = _archive(file, replace(line, number=number))
                found += archive
                problems += problem
        return [line.asked for line in found], problems
    if _is_known(file.where(number), known):
        return [], []
    same = "of the same name" if file.constraints is None else f"named {PurePosixPath(masked_address(value)).name}"
    return [], [
        Problem(
            "constraints-not-here",
            file.where(number),
            "The constraints file that it names cannot be read here: the check continues without it.",
            f"Give a copy {same}: --constraints FILE.",
            Severity.WARNING,
        )
    ]


def _problems_of_constraints(file: RequirementsFile, lines: Iterable[Line], number: int) -> Iterator[Problem]:
    """Return what pip refuses in a constraints file, but takes in a requirements file."""
    assert file.constraints is not None
    for line in lines:
        if line.kind is Kind.INVALID and not VARIABLE.search(line.text):
            what = "it cannot be parsed"
        elif line.kind is Kind.EDITABLE:
            what = "it is editable"
        elif line.extras:
            what = "it has extras"
        elif line.requirement is None and line.asked:
            what = "it has no name"
        elif any(option in ("requirement", "constraint") for option, _ in line.settings):
            what = "the file that it names is not in the environment, unless you upload it, too"
        else:
            continue
        yield Problem(
            "not-a-requirement",
            file.where(number),
            f"pip refuses {masked_line(line.text)[:60]!r} in line {line.number} of {file.constraints.name}: {what}.",
            "Write name==version there.",
        )


def lines_to_ask(file: RequirementsFile, known: Sequence[Problem]) -> tuple[list[Line], list[Problem]]:
    """Return the lines that a resolver is given: those without an error whose markers are true on the image.

    :param known: problems that were found before.
    """
    bad = _bad_lines(known)
    found: list[Line] = []
    problems: list[Problem] = []
    for line in file.lines:
        if line.number in bad or VARIABLE.search(line.asked) or not file.image.target.is_wanted(line):
            continue
        if line.kind is Kind.NAME:
            found.append(replace(line, asked=line.asked.rstrip("; ")))
        elif line.kind in (Kind.URL, Kind.PATH):
            archive, problem = _archive(file, line)
            found += archive
            problems += problem
    return found, problems


def _archive(file: RequirementsFile, line: Line) -> tuple[list[Line], list[Problem]]:
    """Return a line for an archive, by name if its name is known.

    A file of the environment is one in the folder of wheels.
    """
    file_name = PurePosixPath(line.address.partition("#")[0].partition("?")[0]).name
    address = address_for_uv(line.address)
    if line.kind is Kind.PATH:
        local = file.wheels / file_name if file.wheels else None
        if local is None or not local.is_file():
            what = f"{masked(line.address)[:200]} cannot be checked: it is in the environment only."
            return [], [_not_here(file, line.number, what)]
        address = local.absolute().as_uri()
    shown = line.shown or line.asked
    if line.requirement is not None:
        text = at_address(line, address)
    else:
        try:
            text = f"{parse_wheel_filename(file_name)[0]}{extras_of(line)} @ {address}"
        except InvalidWheelFilename:
            return [replace(line, asked=address, shown=shown)], []
    return [replace(line, asked=text, requirement=Requirement(text), shown=shown)], []


def index_options(file: RequirementsFile, known: Sequence[Problem]) -> IndexOptions:
    """Return the file's options for indexes, with the folder of wheels in place of the environment's plugins.

    Without that folder, the index is asked for what is in the plugins.

    :param known: problems that were found before.
    """
    bad = _bad_lines(known)
    given = [
        (line.number, option, value)
        for line in file.lines
        for option, value in line.settings
        if option in _INDEX_OPTIONS and not VARIABLE.search(value) and line.number not in bad
    ]
    given += [(line.number, "pre", "") for line in file.lines if _ALL_RELEASES in line.settings]
    asked = {(number, option) for number, option, _ in given}
    skipped = (
        f"what line {line.number} names"
        for line in file.lines
        for option, _ in line.settings
        if option in _INDEXES and (line.number, option) not in asked
    )
    local = [number for number, option, value in given if option == "find-links" and not is_remote(value)]
    left_out = next(skipped, "plugins.zip" if local and file.wheels is None else "")
    problems = []
    if local and file.wheels is None and not _is_known(file.where(local[0]), known):
        what = "The wheels in plugins.zip are not here, so the package index is asked."
        problems.append(_not_here(file, local[0], what))
    has_links = file.wheels is not None or any(
        option == "find-links" and number not in local for number, option, _ in given
    )
    options = tuple(
        (option, value)
        for number, option, value in given
        if not (option == "find-links" and number in local) and (has_links or option != "no-index")
    )
    return IndexOptions(options, left_out, tuple(problems))


def where_the_index_is_named(file: RequirementsFile) -> str:
    """Return the place of a problem with the index: the first line that names one, else the first of all."""
    return file.where(
        min((line.number for line in file.lines for option, _ in line.settings if option in _INDEXES), default=1)
    )


def number_of(problem: Problem) -> int:
    """Return the number of a problem's line."""
    return int(problem.where.rpartition(":")[2])


def is_remote(place: str) -> bool:
    """Return whether an address is that of another machine."""
    return "://" in place and not place.lower().startswith("file:")


def read_file(path: Path) -> bytes:
    """Return a file's content, up to one byte more than :data:`MAX_BYTES`.

    :raises MwaaInputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise MwaaInputError(f"{path} cannot be read: {error.strerror or error}. Give another file.") from error


def _bad_lines(problems: Iterable[Problem]) -> set[int]:
    """Return the numbers of lines with an error that keeps them from being resolved."""
    return {
        number_of(problem)
        for problem in problems
        if problem.severity is Severity.ERROR and problem.code not in _STILL_RESOLVED
    }


def _is_known(where: str, problems: Iterable[Problem]) -> bool:
    return any(problem.where == where for problem in problems)


def _not_here(file: RequirementsFile, number: int, what: str) -> Problem:
    return Problem(
        "not-here", file.where(number), what, "Give the folder with the wheels: --wheels FOLDER.", Severity.WARNING
    )
