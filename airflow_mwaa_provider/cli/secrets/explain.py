# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa secrets explain``: each source of connections and variables, what it answers, and what a task gets."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.cli.support.errors import error_text
from airflow_mwaa_provider.cli.support.output import echo_fields, echo_json, echo_table, on_one_line
from airflow_mwaa_provider.cli.support.own_airflow import own_airflow
from airflow_mwaa_provider.cli.support.remote import Remote, environment_command
from airflow_mwaa_provider.cli.support.renamed import renamed_option
from airflow_mwaa_provider.exceptions import MwaaError, RemoteNotFound, ValueMasked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_mwaa_provider.secrets.configuration import Configuration
    from airflow_mwaa_provider.secrets.explanation import Explanation, Kind, Source

_WIDTH = 78


@click.command()
@click.argument("secret_id", metavar="CONN_OR_VARIABLE")
@click.option(
    "--connection", "only", flag_value="connection", help="Look up a connection. By default both are looked up."
)
@click.option("--variable", "only", flag_value="variable", help="Look up a variable.")
@renamed_option(
    "--env-name", "env_name", was="--env", metavar="ENV", help="Use the configuration of an MWAA environment."
)
@click.option("--team", metavar="TEAM", help="The team of the task that asks, in an Airflow with several teams.")
@environment_command(transports=("rest_api", "web_session"))
def explain(remote: Remote, *, secret_id: str, only: str | None, team: str | None, output: str) -> None:
    """Show where Airflow looks for a connection or variable, what each place answers, and what a task gets.

    No value and no password is printed. Without --env-name, the command uses the configuration and the credentials of
    the Airflow in this shell; in a BashOperator, these are a task's. With --env-name, it uses the configuration of an
    MWAA environment, and your own credentials for Secrets Manager.

    The exit status is 1 if a task gets nothing.

    \b
    Example:
      airflow-mwaa secrets explain warehouse --connection
      airflow-mwaa secrets explain warehouse --env-name production --output json
    """
    if not remote.env_name:
        _refuse_options_of_environments()
    with own_airflow():
        from airflow_mwaa_provider.secrets.explanation import Kind

        kinds = [Kind(only)] if only else list(Kind)
        if remote.env_name:
            header, explanations = _of_environment(remote, kinds, secret_id, team)
        else:
            header, explanations = _of_shell(kinds, secret_id, team)
    if output == "json":
        echo_json({**header, "explanations": [each.as_dict() for each in explanations]})
    else:
        _print(header, explanations)
    if not any(each.used for each in explanations):
        sys.exit(1)


def _refuse_options_of_environments() -> None:
    context = click.get_current_context()
    for name in ("region", "profile", "endpoint_url", "proxy", "transport"):
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = name.replace("_", "-")
            raise click.UsageError(f"--{option} requires --env-name; without it, the backend's own keywords are used.")


def _of_shell(kinds: Sequence[Kind], secret_id: str, team: str | None) -> tuple[dict[str, Any], list[Explanation]]:
    from airflow_mwaa_provider.secrets.configured import own_airflow_version
    from airflow_mwaa_provider.secrets.explanation import explain_here

    explanations = [explain_here(kind, secret_id, team) for kind in kinds]
    header: dict[str, Any] = {
        "env_name": None,
        "airflow_version": own_airflow_version(),
        "execution_role": None,
        "notes": [],
    }
    return header, explanations


def _of_environment(
    remote: Remote, kinds: Sequence[Kind], secret_id: str, team: str | None
) -> tuple[dict[str, Any], list[Explanation]]:
    from airflow_mwaa_provider.secrets.explanation import explain as explain_one

    described = remote.describe()
    version = str(described.get("AirflowVersion", ""))
    role = str(described.get("ExecutionRoleArn", ""))
    extra = {"region_name": described["region_name"], **({"profile_name": remote.profile} if remote.profile else {})}
    explanations = [
        explain_one(
            kind,
            secret_id,
            _configuration_of(described.get("AirflowConfigurationOptions") or {}, version),
            team=team,
            is_airflow_3=_version(version) >= (3, 0),
            extra_keywords=extra,
            metadata=_metadata_of(remote),
        )
        for kind in kinds
    ]
    note = (
        f"AWS was asked with your own credentials. Tasks have the execution role {role or 'of the environment'}, which "
        "may be allowed less or more."
    )
    notes = [note]
    accounts = {source.account for each in explanations for source in each.sources if source.account}
    own = role.split(":")[4] if role.count(":") >= 5 else ""
    if own and accounts - {own}:
        notes.append(
            f"Account {', '.join(sorted(accounts - {own}))} was asked, but the environment is in {own}. Use a "
            "--profile of that account, unless the backend assumes a role in another one."
        )
    return {
        "env_name": remote.env_name,
        "airflow_version": version,
        "execution_role": role,
        "notes": notes,
    }, explanations


def _version(text: str) -> tuple[int, int]:
    parts = [int(part) if part.isdigit() else 0 for part in f"{text}.0.0".split(".")[:2]]
    return parts[0], parts[1]


def _configuration_of(options: Mapping[str, str], version: str) -> Configuration:
    """Return the configuration from an environment's options and its image's presets."""
    from airflow_mwaa_provider.secrets.configuration import MWAA_PRESET, read_configuration

    presets = {"secrets.backend_kwargs": MWAA_PRESET, "workers.secrets_backend_kwargs": MWAA_PRESET}

    def option(section: str, name: str) -> str | None:
        key = f"{section}.{name}"
        return options.get(key, presets.get(key))

    def single(section: str, name: str) -> dict[str, str]:
        start = f"{section}.{name}__"
        return {
            key.removeprefix(start): value for key, value in options.items() if key.startswith(start) and key != start
        }

    return read_configuration(
        option, single if _version(version) >= (3, 2) else None, has_workers=_version(version) >= (3, 0)
    )


def _metadata_of(remote: Remote) -> Callable[[Kind, str], Source]:
    """Return a function that asks an environment's metadata database through its Airflow."""
    from airflow_mwaa_provider.secrets.explanation import Found, Kind, Outcome, Source, connection_fields

    def ask(kind: Kind, secret_id: str) -> Source:
        source = Source("metadata database", "", Outcome.UNKNOWN, (secret_id,))
        try:
            if kind is Kind.CONNECTION:
                connection = remote.environment.connections.get(secret_id)
                source.found = Found(connection_fields(connection, extra_keys_of(connection.extra)))
            else:
                value = remote.environment.variables.get(secret_id).value or ""
                source.found = Found({"characters": len(value), "is_json": None})
        except RemoteNotFound:
            source.outcome = Outcome.NOT_THERE
        except ValueMasked:
            source.found = Found({"characters": None, "is_json": None})
        except MwaaError as error:
            source.detail = f"It could not be asked: {error_text(error)}"
        if source.found is not None:
            source.outcome = Outcome.FOUND
        return source

    return ask


def extra_keys_of(extra: str | None) -> list[str]:
    """Return the keys of a connection's extra, if it has any."""
    import json

    try:
        found = json.loads(extra or "{}")
    except ValueError:
        return []
    return sorted(found) if isinstance(found, dict) else []


def _print(header: Mapping[str, Any], explanations: Sequence[Explanation]) -> None:
    where = f"environment {header['env_name']}" if header["env_name"] else "this shell's configuration"
    for number, explanation in enumerate(explanations):
        if number:
            click.echo()
        _echo(f"{explanation.kind} {explanation.secret_id!r} for a task, Airflow {header['airflow_version']}, {where}:")
        _print_one(explanation)
    for note in header["notes"]:
        click.echo()
        _echo(note)


def _print_one(explanation: Explanation) -> None:
    rows = [
        [number, _title(source), ", ".join(source.names), source.outcome.value]
        for number, source in enumerate(explanation.sources, 1)
    ]
    echo_table([["", "SOURCE", "NAME", "ANSWER"], *rows])
    said: dict[str, list[str]] = {}
    for number, source in enumerate(explanation.sources, 1):
        for text in (source.detail, source.cached, _similar_text(source)):
            if text:
                said.setdefault(text, []).append(str(number))
    for text, numbers in said.items():
        _echo(f"{', '.join(numbers)}. {text}")
    for problem in explanation.problems:
        _echo(f"Configuration: {problem}")
    used = explanation.used
    if used is None or used.found is None:
        _echo("A task gets nothing.")
        return
    _echo(f"A task gets the answer of {explanation.sources.index(used) + 1}:")
    echo_fields(((name.replace("_", " "), _shown(value)) for name, value in used.found.fields.items()), wrap=False)


def _title(source: Source) -> str:
    place = ", ".join(part for part in (source.region, source.account) if part)
    asked = f"asked by the {source.process}" if source.process == "API server" else ""
    return " ".join(part for part in (source.title, f"({place})" if place else "", asked) if part)


def _similar_text(source: Source) -> str:
    return f"Secrets with similar names: {', '.join(source.similar)}." if source.similar else ""


def _shown(value: object) -> object:
    return ", ".join(value) if isinstance(value, list) else value


def _echo(text: str) -> None:
    lines = textwrap.wrap(on_one_line(text), _WIDTH, break_long_words=False, break_on_hyphens=False)
    for line in lines:
        click.echo(line)
