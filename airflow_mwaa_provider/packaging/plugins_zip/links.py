# SPDX-License-Identifier: Apache-2.0
"""Where symbolic links lead to."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LEADS_OUT", "LOOPS", "target_of"]

LEADS_OUT = None
LOOPS = ""
_MAX_STEPS = 40
"""As many links as Linux follows in one path."""


def target_of(link: str, text: str, links: Mapping[str, str] | None = None) -> str | None:
    """Return the path that a link leads to, in the folder where all is unpacked; else LEADS_OUT or LOOPS.

    :param link: its own path.
    :param text: what it holds.
    :param links: what other links hold, by their paths: ``..`` after one of them leads elsewhere than it seems.
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
