# SPDX-License-Identifier: Apache-2.0
"""Draw the layers of the package, their rooms, and which layer imports which.

Importers are above what they import. An arrow that follows from others is omitted. The number of files is not drawn, so
the picture changes only when a room or an arrow does. The same tree always produces the same picture, which a test
compares.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from math import ceil, fsum  # a sum of floats depends on the version of Python
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imports import Room

WIDTH = 740
"""The width of a page's text on a laptop; a picture that does not fit becomes wider."""
MARGIN, GAP, ROW_GAP = 16, 22, 54
PADDING, HEAD, CHIP_HEIGHT, CHIP_GAP, LINE = 10, 34, 24, 6, 16
NAME_SIZE, CHIP_SIZE = 14, 12.5
CHARACTER = 0.615
"""Width of a character in a monospace font, as a fraction of its size."""
LANE = 14
"""Width of an arrow that passes a row, and the distance between two that meet the same box."""
INNER_WIDTHS = (340, 260, 190, 130)
"""The layouts to try for the rooms in a box, until all rows fit."""
COLOURS = ("#3f6fb5", "#b5612a", "#3f8f5f", "#8a5aa8", "#a8842a", "#2f8c96", "#b04a6e", "#7d8a2e", "#7b8594")
STYLE = """
.paper{fill:#f4f6f8}.box{fill:#fff;stroke:#5b6b7b}.chip{fill:#e8edf2}.name{fill:#1d2733}.inner{fill:#52616f}
@media (prefers-color-scheme:dark){
.paper{fill:#1e2129}.box{fill:#2a2f3a;stroke:#8b98a8}.chip{fill:#3a4250}.name{fill:#eef2f6}.inner{fill:#b9c3ce}
}
"""


@dataclass(eq=False)
class Node:
    """A box, or an arrow's unnamed passage between the boxes of a row."""

    name: str = ""
    chips: list[Chip] = field(default_factory=list)
    width: float = LANE
    height: float = 0
    x: float = 0
    """Its center."""
    above: list[Node] = field(default_factory=list)
    below: list[Node] = field(default_factory=list)


@dataclass
class Chip:
    """A room inside a box."""

    width: float
    lines: list[str]
    x: float = 0
    """Its position, and its upper edge, relative to the box's corner."""
    y: float = 0
    height: float = 0

    def __post_init__(self) -> None:
        self.height = CHIP_HEIGHT + LINE * (len(self.lines) - 1)


def draw(rooms: Mapping[str, Room]) -> str:
    """Return the picture as SVG.

    :raises ValueError: if layers import each other in a circle, so that none is above the other.
    """
    arrows = without_what_follows(layers(rooms[""].arrows))
    for inner_width in INNER_WIDTHS:
        boxes = {name: box_of(name, rooms, inner_width) for name in sorted(arrows)}
        rows, chains = laid_out(arrows, boxes, floors_of(arrows, boxes))
        if max(map(width_of, rows)) <= WIDTH:
            break
    for chain in chains:
        for upper, lower in pairwise(chain):
            upper.below.append(lower)
            lower.above.append(upper)
    width = max(WIDTH, *(ceil(width_of(row)) for row in rows))
    put_in_order(rows)
    put_side_by_side(rows, width)
    ends: dict[Node, tuple[float, float]] = {}
    y: float = MARGIN
    for row in rows:
        bottom = y + max(node.height for node in row)
        ends |= dict.fromkeys(row, (y, bottom))
        y = bottom + ROW_GAP
    height = ceil(y - ROW_GAP + MARGIN)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="t">',
            '<title id="t">The layers of the package, the rooms in them, and which layer imports which</title>',
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{width}" height="{height}" rx="8"/>',
            '<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace">',
            *curves(rows, chains, ends),
            *(line for row in rows for node in row if node.name for line in drawn_box(node, ends[node][0])),
            "</g>",
            "</svg>",
            "",
        ]
    )


# -- what is drawn ---------------------------------------------------------------------------------------


def layers(arrows: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the arrows between layers, with the files ``X.py`` and ``X_more.py`` as one layer, ``X*.py``."""
    stems = {name.removesuffix(".py"): name for name in arrows if name.endswith(".py")}
    heads = {
        name: min((other for other in stems if f"{stem}_".startswith(f"{other}_")), key=len)
        for stem, name in stems.items()
    }
    shared = {head for head in heads.values() if list(heads.values()).count(head) > 1}
    labels = {name: f"{heads[name]}*.py" if heads.get(name) in shared else name for name in arrows}
    found: dict[str, set[str]] = {label: set() for label in labels.values()}
    for name, others in arrows.items():
        found[labels[name]] |= {labels[other] for other in others} - {labels[name]}
    return found


def without_what_follows(arrows: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the arrows without those that follow from others: with a -> b -> c, not a -> c."""
    reached: dict[str, set[str]] = {}

    def reach(name: str, path: tuple[str, ...]) -> set[str]:
        if name in path:
            raise ValueError(f"layers import each other in a circle: {', '.join(path[path.index(name) :])}")
        if name not in reached:
            reached[name] = arrows[name].union(*(reach(other, (*path, name)) for other in sorted(arrows[name])))
        return reached[name]

    for name in sorted(arrows):
        reach(name, ())
    return {
        name: {each for each in others if not any(each in reached[o] for o in others)}
        for name, others in arrows.items()
    }


def box_of(name: str, rooms: Mapping[str, Room], inner_width: float) -> Node:
    """Return the box of a layer, with its rooms side by side and one below the other."""
    chips: list[list[Chip]] = []
    for room in rooms[name].rooms_at_top if name in rooms else ():
        lines = [room, *wrapped(rooms[f"{name}/{room}"].rooms_at_top, inner_width)]
        chip = Chip(max(map(len, lines)) * CHIP_SIZE * CHARACTER + 2 * PADDING, lines)
        if chips and row_width([*chips[-1], chip]) <= inner_width:
            chips[-1].append(chip)
        else:
            chips.append([chip])
    inner = max([len(name) * NAME_SIZE * CHARACTER, *map(row_width, chips)])
    y: float = HEAD
    for row in chips:
        x: float = PADDING
        spare = (inner - row_width(row)) / len(row)
        height = max(chip.height for chip in row)
        for chip in row:
            chip.x, chip.y, chip.width, chip.height = x, y, chip.width + spare, height
            x += chip.width + CHIP_GAP
        y += height + CHIP_GAP
    height = y - CHIP_GAP + PADDING if chips else HEAD
    return Node(name, [chip for row in chips for chip in row], inner + 2 * PADDING, height)


def row_width(chips: Sequence[Chip]) -> float:
    return fsum(chip.width for chip in chips) + CHIP_GAP * (len(chips) - 1)


def wrapped(words: Sequence[str], width: float) -> list[str]:
    """Return words with commas between them, wrapped to a width."""
    lines: list[str] = []
    for word in words:
        if lines and len(f"{lines[-1]}, {word}") * CHIP_SIZE * CHARACTER + 2 * PADDING <= width:
            lines[-1] += f", {word}"
        else:
            lines += [word]
    return lines


# -- where it is drawn -----------------------------------------------------------------------------------


def laid_out(
    arrows: Mapping[str, set[str]], boxes: Mapping[str, Node], floors: Mapping[str, int]
) -> tuple[list[list[Node]], list[list[Node]]]:
    """Return the rows from the top, and each arrow as the boxes at its ends and its passages between them."""
    top = max(floors.values())
    rows: list[list[Node]] = [[] for _ in range(top + 1)]
    for name, box in boxes.items():
        rows[top - floors[name]].append(box)
    chains = []
    for name in boxes:
        for other in sorted(arrows[name]):
            ways = [Node() for _ in range(floors[other] + 1, floors[name])]
            for way, row in zip(ways, rows[top - floors[name] + 1 :], strict=False):
                row.append(way)
            chains.append([boxes[name], *ways, boxes[other]])
    return rows, chains


def floors_of(arrows: Mapping[str, set[str]], boxes: Mapping[str, Node]) -> dict[str, int]:
    """Return the height of each layer: above all that it imports, such that rows fit and arrows are short."""
    floors: dict[str, int] = {}

    def floor(name: str) -> int:
        if name not in floors:
            floors[name] = max((floor(other) + 1 for other in arrows[name]), default=0)
        return floors[name]

    top = max(map(floor, arrows))
    above = {name: [other for other, imported in arrows.items() if name in imported] for name in arrows}

    def cost(floors: Mapping[str, int]) -> tuple[float, int]:
        rows = laid_out(arrows, boxes, floors)[0]
        return max(0, *(width_of(row) - WIDTH for row in rows)), sum(map(len, rows))

    best = (cost(floors), floors)
    while True:
        tries = [
            {**best[1], name: other}
            for name in sorted(arrows)
            for other in range(
                max((best[1][each] + 1 for each in arrows[name]), default=0),
                min((best[1][each] for each in above[name]), default=top + 1),
            )
        ]
        found = min(((cost(each), each) for each in tries), key=lambda each: each[0])
        if found[0] >= best[0]:
            return best[1]
        best = found


def width_of(row: Sequence[Node]) -> float:
    """Return the minimum width of a row, with its margins."""
    return fsum(node.width for node in row) + fsum(map(gap, row, row[1:])) + 2 * MARGIN


def gap(left: Node, right: Node) -> float:
    return GAP if left.name and right.name else GAP / 2


def put_in_order(rows: list[list[Node]]) -> None:
    """Sort each row so that few arrows cross: by the nodes' neighbors, then by trial."""
    best = (crossings(rows), [list(row) for row in rows])
    for turn in range(24):
        downwards = turn % 2 == 0
        for row in rows if downwards else reversed(rows):
            places = {node: at for each in rows for at, node in enumerate(each)}
            middles = {
                node: sum(places[each] for each in others) / len(others) if others else float(places[node])
                for node in row
                for others in [node.above if downwards else node.below]
            }
            row.sort(key=lambda node: middles[node])
        swap_neighbours(rows)
        best = min(best, (crossings(rows), [list(row) for row in rows]), key=lambda each: each[0])
    rows[:] = best[1]


def swap_neighbours(rows: list[list[Node]]) -> None:
    """Swap two adjacent nodes if fewer arrows cross then."""
    fewest, swapped = crossings(rows), True
    while swapped:
        swapped = False
        for row in rows:
            for at in range(len(row) - 1):
                row[at], row[at + 1] = row[at + 1], row[at]
                now = crossings(rows)
                if now < fewest:
                    fewest, swapped = now, True
                else:
                    row[at], row[at + 1] = row[at + 1], row[at]


def crossings(rows: Sequence[Sequence[Node]]) -> int:
    """Return how many arrows cross between rows."""
    found = 0
    for upper, lower in pairwise(rows):
        places = {node: at for at, node in enumerate(lower)}
        ends = [(at, places[other]) for at, node in enumerate(upper) for other in node.below]
        found += sum(
            (one[0] - two[0]) * (one[1] - two[1]) < 0 for number, one in enumerate(ends) for two in ends[:number]
        )
    return found


def put_side_by_side(rows: Sequence[Sequence[Node]], width: float) -> None:
    """Set the center of each node, as close to its neighbors as the others allow."""
    for row in rows:
        spread(row, [width / 2] * len(row), width)
    for _ in range(40):
        for row in (*rows, *reversed(rows)):
            spread(row, [wanted(node) for node in row], width)


def wanted(node: Node) -> float:
    others = [*node.above, *node.below]
    return fsum(each.x for each in others) / len(others) if others else node.x


def spread(row: Sequence[Node], middles: Sequence[float], width: float) -> None:
    """Set the centers of a row's nodes, in order and without overlap, as close to the given ones as possible."""
    offsets = [0.0]
    for left, right in pairwise(row):
        offsets.append(offsets[-1] + (left.width + right.width) / 2 + gap(left, right))
    low = MARGIN + row[0].width / 2
    high = width - MARGIN - row[-1].width / 2 - offsets[-1]
    moved = increasing([middle - offset for middle, offset in zip(middles, offsets, strict=True)])
    for node, offset, middle in zip(row, offsets, moved, strict=True):
        node.x = offset + min(max(middle, low), high)


def increasing(values: Sequence[float]) -> list[float]:
    """Return the non-decreasing numbers that are closest to the given ones by least squares."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        total, size = value, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / size:
            more, count = blocks.pop()
            total, size = total + more, size + count
        blocks.append((total, size))
    return [total / size for total, size in blocks for _ in range(size)]


# -- how it is drawn -------------------------------------------------------------------------------------


def curves(
    rows: Sequence[Sequence[Node]], chains: Sequence[Sequence[Node]], ends: Mapping[Node, tuple[float, float]]
) -> Iterator[str]:
    """Return the arrows: down from a box, straight past the boxes of a row, and to a box."""
    leave = ports([(chain[0], chain[1]) for chain in chains])
    arrive = ports([(chain[-1], chain[-2]) for chain in chains])
    sources = [node for row in rows for node in row if node.name and node.below]
    colours = {node: COLOURS[number % len(COLOURS)] for number, node in enumerate(sources)}
    for number, chain in enumerate(chains):
        x, (top, y) = leave[number], ends[chain[0]]
        path = f"M{x:.1f} {top + chain[0].height:.1f}V{y:.1f}"
        for node in chain[1:]:
            target = arrive[number] if node.name else node.x
            top, bottom = ends[node]
            top -= 7 if node.name else 0
            middle = (y + top) / 2
            path += f"C{x:.1f} {middle:.1f} {target:.1f} {middle:.1f} {target:.1f} {top:.1f}"
            if not node.name:
                path += f"V{bottom:.1f}"
            x, y = target, bottom
        colour = colours[chain[0]]
        yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
        yield f'<path d="M{x - 4.5:.1f} {top - 1:.1f}h9l-4.5 8z" fill="{colour}"/>'


def ports(pairs: Sequence[tuple[Node, Node]]) -> list[float]:
    """Return where each arrow touches its box, the first of a pair: straight below or above the second, if possible."""
    found = [0.0] * len(pairs)
    for box in dict.fromkeys(box for box, _ in pairs):
        numbers = sorted((n for n, pair in enumerate(pairs) if pair[0] is box), key=lambda n: pairs[n][1].x)
        room = box.width - LANE
        step = min(LANE, room / max(len(numbers) - 1, 1))
        wishes = increasing([pairs[n][1].x - place * step for place, n in enumerate(numbers)])
        low, high = box.x - room / 2, box.x + room / 2 - step * (len(numbers) - 1)
        for place, number in enumerate(numbers):
            found[number] = min(max(wishes[place], low), high) + place * step
    return found


def drawn_box(node: Node, y: float) -> Iterator[str]:
    x = node.x - node.width / 2
    yield rectangle("box", x, y, node)
    yield text("name", node.x, y + 22, NAME_SIZE, node.name, ' font-weight="700"')
    for chip in node.chips:
        left, top = x + chip.x, y + chip.y
        yield rectangle("chip", left, top, chip)
        for number, line in enumerate(chip.lines):
            yield text("inner" if number else "name", left + chip.width / 2, top + 16 + LINE * number, CHIP_SIZE, line)


def rectangle(kind: str, x: float, y: float, what: Node | Chip) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{what.width:.1f}" height="{what.height:.1f}" rx="5"/>'


def text(kind: str, x: float, y: float, size: float, words: str, more: str = "") -> str:
    form = f'class="{kind}" font-size="{size}" text-anchor="middle"{more}'
    return f'<text x="{x:.1f}" y="{y:.1f}" {form}>{escape(words)}</text>'
