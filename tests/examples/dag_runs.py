# SPDX-License-Identifier: Apache-2.0
"""Runs an example by ``dag.test()``, as its author would before an upload: in a process and a database of its own."""

from __future__ import annotations

import atexit
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

import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3, AIRFLOW_V_3_2

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"
FULL = os.environ.get("AIRFLOW_MWAA_TEST_FULL") == "1"
full = pytest.mark.skipif(not FULL, reason="a run by dag.test() takes seconds: scripts/test --full does it")
"""For runs that fail, or that differ from another one in little."""

# Airflow is imported once, with what a run needs; each run is a child that has seen no other.
PROGRAM = """
import importlib, json, os, sys, traceback, warnings
warnings.simplefilter("ignore")
try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:
    from airflow.models.dagbag import DagBag
for name in (
    "airflow.sdk", "airflow.sdk.execution_time.supervisor", "airflow.sdk.execution_time.task_runner",
    "airflow.api_fastapi.execution_api.app", "airflow.serialization.definitions.dag", "airflow.models.xcom_arg",
    "airflow.providers.standard.operators.bash", "airflow.providers.common.sql.operators.sql",
):
    try:
        importlib.import_module(name)
    except ImportError:
        pass  # not in this Airflow

def run(path, dag_id, conf):
    bag = DagBag(path)
    assert not bag.import_errors, bag.import_errors
    dag = bag.dags[dag_id]
    if hasattr(dag, "sync_to_db"):
        dag.sync_to_db()
    dag.test(run_conf=conf)

print("READY", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        os.environ.update(job["environment"])
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT)
        for number in (1, 2):
            os.dup2(log, number)
        status = 1
        try:
            run(job["path"], job["dag_id"], job["conf"])
            status = 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    _, status = os.waitpid(child, 0)
    print("ENDED", status, flush=True)
"""


@dataclass(frozen=True)
class Ended:
    """What became of a run."""

    state: str
    tasks: dict[str, str]
    """State by task id."""
    returned: dict[str, Any]
    """What tasks returned, by task id."""
    log: str


class _Airflow:
    """An Airflow home with a migrated database, and a process that runs DAGs there."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="dag-test.", dir=os.environ["AIRFLOW_HOME"]))
        self.database = self.home / "airflow.db"
        # Not what the first test that needs this process has set for itself.
        others = ("AWS_", "AIRFLOW_CONN_", "AIRFLOW_VAR_")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(others)},
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.database}",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.home / "dags"),
        }
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False, timeout=200)
        assert done.returncode == 0, done.stderr
        self.database.rename(self.home / "migrated.db")
        self._errors = (self.home / "errors").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        atexit.register(self._end)
        self._answer("READY")

    def run(self, source: Path, dag_id: str, conf: Mapping[str, Any], environment: Mapping[str, str]) -> str:
        """Run a DAG; return the log. The database has what became of it."""
        shutil.rmtree(self.home / "dags", ignore_errors=True)
        (self.home / "dags").mkdir()
        path = Path(shutil.copy(source, self.home / "dags"))
        shutil.copy(self.home / "migrated.db", self.database)
        log = self.home / "log"
        log.unlink(missing_ok=True)
        job = {"path": str(path), "dag_id": dag_id, "conf": conf, "environment": environment, "log": str(log)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        self._answer("ENDED")
        return log.read_text(encoding="utf-8", errors="replace")

    def _answer(self, word: str) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(word):
                return
        self._errors.seek(0)
        raise AssertionError(self._errors.read())

    def _end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()
        self._errors.close()


@cache
def _airflow() -> _Airflow:
    return _Airflow()


def home() -> Path:
    """Return the Airflow home of the runs, which has what the last one left, its log included."""
    return _airflow().home


def run_dag(
    name: str, dag_id: str, conf: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> Ended:
    """Run the DAG of an example to its end.

    :param name: of its file.
    :param environment: variables of the process, such as ``AIRFLOW_CONN_SSH_NEW``.
    """
    airflow = _airflow()
    log = airflow.run(EXAMPLES / f"{name}.py", dag_id, dict(conf or {}), dict(environment or {}))
    with contextlib.closing(sqlite3.connect(airflow.database)) as database:
        runs = database.execute("SELECT state FROM dag_run").fetchall()
        assert len(runs) == 1, log
        tasks = dict(database.execute("SELECT task_id, state FROM task_instance"))
        returned = dict(database.execute("SELECT task_id, value FROM xcom WHERE key = 'return_value'"))
    return Ended(runs[0][0], tasks, {name: _value(text) for name, text in returned.items()}, log)


def _value(text: str | bytes | float) -> Any:
    """Read an XCom: JSON, on Airflow 3.0 and 3.1 in a string. SQLite makes a number of what looks like one."""
    if isinstance(text, int | float):
        return text
    value = json.loads(text)
    if isinstance(value, str) and AIRFLOW_V_3 and not AIRFLOW_V_3_2:
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value
