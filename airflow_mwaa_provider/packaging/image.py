# SPDX-License-Identifier: Apache-2.0
"""An MWAA image: its Python, its platform, the wheels that fit both, and the distributions that it pins."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass

from packaging.tags import Tag, compatible_tags, cpython_tags

from airflow_mwaa_provider.packaging import image_constraints

__all__ = ["GLIBC", "HOME", "PLUGINS_FOLDER", "Image", "image_of", "wheel_platforms", "wheel_tags"]

GLIBC = (2, 34)
"""That of Amazon Linux 2023, the base of every image since Airflow 2.7. Source: the images' bill of materials, 2026."""
HOME = "/usr/local/airflow"
"""The home folder of Airflow in MWAA's containers."""
PLUGINS_FOLDER = f"{HOME}/plugins"
"""Where MWAA unpacks plugins.zip."""
_OLDEST_GLIBC_MINOR = 5
_OLD_PLATFORMS = {17: "manylinux2014_x86_64", 12: "manylinux2010_x86_64", 5: "manylinux1_x86_64"}
"""Names of manylinux_2_N."""


@dataclass(frozen=True)
class Image:
    """An image of MWAA.

    :param airflow: its Airflow version.
    :param python: its Python's version, such as ``(3, 12)``.
    :param is_assumed: no version was given.
    """

    airflow: str
    python: tuple[int, int]
    is_assumed: bool = False

    @property
    def python_text(self) -> str:
        """The Python version, such as ``3.12``."""
        return f"{self.python[0]}.{self.python[1]}"

    @property
    def is_newer_than_here(self) -> bool:
        """Whether its Python may have syntax that the running one does not know."""
        return self.python > sys.version_info[:2]

    @property
    def pinned(self) -> frozenset[str]:
        """The normalized names of the distributions that it pins."""
        return _pinned(self.airflow)


@functools.cache
def _pinned(airflow: str) -> frozenset[str]:
    return frozenset(image_constraints.pins_of(airflow))


@functools.cache
def image_of(airflow_version: str | None) -> Image:
    """Return the image of an Airflow version, or the newest image for None.

    :raises MwaaInputError: no image has that version.
    """
    version = image_constraints.versions()[-1] if airflow_version is None else airflow_version
    major, _, minor = image_constraints.python_of(version).partition(".")
    return Image(version, (int(major), int(minor)), is_assumed=airflow_version is None)


def wheel_platforms() -> list[str]:
    """Return the platforms of wheels that an image can install, the most specific one first."""
    found = []
    for minor in range(GLIBC[1], _OLDEST_GLIBC_MINOR - 1, -1):
        found.append(f"manylinux_{GLIBC[0]}_{minor}_x86_64")
        found += [_OLD_PLATFORMS[minor]] if minor in _OLD_PLATFORMS else []
    return [*found, "linux_x86_64"]


@functools.cache
def wheel_tags(python: tuple[int, int]) -> dict[Tag, int]:
    """Return the tags of wheels that an image's pip takes, with their rank: 0 is the best."""
    interpreter, platforms = f"cp{python[0]}{python[1]}", wheel_platforms()
    tags = [*cpython_tags(python, [interpreter], platforms), *compatible_tags(python, interpreter, platforms)]
    return {tag: rank for rank, tag in reversed(list(enumerate(tags)))}
