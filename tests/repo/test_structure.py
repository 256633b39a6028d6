# SPDX-License-Identifier: Apache-2.0
"""What ``scripts/structure`` counts and draws, and that the picture in the docs matches the imports."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

from scripts.lib import draw_structure
from scripts.lib.draw_structure import Node, draw, layers, without_what_follows
from scripts.lib.imports import PACKAGE, Room, circles, file_arrows, read_modules, read_tree, rooms
from scripts.lib.source_lines import Lines, count, repetitions

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
BLOCK = [f"call({number})" for number in range(6)]


# -- rooms and arrows ------------------------------------------------------------------------------------

HOUSE = {
    "__init__.py": "",
    "errors.py": "",
    "client/__init__.py": "",
    "client/access.py": f"from {PACKAGE}.errors import Error\nfrom {PACKAGE} import __version__",
    "client/rest/__init__.py": "from . import calls",
    "client/rest/calls.py": f"from {PACKAGE}.client.aws import signing",
    "client/rest/pages.py": "from . import calls",
    "client/aws/__init__.py": "",
    "client/aws/signing.py": f"def sign():\n    from {PACKAGE}.client.rest.pages import Page",
    "cli/main.py": f"from {PACKAGE}.client import access\nfrom {PACKAGE}.client.rest import calls\nimport os",
}


def test_an_arrow_of_a_room_is_between_what_stands_side_by_side_at_its_top() -> None:
    found = rooms(file_arrows(read_modules(HOUSE)))
    assert {path: room.arrows for path, room in found.items()} == {
        "": {"errors.py": set(), "client": {"errors.py"}, "cli": {"client"}},
        "cli": {"main.py": set()},
        "client": {"access.py": set(), "rest": {"aws"}, "aws": {"rest"}},
        "client/aws": {"signing.py": set()},
        "client/rest": {"calls.py": set(), "pages.py": {"calls.py"}},
    }
    assert {path: room.files for path, room in found.items()} == {
        "": 10, "cli": 1, "client": 7, "client/aws": 2, "client/rest": 3,
    }  # fmt: skip
    assert (found["client"].files_at_top, found["client"].rooms_at_top) == (["access.py"], ["aws", "rest"])
    assert circles(found["client"].arrows) == {("aws", "rest")}


# -- lines -----------------------------------------------------------------------------------------------


def test_lines_are_told_apart() -> None:
    source = '''# SPDX-License-Identifier: Apache-2.0
"""A module.

Two paragraphs.
"""

X = """

# no comment
"""


def f(
    a,

    b,
):
    """One line."""
    # why
    return f"""
    {a}

    """  # said
'''
    assert count({"a.py": source}) == Lines(code=12, docstrings=5, comments_and_blank=6)
    assert count({"a.py": source, "b.py": source}).code == 24


def places(**files: list[str]) -> list[tuple[str, int, str, int, int]]:
    found = repetitions({f"{name}.py": "\n".join(lines) + "\n" for name, lines in files.items()})
    return [(each.path, each.line, each.first_path, each.first_line, each.lines) for each in found]


def test_six_lines_that_stand_twice_are_a_place_and_five_are_none() -> None:
    assert places(a=["x = 1", *BLOCK], b=["y = 2", *BLOCK, "z = 3"]) == [("b.py", 2, "a.py", 2, 6)]
    assert places(a=["x = 1", *BLOCK[:5]], b=["y = 2", *BLOCK[:5], "z = 3"]) == []


def test_indentation_blank_lines_imports_and_the_licence_make_no_difference() -> None:
    here = ["# SPDX-License-Identifier: Apache-2.0", *BLOCK[:3], "", *BLOCK[3:]]
    there = [
        "def f():",
        "    import os",
        *(f"    {line}" for line in BLOCK[:2]),
        "    from x import (",
        "        y,",
        "    )",
    ]
    there += [f"    {line}" for line in BLOCK[2:]]
    assert places(a=here, b=there) == [("b.py", 3, "a.py", 2, 6)]


def test_imports_and_the_list_of_public_names_are_no_place() -> None:
    lines = [f"import m{number}" for number in range(9)]
    lines += ["if TYPE_CHECKING:", *(f"    import n{number}" for number in range(9))]
    lines += ["__all__ = [", *(f'    "m{number}",' for number in range(9)), "]"]
    assert places(a=[*lines, "a = 1"], b=[*lines, "b = 1"]) == []
    assert (
        len(places(a=["if X:", *(f"    {line}" for line in BLOCK)], b=["if X:", *(f"    {line}" for line in BLOCK)]))
        == 1
    )


def test_a_docstring_that_stands_twice_is_a_place() -> None:
    text = ['"""Words.', *(f"Line {number}." for number in range(5)), '"""']
    assert places(a=text, b=["x = 1", *text]) == [("b.py", 2, "a.py", 1, 7)]


def test_what_stands_three_times_is_two_places_and_the_longest_is_the_one_that_counts() -> None:
    assert [each[:3] for each in places(a=BLOCK, b=BLOCK, c=BLOCK)] == [("b.py", 1, "a.py"), ("c.py", 1, "a.py")]
    longer = [*BLOCK, "more()"]
    assert places(a=[*BLOCK, "x = 1"], b=[*longer, "y = 1"], c=longer)[1:] == [("c.py", 1, "b.py", 1, 7)]


def test_places_in_one_file_do_not_overlap() -> None:
    assert places(a=["call()"] * 11) == []
    assert places(a=["call()"] * 12) == places(a=["call()"] * 13) == [("a.py", 7, "a.py", 1, 6)]
    assert places(a=[*BLOCK, "x = 1", *BLOCK]) == [("a.py", 8, "a.py", 1, 6)]


# -- the picture -----------------------------------------------------------------------------------------

PICTURE = "docs/assets/house.svg"
MANY = {
    "": Room(
        arrows={
            "cli": {"client", "metadata", "local", "errors.py"},
            "client": {"errors.py"},
            "metadata": {"errors.py", "errors_of_rest.py"},
            "local": {"errors.py"},
            "operators": {"hooks"},
            "hooks": {"client", "metadata", "errors.py"},
            "alone.py": set(),
            "errors.py": set(),
            "errors_of_rest.py": {"errors.py"},
        }
    ),
    "metadata": Room(arrows={name: set() for name in ("catalog", "cleaning", "export", "reading", "storage", "x.py")}),
    "metadata/cleaning": Room(arrows={name: set() for name in ("archiving", "deleting", "routes", "scope")}),
    **{f"metadata/{name}": Room() for name in ("catalog", "export", "reading", "storage")},
}


@pytest.fixture(scope="module")
def house() -> dict[str, Room]:
    return rooms(file_arrows(read_modules(read_tree(ROOT / PACKAGE))))


def test_the_picture_in_the_docs_is_that_of_the_imports(house: dict[str, Room]) -> None:
    is_current = (ROOT / PICTURE).read_text(encoding="utf-8") == draw(house)
    assert is_current, f"rooms or arrows have changed; draw them again: scripts/structure --draw {PICTURE}"
    assert (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").count(
        f"({PICTURE.removeprefix('docs/')})"
    ) == 1


@pytest.mark.parametrize("tree", ["package", "many"])
def test_all_is_drawn_inside_the_picture_and_nothing_over_another_thing(tree: str, house: dict[str, Room]) -> None:
    drawn = house if tree == "package" else MANY
    root = ElementTree.fromstring(draw(drawn))
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    assert draw_structure.WIDTH <= width <= 1000
    spans = {"box": [], "chip": []}
    for each in root.iter("{http://www.w3.org/2000/svg}rect"):
        if each.get("class") in spans:
            x, y, wide, high = (float(each.get(name, "")) for name in ("x", "y", "width", "height"))
            spans[each.get("class", "")].append((x, y, x + wide, y + high))
    for kind, found in spans.items():
        for x, y, right, bottom in found:
            assert 0 < x < right < width, kind
            assert 0 < y < bottom < height, kind
        for one, two in combinations(found, 2):
            assert one[2] < two[0] or two[2] < one[0] or one[3] < two[1] or two[3] < one[1], (kind, one, two)
    words = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    names = layers(drawn[""].arrows)
    assert len(spans["box"]) == len(names)
    assert len(spans["chip"]) == sum(len(room.rooms_at_top) for path, room in drawn.items() if path and "/" not in path)
    assert set(words) >= {*names, *(room for name in names if name in drawn for room in drawn[name].rooms_at_top)}


def test_every_arrow_leads_down_from_the_box_that_imports_to_the_one_that_is_imported() -> None:
    root = ElementTree.fromstring(draw(MANY))
    paths = [each.get("d", "") for each in root.iter("{http://www.w3.org/2000/svg}path")]
    lines = [path for path in paths if "C" in path]
    assert len(lines) == len(paths) / 2 == 9  # each with its head
    for path in lines:
        begin, end = path.removeprefix("M").split("V")[0].split(), path.rpartition("C")[2].split()[-2:]
        assert float(begin[1]) < float(end[1])


def test_many_files_of_one_name_are_one_layer() -> None:
    arrows = {"aws.py": {"aws_events.py", "e.py"}, "aws_events.py": {"client"}, "e.py": set(), "client": {"aws.py"}}
    assert layers({**arrows, "client_x.py": set(), "awsome.py": set()}) == {
        "aws*.py": {"e.py", "client"}, "client": {"aws*.py"}, "e.py": set(), "client_x.py": set(), "awsome.py": set(),
    }  # fmt: skip


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    arrows = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "d": set()}
    assert without_what_follows(arrows) == {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set()}
    with pytest.raises(ValueError, match="in a circle: b, c"):
        without_what_follows({"a": {"b"}, "b": {"c"}, "c": {"b"}})


def test_arrows_that_need_not_cross_do_not() -> None:
    def row(*names: str) -> list[Node]:
        return [Node(name, width=80, height=30) for name in names]

    upper, lower = row("a", "b", "c"), row("A", "B", "C")
    for one, other in zip(upper, reversed(lower), strict=True):
        one.below.append(other)
        other.above.append(one)
    rows = [upper, lower]
    assert draw_structure.crossings(rows) == 3
    draw_structure.put_in_order(rows)
    assert draw_structure.crossings(rows) == 0
    draw_structure.put_side_by_side(rows, 740)
    assert [node.x for node in rows[0]] == pytest.approx([node.x for node in rows[1]])


# -- the command -----------------------------------------------------------------------------------------


def test_two_commits_are_counted_side_by_side(tmp_path: Path) -> None:
    """The script counts its own clone; this one has two commits."""
    clone = tmp_path / "clone"
    for path in (ROOT / "scripts" / "lib").glob("*.py"):
        (clone / "scripts" / "lib").mkdir(parents=True, exist_ok=True)
        (clone / "scripts" / "lib" / path.name).write_bytes(path.read_bytes())

    def git(*arguments: str) -> None:
        settings = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *settings, *arguments], cwd=clone, check=True, capture_output=True)

    def commit(name: str, files: dict[str, str]) -> None:
        for path, text in files.items():
            (clone / path).parent.mkdir(parents=True, exist_ok=True)
            (clone / path).write_text(text)
        git("add", "-A")
        git("commit", "-qm", name)
        git("tag", name)

    git("init", "-q")
    a, b = f"from {PACKAGE}.client import b\n", f"from {PACKAGE}.client import a\n"
    commit("before", {f"{PACKAGE}/client/a.py": a, f"{PACKAGE}/client/b.py": b, "tests/test_a.py": "x = 1\n"})
    commit("after", {f"{PACKAGE}/client/b.py": "x = 1\n" * 701, f"{PACKAGE}/client/rest/c.py": a})

    def asked(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, clone / "scripts" / "lib" / "structure.py", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    both = asked("--tree", "before", "--tree", "after")
    assert both.stderr == ""
    lines = [line.split() for line in both.stdout.splitlines()]
    assert ["before", "after"] in lines
    rows = ["rooms 1 2", "files 2 3", "arrows between files 2 2", "circles of files 1 0", "code, tests 1 1"]
    for row in [*rows, "client 2 -> 3 2 0 -> 1 2 1 -> 0"]:
        assert row.split() in lines
    assert "before: a circle: client/a.py, client/b.py" in both.stdout
    assert "after: client/b.py has 701 lines" in both.stdout
    counted = json.loads(asked("--json").stdout)["work tree"]
    assert counted == json.loads(asked("--json", "--tree", "after").stdout)["after"]
    assert counted["totals"]["rooms"] == 2
    circle = asked("--tree", "before", "--draw", str(tmp_path / "a.svg"))
    assert (circle.returncode, circle.stderr) == (0, "")
    commit("circle", {f"{PACKAGE}/cli/main.py": a, f"{PACKAGE}/client/b.py": f"from {PACKAGE}.cli import main\n"})
    circle = asked("--draw", str(tmp_path / "b.svg"))
    assert circle.stderr.startswith("structure: error: --draw: layers import each other in a circle: cli, client; ")
    assert [path.name for path in tmp_path.glob("*.svg")] == ["a.svg"]
    wrong = asked("--tree", "never")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("structure: error: --tree never: no commit with ")
    assert wrong.stderr.count("\n") == 1
