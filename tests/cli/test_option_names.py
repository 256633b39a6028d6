# SPDX-License-Identifier: Apache-2.0
"""Options are named after the DAG parameters of the same meaning."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

import click
import pytest

from airflow_mwaa_provider.cli.main import main
from tests.cli.terminal import runner

if TYPE_CHECKING:
    from collections.abc import Iterator

OPERATORS = {
    ("metadata", "export"): "metadata.MetadataToS3Operator",
    ("metadata", "clean"): "metadata.MetadataCleanupOperator",
    ("metadata", "plan"): "metadata.MetadataCleanupOperator",
    ("roles", "create"): "roles.MwaaDagRoleOperator",
    ("secrets", "migrate"): "secrets.MigrateToSecretsManagerOperator",
    ("dags", "trigger"): "dag_run.MwaaTriggerDagRunOperator",
    **{
        (f"{noun}s", "import"): f"{noun}s.MwaaImport{noun.title()}sOperator"
        for noun in ("variable", "connection", "pool")
    },
    **{
        (f"{noun}s", "export"): f"{noun}s.MwaaExport{noun.title()}sOperator"
        for noun in ("variable", "connection", "pool")
    },
}
# What exists only in a terminal, and words that are common there: see the docstring of the package cli.
OF_A_TERMINAL = {
    "output", "region", "profile", "endpoint_url", "proxy", "transport", "help", "yes", "database_url", "place",
    "cancel_on_interrupt", "wait", "poll_interval", "dags", "name", "dag_id", "run_id", "update", "dry_run",
    "connections_file", "variables_file", "from_database", "fernet_key_file",
}  # fmt: skip
# Options whose names do not follow from the command's parameter, because another word is common in a terminal.
OTHER_WORDS = {
    "dags": "--dag",
    "dag_ids": "--dag",
    "conn_type": "--type",
    "everything": "--all",
    "is_read": "--read",
    "listed": "--list",
    "topics": "--sns-topic",
    "names": "--environment",
    "name": "--environment",
}
RENAMED = [
    ("metadata clean", "--env-name", "--env", "e"),
    ("metadata clean", "--retention-by-table", "--retention-of", "log=7d"),
    ("metadata clean", "--wait-timeout", "--wait", "5m"),
    ("metadata restore", "--wait-timeout", "--wait", "5m"),
    ("metadata plan", "--env-name", "--env", "e"),
    ("metadata export", "--env-name", "--env", "e"),
    ("metadata export", "--file-format", "--format", "parquet"),
    ("dags trigger", "--wait-timeout", "--timeout", "5m"),
    ("dags wait", "--wait-timeout", "--timeout", "5m"),
    ("roles create", "--base-role", "--base", "Viewer"),
    ("tasks log", "--try-number", "--try", "2"),
    ("secrets explain", "--env-name", "--env", "e"),
]


def commands(
    command: click.Command = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from commands(below, (*path, name))
    else:
        yield path, command


COMMANDS = dict(commands())


def parameters(kind: type) -> set[str]:
    """Return the parameters of an operator, including those of its base classes."""
    return {
        name
        for base in kind.__mro__
        if "__init__" in vars(base)
        for name in inspect.signature(base.__init__).parameters
    }


@pytest.mark.parametrize("path", OPERATORS, ids=" ".join)
def test_an_option_has_the_word_of_the_operators_parameter(path: tuple[str, ...]) -> None:
    module, _, name = OPERATORS[path].partition(".")
    operator = getattr(importlib.import_module(f"airflow_mwaa_provider.operators.{module}"), name)
    known = parameters(operator) | OF_A_TERMINAL
    assert [param.name for param in COMMANDS[path].params if param.name not in known] == []


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_an_option_is_named_after_its_parameter(path: tuple[str, ...]) -> None:
    for param in COMMANDS[path].params:
        if not isinstance(param, click.Option) or (param.is_flag and param.flag_value not in (True, False)):
            continue
        name = str(param.name)
        expected = {name, name.removesuffix("s") if param.multiple else name}
        names = {f"--{word.replace('_', '-')}" for word in expected} | {OTHER_WORDS.get(name, "")}
        assert param.opts[0] in names, f"{param.opts[0]} is called {name}"


@pytest.mark.parametrize(("command", "now", "was", "value"), RENAMED)
def test_an_older_name_of_an_option_still_works_and_is_not_shown(command: str, now: str, was: str, value: str) -> None:
    found: Any = COMMANDS[tuple(command.split())]
    [option] = [param for param in found.params if now in param.opts]
    arguments = ["s3://bucket/x"] * sum(isinstance(param, click.Argument) for param in found.params)
    needed = ["--dag", "etl"] if command == "roles create" else []
    given = [found.make_context("c", [*arguments, *needed, name, value]).params for name in (now, was)]
    assert given[0] == given[1]
    assert given[0][option.name]
    both = [[*arguments, *needed, name, value, other, value] for name, other in ((now, was), (was, now))]
    for same in both:
        assert found.make_context("c", list(same)).params[option.name] in (given[0][option.name], (value, value))
    for differing in ([*given[:-1], f"{value}0"] for given in both):
        if option.multiple:
            assert found.make_context("c", list(differing)).params[option.name] == (value, f"{value}0")
            continue
        with pytest.raises(click.UsageError) as error:
            found.make_context("c", list(differing))
        assert error.value.message == f"{now} and its old name {was} have different values. Give only {now}."
    shown = runner().invoke(main, [*command.split(), "--help"]).stdout
    assert f"{now} " in shown
    assert f"{was} " not in shown
