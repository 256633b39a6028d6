# SPDX-License-Identifier: Apache-2.0
"""The docs say what the sources say: code in them is run elsewhere, and nothing is left unexplained."""

from __future__ import annotations

import inspect
import os
import pkgutil
import re
import textwrap
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider import exceptions

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def code_blocks(text: str, language: str) -> list[str]:
    fence = re.compile(rf"^( *)```{language}[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(match[2]) for match in fence.finditer(text)]


def public_names() -> list[str]:
    """Return what DAGs import, and whatever else the reference shows."""
    found = re.findall(r"(?m)^::: ([\w.]+)$", (ROOT / "docs" / "reference.md").read_text(encoding="utf-8"))
    for layer in ("hooks", "links", "operators", "sensors", "triggers"):
        package = import_module(f"airflow_mwaa_provider.{layer}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            found += [f"{module.name}.{name}" for name in getattr(import_module(module.name), "__all__", ())]
    return sorted(set(found))


def documented_callables(name: str) -> Iterator[tuple[Any, str]]:
    """Return what is called, and its docstring: a function, or a class and its methods."""
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_in_the_docs_is_included_from_files_that_are_run(page: Path) -> None:
    for block in code_blocks(page.read_text(encoding="utf-8"), "python"):
        for line in block.strip().splitlines():
            assert re.fullmatch(r'--8<-- "example_dags/[\w/]+\.py(:\w+)?"', line), f"typed by hand: {line}"


def test_python_in_the_readme_is_part_of_an_example() -> None:
    """Paragraph by paragraph, indentation aside."""

    def flat(text: str) -> str:
        return "\n".join(line.strip() for line in text.strip().splitlines())

    examples = [flat(path.read_text(encoding="utf-8")) for path in (ROOT / "example_dags").rglob("*.py")]
    for block in code_blocks((ROOT / "README.md").read_text(encoding="utf-8"), "python"):
        for paragraph in block.strip().split("\n\n"):
            assert any(flat(paragraph) in example for example in examples), paragraph


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.stem)
def test_the_scripts_that_are_named_are_there(page: Path) -> None:
    for name in re.findall(r"(?m)(?<![\w/.])((?:scripts|\.ci)/\w+)(?![\w/.])", page.read_text(encoding="utf-8")):
        path = ROOT / name
        assert path.is_dir() or os.access(path, os.X_OK), f"{name} is named but cannot be run"
