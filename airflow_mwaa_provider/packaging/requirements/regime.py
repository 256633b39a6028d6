# SPDX-License-Identifier: Apache-2.0
"""Which constraints an image passes to pip with a requirements file.

The images look for ``-c`` or ``--constraint`` and a space after it, in each line, comments included. Without it they
give pip their own constraints. A commented line switches these off, as MWAA intends. Some 25 packages that MWAA needs
are pinned whatever the file contains.

Source: the published images of 2.9.2 to 3.3.1, ``user_requirements.py`` and ``mwaa_essential_constraints.txt``. The
image of 2.8.1 was never published; it is assumed to do the same, and the user guide requires the line for it.
"""

from __future__ import annotations

import re
from enum import StrEnum

from airflow_mwaa_provider.packaging import image_constraints

__all__ = ["Regime", "essential_pins", "regime_of"]

_OPTION = re.compile(r"-c |--constraint ")
_ESSENTIAL = (
    *("flask-appbuilder", "flask-babel", "flask-bcrypt", "flask-caching", "flask-jwt-extended", "flask-limiter"),
    *("flask-login", "flask-sqlalchemy", "flask-session", "flask-wtf", "flask", "gunicorn"),
    *("billiard", "celery", "gevent", "greenlet", "kombu", "vine"),
    *("sqlalchemy-jsonfield", "sqlalchemy-utils", "sqlalchemy"),
    *("statsd", "watchtower"),
)
_NOT_ESSENTIAL = {
    "2.11.0": {"kombu"},
    "2.11.2": {"kombu"},
    "3.2.1": {"sqlalchemy-jsonfield"},
    "3.3.1": {"flask-bcrypt", "flask-caching", "sqlalchemy-jsonfield"},
}
# Pinned by the images, but not by Airflow's constraints.
_BESIDE_THE_CONSTRAINTS = {"fluent-logger": "0.11.1"}
_OLDER_PINS = {name: {"flask-bcrypt": "1.0.1", "flask-caching": "2.3.0"} for name in ("3.0.6", "3.2.1")}


class Regime(StrEnum):
    """Whose constraints apply beside the essential pins."""

    IMAGE = "image"
    """The image's own, because the file names none."""
    OWN = "own"
    """Those that the file names."""
    NONE = "none"
    """None, because a comment contains the option."""


def regime_of(text: str) -> Regime:
    """Return whose constraints an image uses for a requirements file's text."""
    found = [line for line in text.splitlines() if _OPTION.search(line)]
    if not found:
        return Regime.IMAGE
    return Regime.OWN if any(_OPTION.search(re.sub(r"(^|\s+)#.*$", "", line)) for line in found) else Regime.NONE


def essential_pins(version: str) -> dict[str, str]:
    """Return the versions that an image always pins, by normalized name.

    :param version: an Airflow version, such as ``3.3.1``.
    :raises MwaaInputError: no image has that version.
    """
    pins = {**_OLDER_PINS.get(version, {}), **image_constraints.pins_of(version)}
    names = [name for name in _ESSENTIAL if name in pins and name not in _NOT_ESSENTIAL.get(version, ())]
    return {"apache-airflow": version, **{name: pins[name] for name in names}, **_BESIDE_THE_CONSTRAINTS}
