# SPDX-License-Identifier: Apache-2.0
"""The pins of MWAA's images: a constraints file for each Airflow version that MWAA has.

They are read as resources of the package, so that an installed wheel, a zipped one and a clone work the same. Only the
standard library is imported.

Source: Apache Airflow's published constraints, as in the source repository of MWAA's images; the header of each file
names it.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaInputError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from importlib.resources.abc import Traversable
    from pathlib import Path

__all__ = ["normalized", "path_of", "pins_in", "pins_of", "python_of", "text_of", "versions"]

_FILE = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,4}){2})\.txt")
_VERSION = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4}){0,2}")
_PYTHON = re.compile(r"(?m)^# Amazon MWAA's image of Apache Airflow (?P<airflow>\S+): Python (?P<python>[0-9.]+)\.$")
_PIN = re.compile(r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)")


def versions() -> tuple[str, ...]:
    """Return the Airflow versions of MWAA's images, oldest first."""
    found = (_FILE.fullmatch(file.name) for file in _folder().iterdir())
    return tuple(sorted((match[1] for match in found if match), key=_numbers))


def path_of(version: str) -> AbstractContextManager[Path]:
    """Return a context manager with the path of a version's file, for a tool that needs one.

    If the package is in a zip, the file is a temporary copy, which is deleted at the end of the context.

    :param version: an Airflow version, such as ``3.3.1``.
    :raises MwaaInputError: no image has that version.
    """
    return resources.as_file(_file(version))


def text_of(version: str) -> str:
    """Return the text of a version's constraints file, comments included.

    :param version: an Airflow version, such as ``3.3.1``.
    :raises MwaaInputError: no image has that version.
    """
    return _file(version).read_text(encoding="utf-8")


def python_of(version: str) -> str:
    """Return the Python version of an image, such as ``3.12``, from the file's header.

    :param version: an Airflow version, such as ``3.3.1``.
    :raises MwaaInputError: no image has that version, or the file has no such header.
    """
    match = _PYTHON.search(text_of(version))
    if match is None or match["airflow"] != version:
        raise MwaaInputError(
            f"{version}.txt: its header does not name its image. Add it again with scripts/lib/constraints.py."
        )
    return match["python"]


def pins_of(version: str) -> dict[str, str]:
    """Return the pins of a version's image: versions by normalized name, in the order of the file.

    :param version: an Airflow version, such as ``3.3.1``.
    :raises MwaaInputError: no image has that version.
    """
    return pins_in(text_of(version), f"{version}.txt")


def pins_in(text: str, where: str) -> dict[str, str]:
    """Return the pins of a constraints file, versions by normalized name.

    :param where: what an error calls the file.
    :raises MwaaInputError: a line is neither empty, a comment nor ``name==version``, or a name is pinned twice.
    """
    pins: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _PIN.fullmatch(stripped)
        if match is None:
            raise MwaaInputError(f"{where}:{number}: {stripped[:80]!r} is not a pin. Write it as name==version.")
        name = normalized(match["name"])
        if name in pins:
            raise MwaaInputError(f"{where}:{number}: {name} is pinned twice. Remove one of the lines.")
        pins[name] = match["version"]
    return pins


def normalized(name: str) -> str:
    """Return a distribution's name as package indexes compare it: lower case, with single dashes."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _folder() -> Traversable:
    return resources.files("airflow_mwaa_provider.packaging") / "constraints"


def _file(version: str) -> Traversable:
    known = versions()
    if version not in known:
        raise MwaaInputError(_unknown(version, known))
    return _folder() / f"{version}.txt"


def _unknown(version: str, known: tuple[str, ...]) -> str:
    supported = f"{', '.join(known[:-1])} and {known[-1]}"
    if _VERSION.fullmatch(version) is None:
        return f"{version[:40]!r} is not an Airflow version. Give one that MWAA has an image of: {supported}."
    wanted = _numbers(version)
    nearest = min(known, key=lambda other: abs(_distance(wanted) - _distance(_numbers(other))))
    return (
        f"Airflow {version}: this version knows no MWAA image of it. The nearest is {nearest}; supported: {supported}."
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _distance(numbers: tuple[int, ...]) -> int:
    major, minor, patch = (*numbers, 0, 0)[:3]
    return (major * 10_000 + minor) * 10_000 + patch
