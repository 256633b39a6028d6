# SPDX-License-Identifier: Apache-2.0
"""Durations are written the same way in every command."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click
import pytest

from airflow_mwaa_provider.cli.main import main
from airflow_mwaa_provider.cli.support.durations import DURATION, WAIT_TIME

pytestmark = pytest.mark.once

WRITTEN = {
    "30d": timedelta(days=30),
    "1h30m": timedelta(minutes=90),
    "1H 30M": timedelta(minutes=90),
    "2w3d": timedelta(days=17),
    "1.5h": timedelta(minutes=90),
    "10s": timedelta(seconds=10),
    "1s500ms": timedelta(milliseconds=1500),
    "500ms": timedelta(milliseconds=500),
    " 5m ": timedelta(minutes=5),
}


@pytest.mark.parametrize("kind", [DURATION, WAIT_TIME])
@pytest.mark.parametrize(("text", "read"), WRITTEN.items())
def test_every_command_reads_the_same(kind: Any, text: str, read: timedelta) -> None:
    assert kind.convert(text, None, None) == read


@pytest.mark.parametrize("kind", [DURATION, WAIT_TIME])
@pytest.mark.parametrize(
    "text", ["", "soon", "30m1h", "1h1h", "1 hour", "-5m", "1e3s", "٣d", "nan", "9999999999d", "m"]
)
def test_what_is_no_length_of_time_is_refused(kind: Any, text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"write .*1h30m|is too long"):
        kind.convert(text, None, None)


def test_a_number_alone_is_seconds_of_a_wait_and_nothing_of_an_age() -> None:
    assert WAIT_TIME.convert("90", None, None) == timedelta(seconds=90)
    with pytest.raises(click.BadParameter, match="'30' has no unit; write 30d for days, 30h for hours"):
        DURATION.convert("30", None, None)
    assert DURATION.convert("0s", None, None) == timedelta(0)
    with pytest.raises(click.BadParameter, match="'0s' is not a positive duration"):
        WAIT_TIME.convert("0s", None, None)


def test_no_command_has_a_parser_of_its_own() -> None:
    def options(command: click.Command) -> list[click.Parameter]:
        if isinstance(command, click.Group):
            context = click.Context(command)
            names = command.list_commands(context)
            return [option for name in names for option in options(command.get_command(context, name))]  # type: ignore[arg-type]
        return command.params

    words = ("timeout", "retention", "age", "interval", "duration", "transaction", "wait")
    found = [option for option in options(main) if option.name and option.name.split("_")[-1] in words]
    of_time = [option for option in found if not getattr(option, "is_flag", False)]
    assert len(of_time) >= 8
    own = {option.name for option in of_time if option.type not in (DURATION, WAIT_TIME)}
    assert own <= {"retentions"}
