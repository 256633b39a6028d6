# SPDX-License-Identifier: Apache-2.0
"""Example DAGs import without a database, a connection or boto3 at parse time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "example_dags").glob("*.py"))

# Airflow is imported once, and every file runs in a child process that has imported no other file.
PROGRAM = """
import json, os, runpy, sys, traceback
try:
    from airflow.sdk import DAG, BaseHook, task
except ImportError:
    from airflow.hooks.base import BaseHook
    from airflow.models.dag import DAG
    from airflow.decorators import task
def refuse(*args, **kwargs):
    raise AssertionError("a connection is looked up at parse time")
BaseHook.get_connection = refuse
before = set(sys.modules)

def run(path):
    try:
        runpy.run_path(path)
    except BaseException:
        error = traceback.format_exc()
    else:
        error = ""
    loaded = set(sys.modules) - before
    heavy = sorted(name for name in loaded if name.split(".")[0] in ("boto3", "botocore", "psycopg2", "pandas"))
    return {"error": error, "heavy": heavy}

for path in sys.argv[1:]:
    reader, writer = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        os.close(reader)
        with open(writer, "w") as answer:
            json.dump(run(path), answer)
        os._exit(0)
    os.close(writer)
    with open(reader) as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    found = json.loads(text) if text else {"error": f"it ended its process: status {status}", "heavy": []}
    print("RESULT" + json.dumps({"path": path, **found}))
"""


# They show the amazon provider's operators, which import boto3; their pages say what that costs.
WITH_BOTO3 = {"emr_steps", "ecs_task"}


@dataclass(frozen=True)
class Imported:
    """The result of importing a file."""

    error: str
    """A traceback, or empty."""
    heavy: list[str]
    """Modules that a DAG file must not load."""


def import_all(paths: list[Path], airflow_home: Path) -> dict[Path, Imported]:
    """Import files as Airflow parses them, each separately."""
    done = subprocess.run(
        [sys.executable, "-W", "error:::__main__", "-c", PROGRAM, *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env={
            **os.environ,
            "AIRFLOW_HOME": str(airflow_home),
            # No such folder, so opening the database fails.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////no/such/folder/airflow.db",
        },
    )
    assert done.returncode == 0, done.stderr
    lines = [line.removeprefix("RESULT") for line in done.stdout.splitlines() if line.startswith("RESULT")]
    results = [json.loads(line) for line in lines]
    return {Path(result["path"]): Imported(result["error"], result["heavy"]) for result in results}


WRONG = {
    "looks_up": (
        "from airflow_mwaa_provider._compat import BaseHook\nBaseHook.get_connection('x')",
        "a connection is looked up at parse time",
    ),
    "opens": ("from airflow.settings import engine\nengine.connect()", "unable to open database file"),
    "ends": ("import os\nos._exit(3)", "it ended its process"),
    "leaves": ("import sys\nsys.exit('gone')", "SystemExit: gone"),
    "breaks": ("import no_such_module", "No module named 'no_such_module'"),
    "heavy": ("import boto3", ""),
    "good": ("import json", ""),
}


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Imported]:
    """Results of the examples, and of files that do what no example may."""
    folder = tmp_path_factory.mktemp("wrong")
    for name, (text, _) in WRONG.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    wrong = [folder / f"{name}.py" for name in WRONG]
    # Invalid files are among the others, and must not affect them.
    found = import_all([*wrong, *EXAMPLES], folder)
    return {path.stem: result for path, result in found.items()}


@pytest.mark.parametrize("name", [path.stem for path in EXAMPLES])
def test_an_example_imports_light(name: str, imported: dict[str, Imported]) -> None:
    assert imported[name].error == ""
    heavy = {module.split(".")[0] for module in imported[name].heavy}
    assert heavy <= ({"boto3", "botocore"} if name in WITH_BOTO3 else set())


def test_what_an_example_must_not_do_is_found_in_that_one_alone(imported: dict[str, Imported]) -> None:
    for name, (_, words) in WRONG.items():
        assert words in imported[name].error, name
        assert bool(words) == bool(imported[name].error), name
    assert "boto3" in imported["heavy"].heavy
    assert imported["good"].heavy == []


def test_there_are_examples() -> None:
    assert {path.stem for path in EXAMPLES} >= {
        "trigger_in_other_environment",
        "run_by_other_environment",
        "fan_out",
        "work_with_other_environment",
    }
