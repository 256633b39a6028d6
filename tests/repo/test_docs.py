# SPDX-License-Identifier: Apache-2.0
"""The docs agree with the sources, and explain every name. Other tests run the code in them."""

from __future__ import annotations

import ast
import builtins
import html
import inspect
import os
import pkgutil
import re
import textwrap
import tomllib
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from airflow_mwaa_provider import __version__, exceptions
from scripts.lib import doc_examples, recording

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).with_suffix("").as_posix()


def code_blocks(text: str, language: str) -> list[str]:
    fence = re.compile(rf"^( *)```{language}[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(match[2]) for match in fence.finditer(text)]


def reference() -> dict[str, Path]:
    """Return the page of each name that the reference shows, by the name's import path."""
    pages = (ROOT / "docs" / "reference").rglob("*.md")
    return {path: page for page in pages for path in re.findall(r"(?m)^::: (\S+)$", page.read_text(encoding="utf-8"))}


def public_names() -> list[str]:
    """Return what DAGs import, and everything else that the reference shows."""
    found = [*reference()]
    for layer in ("hooks", "links", "operators", "sensors", "triggers"):
        package = import_module(f"airflow_mwaa_provider.{layer}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            found += [f"{module.name}.{name}" for name in getattr(import_module(module.name), "__all__", ())]
    return sorted(set(found))


def documented_callables(name: str) -> Iterator[tuple[Any, str]]:
    """Return the callables and their docstrings: a function, or a class and its methods."""
    value = pkgutil.resolve_name(name)
    if inspect.isclass(value):
        yield value.__init__, inspect.getdoc(value) or ""
        for _, method in inspect.getmembers(value, inspect.isfunction):
            if method.__module__.startswith("airflow_mwaa_provider.") and not method.__name__.startswith("_"):
                yield method, inspect.getdoc(method) or ""
    elif inspect.isfunction(value):
        yield value, inspect.getdoc(value) or ""


def test_each_documented_parameter_is_in_its_signature() -> None:
    """So that editors complete it, ``default_args`` reach it, and the docs build finds it."""
    looked_at = set()
    for name in public_names():
        for function, docstring in documented_callables(name):
            documented = re.findall(r"(?m)^:param (\w+):", docstring)
            taken = inspect.signature(function).parameters
            assert [each for each in documented if each not in taken] == [], f"{name}, {function.__name__}()"
            looked_at |= {(name.rpartition(".")[2], each) for each in documented}
    assert looked_at >= {
        ("MwaaDagRunSensor", "external_env_name"),
        ("MwaaTaskSensor", "skipped_states"),
        ("MwaaTriggerDagRunOperator", "conf"),
        ("MwaaImportOperator", "on_conflict"),
        ("trigger_and_wait", "result_task_id"),
    }


def test_every_error_is_explained_and_none_is_made_up() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    explained = re.findall(r"(?m)^`(\w+)`\n: ", page)
    assert len(explained) == len(set(explained))
    assert set(explained) == set(exceptions.__all__) - {"MwaaError"}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_python_in_the_docs_is_included_from_files_that_are_run(page: Path) -> None:
    for block in code_blocks(page.read_text(encoding="utf-8"), "python"):
        assert re.fullmatch(r'--8<-- "example_dags/[\w/]+\.py(:\w+)?"', block.strip()), f"typed by hand: {block}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_python_in_the_docs_has_what_it_uses(page: Path) -> None:
    """Each block as shown: copied alone, it lacks no import."""
    blocks = code_blocks(doc_examples.shown(page.read_text(encoding="utf-8")), "python")
    assert len(blocks) >= len(code_blocks(page.read_text(encoding="utf-8"), "python"))
    for block in blocks:
        assert undefined(block) == set(), block


def undefined(code: str) -> set[str]:
    """Return the names that a piece of code reads but neither imports nor defines."""
    tree = ast.parse(code)
    made = {"__file__", "__name__", *vars(builtins)}
    for node in ast.walk(tree):
        if isinstance(node, ast.alias):
            made.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.arg):
            made.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            made.add(node.id)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            made.add(node.name)
    return set(doc_examples.names_used(tree)) - made


def test_a_part_is_shown_with_what_it_uses_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "example_dags").mkdir()
    (tmp_path / "example_dags" / "some.py").write_text(
        "# SPDX-License-Identifier: Apache-2.0\nimport os\nfrom a import b, c\n\n"
        "try:  # newer\n    from d import e, f\nexcept ImportError:  # older\n    from g import e, f\n\n"
        "NAME = c(1)\nOTHER = 2\n\n\ndef dag():\n    # [START it]\n    e(NAME)\n    # [END it]\n\n    f()\n"
    )
    monkeypatch.setattr(doc_examples, "ROOT", tmp_path)
    assert undefined("e(NAME)") == {"e", "NAME"}
    assert doc_examples.part_of("example_dags/some.py", "it") == (
        "from a import c\n\ntry:  # newer\n    from d import e\nexcept ImportError:  # older\n    from g import e\n\n"
        "NAME = c(1)\n\ne(NAME)"
    )
    assert "e(NAME)\n\n    f()" in doc_examples.file_text("example_dags/some.py")
    for path, part in (("example_dags/none.py", "it"), ("example_dags/some.py", "none")):
        with pytest.raises(doc_examples.NoSuchExample, match=path):
            doc_examples.part_of(path, part)


def test_the_readme_shows_an_example_as_it_is_run() -> None:
    """All of the file except its docstring and what only type checkers need."""
    [block] = code_blocks((ROOT / "README.md").read_text(encoding="utf-8"), "python")
    code = doc_examples.file_text("example_dags/trigger_in_other_environment.py").split('"""', 2)[2].strip()
    assert block.strip() == code.removeprefix("from __future__ import annotations").strip()


def test_the_readme_is_short_and_has_a_picture() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 120
    [picture] = re.findall(r"!\[[^\]]+\]\((\S+)\)", readme)
    assert picture == "docs/assets/demo.svg"
    assert "not on PyPI" in readme


def test_the_picture_shows_what_the_demo_prints() -> None:
    """Each title of the demo, and no other; ``scripts/demo --record docs/assets/demo.svg`` draws it again."""
    picture = (ROOT / "docs" / "assets" / "demo.svg").read_bytes()
    assert len(picture) < 300 * 1024
    ElementTree.fromstring(picture)
    text = picture.decode()
    assert not re.search(r"<script|<image|href=|@import|url\(", text)
    shown = [html.unescape(line) for line in recording.lines_of(text)]
    assert max(map(len, shown)) <= recording.COLUMNS
    source = (ROOT / "airflow_mwaa_provider" / "cli" / "local" / "demo.py").read_text(encoding="utf-8")
    titles = [title_pattern(call) for call in ast.walk(ast.parse(source)) if is_title(call)]
    assert len(titles) >= 5
    missing = [title for title in titles if not any(re.fullmatch(title, line) for line in shown)]
    assert missing == [], "run scripts/demo --record docs/assets/demo.svg"


def is_title(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_echo_titled"


def title_pattern(call: ast.AST) -> str:
    """Return a regular expression that matches the title that a call prints."""
    assert isinstance(call, ast.Call)
    title = call.args[0]
    parts = title.values if isinstance(title, ast.JoinedStr) else [title]
    return "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in parts)


def test_what_is_recorded_is_cut_into_screens() -> None:
    output = "\nOne\n  A  B\n\nTwo\n" + "\n".join(f"  line <{number}>" for number in range(40)) + "\n\nThe end.\n"
    assert recording.headings(output) == ["One", "Two", "The end."]
    screens = recording.screens(f"$ demo\n{output}")
    assert screens[0] == ["$ demo", "", "One", "  A  B"]
    assert [line for screen in screens[1:] for line in screen if line] == [
        "Two",
        *output.splitlines()[5:45],
        "The end.",
    ]
    assert max(map(len, screens)) <= recording.ROWS
    svg = recording.svg_of("demo", output)
    ElementTree.fromstring(svg)
    assert {"$ demo", "line &lt;39&gt;", "The end."} <= set(recording.lines_of(svg))
    with pytest.raises(ValueError, match="wider than 80 columns: x"):
        recording.svg_of("demo", "x" * 81)


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=page_id)
def test_the_scripts_that_are_named_are_there(page: Path) -> None:
    for name in re.findall(r"(?m)(?<![\w/.])((?:scripts|\.ci)/\w+)(?![\w/.])", page.read_text(encoding="utf-8")):
        path = ROOT / name
        assert path.is_dir() or os.access(path, os.X_OK), f"{name} is named but cannot be run"


def test_files_and_rooms_that_the_architecture_page_names_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    places = re.findall(r"`([\w./]*/[\w.]*)`", text)
    assert len(places) > 40
    package = ROOT / "airflow_mwaa_provider"
    for place in places:
        is_elsewhere = place == ".envs/" or place.startswith("images/")  # created by the scripts; in another repository
        assert is_elsewhere or (ROOT / place).exists() or (package / place).exists(), place
    there = {path.name for path in ROOT.glob("[!.]*/**/*.py")}
    assert {name for name in re.findall(r"(?<![\w/*])\w+\.py\b", text) if name not in there} == set()


# -- versions --------------------------------------------------------------------------------------------


def test_the_changelog_has_a_heading_for_this_version_and_one_for_what_follows_it() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased, *released = re.findall(r"(?m)^## (.*)$", changelog)
    assert unreleased == "[Unreleased]"
    parts = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d)", heading) for heading in released]
    assert None not in parts, released
    assert released[0].startswith(f"[{__version__}] - ")
    versions = [tuple(map(int, part.groups()[:3])) for part in parts if part]
    days = [date.fromisoformat(part[4]) for part in parts if part]
    assert versions == sorted(set(versions), reverse=True)
    assert days == sorted(days, reverse=True)
    for section in changelog.split("\n## ")[1:]:
        kinds = re.findall(r"(?m)^### (.*)$", section)
        assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
        assert len(kinds) == len(set(kinds))


def test_the_readme_and_the_docs_say_which_version_this_is_and_how_mature() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [maturity] = re.findall(r"Development Status :: \d - (\w+)", "\n".join(project["classifiers"]))
    for page in ("README.md", "docs/index.md"):
        said = re.findall(r"(?i)\bversion (\d+\.\d+\.\d+), an? (\w+)", (ROOT / page).read_text(encoding="utf-8"))
        assert said == [(__version__, maturity.lower())], page


INTERNAL = {
    "hooks.private_keys": "the SSH hook opens its key by it",
    "hooks.secrets_migration": "the operator and the command share it",
    "hooks.templating": "base classes of operators",
    "sensors.remote_sensor": "base class of the sensors",
    "triggers.events": "what triggers send to operators",
    "triggers.pause": "operators defer to it",
    "triggers.shared_polling": "triggers share it",
}
"""Modules in those packages that DAGs do not import, and why."""


def is_made_in(module: str, value: object) -> bool:
    return (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module


def test_every_public_name_has_its_page() -> None:
    """All that DAGs can import, and the other public names of each module that has a page."""
    pages, package = reference(), "airflow_mwaa_provider."
    for path, page in pages.items():
        module = path if path.endswith(".exceptions") else path.rpartition(".")[0]
        assert page == ROOT / "docs" / "reference" / f"{module.removeprefix(package).replace('.', '/')}.md", path
    wanted = set[str]()
    for layer in ("hooks", "operators", "sensors", "triggers"):
        names = [module.name for module in pkgutil.iter_modules(import_module(package + layer).__path__, f"{layer}.")]
        for name in set(names) - INTERNAL.keys():
            module = import_module(package + name)
            made = {each: value for each, value in vars(module).items() if is_made_in(module.__name__, value)}
            public = getattr(module, "__all__", [each for each, value in made.items() if inspect.isclass(value)])
            wanted |= {f"{module.__name__}.{each}" for each in public if each in made and not each.startswith("_")}
    assert f"{package}sensors.dag_run.MwaaTaskSensor" in wanted
    assert sorted(wanted - pages.keys()) == []
    listed = re.findall(r"(?m)^<!-- reference: (.*) -->$", (ROOT / "docs" / "reference.md").read_text(encoding="utf-8"))
    rooms = [room for names in listed for room in names.split(", ")]
    for page in set(pages.values()) - {ROOT / "docs" / "reference" / "exceptions.md"}:
        name = page.relative_to(ROOT / "docs" / "reference").with_suffix("").as_posix()
        assert len([room for room in rooms if f"{name}/".startswith(f"{room}/")]) == 1, (
            f"{name} is not in docs/reference.md"
        )


# -- promises --------------------------------------------------------------------------------------------

PROMISES = re.compile(
    r"\byet\b|(?:n't|\bnot) there\b|\bwill (?:come|follow)\b|\b(?:added|comes|follows|supported) later\b"
    r"|\b(?:coming|future|later|next|upcoming) (?:release|version)s?\b|\bnot (?:implemented|supported)\b"
    r"|(?<!as )\bsoon\b|\bplanned\b|\bfor now\b|\bso far\b|\bat the moment\b|\bcurrently\b|\beventually\b"
    r"|\b(?:FIXME|TODO|XXX)\b",
    re.IGNORECASE,
)
"""Phrases that say this package lacks something, or will get it. Such sentences outlive their truth."""

NO_PROMISES = {
    # A state that passes while something runs.
    r"not started yet|aren't healthy yet": "a process that starts",
    r"not verified yet": "a signature, on its way through the checks",
    r"need not exist yet|must not exist yet": "a run that is waited for, and an object that is about to be written",
    r"currently valid credentials": "they expire",
    # What an Airflow version has, or lacks.
    r"not scheduled yet|(?:run|nothing) is(?:n't)? known yet": "a run, or a task of one",
    r"no permissions for a DAG yet": "Airflow makes them when it reads the DAG's file",
    # What a caller names may not exist.
    r":raises \w+: [^:]*(?:n't|not) there(?! yet)": "what was asked for",
}
"""What reads like a promise but is not one, as a regular expression, and what it is about."""


def prose() -> Iterator[tuple[str, str]]:
    """Return what users and contributors read, by path: pages, docstrings, command help."""
    for page in (ROOT / "README.md", *PAGES):
        yield page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8")
    for path in sorted((ROOT / "airflow_mwaa_provider").rglob("*.py")):
        for text in docstrings(path.read_text(encoding="utf-8")):
            yield path.relative_to(ROOT).as_posix(), text


def docstrings(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr):
            parts: Iterable[ast.AST] = [node.value]
        elif isinstance(node, ast.keyword) and node.arg in ("epilog", "help", "short_help"):
            parts = ast.walk(node.value)
        else:
            continue
        yield from (each.value for each in parts if isinstance(each, ast.Constant) and isinstance(each.value, str))


def promises(text: str) -> Iterator[tuple[str, set[str]]]:
    """Return what reads like a promise, with its context, and what excuses it."""
    text = " ".join(text.replace("\u2019", "'").split())
    excused = [(match.span(), pattern) for pattern in NO_PROMISES for match in re.finditer(pattern, text)]
    for promise in PROMISES.finditer(text):
        excuses = {why for (start, end), why in excused if start <= promise.start() and promise.end() <= end}
        yield text[max(promise.start() - 60, 0) : promise.end() + 20], excuses


def test_nothing_is_promised() -> None:
    """Write what exists. What merely reads like a promise is listed above, with what it is about."""
    seen = [(path, promise, excuses) for path, text in prose() for promise, excuses in promises(text)]
    assert [f"{path}: {promise!r}" for path, promise, excuses in seen if not excuses] == []
    idle = NO_PROMISES.keys() - {excuse for _, _, excuses in seen for excuse in excuses}
    assert idle == set(), "these excuse nothing any more: delete them"


@pytest.mark.parametrize(
    "text",
    [
        "this line is all that changes, unless\nthe task has `deferrable=True`, which isn't there yet:",
        "`deferrable=True` isn\u2019t there.",
        "Parquet is not there",
        ":param deferrable: not yet used.",
        "Route ``api`` is planned.",
        "Sensors will follow.",
        "For now only CSV is written.",
        "A later version compresses it.",
        "TODO: say which",
        "Pools are not supported.",
        "Sensors come soon.",
        "Return ``None`` when it isn't there yet.",
        ":raises TableNotFound: such tables are not there yet",
    ],
)
def test_a_promise_is_found(text: str) -> None:
    assert not all(excuses for _, excuses in promises(text))
    assert list(docstrings(f"def f():\n    {text!r}")) == [text]
    assert list(docstrings(f"option('--x', help={text!r})")) == [text]


@pytest.mark.parametrize("text", ["Told as soon as it ends.", "It ended at that moment.", "Python 3.11 or later."])
def test_what_is_no_promise_passes(text: str) -> None:
    assert list(promises(text)) == []
