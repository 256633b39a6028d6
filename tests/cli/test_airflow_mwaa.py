# SPDX-License-Identifier: Apache-2.0
"""``airflow mwaa``: the tree inside Airflow's own command, where it lets providers add any."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3_2
from tests.cli.terminal import AWKWARD, Terminal
from tests.client.world import World


def airflow(terminal: Terminal, *arguments: str, module: str = "airflow") -> subprocess.CompletedProcess[str]:
    given = {name: value for name, value in terminal.variables.items() if value is not None}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        env={**{name: value for name, value in os.environ.items() if not name.startswith("AWS_")}, **given},
    )


@pytest.mark.skipif(not AIRFLOW_V_3_2, reason="this Airflow takes no commands of providers")
def test_the_same_tree(terminal: Terminal, world: World) -> None:
    ours = airflow(terminal, "--help", module="airflow_mwaa_provider.cli.main")
    theirs = airflow(terminal, "mwaa", "--help")
    assert theirs.returncode == 0
    assert theirs.stdout.startswith("Usage: airflow mwaa [OPTIONS]")
    assert theirs.stdout.splitlines()[1:] == ours.stdout.splitlines()[1:]
    done = airflow(terminal, "mwaa", "run", "env3", "--output", "json", "--", "variables", "set", "--", "-k", AWKWARD)
    assert (done.returncode, json.loads(done.stdout)["exit_status"]) == (0, 0), done.stderr
    assert world.airflow().commands == [["variables", "set", "--", "-k", AWKWARD]]
    failed = airflow(terminal, "mwaa", "variables", "get", "env3", "none")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert len(failed.stderr.splitlines()) == 1


def test_airflow_itself_loads_none_of_it_and_goes_on(terminal: Terminal) -> None:
    code = (
        "import sys; from airflow.cli import cli_parser; cli_parser.get_parser();"
        "print(sorted(name for name in sys.modules if name.startswith('airflow_mwaa_provider.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    loaded = ["airflow_mwaa_provider.cli.airflow_commands"] if AIRFLOW_V_3_2 else []
    assert done.stdout.splitlines()[-1] == str(loaded)
    assert "airflow_mwaa_provider" not in done.stderr
