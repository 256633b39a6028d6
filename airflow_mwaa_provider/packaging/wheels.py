# SPDX-License-Identifier: Apache-2.0
"""Wheels, as the pip of an MWAA image takes or refuses them."""

from __future__ import annotations

import posixpath
import re
import zipfile
import zlib
from collections import defaultdict
from email.parser import BytesHeaderParser
from typing import IO, TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from airflow_mwaa_provider.packaging.image import GLIBC, wheel_platforms, wheel_tags
from airflow_mwaa_provider.packaging.problems import Problem, Severity
from airflow_mwaa_provider.packaging.zip_entries import is_bomb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from email.message import Message

    from packaging.tags import Tag

    from airflow_mwaa_provider.packaging.image import Image

__all__ = ["is_supported", "version_problems", "wheel_content_problem", "wheel_name_problem"]

_PLATFORMS = ("manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux2014_x86_64")
"""What pip is to be asked for: it takes each as it is, and no older one with it, but for manylinux2014."""
_MAX_METADATA_BYTES = 1 << 20
_PATCH_RELEASES = 40
"""More than any Python has had."""
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError, NotImplementedError, RuntimeError, OSError)


def is_supported(tags: Iterable[Tag], image: Image) -> bool:
    """Return whether an image's pip takes a wheel of these tags."""
    return any(tag in wheel_tags(image.python) for tag in tags)


def wheel_name_problem(path: str, archive: str, image: Image) -> Problem | None:
    """Say why an image's pip would not take a wheel, by its name."""
    where, name = f"{archive}: {path}", posixpath.basename(path)
    try:
        distribution, version, tags = _parsed(name)
    except InvalidWheelFilename:
        return Problem(
            "wheel-name", where, "Its name is not that of a wheel, and pip takes a wheel by its name.",
            "Give it the name that it was downloaded by: NAME-VERSION-PYTHON-ABI-PLATFORM.whl.",
        )  # fmt: skip
    if is_supported(tags, image):
        if "__" not in name.partition("-")[0]:
            return None
        return Problem(
            "wheel-name-unusual", where,
            "Its name has two underscores in a row, which old builds wrote and some pips refuse.",
            "Build it again, or download a newer version of it.", Severity.WARNING,
        )  # fmt: skip
    asked = " ".join(f"--platform {platform}" for platform in _PLATFORMS)
    download = (
        f"Get the right one: pip download --only-binary :all: {asked} --python-version {image.python_text} --no-deps "
        f"{distribution}=={version}."
    )
    found = sorted({tag.platform for tag in tags})
    shown = ", ".join(found)
    if not any("linux" in platform or platform == "any" for platform in found):
        return Problem("wheel-for-another-system", where, f"It is for {shown}; MWAA runs Linux.", download)
    on_this_processor = [platform for platform in found if platform.endswith("_x86_64") or platform == "any"]
    if not on_this_processor:
        return Problem("wheel-for-another-processor", where, f"It is for {shown}; MWAA runs x86_64.", download)
    if not set(on_this_processor) & {*wheel_platforms(), "any"}:
        return Problem(
            "wheel-for-another-libc", where,
            f"It is for {shown}; the image has glibc {GLIBC[0]}.{GLIBC[1]} (Amazon Linux 2023).", download,
        )  # fmt: skip
    pythons = ", ".join(sorted({f"{tag.interpreter}-{tag.abi}" for tag in tags}))
    return Problem(
        "wheel-for-another-python", where,
        f"It is for {pythons}; the image of Airflow {image.airflow} has Python {image.python_text}.", download,
        Severity.WARNING if image.is_assumed else Severity.ERROR,
    )  # fmt: skip


def wheel_content_problem(path: str, archive: str, content: IO[bytes], image: Image) -> Problem | None:
    """Say whether an image's pip can install a wheel: it can be read, is what its name says, and of a kind it takes."""
    where = f"{archive}: {path}"
    try:
        with zipfile.ZipFile(content) as wheel:
            names = wheel.namelist()
            is_whole = any(map(is_bomb, wheel.infolist())) or wheel.testzip() is None
            folders = {name.partition("/")[0] for name in names if re.match(r"[^/]+\.dist-info/", name)}
            files = {name.partition("/")[2] for name in names if name.partition("/")[0] in folders}
            if is_whole and len(folders) == 1 and {"METADATA", "WHEEL", "RECORD"} <= files:
                metadata, sign = (_header(wheel, f"{min(folders)}/{name}") for name in ("METADATA", "WHEEL"))
                inside = (str(metadata["Name"]), str(metadata["Version"]))
                return (
                    _mismatch(where, posixpath.basename(path), min(folders), inside)
                    or _of_another_format(where, str(sign["Wheel-Version"]))
                    or _leading_out(where, names)
                    or _for_another_python(where, metadata["Requires-Python"], image)
                )
    except _UNREADABLE:
        pass
    return Problem(
        "wheel-damaged", where,
        "It is not a wheel inside: not a zip, damaged, or without one .dist-info with METADATA, WHEEL and RECORD.",
        "Download or build it again.",
    )  # fmt: skip


def _header(wheel: zipfile.ZipFile, name: str) -> Message:
    with wheel.open(name) as file:
        return BytesHeaderParser().parsebytes(file.read(_MAX_METADATA_BYTES))


def _of_another_format(where: str, version: str) -> Problem | None:
    if re.fullmatch(r"\s*[01](\.\d+)*\s*", version, re.ASCII):
        return None
    return Problem(
        "wheel-of-another-format", where, f"Its Wheel-Version is {version[:20]!r}, and pip takes 1.",
        "Build it again, with another build backend.",
    )  # fmt: skip


def _leading_out(where: str, names: Iterable[str]) -> Problem | None:
    for name in names:
        if posixpath.normpath(name).startswith(("/", "../")):
            return Problem(
                "wheel-leads-out", where, f"Its file {name[:60]!r} leads out of it, and pip refuses it.",
                "Download it again, from its maker.",
            )  # fmt: skip
    return None


def _for_another_python(where: str, required: str | None, image: Image) -> Problem | None:
    """Compare Requires-Python with the image's Python, of which nobody says the patch release."""
    try:
        versions = SpecifierSet(required or "")
    except InvalidSpecifier:
        return None  # pip takes no notice of it, either
    if any(f"{image.python_text}.{patch}" in versions for patch in range(_PATCH_RELEASES)):
        return None
    return Problem(
        "wheel-requires-another-python", where,
        f"It requires Python {versions}; the image of Airflow {image.airflow} has Python {image.python_text}.",
        "Take another version of it.", Severity.WARNING if image.is_assumed else Severity.ERROR,
    )  # fmt: skip


def _mismatch(where: str, name: str, folder: str, inside: tuple[str, str]) -> Problem | None:
    """Say whether a wheel's name, its ``.dist-info`` and its metadata name one version of one distribution."""
    distribution, version, _ = _parsed(name)
    said = [inside, (*folder.removesuffix(".dist-info").partition("-")[::2],)]
    for other, number in said:
        try:
            is_same = canonicalize_name(other) == distribution and Version(number) == version
        except InvalidVersion:
            is_same = False
        if not is_same:
            return Problem(
                "wheel-renamed", where, f"It is {other} {number} inside, and pip refuses it under another name.",
                "Give it the name that it was downloaded by, or build it again.",
            )  # fmt: skip
    return None


def _parsed(name: str) -> tuple[str, Version, frozenset[Tag]]:
    """Return distribution, version and tags; as pip, also where the name has two underscores in a row.

    :raises InvalidWheelFilename: it is not the name of a wheel.
    """
    start, dash, rest = name.partition("-")
    distribution, version, _, tags = parse_wheel_filename(re.sub(r"_{2,}", "_", start) + dash + rest)
    return distribution, version, tags


def version_problems(paths: Iterable[str], archive: str) -> Iterator[Problem]:
    """Find distributions of which there is more than one version in a folder: pip looks into one, and not below it."""
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for path in paths:
        try:
            distribution, version, _ = _parsed(posixpath.basename(path))
        except InvalidWheelFilename:
            continue
        found[posixpath.dirname(path), distribution].setdefault(str(version), path)
    for (_, name), versions in sorted(found.items()):
        if len(versions) > 1:
            first, *others = sorted(versions.values())
            yield Problem(
                "two-versions", f"{archive}: {first}",
                f"There is another version of {name}: {', '.join(others)}. pip takes the newest that it may.",
                "Keep one of them, the one that requirements.txt names.",
            )  # fmt: skip
