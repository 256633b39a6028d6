# SPDX-License-Identifier: Apache-2.0
"""Another version of a provider than the image's: a constraints file for it, checked to resolve.

Source: MWAA's user guide, "Managing connections", on specifying newer provider packages.
"""

from __future__ import annotations

import difflib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement

from airflow_mwaa_provider.exceptions import MwaaInputError, ResolverUnavailable
from airflow_mwaa_provider.packaging import image_constraints
from airflow_mwaa_provider.packaging.image import HOME
from airflow_mwaa_provider.packaging.image_constraints import normalized
from airflow_mwaa_provider.packaging.requirements.checking import check_requirements
from airflow_mwaa_provider.packaging.requirements.conflicts import Conflicts
from airflow_mwaa_provider.packaging.requirements.lines import (
    Image,
    constraints_of,
    pinned_line,
    pinned_version,
)
from airflow_mwaa_provider.packaging.requirements.parsing import decode, parse
from airflow_mwaa_provider.packaging.requirements.regime import Regime, essential_pins
from airflow_mwaa_provider.packaging.requirements.report import RequirementsReport, not_resolved
from airflow_mwaa_provider.packaging.requirements.resolving import Asked, Unresolvable, find_resolver
from airflow_mwaa_provider.packaging.requirements.target import Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_mwaa_provider.packaging.requirements.parsing import Line
    from airflow_mwaa_provider.packaging.requirements.resolving import Resolver

__all__ = ["ProviderUpdate", "update_provider"]

_PREFIX = "apache-airflow-providers-"
_MARK = "# Changed by airflow-mwaa package requirements --update-provider:"


@dataclass(frozen=True)
class ProviderUpdate:
    """The changes, and the file that was written.

    :param report: of the requirements with the new constraints. If it has errors, nothing was written.
    :param changes: versions before and after, by name: of the provider, and of what it needs in another version.
    :param constraints: path of the new constraints file.
    :param lines: what the requirements file must contain, as it was checked: in place of its lines for the same, or at
        its end.
    """

    report: RequirementsReport
    changes: Mapping[str, tuple[str, str]]
    constraints: Path | None = None
    lines: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return this as a JSON object."""
        update = {
            "constraints": str(self.constraints) if self.constraints else None,
            "changes": {name: {"from": old, "to": new} for name, (old, new) in self.changes.items()},
            "lines": list(self.lines),
        }
        return {**self.report.as_dict(), "update": update}


def update_provider(
    requirements: Path,
    airflow_version: str,
    provider: str,
    *,
    wheels: Path | None = None,
    replace_anything: bool = False,
) -> ProviderUpdate:
    """Write the image's constraints with another version of a provider, beside a requirements file.

    Pins of packages that the provider needs in another version are changed as well, as few as possible, but never those
    that MWAA does not allow to move. The requirements are checked with the new constraints before anything is written.

    :param requirements: path of the requirements file.
    :param airflow_version: of the environment, such as ``3.3.1``.
    :param provider: name and version, such as ``amazon==9.35.0``.
    :param wheels: a folder with your own wheels.
    :param replace_anything: also replaces a file that this did not write.
    :return: the check's report, and what was written if it has no error.
    :raises MwaaInputError: the image has no such provider, or a file cannot be read or written.
    :raises ResolverUnavailable: neither uv nor pip can be used.
    """
    target = Target.of(airflow_version)
    line = _provider_line(provider, airflow_version)
    path = requirements.with_name(f"constraints-{target.python}-updated.txt")
    if path.is_dir():
        raise MwaaInputError(f"{path} is a folder. Move it.")
    if path.exists() and not replace_anything and _MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise MwaaInputError(f"{path} exists and was not written by this command. Move it, or replace it with --force.")
    resolver = find_resolver(target, wheels)
    if not resolver.keeps_preferred:
        raise MwaaInputError("--update-provider needs uv. Install it: pip install uv.")
    image = Image(
        target, image_constraints.pins_of(airflow_version), essential_pins(airflow_version), Regime.OWN, False
    )
    try:
        old_text, _ = decode(requirements.read_bytes())
    except OSError as error:
        raise MwaaInputError(f"{requirements} cannot be used: {error.strerror or error}.") from error
    line = _as_in_the_file(line, parse(old_text))
    changes = _changes(line, image, resolver)
    if isinstance(changes, RequirementsReport):
        return ProviderUpdate(changes, {})
    written_lines = (f'--constraint "{HOME}/dags/{path.name}"', line.asked)
    content = _constraints(airflow_version, changes)
    try:
        text = _requirements(old_text, written_lines, line)
        with tempfile.TemporaryDirectory(prefix="airflow-mwaa-") as folder:
            draft = Path(folder, path.name)
            draft.write_text(content, encoding="utf-8")
            report = check_requirements(
                text,
                airflow_version,
                name=requirements.name,
                wheels=wheels,
                constraints=draft,
                resolver=resolver,
                expected_moves={name: new for name, (_, new) in changes.items()},
            )
        if report.errors:
            return ProviderUpdate(report, changes, None, written_lines)
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise MwaaInputError(f"{error.filename or path} cannot be used: {error.strerror or error}.") from error
    return ProviderUpdate(report, changes, path, written_lines)


def _provider_line(provider: str, airflow_version: str) -> Line:
    text = provider if normalized(provider).startswith(_PREFIX) else f"{_PREFIX}{provider}"
    try:
        name = normalized(Requirement(text).name)
    except InvalidRequirement:
        raise MwaaInputError(f"{provider!r} is not a provider and a version. Write amazon==9.35.0.") from None
    [line] = parse(text)
    if pinned_version(line) is None:
        raise MwaaInputError(f"{provider!r} has no exact version. Write amazon==9.35.0.")
    pins = image_constraints.pins_of(airflow_version)
    if name not in pins:
        known = [each.removeprefix(_PREFIX) for each in pins if each.startswith(_PREFIX)]
        near = difflib.get_close_matches(name.removeprefix(_PREFIX), known, n=3)
        raise MwaaInputError(
            f"Airflow {airflow_version} has no constraint for a provider {name.removeprefix(_PREFIX)}. "
            + (f"The nearest: {', '.join(near)}." if near else "Add it to the requirements file.")
        )
    if pins[name] == pinned_version(line):
        raise MwaaInputError(f"{name} {pins[name]} is the image's own version: nothing to update. Give another one.")
    return line


def _as_in_the_file(line: Line, lines: Sequence[Line]) -> Line:
    """Return the provider's line with its extras and marker from the requirements file."""
    assert line.requirement is not None
    name = normalized(line.requirement.name)
    same = (each for each in lines if each.requirement is not None and normalized(each.requirement.name) == name)
    [found] = parse(pinned_line(next(same, line), pinned_version(line) or ""))
    return replace(found, asked=found.asked.replace(found.requirement.name, name, 1) if found.requirement else "")


def _changes(line: Line, image: Image, resolver: Resolver) -> dict[str, tuple[str, str]] | RequirementsReport:
    """Return the versions to change, or a report of why they cannot be changed."""
    essential = tuple(f"{name}=={version}" for name, version in image.essential.items())
    preferred = tuple(f"{name}=={version}" for name, version in image.pins.items())
    asked = Asked((line.asked,), essential, preferred)
    title = f"--update-provider {line.asked}"
    try:
        found = resolver.trace(asked).packages
    except Unresolvable as error:
        problems, moved = Conflicts(resolver, image, "--update-provider", [line], asked, error).explain()
        told = tuple(replace(problem, where="--update-provider") for problem in problems)
        return RequirementsReport(title, image.target, image.regime, resolver.name, told, (), tuple(moved))
    except ResolverUnavailable as error:
        return RequirementsReport(
            title, image.target, image.regime, resolver.name, (not_resolved(error, "--update-provider"),)
        )
    return {
        name: (image.pins[name], package.version)
        for name, package in found.items()
        if name in image.pins and package.version != image.pins[name]
    }


def _constraints(airflow_version: str, changes: Mapping[str, tuple[str, str]]) -> str:
    lines = [_MARK, *(f"# {name} {old} to {new}" for name, (old, new) in changes.items())]
    for line in image_constraints.text_of(airflow_version).splitlines():
        name, pinned, _ = line.partition("==")
        change = changes.get(normalized(name)) if pinned else None
        lines.append(f"{name}=={change[1]}" if change else line)
    return "\n".join(lines) + "\n"


def _requirements(text: str, wanted: tuple[str, ...], provider: Line) -> str:
    """Return the file's text with the new lines in place of those that they replace, or at its end.

    Airflow's own constraints are replaced; if it does not name them, the first constraints that it names.
    """
    assert provider.requirement is not None
    name = normalized(provider.requirement.name)
    lines = text.splitlines()
    constraint, package = wanted
    missing = {constraint, package}
    parsed = parse(text)
    named = [(line, value) for line in parsed for option, value in line.settings if option == "constraint"]
    updated = constraint.partition('"')[2].strip('"')
    replaced = {line.number for line, value in named if constraints_of(value) is not None or value == updated}
    replaced = replaced or {line.number for line, _ in named[:1]}
    for line in parsed:
        if line.number in replaced:
            new = constraint
        elif line.requirement is not None and normalized(line.requirement.name) == name:
            new = package
        else:
            continue
        joined = range(line.number, line.last_number)
        lines[line.number - 1 : line.last_number] = [new if new in missing else "", *("" for _ in joined)]
        missing.discard(new)
    return "\n".join([*lines, *(line for line in wanted if line in missing), ""])
