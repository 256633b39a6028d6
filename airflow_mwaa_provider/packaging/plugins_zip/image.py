# SPDX-License-Identifier: Apache-2.0
"""What an MWAA image can run: its Python, its processor, its C library, and the modules that are taken."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass

from airflow_mwaa_provider.packaging import image_constraints

__all__ = ["GLIBC", "PLUGINS_FOLDER", "Image", "image_of"]

GLIBC = (2, 34)
"""Amazon Linux 2023's, which every image since Airflow 2.7 is made of. Source: the images' bill of materials, 2026."""
PLUGINS_FOLDER = "/usr/local/airflow/plugins"
"""Where MWAA unpacks plugins.zip."""


@dataclass(frozen=True)
class Image:
    """An image of MWAA.

    :param airflow: its Airflow version.
    :param python: its Python's version, such as ``(3, 12)``.
    :param is_assumed: nobody has said that it is this one.
    """

    airflow: str
    python: tuple[int, int]
    is_assumed: bool = False

    @property
    def python_text(self) -> str:
        """Return the Python's version as people write it."""
        return f"{self.python[0]}.{self.python[1]}"

    @property
    def is_newer_than_here(self) -> bool:
        """Whether its Python has syntax that the running one may not know."""
        return self.python > sys.version_info[:2]

    @property
    def pinned(self) -> frozenset[str]:
        """Return the names of the distributions that it pins, normalized."""
        return _pinned(self.airflow)


@functools.cache
def _pinned(airflow: str) -> frozenset[str]:
    return frozenset(image_constraints.pins_of(airflow))


@functools.cache
def image_of(airflow_version: str | None) -> Image:
    """Return the image of an Airflow version; of None the newest.

    :raises MwaaInputError: no image has that version.
    """
    version = image_constraints.versions()[-1] if airflow_version is None else airflow_version
    major, _, minor = image_constraints.python_of(version).partition(".")
    return Image(version, (int(major), int(minor)), is_assumed=airflow_version is None)
