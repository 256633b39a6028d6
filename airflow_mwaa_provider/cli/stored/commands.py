# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa variables``, ``connections`` and ``pools``: one implementation, instantiated for each kind."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.cli.stored.files import export_command, import_command
from airflow_mwaa_provider.cli.stored.texts import WORDS, Words, fields_of, read
from airflow_mwaa_provider.cli.support.errors import error_text, exit_status_of, warn
from airflow_mwaa_provider.cli.support.inputs import read_value
from airflow_mwaa_provider.cli.support.output import echo_exactly, echo_fields, echo_json, echo_table
from airflow_mwaa_provider.cli.support.questions import ask
from airflow_mwaa_provider.cli.support.remote import Remote, env_argument, environment_command
from airflow_mwaa_provider.exceptions import AirflowError, CliError, MwaaError

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNKNOWN = "interrupted; it is unknown whether the change took effect in {env_name}"


def stored_commands(nouns: str) -> click.Group:
    """Build the command group of one kind.

    :param nouns: ``"variables"``, ``"connections"`` or ``"pools"``.
    """
    words = WORDS[nouns]
    made = (import_command, export_command, _get_command, _set_command, _delete_command, _list_command)
    return click.Group(
        nouns,
        commands=[make(words) for make in made],
        help=(
            f"Read, write, import and export the {nouns} of an environment.\n\n\b\nExample:\n"
            f"  airflow-mwaa {nouns} import production {nouns}.json --dry-run\n"
            f"  airflow-mwaa {nouns} list production"
        ),
    )


def _get_command(words: Words) -> click.Command:
    shown = "its stored value, and a line break" if words.noun == "variable" else "what Airflow shows of it"
    hidden = " Airflow shows no passwords." if words.noun == "connection" else ""

    @click.command(
        "get",
        help=f"Print a {words.noun}: {shown}.{hidden}\n\n\b\nExample:\n"
        f"  airflow-mwaa {words.nouns} get production {words.set_example.split()[0]}",
    )
    @env_argument
    @click.argument("key", metavar=words.metavar)
    @environment_command()
    def get(remote: Remote, *, key: str, output: str) -> None:
        item = read(remote.environment, words, key)
        if output == "json":
            echo_json(fields_of(item))
        elif words.noun == "variable":
            echo_exactly(f"{item.value or ''}\n")
        else:
            echo_fields(((name.replace("_", " "), value) for name, value in fields_of(item).items()), wrap=False)

    return get


def _list_command(words: Words) -> click.Command:
    hidden = {"variable": " Values are not shown.", "connection": " Neither passwords nor extra are shown."}

    @click.command(
        "list",
        help=f"List the {words.nouns}.{hidden.get(words.noun, '')}\n\n\b\nExample:\n"
        f"  airflow-mwaa {words.nouns} list production --output json",
    )
    @env_argument
    @environment_command()
    def list_all(remote: Remote, *, output: str) -> None:
        items = getattr(remote.environment, words.nouns).list()
        rows = [{name: getattr(item, name) for name in words.columns} for item in items]
        if output == "json":
            echo_json(rows)
        elif rows:
            heading = [name.replace("_", " ").upper() for name in words.columns]
            echo_table([heading, *(list(row.values()) for row in rows)], drop=("DESCRIPTION", "SCHEMA", "PORT"))
        else:
            click.echo(f"There are no {words.nouns} in {remote.env_name}.", err=True)

    return list_all


def _set_command(words: Words) -> click.Command:
    @click.command(
        "set",
        help=f"Create or replace a {words.noun}.\n\nVALUE is {words.value_help}. Pass secrets with "
        "--from-file, or - for stdin: every user of this machine can see the arguments of a command. One line break at "
        "the end of a file is not part of the value.\n\n\b\nExample:\n"
        f"  airflow-mwaa {words.nouns} set production {words.set_example}\n"
        f"  airflow-mwaa {words.nouns} set production {words.set_example.split()[0]} - < value.txt",
    )
    @env_argument
    @click.argument("key", metavar=words.metavar)
    @click.argument("value", metavar="[VALUE]", required=False)
    @click.option("--from-file", metavar="FILE", help="Take the value from a file, s3://BUCKET/KEY, or - for stdin.")
    @click.option(
        "--description", help="Description. Without it, a variable, or a pool set by its slots, keeps its own."
    )
    @environment_command(interrupted=_UNKNOWN)
    def set_one(
        remote: Remote, *, key: str, value: str | None, from_file: str | None, description: str | None, output: str
    ) -> None:
        text = read_value(remote, value, from_file)
        words.store(remote.environment, key, text, description)
        if output == "json":
            echo_json({"env_name": remote.env_name, words.key: key})
        else:
            click.echo(f"{words.noun} {key!r} set in {remote.env_name}")

    return set_one


def _delete_command(words: Words) -> click.Command:
    @click.command(
        "delete",
        help=f"Delete {words.nouns}. On a terminal, the command asks before it deletes several. If one does not exist, "
        "the others are deleted, and the exit status is 1.\n\n\b\nExample:\n"
        f"  airflow-mwaa {words.nouns} delete production old_one older_one --yes",
    )
    @env_argument
    @click.argument("keys", metavar=f"{words.metavar}...", nargs=-1, required=True)
    @click.option("--yes", is_flag=True, help="Do not ask.")
    @environment_command(interrupted=_UNKNOWN)
    def delete(remote: Remote, *, keys: tuple[str, ...], yes: bool, output: str) -> None:
        keys = tuple(dict.fromkeys(keys))
        if len(keys) > 1:
            ask(f"Delete {len(keys)} {words.nouns} of {remote.env_name}: {', '.join(map(repr, keys))}?", yes=yes)
        deleted, failed = _delete_each(getattr(remote.environment, words.nouns), keys)
        if output == "json":
            failures = {key: error_text(error) for key, error in failed.items()}
            echo_json({"env_name": remote.env_name, "deleted": deleted, "failed": failures})
        else:
            for key in deleted:
                click.echo(f"{words.noun} {key!r} deleted in {remote.env_name}")
        for error in failed.values():
            warn(error)
        untried = len(keys) - len(deleted) - len(failed)
        if untried:
            warn(f"{untried} more were not tried.")
        if failed:
            sys.exit(max(map(exit_status_of, failed.values())))

    return delete


def _delete_each(collection: Any, keys: Sequence[str]) -> tuple[list[str], dict[str, MwaaError]]:
    """Delete one by one. An error of one key does not stop the others; any other error does."""
    deleted: list[str] = []
    failed: dict[str, MwaaError] = {}
    for key in keys:
        try:
            collection.delete(key)
        except MwaaError as error:
            failed[key] = error
            if not isinstance(error, AirflowError | CliError):
                break
        else:
            deleted.append(key)
    return deleted, failed
