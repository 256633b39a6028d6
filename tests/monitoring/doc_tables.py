# SPDX-License-Identifier: Apache-2.0
"""The tables of the docs."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |".replace("  ", " ")


def rows(page: str) -> list[str]:
    """Return the rows of a page's tables, without headings."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    return [
        line
        for line, following in zip(lines, [*lines[1:], ""], strict=True)
        if line.startswith("|") and not line.startswith("|---") and not following.startswith("|---")
    ]
