# SPDX-License-Identifier: Apache-2.0
"""What every command says when AWS, the network or its own surroundings fail; and that starting one is cheap."""

from __future__ import annotations

import ast
import logging
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_mwaa_provider
from airflow_mwaa_provider.cli.main import main
from airflow_mwaa_provider.cli.support.errors import IN_A_TERMINAL, in_terminal_words
from tests.cli.terminal import Terminal, runner
from tests.client.world import World

PACKAGE = Path(airflow_mwaa_provider.__file__).parent
COMMANDS = [
    ["dags", "trigger", "env3", "etl"],
    ["dags", "wait", "env3", "etl", "one"],
    ["dags", "stop", "env3", "etl", "one"],
    ["tasks", "log", "env3", "etl", "one", "load"],
    ["roles", "list", "env3"],
    ["environments"],
    ["run", "env3", "--", "version"],
    ["variables", "list", "env3"],
    ["connections", "get", "env3", "db"],
    ["pools", "export", "env3", "-"],
]


def texts_of_the_layers_below() -> str:
    """All texts in their sources, with what Python joins joined."""
    found = []
    for path in [*PACKAGE.glob("client/**/*.py"), *PACKAGE.glob("metadata/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_the_layers_below_still_say_what_is_put_into_other_words_here() -> None:
    texts = texts_of_the_layers_below()
    assert [words for words, _ in IN_A_TERMINAL if words not in texts] == []


def test_an_advice_is_not_replaced_in_part() -> None:
    assert in_terminal_words("Leave transport unset, or\nuse transport='web_session'.") == (
        "Leave --transport out, or use --transport web_session."
    )
    for number, (words, _) in enumerate(IN_A_TERMINAL):
        assert not any(earlier in words for earlier, _ in IN_A_TERMINAL[:number]), words


def test_a_wrong_region_is_told_as_one(terminal: Terminal) -> None:
    line = terminal.error("variables", "list", "env3", "--region", "eu-west-9", status=1)
    assert "in eu-west-9: the endpoint is of another region" in line
    assert "Check --region" in line
    assert "clock" not in line


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_without_region_credentials_or_profile(terminal: Terminal, command: list[str]) -> None:
    split = 1 if command[0] in ("run", "environments") else 2
    before, after = command[:split], command[split:]
    line = terminal.error(*before, "--profile", "none", *after, status=2)
    assert "The config profile (none) could not be found. Give another with --profile or AWS_PROFILE" in line
    terminal.variables["AWS_REGION"] = None
    assert terminal.error(*command, status=2) == "No AWS region is known. Give --region, or set AWS_REGION."
    terminal.variables["AWS_SECRET_ACCESS_KEY"] = None
    terminal.variables["AWS_REGION"] = "us-east-1"
    assert "Partial credentials" in terminal.error(*command, status=1)
    terminal.variables["AWS_ACCESS_KEY_ID"] = None
    line = terminal.error(*command, status=1)
    assert line.startswith("No AWS credentials were found. Give --profile, set AWS_PROFILE, or log in: aws sso login")


def test_a_profile_of_the_environment_and_one_that_is_broken(terminal: Terminal, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("[default\n")
    terminal.variables |= {"AWS_PROFILE": "none"}
    assert "profile (none)" in terminal.error("variables", "list", "env3", status=2)
    terminal.variables |= {"AWS_PROFILE": None, "AWS_CONFIG_FILE": str(config)}
    line = terminal.error("variables", "list", "env3", status=1)
    assert line.startswith("The AWS credentials cannot be had: Unable to parse config file")


def test_the_region_of_a_profile_and_of_the_option(terminal: Terminal, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("[profile here]\nregion = us-east-1\n")
    terminal.variables |= {"AWS_CONFIG_FILE": str(config), "AWS_REGION": None, "AWS_PROFILE": "here"}
    # A profile in AWS_PROFILE without credentials of its own leaves them to the variables.
    assert terminal.json("pools", "list", "env3") == []
    assert "in eu-west-1" in terminal.error("pools", "list", "no-env", "--region", "eu-west-1", status=1)


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_a_page_instead_of_an_answer(terminal: Terminal, world: World, command: list[str]) -> None:
    world.fault("any", "html", status=502)
    line = terminal.error(*command, status=1)
    assert "502" in line
    assert "<html" not in line


@pytest.mark.usefixtures("no_waiting")
def test_an_endpoint_where_nobody_is(terminal: Terminal) -> None:
    line = terminal.error("variables", "list", "env3", "--endpoint-url", "http://127.0.0.1:9", status=1)
    assert "the MWAA service at http://127.0.0.1:9 could not be reached (Connection refused)" in line


def test_what_iam_refuses_names_the_action(terminal: Terminal, world: World) -> None:
    world.deny("InvokeRestApi", "CreateWebLoginToken", "CreateCliToken")
    line = terminal.error("variables", "list", "env3", "--transport", "web_session", status=1)
    assert "Allow airflow:CreateWebLoginToken for the caller's role in IAM." in line


def test_a_certificate_of_nobody(terminal: Terminal) -> None:
    terminal.variables["REQUESTS_CA_BUNDLE"] = None
    line = terminal.error("variables", "list", "env3", "--transport", "web_session", status=1)
    assert "Give the CA that signed its certificate in REQUESTS_CA_BUNDLE" in line


def test_logging_is_left_as_it_was(terminal: Terminal) -> None:
    def handlers() -> list[object]:
        loggers = [logging.getLogger(f"airflow_mwaa_provider.client{name}") for name in ("", ".retrying")]
        return [(logger.handlers[:], logger.propagate, logger.level) for logger in loggers]

    before = handlers()
    terminal.run("variables", "list", "env3")
    terminal.error("variables", "get", "env3", "none", status=1)
    assert handlers() == before


def test_starting_a_command_loads_nothing_that_it_does_not_need() -> None:
    code = (
        "import sys, airflow_mwaa_provider.cli.main;"
        "print(sorted({'airflow', 'boto3', 'botocore', 'moto', 'requests', 'rich', 'aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_every_group_is_there() -> None:
    result = runner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name in (
        "dags",
        "environments",
        "roles",
        "run",
        "tasks",
        "variables",
        "connections",
        "pools",
        "local",
        "package",
        "startup",
    ):
        assert f"\n  {name} " in result.output
