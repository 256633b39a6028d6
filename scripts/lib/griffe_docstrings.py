# SPDX-License-Identifier: Apache-2.0
"""For the docs build: convert the Sphinx markup that our docstrings use to Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

LITERAL = re.compile(r"(?m)^([^\n]*)::$")
RETURN = re.compile(r"(?ms)^:returns?:(.*?)(?=^:|\Z)")
ROLE = re.compile(r":(?:class|meth|func|attr|mod|exc|data):`~?([^`]+)`")


def to_markdown(text: str) -> str:
    """Change ``text::`` before an indented block to ``text:``, and roles to code."""
    text = LITERAL.sub(lambda match: f"{match[1]}:" if match[1].strip() else "", text)
    return ROLE.sub(lambda match: f"`{match[1].rpartition('.')[2]}`", text)


def return_as_text(text: str) -> str:
    """Move an operator's ``:return:``, which describes ``execute``: griffe does not accept one in a class."""
    found = RETURN.search(text)
    if not found:
        return text
    said = " ".join(found[1].split())
    without = text[: found.start()] + text[found.end() :]
    head, colon, fields = without.partition("\n:")
    return f"{head.rstrip()}\n\nReturns {said}\n{colon}{fields}"


class SphinxMarks(griffe.Extension):
    """Rewrite every docstring when it is loaded."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            text = to_markdown(obj.docstring.value)
            obj.docstring.value = return_as_text(text) if obj.is_class else text
