# SPDX-License-Identifier: Apache-2.0
"""The targets of symbolic links."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LEADS_OUT", "LOOPS", "target_of"]

LEADS_OUT = None
LOOPS = ""
_MAX_STEPS = 40
"""The most links that Linux follows in one path."""


def target_of(link: str, text: str, links: Mapping[str, str] | None = None) -> str | None:
    """Return the path of a link's target in the folder where all is unpacked; otherwise LEADS_OUT or LOOPS.

    :param link: path of the link.
    :param text: its content.
    :param links: the content of other links, by their paths: ``..`` after one of them does not lead where it seems to.
    """
    at = [part for part in posixpath.dirname(link).split("/") if part]
    waiting = text.split("/")
    if not text or text.startswith("/") or "\0" in text:
        return LEADS_OUT
    steps = 0
    while waiting:
        part = waiting.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            if not at:
                return LEADS_OUT
            at.pop()
            continue
        at.append(part)
        through = (links or {}).get("/".join(at))
        if through is not None:
            steps += 1
            if through.startswith("/"):
                return LEADS_OUT
            if steps > _MAX_STEPS:
                return LOOPS
            at.pop()
            waiting = through.split("/") + waiting
    return "/".join(at) or "."
