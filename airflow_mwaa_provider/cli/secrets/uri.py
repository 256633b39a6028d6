# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa secrets uri``: build the URI of a connection with every field encoded, or split a URI."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.cli.support.errors import mwaa_errors_in_one_line
from airflow_mwaa_provider.cli.support.inputs import STDIN
from airflow_mwaa_provider.cli.support.output import echo_exactly, echo_fields, echo_json, output_option
from airflow_mwaa_provider.exceptions import MwaaInputError

if TYPE_CHECKING:
    from airflow_mwaa_provider.client.models import Connection

_MAX_BYTES = 64 * 1024
_FIELDS = ("conn_type", "login", "password", "host", "port", "schema", "extra", "description")
# Airflow's own words for secrets, and some more: --show-secrets shows what is masked unnecessarily.
_SECRET = re.compile(r"pass(word|wd|phrase)?|secret|token|key|auth|credential|connection_?string|dsn|account", re.I)
_MASK = "***"


@click.command()
@click.option("--type", "conn_type", metavar="TYPE", help="The type of the connection, such as postgres.")
@click.option("--login", help="Who logs in.")
@click.option(
    "--password-file", metavar="FILE", help="Read the password from a file, or - for stdin. One trailing line break"
    " is removed.",
)  # fmt: skip
@click.option("--ask-password", is_flag=True, help="Ask for the password, without showing what is typed.")
@click.option("--host")
@click.option("--port", type=click.IntRange(0, 65535))
@click.option("--schema", help="Schema, or database.")
@click.option(
    "--extra",
    "extras",
    multiple=True,
    metavar="NAME=VALUE",
    help="A value of extra, or all of extra as JSON. Repeatable.",
)
@click.option("--extra-file", metavar="FILE", help="Read extra as a JSON object from a file, or - for stdin.")
@click.option("--read", "is_read", is_flag=True, help="Split the URI or JSON on stdin into its fields.")
@click.option("--show-secrets", is_flag=True, help="With --read: show the password and what looks secret in extra.")
@output_option
@mwaa_errors_in_one_line
def uri(
    *,
    conn_type: str | None,
    login: str | None,
    password_file: str | None,
    ask_password: bool,
    host: str | None,
    port: int | None,
    schema: str | None,
    extras: tuple[str, ...],
    extra_file: str | None,
    is_read: bool,
    show_secrets: bool,
    output: str,
) -> None:
    """Build the URI of a connection, with every field encoded; or split one into its fields.

    Any field may contain any character, and Airflow 2 and 3 read the same connection from the URI. The command asks for
    the password, or reads it from a file or stdin: arguments are visible to others, and stored in a shell's history.

    \b
    Example:
      airflow-mwaa secrets uri --type postgres --login etl --ask-password --host db.example.com --schema sales
      airflow-mwaa secrets uri --type aws --extra region_name=eu-west-1 --extra-file role.json
      airflow-mwaa secrets uri --read < connection.txt
    """
    from airflow_mwaa_provider.client.stored.connection_uris import uri_of_connection
    from airflow_mwaa_provider.client.stored.documents import connections_of

    given = {"conn_type": conn_type, "login": login, "host": host, "port": port, "schema": schema}
    if is_read:
        if any(value is not None for value in (*given.values(), password_file, extra_file)) or extras or ask_password:
            raise click.UsageError("--read takes the connection from stdin, and no other fields.")
        _show(_read_connection(_text(STDIN)), output, show_secrets=show_secrets)
        return
    if conn_type is None:
        raise click.UsageError("Give the connection's --type, or --read.")
    if show_secrets:
        raise click.UsageError("--show-secrets requires --read; a URI that is built contains the password.")
    if password_file == STDIN and extra_file == STDIN:
        raise click.UsageError("Only one of --password-file and --extra-file can be stdin.")
    given["extra"] = json.dumps(_extra(extras, extra_file)) if extras or extra_file else None
    given["password"] = _password(password_file, is_asked=ask_password)
    connection = connections_of({"connection": given})["connection"]
    try:
        built = uri_of_connection(connection)
    except ValueError as error:
        raise MwaaInputError(f"The connection: {error}. Store it as JSON instead.") from None
    if output == "json":
        echo_json({"uri": built})
    else:
        echo_exactly(f"{built}\n")


def _password(file: str | None, *, is_asked: bool) -> str | None:
    if file is not None and is_asked:
        raise click.UsageError("Give either --password-file or --ask-password.")
    if is_asked:
        asked: str = click.prompt("Password", hide_input=True, err=True, default="", show_default=False)
        return asked
    return None if file is None else re.sub(r"\r?\n\Z", "", _text(file))


def _extra(extras: tuple[str, ...], file: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if file is not None:
        found |= _json_object(_text(file), f"--extra-file {file}")
    for text in extras:
        if text.lstrip().startswith("{"):
            found |= _json_object(text, "--extra")
            continue
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise MwaaInputError(
                '--extra: a value has no name. Write --extra NAME=VALUE, or --extra \'{"NAME": "VALUE"}\'.'
            )
        found[name] = value
    return found


def _json_object(text: str, where: str) -> dict[str, Any]:
    from airflow_mwaa_provider.client.stored.documents import read_document

    return read_document(text, "extra", f"of {where}")


def _text(place: str) -> str:
    where = "The input on stdin" if place == STDIN else f"File {place!r}"
    try:
        if place == STDIN:
            if sys.stdin is not None and sys.stdin.isatty():
                click.echo("airflow-mwaa: reading what you type; end it with Ctrl-D on a line of its own", err=True)
            content = click.get_binary_stream("stdin").read(_MAX_BYTES + 1)
        else:
            with Path(place).open("rb") as file:
                content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise MwaaInputError(f"{where} cannot be read: {error.strerror or error}. Give another file.") from None
    if len(content) > _MAX_BYTES:
        raise MwaaInputError(f"{where} is larger than {_MAX_BYTES:,} bytes, more than a secret can hold. Shorten it.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MwaaInputError(f"{where} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None


def _read_connection(text: str) -> Connection:
    from airflow_mwaa_provider.client.stored.documents import connections_of

    if not text.strip():
        raise MwaaInputError("The input on stdin is empty. Give a URI, or a connection as JSON.")
    return connections_of({"connection": text})["connection"]


def _show(connection: Connection, output: str, *, show_secrets: bool) -> None:
    fields = {name: value for name, value in asdict(connection).items() if name in _FIELDS}
    extra = json.loads(connection.extra) if connection.extra else None
    if not show_secrets:
        fields["password"] = _MASK if connection.password else connection.password
        extra = _masked(extra)
    if output == "json":
        echo_json({name: extra if name == "extra" else fields[name] for name in _FIELDS})
        return
    if extra is not None:
        fields["extra"] = json.dumps(extra, ensure_ascii=False)
    echo_fields(((name.replace("_", " "), fields[name]) for name in _FIELDS), wrap=False)


def _masked(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        is_secret = _SECRET.search(name) is not None
        return {key: _masked(item, f"{name} {key}" if is_secret else key) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, name) for item in value]
    is_shown = value in (None, "") or isinstance(value, bool)
    is_address = isinstance(value, str) and re.search(r"://[^/\s]*@", value) is not None
    is_secret = is_address or _SECRET.search(name) is not None
    return _MASK if is_secret and not is_shown else value
