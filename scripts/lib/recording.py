# SPDX-License-Identifier: Apache-2.0
"""Terminal output as a picture: an SVG that shows it screen by screen, or its first screen without animation."""

from __future__ import annotations

import re
from html import escape

COLUMNS = 80
ROWS = 28
SECONDS = 5
"""How long each screen is shown."""
_WIDTH, _HEIGHT, _MARGIN, _BAR = 8.4, 18, 18, 34
_COLORS = {"heading": "#7dcfff", "names": "#8b93b5", "good": "#9ece6a", "prompt": "#e0af68"}


def headings(output: str) -> list[str]:
    """Return the lines that begin a part of the output: not indented, below an empty line."""
    return re.findall(r"(?m)(?<=\n\n)(\S.*)$", f"\n\n{output.strip()}\n")


def screens(output: str) -> list[list[str]]:
    """Return the output in screens. A part that fits into one is not split, a longer one is split between blocks."""
    found: list[list[str]] = [[]]
    for part in re.split(r"\n\n(?=\S)", output.strip()):
        blocks = [part] if len(part.splitlines()) <= ROWS else part.split("\n\n")
        for block in blocks:
            lines = block.splitlines()
            if found[-1] and len(found[-1]) + 1 + len(lines) > ROWS:
                found.append([])
            found[-1] += [""] if found[-1] else []
            found[-1] += lines[:ROWS]
            found += [lines[at : at + ROWS] for at in range(ROWS, len(lines), ROWS)]
    return found


def svg_of(command: str, output: str) -> str:
    """Return the picture of a command and its output.

    :raises ValueError: if a line is wider than the terminal.
    """
    if wide := [line for line in output.splitlines() if len(line) > COLUMNS]:
        raise ValueError(f"wider than {COLUMNS} columns: {wide[0]}")
    shown = screens(f"$ {command}\n\n{output.strip()}")
    width, height = COLUMNS * _WIDTH + 2 * _MARGIN, ROWS * _HEIGHT + _BAR + _MARGIN
    titles = set(headings(output))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img">',
        f"<title>{escape(command)}: {len(shown)} screens of a terminal</title>",
        f"<style>{_style(len(shown))}</style>",
        f'<rect width="{width:g}" height="{height:g}" rx="8" fill="#1a1b26"/>',
        *(
            f'<circle cx="{20 + 18 * number}" cy="17" r="5.5" fill="{color}"/>'
            for number, color in enumerate(("#f7768e", "#e0af68", "#9ece6a"))
        ),
    ]
    for number, screen in enumerate(shown):
        kind = "screen first" if number == 0 else "screen"
        lines.append(f'<g class="{kind}" style="animation-delay:{number * SECONDS}s">')
        for row, line in enumerate(screen):
            if line:
                lines.append(_text(line, row, titles))
        lines.append("</g>")
    return "\n".join([*lines, "</svg>", ""])


def lines_of(svg: str) -> list[str]:
    """Return the lines of text in a picture."""
    return re.findall(r"<text[^>]*>(.*?)</text>", svg)


def _style(screens: int) -> str:
    share = 100 / screens
    font = "14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
    rules = [
        f"text{{font:{font};fill:#c0caf5;white-space:pre}}",
        *(f".{name}{{fill:{color}}}" for name, color in _COLORS.items()),
        ".heading{font-weight:bold}.screen{opacity:0}.screen.first{opacity:1}",
        f"@keyframes show{{0%,{share - 0.01:.2f}%{{opacity:1}}{share:.2f}%,100%{{opacity:0}}}}",
        f"@media(prefers-reduced-motion:no-preference){{.screen{{animation:show {SECONDS * screens}s infinite}}}}",
    ]
    return "".join(rules)


def _text(line: str, row: int, titles: set[str]) -> str:
    style = ""
    if line in titles:
        style = "heading"
    elif line.startswith("$ "):
        style = "prompt"
    elif re.fullmatch(r" +[A-Z][^a-z\d]*( {2,}[A-Z][^a-z\d]*){2,}", line):
        style = "names"
    elif re.search(r"\bsuccess\b", line):
        style = "good"
    start = len(line) - len(line.lstrip())
    x, y = _MARGIN + start * _WIDTH, _BAR + (row + 1) * _HEIGHT - 4
    # The explicit length keeps columns aligned in any font.
    length = (len(line) - start) * _WIDTH
    named = f' class="{style}"' if style else ""
    return f'<text x="{x:g}" y="{y:g}" textLength="{length:g}"{named}>{escape(line.strip(), quote=False)}</text>'
