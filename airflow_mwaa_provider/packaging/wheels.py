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
"""Platforms for ``pip download``: pip takes each literally, and no older one with it, except for manylinux2014."""
_MAX_METADATA_BYTES = 1 << 20
_PATCH_RELEASES = 40
"""More than any Python has had."""
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError, NotImplementedError, RuntimeError, OSError)


def is_supported(tags: Iterable[Tag], image: Image) -> bool:
    """Return whether an image's pip takes a wheel of these tags."""
    return any(tag in wheel_tags(image.python) for tag in tags)


def wheel_name_problem(path: str, archive: str, image: Image) -> Problem | None:
    """Return why an image's pip would refuse a wheel because of its name; None if it would not."""
    where, name = f"{archive}: {path}", posixpath.basename(path)
    try:
        distribution, version, tags = _parsed(name)
    except InvalidWheelFilename:
        return Problem(
            "wheel-name", where, "It has no valid wheel name, and pip selects wheels by their names.",
            "Restore its original name: NAME-VERSION-PYTHON-ABI-PLATFORM.whl.",
        )  # fmt: skip
    if is_supported(tags, image):
        if "__" not in name.partition("-")[0]:
            return None
        return Problem(
            "wheel-name-unusual", where,
            "Its name has two consecutive underscores, which old build tools wrote and some versions of pip refuse.",
            "Build it again, or download a newer version.", Severity.WARNING,
        )  # fmt: skip
    asked = " ".join(f"--platform {platform}" for platform in _PLATFORMS)
    download = (
        f"Download the right one: pip download --only-binary :all: {asked} --python-version {image.python_text} "
        f"--no-deps {distribution}=={version}."
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
    """Return why an image's pip cannot install a wheel: it is damaged, misnamed, or of another format."""
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
        "Its content is not a wheel: not a zip, damaged, or without one .dist-info with METADATA, WHEEL and RECORD.",
        "Download or build it again.",
    )  # fmt: skip


def _header(wheel: zipfile.ZipFile, name: str) -> Message:
    with wheel.open(name) as file:
        return BytesHeaderParser().parsebytes(file.read(_MAX_METADATA_BYTES))


def _of_another_format(where: str, version: str) -> Problem | None:
    if re.fullmatch(r"\s*[01](\.\d+)*\s*", version, re.ASCII):
        return None
    return Problem(
        "wheel-of-another-format", where, f"Its Wheel-Version is {version[:20]!r}, but pip supports 1.",
        "Build it again, with another build backend.",
    )  # fmt: skip


def _leading_out(where: str, names: Iterable[str]) -> Problem | None:
    for name in names:
        if posixpath.normpath(name).startswith(("/", "../")):
            return Problem(
                "wheel-leads-out", where, f"Its file {name[:60]!r} leads out of the wheel: pip refuses it.",
                "Download it again, from its publisher.",
            )  # fmt: skip
    return None


def _for_another_python(where: str, required: str | None, image: Image) -> Problem | None:
    """Compare Requires-Python with the image's Python, whose patch release is unknown."""
    try:
        versions = SpecifierSet(required or "")
    except InvalidSpecifier:
        return None  # pip ignores it, too
    if any(f"{image.python_text}.{patch}" in versions for patch in range(_PATCH_RELEASES)):
        return None
    return Problem(
        "wheel-requires-another-python", where,
        f"It requires Python {versions}; the image of Airflow {image.airflow} has Python {image.python_text}.",
        "Use another version.", Severity.WARNING if image.is_assumed else Severity.ERROR,
    )  # fmt: skip


def _mismatch(where: str, name: str, folder: str, inside: tuple[str, str]) -> Problem | None:
    """Return a problem unless a wheel's name, ``.dist-info`` and metadata name the same version of a distribution."""
    distribution, version, _ = _parsed(name)
    said = [inside, (*folder.removesuffix(".dist-info").partition("-")[::2],)]
    for other, number in said:
        try:
            is_same = canonicalize_name(other) == distribution and Version(number) == version
        except InvalidVersion:
            is_same = False
        if not is_same:
            return Problem(
                "wheel-renamed", where, f"Its content is {other} {number}: pip refuses it under another name.",
                "Restore its original name, or build it again.",
            )  # fmt: skip
    return None


def _parsed(name: str) -> tuple[str, Version, frozenset[Tag]]:
    """Return distribution, version and tags; like pip, even if the name has two consecutive underscores.

    :raises InvalidWheelFilename: it is not the name of a wheel.
    """
    start, dash, rest = name.partition("-")
    distribution, version, _, tags = parse_wheel_filename(re.sub(r"_{2,}", "_", start) + dash + rest)
    return distribution, version, tags


def version_problems(paths: Iterable[str], archive: str) -> Iterator[Problem]:
    """Return a problem for each distribution with several versions in a folder, because pip searches single folders."""
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
                f"Another version of {name} exists: {', '.join(others)}. pip takes the newest that it may.",
                "Keep only the one that requirements.txt names.",
            )  # fmt: skip
