# SPDX-License-Identifier: Apache-2.0
"""Errors of all commands when AWS, the network or the machine fail. Starting a command is cheap."""

from __future__ import annotations

import ast
import logging
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_mwaa_provider
from airflow_mwaa_provider.cli.main import main
from airflow_mwaa_provider.cli.support.errors import error_text
from airflow_mwaa_provider.exceptions import ValueMasked
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


# What exists only in a DAG: parameters in Python syntax, and the context of a task.
OF_DAGS_ONLY = re.compile(r"=True\b|=False\b|transport='|aws_conn_id|botocore_config|\bregion_name\b|[Tt]his task\b")
# Code handles an error by its class and fields, never by its words.
BY_WORDS = {"endswith", "find", "index", "partition", "replace", "rpartition", "split", "startswith"}


def sentences(path: Path) -> list[str]:
    """Return the strings of several words in a file, without docstrings; f-strings as one."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            found.append(node.value)
    return [text for text in found if " " in text.strip()]


def test_what_the_layers_below_say_is_worded_for_dags_and_for_terminals() -> None:
    files = [
        path for layer in ("client", "metadata", "monitoring", "packaging") for path in PACKAGE.glob(f"{layer}/**/*.py")
    ]
    texts = {path: sentences(path) for path in files}
    assert sum(map(len, texts.values())) > 1000, "they say something"
    wrong = [f"{path.name}: {text}" for path, of_file in texts.items() for text in of_file if OF_DAGS_ONLY.search(text)]
    assert wrong == []


def test_no_command_decides_by_the_words_of_an_error_or_rewrites_them() -> None:
    wrong = []
    for path in PACKAGE.glob("cli/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in BY_WORDS:
                read: ast.expr | None = node.func.value
            elif isinstance(node, ast.Compare) and any(isinstance(sign, ast.In | ast.NotIn) for sign in node.ops):
                read = node.comparators[0]
            else:
                continue
            if isinstance(read, ast.Call) and isinstance(read.func, ast.Name) and read.func.id in ("str", "error_text"):
                argument = read.args[0]
                if isinstance(argument, ast.Name) and argument.id in ("error", "refused", "message"):
                    wrong.append(f"{path.name}:{node.lineno}")
    assert wrong == []


def test_a_parameter_in_an_error_is_an_option_in_a_terminal() -> None:
    error = ValueMasked("a is masked.", advice="Leave it out with {}.", parameter="leave_out_hidden", env_name="e")
    assert str(error) == "a is masked. Leave it out with leave_out_hidden."
    assert error_text(error) == "a is masked. Leave it out with --leave-out-hidden."
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), error_text(again), again.env_name) == (str(error), error_text(error), "e")
    assert error_text(ValueMasked("{}: no advice.")) == "{}: no advice."
    assert error_text(ValueMasked("Airflow answered:\n  no\tsuch run. ")) == "Airflow answered: no such run.", (
        "one line"
    )


def test_a_wrong_region_is_told_as_one(terminal: Terminal) -> None:
    line = terminal.error("variables", "list", "env3", "--region", "eu-west-9", status=1)
    assert "in eu-west-9: the endpoint belongs to another region" in line
    assert "Check the region" in line
    assert "clock" not in line


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_without_region_credentials_or_profile(terminal: Terminal, command: list[str]) -> None:
    split = 1 if command[0] in ("run", "environments") else 2
    before, after = command[:split], command[split:]
    line = terminal.error(*before, "--profile", "none", *after, status=2)
    assert "The config profile (none) could not be found. Use another one (--profile or AWS_PROFILE)" in line
    terminal.variables["AWS_REGION"] = None
    assert terminal.error(*command, status=2) == "No AWS region is configured. Use --region, or set AWS_REGION."
    terminal.variables["AWS_SECRET_ACCESS_KEY"] = None
    terminal.variables["AWS_REGION"] = "us-east-1"
    assert "Partial credentials" in terminal.error(*command, status=1)
    terminal.variables["AWS_ACCESS_KEY_ID"] = None
    line = terminal.error(*command, status=1)
    assert line.startswith("No AWS credentials were found. Use --profile, set AWS_PROFILE, or log in: aws sso login")


def test_a_profile_of_the_environment_and_one_that_is_broken(terminal: Terminal, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("[default\n")
    terminal.variables |= {"AWS_PROFILE": "none"}
    assert "profile (none)" in terminal.error("variables", "list", "env3", status=2)
    terminal.variables |= {"AWS_PROFILE": None, "AWS_CONFIG_FILE": str(config)}
    line = terminal.error("variables", "list", "env3", status=1)
    assert line.startswith("The AWS credentials cannot be loaded: Unable to parse config file")


def test_the_region_of_a_profile_and_of_the_option(terminal: Terminal, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("[profile here]\nregion = us-east-1\n")
    terminal.variables |= {"AWS_CONFIG_FILE": str(config), "AWS_REGION": None, "AWS_PROFILE": "here"}
    # With a profile in AWS_PROFILE that has no credentials, the variables apply.
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
    assert "the CA that signed its certificate in REQUESTS_CA_BUNDLE" in line


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
