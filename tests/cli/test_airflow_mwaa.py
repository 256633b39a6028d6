# SPDX-License-Identifier: Apache-2.0
"""``airflow mwaa``: the commands as part of Airflow's own, if Airflow lets providers add some."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3_2
from tests.cli.terminal import AWKWARD, Terminal
from tests.client.world import World

# Airflow's parser is built once, as every ``airflow …`` builds it; each command is a separate child.
PROGRAM = """
import json, os, runpy, sys
from airflow.cli import cli_parser
cli_parser.get_parser()
loaded = sorted(name for name in sys.modules if name.startswith("airflow_mwaa_provider.cli."))
print("LOADED" + json.dumps(loaded), flush=True)
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        break
    _, status = os.waitpid(child, 0)
    print("ENDED" + json.dumps(os.waitstatus_to_exitcode(status)), flush=True)
else:
    sys.exit()
os.environ.update(job["variables"])
for number, path in enumerate((os.devnull, job["out"], job["err"])):
    os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
sys.argv = ["airflow", *job["arguments"]]
runpy.run_module("airflow", run_name="__main__", alter_sys=True)
"""


class Airflow:
    """Airflow's own command."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._errors = (folder / "errors").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        )
        self.loaded = self._answer("LOADED")
        """Modules of this package's commands that are loaded with the parser."""

    @property
    def errors(self) -> str:
        """What was printed while the parser was built."""
        return (self._folder / "errors").read_text(encoding="utf-8")

    def run(self, terminal: Terminal, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``airflow …`` with a terminal's variables."""
        out, err = self._folder / "out", self._folder / "err"
        for path in (out, err):
            path.unlink(missing_ok=True)
        given = {name: value for name, value in terminal.variables.items() if value is not None}
        job = {"arguments": arguments, "variables": given, "out": str(out), "err": str(err)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        status = self._answer("ENDED")
        return subprocess.CompletedProcess(arguments, status, out.read_text("utf-8"), err.read_text("utf-8"))

    def _answer(self, kind: str) -> Any:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(kind):
                return json.loads(line.removeprefix(kind))
        raise AssertionError(self.errors)

    def stop(self) -> None:
        with self._process, self._errors:
            pass
        assert self._process.returncode == 0, self.errors


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    airflow = Airflow(tmp_path_factory.mktemp("airflow"))
    yield airflow
    airflow.stop()


@pytest.mark.skipif(not AIRFLOW_V_3_2, reason="this Airflow takes no commands of providers")
def test_the_same_tree(airflow: Airflow, terminal: Terminal, world: World) -> None:
    ours = terminal.start("--help").communicate(timeout=60)[0].decode()
    theirs = airflow.run(terminal, "mwaa", "--help")
    assert theirs.returncode == 0
    assert theirs.stdout.startswith("Usage: airflow mwaa [OPTIONS]")
    assert theirs.stdout.splitlines()[1:] == ours.splitlines()[1:]
    done = airflow.run(
        terminal, "mwaa", "run", "env3", "--output", "json", "--", "variables", "set", "--", "-k", AWKWARD
    )
    assert (done.returncode, json.loads(done.stdout)["exit_status"]) == (0, 0), done.stderr
    assert world.airflow().commands == [["variables", "set", "--", "-k", AWKWARD]]
    failed = airflow.run(terminal, "mwaa", "variables", "get", "env3", "none")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert len(failed.stderr.splitlines()) == 1


def test_airflow_itself_loads_none_of_it_and_goes_on(airflow: Airflow) -> None:
    assert airflow.loaded == (["airflow_mwaa_provider.cli.airflow_commands"] if AIRFLOW_V_3_2 else [])
    assert "airflow_mwaa_provider" not in airflow.errors
