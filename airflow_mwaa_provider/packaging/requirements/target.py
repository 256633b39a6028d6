# SPDX-License-Identifier: Apache-2.0
"""What an image can install: its Python and platform, the wheels that fit them, the markers that are true on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from airflow_mwaa_provider.packaging import image_constraints
from airflow_mwaa_provider.packaging.image import GLIBC, wheel_tags

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.tags import Tag

    from airflow_mwaa_provider.packaging.requirements.parsing import Line

__all__ = ["Target"]

_FULL_PYTHONS = {"3.11": "3.11.9", "3.12": "3.12.10"}
"""Those of the published images; some have a later one."""


@dataclass(frozen=True)
class Target:
    """An image of MWAA, as a place to install packages in.

    :param airflow_version: such as ``3.3.1``.
    :param python: such as ``3.12``.
    """

    airflow_version: str
    python: str

    @classmethod
    def of(cls, airflow_version: str) -> Target:
        """Return an image's target.

        :raises MwaaInputError: no image has that Airflow version.
        """
        return cls(airflow_version, image_constraints.python_of(airflow_version))

    @property
    def full_python(self) -> str:
        """Its full Python version; the lowest patch release that an image of MWAA has."""
        return _FULL_PYTHONS.get(self.python, f"{self.python}.0")

    @property
    def uv_platform(self) -> str:
        """The platform as uv names it."""
        return f"x86_64-manylinux_{GLIBC[0]}_{GLIBC[1]}"

    @property
    def ranks(self) -> dict[Tag, int]:
        """Tags of wheels that can be installed, with their rank: 0 is the best."""
        major, _, minor = self.python.partition(".")
        return wheel_tags((int(major), int(minor)))

    def rank(self, file_name: str) -> int | None:
        """Return the rank of a wheel, 0 for the best; None if it cannot be installed, or the name is not a wheel's."""
        try:
            tags = parse_wheel_filename(file_name)[3]
        except InvalidWheelFilename:
            return None
        return min((self.ranks[tag] for tag in tags if tag in self.ranks), default=None)

    def is_wanted(self, asked: Requirement | Line) -> bool:
        """Return whether the marker of a requirement or a line is true on the image."""
        return asked.marker is None or asked.marker.evaluate(self._markers)

    @property
    def _markers(self) -> dict[str, str]:
        full = self.full_python
        return {
            "implementation_name": "cpython",
            "implementation_version": full,
            "os_name": "posix",
            "platform_machine": "x86_64",
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": full,
            "python_version": self.python,
            "sys_platform": "linux",
            "extra": "",
        }
