# SPDX-License-Identifier: Apache-2.0
"""Values that commands read from arguments, files or stdin."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.exceptions import MwaaInputError

if TYPE_CHECKING:
    from airflow_mwaa_provider.cli.support.remote import Remote

STDIN = "-"


def read_place(remote: Remote, place: str) -> bytes:
    """Read a file: a path, an ``s3://`` address, or ``-`` for stdin.

    :raises MwaaInputError: it does not exist, or is too large.
    """
    from airflow_mwaa_provider.client.stored.documents import MAX_DOCUMENT_BYTES
    from airflow_mwaa_provider.client.stored.files import read_file

    if place != STDIN:
        return read_file(place, remote.s3, max_bytes=MAX_DOCUMENT_BYTES)
    stream = click.get_binary_stream("stdin")
    if sys.stdin is not None and sys.stdin.isatty():
        click.echo("airflow-mwaa: reading from the terminal; end the input with Ctrl-D on a separate line", err=True)
    content = stream.read(MAX_DOCUMENT_BYTES + 1)
    if len(content) > MAX_DOCUMENT_BYTES:
        raise MwaaInputError(f"The input on stdin is larger than {MAX_DOCUMENT_BYTES:,} bytes; split it.")
    return content


def read_value(remote: Remote, value: str | None, from_file: str | None) -> str:
    """Return a value from an argument, a file or stdin.

    A single line break at the end of a file is not part of the value: editors and ``echo`` add one.

    :raises MwaaInputError: it is not UTF-8.
    """
    if (value is None) == (from_file is None):
        raise click.UsageError("Pass either VALUE (- for stdin) or --from-file.")
    if value is not None and value != STDIN:
        return value
    place = STDIN if from_file is None else from_file
    text = _text(read_place(remote, place), place)
    return re.sub(r"\r?\n\Z", "", text)


def read_conf(remote: Remote, conf: str | None) -> dict[str, Any]:
    """Read the conf of a run: JSON, ``@FILE`` or ``-``.

    :raises MwaaInputError: it is not a JSON object; the error repeats none of it.
    """
    if conf is None:
        return {}
    if conf == STDIN or conf.startswith("@"):
        place = conf.removeprefix("@")
        text = _text(read_place(remote, place), place)
    else:
        text = conf
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise MwaaInputError(
            f"--conf is not JSON: {error.msg} in line {error.lineno}, column {error.colno}. Write --conf "
            '\'{"name": "value"}\', or --conf @FILE.'
        ) from None
    except (ValueError, RecursionError):
        raise MwaaInputError("--conf cannot be read: it is nested too deeply, or a number is too long.") from None
    if not isinstance(document, dict):
        kind = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}.get(
            type(document), "a number"
        )
        raise MwaaInputError(f'--conf is {kind}, not a JSON object; write --conf \'{{"name": "value"}}\'.')
    return document


def _text(content: bytes, place: str) -> str:
    where = "The input on stdin" if place == STDIN else f"File {place!r}"
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MwaaInputError(f"{where} is not UTF-8 (byte {error.start}).") from None
