# SPDX-License-Identifier: Apache-2.0
"""scripts/structure: rooms, files, arrows and circles of the package, its lines, and the repeated ones.

A room is a folder with source files. An arrow is an import, including those inside a function or only for types; the
arrows of a room are between the files and rooms at its top, at any depth. A circle is a group whose members all import
each other, directly or indirectly. A place with repeated lines is one whose lines occurred before, regardless of
indentation; blank lines, imports, __all__ and the license line do not count.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from draw_structure import draw
from imports import LONG_LINES, PACKAGE, Room, circles, file_arrows, long_files, read_modules, read_tree, rooms
from running import ROOT, Failure, guarded, need_git, without_git_variables
from source_lines import REPEATED_LINES, Repetition, count, repetitions

if TYPE_CHECKING:
    from collections.abc import Iterator

WORK_TREE = "work tree"
PARTS = {"package": PACKAGE, "tests": "tests"}
COLUMNS = {"files": "files", "top_files": "at its top", "top_rooms": "rooms", "arrows": "arrows", "circles": "circles"}
"""What is printed for each room, by its name in ``room_numbers``; arrows are those between items at its top."""


@dataclass
class Structure:
    """The contents of one tree."""

    rooms: dict[str, Room]
    file_arrows: int
    file_circles: list[tuple[str, ...]]
    long_files: list[tuple[str, int]]
    lines: dict[str, dict[str, int]]
    repetitions: dict[str, list[Repetition]]

    @property
    def room_arrows(self) -> int:
        """Return the arrows that begin or end at a room, each counted where its two ends are side by side."""
        return sum(
            not (name.endswith(".py") and other.endswith(".py"))
            for room in self.rooms.values()
            for name, others in room.arrows.items()
            for other in others
        )

    @property
    def room_circles(self) -> list[tuple[str, ...]]:
        """Return the circles that a room is in, including those of rooms with files beside them."""
        return [
            tuple("/".join(filter(None, (path, name))) for name in circle)
            for path, room in self.rooms.items()
            for circle in sorted(circles(room.arrows))
            if any(not name.endswith(".py") for name in circle)
        ]

    def totals(self) -> dict[str, int]:
        """Return the totals by name; the name of a part of another total begins with two spaces."""
        found = {
            "rooms": len(self.rooms) - 1,
            "files": self.rooms[""].files,
            "arrows between files": self.file_arrows,
            "arrows to or from rooms": self.room_arrows,
            "circles of files": len(self.file_circles),
            "circles with rooms": len(self.room_circles),
            f"files past {LONG_LINES} lines": len(self.long_files),
        }
        for part, lines in self.lines.items():
            found[f"lines, {part}"] = sum(lines.values())
            found |= {f"  {kind.replace('_', ' ')}, {part}": number for kind, number in lines.items()}
        for part, places in self.repetitions.items():
            found[f"places with {REPEATED_LINES} or more repeated lines, {part}"] = len(places)
        return found

    def as_dict(self) -> dict[str, object]:
        return {
            "totals": {name.strip(): number for name, number in self.totals().items()},
            "rooms": {path or ".": room_numbers(room) for path, room in self.rooms.items()},
            "circles": {"files": self.file_circles, "with_rooms": self.room_circles},
            "long_files": dict(self.long_files),
            "repeated": {part: [asdict(place) for place in places] for part, places in self.repetitions.items()},
        }


def room_numbers(room: Room) -> dict[str, int]:
    """Return the numbers of a room, and of the items at its top."""
    return {
        "files": room.files,
        "top_files": len(room.files_at_top),
        "top_rooms": len(room.rooms_at_top),
        "arrows": sum(map(len, room.arrows.values())),
        "circles": len(circles(room.arrows)),
    }


def structure(parts: dict[str, dict[str, str]]) -> Structure:
    """Count the lines of the package and of the tests by kind."""
    package = parts["package"]
    arrows = file_arrows(read_modules(package))
    return Structure(
        rooms=rooms(arrows),
        file_arrows=sum(map(len, arrows.values())),
        file_circles=sorted(circles(arrows)),
        long_files=long_files(package),
        lines={part: asdict(count(sources)) for part, sources in parts.items()},
        repetitions={part: repetitions(sources) for part, sources in parts.items()},
    )


def sources_of(commit: str) -> dict[str, dict[str, str]]:
    """Return the sources of a commit, by part and path."""
    if commit == WORK_TREE:
        return {part: read_tree(ROOT / folder) for part, folder in PARTS.items()}
    need_git()
    asked = subprocess.run(
        ["git", "archive", "--format=tar", f"{commit}^{{commit}}", "--", *PARTS.values()],
        cwd=ROOT,
        env=without_git_variables(),
        capture_output=True,
        check=False,
    )
    if asked.returncode:
        said = (asked.stderr.decode(errors="replace").strip().splitlines() or ["git says nothing"])[-1]
        raise Failure(f"--tree {commit}: no commit with {' and '.join(PARTS.values())} ({said}); git log shows them")
    found: dict[str, dict[str, str]] = {part: {} for part in PARTS}
    with tarfile.open(fileobj=io.BytesIO(asked.stdout)) as archive:
        for member in archive:
            for part, folder in PARTS.items():
                if member.isfile() and member.name.startswith(f"{folder}/") and member.name.endswith(".py"):
                    data = archive.extractfile(member)
                    assert data is not None  # the file exists
                    found[part][member.name.removeprefix(f"{folder}/")] = data.read().decode("utf-8")
    return found


def report(trees: dict[str, Structure]) -> Iterator[str]:
    """Return the lines to print: the totals, each room, and the names of what should decrease."""
    totals = [tree.totals() for tree in trees.values()]
    yield from table([["", *trees], *([name, *(str(each[name]) for each in totals)] for name in totals[0])])
    yield ""
    yield from table([["room", *COLUMNS.values()], *room_rows(list(trees.values()))])
    for name, tree in trees.items():
        for path, lines in tree.long_files:
            yield f"{name}: {path} has {lines} lines"
        for circle in [*tree.file_circles, *tree.room_circles]:
            yield f"{name}: a circle: {', '.join(circle)}"


def room_rows(trees: list[Structure]) -> Iterator[list[str]]:
    for path in sorted({path for tree in trees for path in tree.rooms}):
        numbers = [room_numbers(tree.rooms[path]) if path in tree.rooms else {} for tree in trees]
        cells = ([str(each.get(name, "-")) for each in numbers] for name in COLUMNS)
        yield [path or PACKAGE, *(" -> ".join(dict.fromkeys(cell)) for cell in cells)]


def table(rows: list[list[str]]) -> Iterator[str]:
    """Return rows as lines, with the first column left-aligned and the others right-aligned."""
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    for name, *cells in rows:
        line = [f"{name:{first}}", *(f"{cell:>{width}}" for cell, width in zip(cells, others, strict=True))]
        yield "  ".join(line).rstrip()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/structure", description=__doc__, allow_abbrev=False, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--tree",
        action="append",
        metavar="COMMIT",
        help="count this commit instead of the work tree; given twice, compare both",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the numbers for machines, each repeated place included"
    )
    parser.add_argument(
        "--draw", type=Path, metavar="PATH", help="draw layers, rooms and arrows into an SVG file instead"
    )
    given = parser.parse_args(arguments)
    names = given.tree or [WORK_TREE]
    if len(names) > 2:
        parser.error("--tree: two commits at most are counted side by side")
    if given.draw is not None:
        if len(names) > 1 or given.json:
            parser.error("--draw: one tree is drawn, and nothing counted; leave out the second --tree and --json")
        try:
            picture = draw(rooms(file_arrows(read_modules(sources_of(names[0])["package"]))))
        except ValueError as error:
            raise Failure(f"--draw: {error}; scripts/check names the imports") from None
        given.draw.write_text(picture, encoding="utf-8")
        return 0
    trees = {name: structure(sources_of(name)) for name in names}
    if given.json:
        print(json.dumps({name: tree.as_dict() for name, tree in trees.items()}, indent=1))
    else:
        print("\n".join(report(trees)))
    return 0


if __name__ == "__main__":
    sys.exit(guarded("structure", main, sys.argv[1:]))
