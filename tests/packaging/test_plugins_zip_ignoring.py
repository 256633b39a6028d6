# SPDX-License-Identifier: Apache-2.0
"""Which files of a plugins folder run, compared with what Airflow's own reader finds in the same folder."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from airflow_mwaa_provider.packaging.plugins_zip.ignoring import IGNORE_FILE, Syntax, walk

try:
    from airflow._shared.module_loading.file_discovery import find_path_from_directory

    TRIED = tuple(Syntax)
except ImportError:  # Airflow 2, whose globs read some folders otherwise; they are not its default
    from airflow.utils.file import find_path_from_directory  # type: ignore[no-redef, unused-ignore]

    TRIED = (Syntax.REGEXP,)

pytestmark = pytest.mark.once
FILES = ["a.py", "b.txt", "a/time.py", "a/b/time.py", "a/b/c.py", "lib/x.py", "lib/a/x.py", "ab/lib.py", "x y/z.py"]
LINKS = [("l.py", "b.txt"), ("a/l.py", "../a.py"), ("now", "lib"), ("a/up", ".."), ("lib/self", "."), ("gone.py", "no")]
LINES = [
    "a", "a/", "/a", "a/b", "a/b/", "*.py", "!a.py", "!*.py", "*/time.py", "**/time.py", "a/**", "a/*", "!a/b/", "lib",
    " lib", "lib ", "/lib/x.py", "time.py", "b", "# all", "a # some", "a#b", "x y", "?.py", "[ab]", "**", "/", "a//b",
    "^a", "a$", "a/.*", ".*/x", "hooks/.*", "(", "l.py", "now", "up", "self", "\\.py", "!a", "!", "", "  ", "a\r",
    "(lib|ab)/", "now/", "/*/*.py", "!/lib", "[!a].py",
]  # fmt: skip


def airflow(folder: Path, syntax: Syntax) -> set[str] | None:
    """Return what Airflow runs; None if it ends with an error."""
    try:
        found = [Path(path) for path in find_path_from_directory(str(folder), IGNORE_FILE, str(syntax))]
    except (RuntimeError, ValueError) as error:
        if "recursive loop" not in str(error) and "Invalid git pattern" not in str(error):
            raise
        return None
    return {path.relative_to(folder).as_posix() for path in found if path.suffix == ".py" and path.is_file()}


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
def test_the_same_files_as_airflow(tmp_path: Path) -> None:
    chance = random.Random(20261130)
    compared = set()
    for number in range(250):
        folder = tmp_path / "plugins"
        links = dict(chance.sample(LINKS, chance.choice([0, 0, 1, 2])))
        texts = {}
        for place in chance.sample(["", "", "a/", "a/b/", "lib/"], chance.choice([1, 1, 2])):
            texts[f"{place}{IGNORE_FILE}"] = "\n".join(chance.choices(LINES, k=chance.randrange(1, 5)))
        for path, text in {**dict.fromkeys(FILES, ""), **texts}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, newline="")
        for path, target in links.items():
            (folder / path).symlink_to(target)
        for syntax in TRIED:
            expected = airflow(folder, syntax)
            found = walk(FILES, links, texts, syntax)
            case = (number, syntax, texts, links)
            assert (None if found.repeated or found.invalid else set(found.modules)) == expected, case
            compared.add((syntax, expected is None, expected == set()))
        shutil.rmtree(folder)
    assert len(compared) > 2 * len(TRIED)


@pytest.mark.parametrize(
    "line", ["(a+)+$", "((a+))+$", "(a|a)*$", "(?:a|aa)+$", "((a|b)c*)*", "a*a*a*a*a*$", "(a{1,9}){1,9}"]
)
def test_what_could_take_hours_is_not_tried(line: str) -> None:
    found = walk(["a" * 200 + ".py"], {}, {IGNORE_FILE: line}, Syntax.REGEXP)
    assert (len(found.modules), found.unclear) == (1, [line])


@pytest.mark.parametrize("line", ["(a|b)/", "^a{1,3}", "a+", "(a)+", ".*/a.*", r"\(a+\)+", "(ab)*"])
def test_what_takes_no_time_is_tried(line: str) -> None:
    assert walk(["b/x"], {}, {IGNORE_FILE: line}, Syntax.REGEXP).unclear == []


def test_what_python_cannot_compile_is_no_line() -> None:
    for line in ("a{99999999999999}", "(", "(?P<a>", "*"):
        found = walk(["a.py"], {}, {IGNORE_FILE: f"{line}\nb"}, Syntax.REGEXP)
        assert (list(found.modules), found.unclear) == (["a.py"], []), line
