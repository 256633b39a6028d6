# SPDX-License-Identifier: Apache-2.0
"""For the docs build: the few Sphinx marks that our docstrings use, as Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

LITERAL = re.compile(r"(?m)^([^\n]*)::$")
ROLE = re.compile(r":(?:class|meth|func|attr|mod|exc|data):`~?([^`]+)`")


def to_markdown(text: str) -> str:
    """``text::`` before an indented block becomes ``text:``; roles become code."""
    text = LITERAL.sub(lambda match: f"{match[1]}:" if match[1].strip() else "", text)
    return ROLE.sub(lambda match: f"`{match[1].rpartition('.')[2]}`", text)


class SphinxMarks(griffe.Extension):
    """Rewrites every docstring when it is loaded."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)
