# SPDX-License-Identifier: Apache-2.0
"""The operator for CLI commands, against the local MWAA."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.exceptions import CliCommandFailed, CliCommandNotAllowed, MwaaInputError, UnsendableCommand
from airflow_mwaa_provider.operators.cli import MwaaCliOperator
from tests.deferral import context

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.world import World

AWKWARD = 'it\'s "quoted" $HOME `date` \\ ünïcödé'


@pytest.fixture
def run(connection: Callable[..., str]) -> Callable[..., Any]:
    """Run a command with the operator."""

    def execute(command: list[str] | str, **more: Any) -> Any:
        ids = {"task_id": "t", "env_name": "env3", "aws_conn_id": connection()}
        return MwaaCliOperator(**{**ids, "command": command, **more}).execute(context())

    return execute


@pytest.mark.parametrize(
    "command", [["variables", "set", "a key", AWKWARD], f"airflow variables set 'a key' {shlex.quote(AWKWARD)}"]
)
def test_every_argument_arrives(world: World, run: Callable[..., Any], command: Any) -> None:
    result = run(command)
    assert result["exit_status"] == 0
    assert world.airflow().objects["variables"]["a key"]["value"] == AWKWARD
    assert json.loads(json.dumps(result)) == result


def test_what_it_printed_comes_back(run: Callable[..., Any]) -> None:
    assert {row["dag_id"] for row in json.loads(run(["dags", "list", "-o", "json"])["stdout"])} == {"etl", "paused"}


def test_a_failed_command_fails_the_task_or_tells(run: Callable[..., Any]) -> None:
    with pytest.raises(CliCommandFailed, match="'env3': `airflow dags list-runs` failed: DAG: nope does not exist"):
        run(["dags", "list-runs", "nope"])
    result = run(["dags", "list-runs", "nope"], check=False)
    assert result["exit_status"] == 1
    assert "nope does not exist" in result["stderr"]


def test_a_secret_is_not_logged(
    world: World, run: Callable[..., Any], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    world.airflow().objects["variables"]["key"] = {"key": "key", "value": "very secret", "description": None}
    with caplog.at_level("INFO", logger="airflow"):
        assert run(["variables", "get", "key"])["stdout"].strip() == "very secret"
        run(["dags", "list"])
    logged = caplog.text + capsys.readouterr().out
    assert "very secret" not in logged
    assert "etl" in logged


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("variables set 'key", MwaaInputError),
        ("airflow", MwaaInputError),
        ([], MwaaInputError),
        (["variables", "set", "key", "a\x00b"], UnsendableCommand),
        (["db", "shell"], CliCommandNotAllowed),
    ],
)
def test_what_cannot_run_is_refused(world: World, run: Callable[..., Any], command: Any, error: type) -> None:
    with pytest.raises(error):
        run(command)
    assert world.airflow().commands == []


def test_a_command_that_may_have_run_is_not_sent_again(world: World, run: Callable[..., Any]) -> None:
    world.fault("cli", "reset_after", times=1)
    with pytest.raises(Exception, match="env3"):
        run(["variables", "delete", "key"])
    assert len(world.airflow().commands) == 1
    world.fault("cli", "reset_after", times=1)
    assert run(["variables", "set", "key", "value"], idempotent=True)["exit_status"] == 0
    assert len(world.airflow().commands) == 3
