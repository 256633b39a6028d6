# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa`` accepts each command that the docs show, with the options shown."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from airflow_mwaa_provider.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAME = "airflow-mwaa"
ENDS = {"|", "||", "&&", ";", "&", ">", ">>", "<", "(", ")", "…"}
"""Where a command in a shell line ends, or where an example in running text stops."""
CHECKED_TYPES = (click.Choice, click.types.IntParamType, click.types.FloatParamType)
"""Types whose values can be checked without reading a file."""


def shell_blocks(text: str) -> list[str]:
    """Return blocks of shell commands."""
    return re.findall(r"(?ms)^ *```(?:sh|console|bash)[^\n]*\n(.*?)^ *```", text)


def commands_in(script: str) -> Iterator[list[str]]:
    """Yield the arguments of each ``airflow-mwaa`` in a script, including those in ``$(…)``."""
    script = re.sub(r"(?m)(?:^|\s)#.*$", "", script.replace("\\\n", " "))
    lexer = shlex.shlex(script, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    found: list[str] | None = None
    for word in lexer:
        for inner in re.findall(rf"\$\(({NAME} [^)]*)\)", word):
            yield from commands_in(inner)
        if word in ENDS or not word.strip("\n"):
            if found is not None:
                yield found
            found = None
        elif found is not None:
            found.append(word)
        elif word == NAME:
            found = []
    if found is not None:
        yield found


def resolve(arguments: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """Follow the names of commands; return the last command and its arguments.

    :raises click.UsageError: if there is no such command.
    """
    command: click.Command = main
    context = click.Context(command, info_name=NAME)
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        _, found, arguments = command.resolve_command(context, arguments)
        assert found is not None
        command = found
        context = click.Context(command, info_name=command.name, parent=context)
    return command, context, arguments


def check(arguments: list[str]) -> None:
    """Parse arguments as the command would, without running it.

    :raises click.UsageError: if it would not accept them.
    """
    command, context, left = resolve(arguments)
    values, extra, _ = command.make_parser(context).parse_args(list(left))
    if isinstance(command, click.Group):
        if left[:1] not in (["--help"], ["--version"]):
            raise click.UsageError("a command is missing", context)
        return
    if extra and not context.allow_extra_args:
        raise click.UsageError(f"unexpected: {' '.join(extra)}", context)
    for parameter in command.params:
        value = values.get(parameter.name or "")
        texts = [each for each in (value if isinstance(value, list | tuple) else [value]) if isinstance(each, str)]
        if parameter.required and not texts and "--help" not in left:
            raise click.MissingParameter(ctx=context, param=parameter)
        if isinstance(parameter.type, CHECKED_TYPES):
            for text in texts:
                parameter.type.convert(text, parameter, context)


def in_blocks(page: Path) -> list[list[str]]:
    return [found for block in shell_blocks(page.read_text(encoding="utf-8")) for found in commands_in(block)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_in_blocks_are_taken(page: Path) -> None:
    for arguments in in_blocks(page):
        try:
            check(arguments)
        except click.UsageError as error:
            pytest.fail(f"{page.name}: {NAME} {shlex.join(arguments)}: {error.format_message()}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_in_sentences_exist(page: Path) -> None:
    """With each named option; a sentence omits arguments, or writes ``ENV`` or ``…`` for them."""
    for code in re.findall(rf"`{NAME} ([^`\n]+)`", page.read_text(encoding="utf-8")):
        words = code.split()
        names = words[: next((at for at, word in enumerate(words) if not re.fullmatch("[a-z-]+", word)), len(words))]
        try:
            command, _, _ = resolve([name for name in names if not name.startswith("-")])
        except click.UsageError as error:
            pytest.fail(f"{page.name}: {NAME} {code}: {error.format_message()}")
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        own = words[: words.index("--")] if "--" in words else words
        given = {word.partition("=")[0] for word in own if re.match("--?[a-z]", word)} - {"--help", "--version"}
        assert given <= known or isinstance(command, click.Group), f"{page.name}: {NAME} {code}: {given - known}"


def test_there_are_many_of_them() -> None:
    assert sum(len(in_blocks(page)) for page in PAGES) > 60


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("airflow-mwaa dag list", "No such command 'dag'"),
        ("airflow-mwaa metadata plan --keep 30d", "No such option"),
        ("cat file | airflow-mwaa dags trigger target", "Missing"),
        ('eval "$(airflow-mwaa local environment)"', "No such command 'environment'"),
        ("airflow-mwaa environments --output yaml | jq .", "'yaml' is not one of"),
        ("airflow-mwaa environments target > list", "unexpected: target"),
        ("airflow-mwaa dags trigger target etl \\\n  --no-wait  # and no more", "No such option"),
        ("echo 'a\nb'\nairflow-mwaa dags", "a command is missing"),
    ],
)
def test_a_command_that_would_not_be_taken_is_found(line: str, error: str) -> None:
    [arguments] = commands_in(line)
    with pytest.raises(click.UsageError) as raised:
        check(arguments)
    assert error in raised.value.format_message()
