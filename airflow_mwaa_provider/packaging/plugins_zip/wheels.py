# SPDX-License-Identifier: Apache-2.0
"""Wheels in a plugins.zip, which ``--find-links /usr/local/airflow/plugins`` installs from."""

from __future__ import annotations

import functools
import posixpath
import re
import zipfile
from collections import defaultdict
from typing import TYPE_CHECKING, BinaryIO

from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from airflow_mwaa_provider.packaging.plugins_zip.image import GLIBC
from airflow_mwaa_provider.packaging.problems import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from packaging.tags import Tag

    from airflow_mwaa_provider.packaging.plugins_zip.image import Image

__all__ = ["is_supported", "version_problems", "wheel_content_problem", "wheel_name_problem"]

_MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)_x86_64")


def platforms() -> list[str]:
    """Return the platforms of wheels that an image can install, the most special one first."""
    old = {17: "manylinux2014_x86_64", 12: "manylinux2010_x86_64", 5: "manylinux1_x86_64"}
    found = []
    for minor in range(GLIBC[1], 4, -1):
        found += [f"manylinux_{GLIBC[0]}_{minor}_x86_64", *([old[minor]] if minor in old else [])]
    return [*found, "linux_x86_64"]


def is_supported(tags: Iterable[Tag], image: Image) -> bool:
    """Whether an image's pip takes a wheel of these tags."""
    return not _supported(image.python).isdisjoint(tags)


@functools.cache
def _supported(python: tuple[int, int]) -> frozenset[Tag]:
    special = cpython_tags(python, platforms=platforms())
    return frozenset(special) | frozenset(compatible_tags(python, f"cp{python[0]}{python[1]}", platforms()))


def wheel_name_problem(path: str, archive: str, image: Image) -> Problem | None:
    """Say why an image's pip would not take a wheel, by its name."""
    where, name = f"{archive}: {path}", posixpath.basename(path)
    try:
        distribution, version, _, tags = parse_wheel_filename(name)
    except InvalidWheelFilename:
        return Problem(
            "wheel-name", where, "Its name is not that of a wheel, and pip takes a wheel by its name.",
            "Give it the name that it was downloaded by: NAME-VERSION-PYTHON-ABI-PLATFORM.whl.",
        )  # fmt: skip
    if is_supported(tags, image):
        return None
    download = (
        f"Get the right one: pip download --only-binary :all: --platform manylinux_2_28_x86_64 --python-version "
        f"{image.python_text} --no-deps {distribution}=={version}."
    )
    found = sorted({tag.platform for tag in tags})
    shown = ", ".join(found)
    if not any("linux" in platform or platform == "any" for platform in found):
        return Problem("wheel-for-another-system", where, f"It is for {shown}; MWAA runs Linux.", download)
    on_this_processor = [platform for platform in found if platform.endswith("_x86_64") or platform == "any"]
    if not on_this_processor:
        return Problem("wheel-for-another-processor", where, f"It is for {shown}; MWAA runs x86_64.", download)
    if not set(on_this_processor) & {*platforms(), "any"}:
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


def wheel_content_problem(path: str, archive: str, content: BinaryIO) -> Problem | None:
    """Say whether a wheel can be read: it is a zip, with the metadata of a distribution."""
    try:
        with zipfile.ZipFile(content) as wheel:
            has_metadata = any(re.fullmatch(r"[^/]+\.dist-info/METADATA", name) for name in wheel.namelist())
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError, OSError):
        has_metadata = False
    if has_metadata:
        return None
    return Problem(
        "wheel-damaged", f"{archive}: {path}", "It is not a wheel inside: not a zip, or one without METADATA.",
        "Download or build it again.",
    )  # fmt: skip


def version_problems(paths: Iterable[str], archive: str) -> Iterator[Problem]:
    """Find distributions of which there is more than one version."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for path in paths:
        try:
            distribution, version, _, _ = parse_wheel_filename(posixpath.basename(path))
        except InvalidWheelFilename:
            continue
        found[distribution].setdefault(str(version), path)
    for name, versions in sorted(found.items()):
        if len(versions) > 1:
            first, *others = sorted(versions.values())
            yield Problem(
                "two-versions", f"{archive}: {first}",
                f"There is another version of {name}: {', '.join(others)}. pip takes the newest that it may.",
                "Keep one of them, the one that requirements.txt names.",
            )  # fmt: skip
