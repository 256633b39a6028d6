# SPDX-License-Identifier: Apache-2.0
"""Problems of a file, as commands print them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from airflow_mwaa_provider.cli.support.output import on_one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_mwaa_provider.packaging.problems import Problem

__all__ = ["echo_problems"]


def echo_problems(problems: Iterable[Problem]) -> None:
    """Print problems, one per line: severity, where, what, what to do, and the code."""
    for problem in problems:
        text = on_one_line(" ".join(str(problem).split()))
        click.echo(f"{problem.severity.value}: {text} [{problem.code}]")
