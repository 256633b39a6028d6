# SPDX-License-Identifier: Apache-2.0
"""Runs an example by ``dag.test()``, as its author would before an upload: in a process and a database of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from airflow_mwaa_provider._compat import AIRFLOW_V_3

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"

PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
path, dag_id, conf = sys.argv[1:]
try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:
    from airflow.models.dagbag import DagBag
bag = DagBag(path)
assert not bag.import_errors, bag.import_errors
dag = bag.dags[dag_id]
if hasattr(dag, "sync_to_db"):
    dag.sync_to_db()
dag.test(run_conf=json.loads(conf))
"""


@dataclass(frozen=True)
class Tested:
    """What became of a run."""

    state: str
    tasks: dict[str, str]
    """State by task id."""
    returned: dict[str, Any]
    """What tasks returned, by task id."""
    log: str


@cache
def _migrated() -> Path:
    """Make an Airflow home whose database is migrated; copies of it are used."""
    home = Path(tempfile.mkdtemp(prefix="dag-test.", dir=os.environ["AIRFLOW_HOME"]))
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    done = subprocess.run(command, env=_environment(home), capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    return home


def _environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
    }


def run_dag(
    name: str, dag_id: str, conf: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> Tested:
    """Run the DAG of an example to its end.

    :param name: of its file.
    :param environment: variables of the process, such as ``AIRFLOW_CONN_SSH_NEW``.
    """
    home = Path(tempfile.mkdtemp(prefix="dag-test.", dir=os.environ["AIRFLOW_HOME"]))
    shutil.copytree(_migrated(), home, dirs_exist_ok=True)
    path = home / "dags" / f"{name}.py"
    path.parent.mkdir()
    shutil.copy(EXAMPLES / path.name, path)
    command = [sys.executable, "-c", PROGRAM, str(path), dag_id, json.dumps(dict(conf or {}))]
    variables = {**_environment(home), **(environment or {})}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=200)
    log = done.stdout + done.stderr
    with contextlib.closing(sqlite3.connect(home / "airflow.db")) as database:
        runs = database.execute("SELECT state FROM dag_run").fetchall()
        assert len(runs) == 1, log
        tasks = dict(database.execute("SELECT task_id, state FROM task_instance"))
        returned = dict(database.execute("SELECT task_id, value FROM xcom WHERE key = 'return_value'"))
    shutil.rmtree(home)
    return Tested(runs[0][0], tasks, {name: _value(text) for name, text in returned.items()}, log)


def _value(text: str | bytes | float) -> Any:
    """Read an XCom: JSON, on Airflow 3 as a string of JSON. SQLite has made a number of what looks like one."""
    if isinstance(text, int | float):
        return text
    value = json.loads(text)
    return json.loads(value) if isinstance(value, str) and AIRFLOW_V_3 else value
