# SPDX-License-Identifier: Apache-2.0
"""Why no versions satisfy a requirements file: which line it is, which pin it would move, and what would work.

Each question is a resolution of its own: does the line have a version at all, does it have one on another Python, which
pins move when they are only preferred, does the file resolve with this line's version left open.
"""

from __future__ import annotations

import difflib
import textwrap
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from airflow_mwaa_provider.packaging.image_constraints import normalized
from airflow_mwaa_provider.packaging.problems import Problem, Severity
from airflow_mwaa_provider.packaging.requirements.lines import pinned_line, pinned_version
from airflow_mwaa_provider.packaging.requirements.messages import Sign, words_in
from airflow_mwaa_provider.packaging.requirements.report import MovedPin
from airflow_mwaa_provider.packaging.requirements.resolving import Asked, Resolution, Unresolvable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow_mwaa_provider.packaging.requirements.lines import Image
    from airflow_mwaa_provider.packaging.requirements.parsing import Line
    from airflow_mwaa_provider.packaging.requirements.resolving import Refused, Resolver

__all__ = ["Conflicts", "left_open", "moved_pins", "needed_by", "way_to"]

_OTHER_PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
_SHOWN = 5
_REASON_CHARACTERS = 500


@dataclass(frozen=True)
class Conflicts:
    """The question of why a file cannot be resolved.

    :param lines: that were resolved.
    :param asked: what was resolved.
    :param error: why that failed.
    """

    resolver: Resolver
    image: Image
    name: str
    lines: Sequence[Line]
    asked: Asked
    error: Unresolvable
    left_out: str = ""
    """A place that may have packages and was not asked; empty if all were."""

    def explain(self) -> tuple[list[Problem], list[MovedPin]]:
        """Return what is wrong, and the pins that would move.

        :raises ResolverUnavailable: the index cannot be reached.
        """
        if self.error.refused:
            return self._refused(), []
        if not self.resolver.keeps_preferred:
            return self._each_alone() or [self._unexplained()], []
        preferred = tuple(f"{name}=={version}" for name, version in {**self.image.pins, **self.image.essential}.items())
        try:
            free = self.resolver.trace(replace(self.asked, constraints=(), preferred=preferred))
        except Unresolvable as error:
            unconstrained = replace(self, error=error)
            return unconstrained._each_alone() or [unconstrained._unexplained()], []
        moved = moved_pins(free, self.lines, self.image)
        by_line: dict[int, list[MovedPin]] = defaultdict(list)
        for pin in moved:
            by_line[pin.line].append(pin)
        guilty = [line for line in self.lines if line.number in by_line]
        if not guilty:
            return [self._unexplained()], moved
        # For a file at an address, no other version can be proposed.
        named = [line for line in guilty if line.requirement is not None and not line.requirement.url]
        proposals = self._proposals(named, (_older, _newer, _not_older)) if named else {}
        return [self._moves(line, by_line[line.number], proposals.get(line.number)) for line in guilty], moved

    def _refused(self) -> list[Problem]:
        """Return a problem for each line that leads to a version whose metadata pip refuses."""
        try:
            free = self.resolver.trace(self.asked)
        except Unresolvable:
            free = Resolution({})
        by_name = {_name(line): line for line in reversed(self.lines) if line.requirement is not None}
        unnamed = [line for line in self.lines if line.requirement is None] or list(self.lines)
        found: dict[int, Problem] = {}
        for refused in self.error.refused:
            way = way_to(refused.name, free, self.lines)
            line = by_name.get(way[0] if way else refused.name) or unnamed[0]
            if line.number not in found:
                found[line.number] = self._of_refused(refused, line, way)
        return list(found.values())

    def _of_refused(self, refused: Refused, line: Line, way: Sequence[str]) -> Problem:
        is_file = line.requirement is None or bool(line.requirement.url)
        otherwise = self._way_out([line]) if is_file else "No version near it can be installed. Remove the line."
        return Problem(
            "refused-metadata",
            f"{self.name}:{line.number}",
            f"pip refuses {refused.name} {refused.version}{_chain(way)}: its metadata says that it needs "
            f"{refused.needed[:100]!r}, which is not a valid requirement.",
            self._proposal(line) or otherwise,
        )

    def _each_alone(self) -> list[Problem]:
        """Return what is wrong with lines that have no version, whatever the other lines are."""
        return [
            self._alone(line)
            for line in self._suspects()
            if line.requirement is not None and not line.requirement.url and not self._versions(line.asked)
        ]

    def _suspects(self) -> list[Line]:
        """Return the lines whose packages the resolver names; all if it names none."""
        words = words_in(str(self.error))
        named = [line for line in self.lines if line.requirement is not None and _name(line) in words]
        return named or list(self.lines)

    def _alone(self, line: Line) -> Problem:
        where, name = f"{self.name}:{line.number}", _name(line)
        refused = next((each for each in self._refused_of(line.asked) if each.name == name), None)
        if refused is not None:
            return self._of_refused(refused, line, ())
        if self.left_out:
            return self._elsewhere(line)
        left_out = self._left_out_by_its_form(line)
        if left_out:
            return Problem(
                "missing-version",
                where,
                f"The index has {_shown(line)}, but no file that {left_out} allows.",
                self._proposal(line) or f"Remove {left_out}.",
            )
        bare = replace_specifier(line, "")
        newest = self._versions(bare)
        python = next((each for each in _OTHER_PYTHONS if self._versions(line.asked, python=each)), None)
        if python is not None:
            return Problem(
                "needs-another-python",
                where,
                f"{_shown(line)} has no version for the image's Python {self.image.target.python}; Python {python} "
                "has one.",
                self._proposal(line) or "Choose another version.",
            )
        if not newest:
            if self._has_page(bare):
                return Problem(
                    "unknown-package",
                    where,
                    f"The index's page of {name} lists no file: it is empty, or no index's page, such as a sign-in.",
                    "Check the address of the index, and that it needs no password.",
                )
            near = difflib.get_close_matches(name, [*self.image.pins, *self.image.essential], n=3, cutoff=0.75)
            return Problem(
                "unknown-package",
                where,
                f"The index has no package {name}.",
                f"The nearest in the image: {', '.join(near)}." if near else "Correct the name.",
            )
        return Problem(
            "missing-version",
            where,
            f"The index has no {_shown(line)} for the image; its newest is {newest}.",
            self._proposal(line) or "Choose another version.",
        )

    def _left_out_by_its_form(self, line: Line) -> str:
        """Return the options for wheels or sources without which a line has a version; empty if it has none."""
        forms = [(name, value) for name, value in self.asked.options if name in ("only-binary", "no-binary")]
        others = tuple(option for option in self.asked.options if option not in forms)
        if not forms or not self._versions(line.asked, options=others):
            return ""
        return " and ".join(f"--{name} {value}" for name, value in dict.fromkeys(forms))

    def _versions(
        self, asked: str, python: str | None = None, options: tuple[tuple[str, str], ...] | None = None
    ) -> str:
        """Return the version that a requirement gets alone; empty if it gets none."""
        options = self.asked.options if options is None else options
        question = Asked((asked,), options=options, no_dependencies=True, python=python)
        try:
            found = self.resolver.resolve(question).packages
        except Unresolvable:
            return ""
        return next((package.version or "?" for package in found.values()), "")

    def _refused_of(self, asked: str) -> tuple[Refused, ...]:
        try:
            self.resolver.resolve(Asked((asked,), options=self.asked.options, no_dependencies=True))
        except Unresolvable as error:
            return error.refused
        return ()

    def _elsewhere(self, line: Line, what: str = "is") -> Problem:
        # No other version is proposed: on a public index, it may be someone else's package of the same name.
        return Problem(
            "not-here",
            f"{self.name}:{line.number}",
            f"{_shown(line)} {what} not in the index that was asked; it may be in {self.left_out}, which was not.",
            "Give the folder with its wheel: --wheels FOLDER.",
            Severity.WARNING,
        )

    def _has_page(self, asked: str) -> bool:
        try:
            self.resolver.resolve(Asked((asked,), options=self.asked.options, no_dependencies=True))
        except Unresolvable as error:
            return Sign.NO_FILES in error.signs
        return True

    def _moves(self, line: Line, pins: Sequence[MovedPin], proposal: str | None) -> Problem:
        told = ", ".join(f"{pin.name} {pin.pinned} to {pin.wanted}{_chain(pin.chain)}" for pin in pins[:_SHOWN])
        more = f" and {len(pins) - _SHOWN} more" if len(pins) > _SHOWN else ""
        is_essential = any(pin.is_essential for pin in pins)
        return Problem(
            "essential-pin" if is_essential else "pin-conflict",
            f"{self.name}:{line.number}",
            f"{_shown(line)} would move what the image pins{', which MWAA never lets happen' * is_essential}: "
            f"{told}{more}.",
            f"Write {proposal}." if proposal else "No version near it fits. Remove the line.",
        )

    def _unexplained(self) -> Problem:
        lines = self._suspects()
        if self.left_out and Sign.MISSING in self.error.signs:
            return self._elsewhere(lines[-1], "needs what is")
        numbers = ", ".join(str(line.number) for line in lines[:_SHOWN])
        if len(lines) == 1:
            which = _shown(lines[0])
        else:
            which = f"Lines {numbers} together" if len(lines) <= _SHOWN else "The lines together"
        reason = textwrap.shorten(str(self.error), _REASON_CHARACTERS, placeholder=" …").rstrip(". ")
        return Problem(
            "lines-conflict",
            f"{self.name}:{lines[-1].number}",
            f"{which} cannot be installed: {reason}.",
            self._proposal(lines[-1]) or self._way_out(lines),
        )

    def _way_out(self, lines: Sequence[Line]) -> str:
        """Return what to do if no version can be proposed; for a file, another version is another file."""
        files = [line for line in lines if line.requirement is None or line.requirement.url]
        if files:
            return f"Use another file in line {files[0].number}, or remove the line."
        if len(lines) > 1:
            return "Leave the version of one of them open."
        if Sign.BROKEN_FILE in self.error.signs:
            return "Try again; if it fails again, give a wheel of what fails: --wheels FOLDER."
        return "Choose another version, or remove the line."

    def _proposal(self, line: Line) -> str | None:
        """Return what to write for a line that is wrong, alone or beside another line."""
        if line.requirement is None or line.requirement.url:
            return None
        ways = (_older, _newer, _not_older, _any)
        # Alone, if the other lines cannot be installed whatever this one is.
        found = self._proposals([line], ways) or replace(self, lines=[line])._proposals([line], ways)
        proposal = found.get(line.number)
        return f"Write {proposal}." if proposal not in (None, pinned_line(line, pinned_version(line) or "")) else None

    def _proposals(self, guilty: Sequence[Line], ways: Iterable[Callable[[Line], str]]) -> dict[int, str]:
        """Return lines that resolve together in place of these.

        They are the nearest older versions of the same major version, else the newest: much older ones often resolve
        only because their metadata names fewer dependencies.
        """
        numbers = {line.number for line in guilty}
        for specifier_of in ways:
            requirements = tuple(
                replace_specifier(line, specifier_of(line)) if line.number in numbers else line.asked
                for line in self.lines
            )
            try:
                found = self.resolver.resolve(replace(self.asked, requirements=requirements)).packages
            except Unresolvable as error:
                refused = {each.name for each in error.refused}
                rest = [line for line in self.lines if line.number in numbers or not refused & _names(line)]
                if len(rest) < len(self.lines):
                    return replace(self, lines=rest)._proposals(guilty, ways)
                continue
            return {
                line.number: pinned_line(line, found[_name(line)].version) for line in guilty if _name(line) in found
            }
        return {}


def moved_pins(free: Resolution, lines: Sequence[Line], image: Image) -> list[MovedPin]:
    """Return the packages of an image that get another version in a resolution.

    :param free: a resolution with what needs what, for which the pins were preferred.
    """
    by_name = {_name(line): line for line in reversed(lines) if line.requirement is not None}
    pins = {**image.pins, **image.essential}
    moved = []
    for name, package in free.packages.items():
        if name in pins and package.version != pins[name]:
            chain = _way(name, pins[name], free, by_name)
            # A file that a line names by its address alone has no name that would lead to it.
            others = [line for line in lines if line.requirement is None] or lines
            line = by_name[chain[0]].number if chain else (others[0].number if others else 1)
            moved.append(MovedPin(name, pins[name], package.version, line, chain, name in image.essential))
    return moved


def left_open(line: Line) -> Line:
    """Return a line without its version: the constraints decide."""
    text = replace_specifier(line, "")
    return replace(line, asked=text, requirement=Requirement(text), shown=_shown(line))


def replace_specifier(line: Line, specifier: str) -> str:
    """Return a line's requirement with another specifier; its extras and marker are kept."""
    assert line.requirement is not None
    return pinned_line(line, "\0").replace("==\0", specifier)


def _older(line: Line) -> str:
    major = _major(line)
    return f">={major},<{pinned_version(line)}" if major else ""


def _newer(line: Line) -> str:
    return f">{pinned_version(line)}" if _major(line) else ""


def _any(_line: Line) -> str:
    return ""


def _not_older(line: Line) -> str:
    major = _major(line)
    return f">={major}" if major else ""


def _major(line: Line) -> str:
    """Return the major version that a line pins; empty if it pins none, or an invalid one."""
    try:
        return str(Version(pinned_version(line) or "").major)
    except InvalidVersion:
        return ""


def _way(name: str, pin: str, free: Resolution, lines: Mapping[str, Line]) -> tuple[str, ...]:
    """Return the shortest way from a line's package to one that is moved, both included.

    A line that accepts the pinned version is not the reason that it moves, if there is another.
    """
    ways: list[tuple[str, ...]] = [(name,)]
    seen = {name}
    for way in ways:
        if way[0] in lines and (len(way) > 1 or not pin or not _takes(lines[name], pin)):
            return way
        for parent in map(normalized, _parents(way[0], free)):
            if parent not in seen:
                seen.add(parent)
                ways.append((parent, *way))
    return (name,) if name in lines else ()


def way_to(name: str, free: Resolution, lines: Sequence[Line]) -> tuple[str, ...]:
    """Return the shortest way from a line's package to one that is installed, both included; empty if there is none.

    :param free: a resolution with what needs what.
    """
    return _way(name, "", free, {_name(line): line for line in reversed(lines) if line.requirement is not None})


def needed_by(name: str, free: Resolution) -> set[str]:
    """Return all that a package needs, directly or not.

    :param free: a resolution with what needs what.
    """
    found: set[str] = set()
    rest = {name}
    while rest:
        found |= rest
        rest = {other for other in free.packages if rest.intersection(map(normalized, _parents(other, free)))} - found
    return found - {name}


def _takes(line: Line, version: str) -> bool:
    assert line.requirement is not None
    return line.requirement.specifier.contains(version, prereleases=True)


def _parents(name: str, free: Resolution) -> Iterable[str]:
    package = free.packages.get(name)
    return package.via if package else ()


def _chain(way: Sequence[str]) -> str:
    return f" ({' needs '.join(way)})" if len(way) > 1 else ""


def _shown(line: Line) -> str:
    return line.shown or line.asked


def _names(line: Line) -> set[str]:
    return {_name(line)} if line.requirement is not None else set()


def _name(line: Line) -> str:
    assert line.requirement is not None
    return normalized(line.requirement.name)
