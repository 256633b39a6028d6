# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa package requirements``: a requirements.txt, checked before it is uploaded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from airflow_mwaa_provider.cli.errors import mwaa_errors_in_one_line
from airflow_mwaa_provider.cli.output import echo_json, on_one_line, output_option

if TYPE_CHECKING:
    from airflow_mwaa_provider.packaging.requirements.report import RequirementsReport

_FILE = click.Path(path_type=Path)


@click.command("requirements")
@click.argument("file", type=_FILE)
@click.option("--airflow-version", required=True, metavar="X.Y.Z", help="Of the environment.")
@click.option("--private-web-server", is_flag=True, help="The web server reaches no package index.")
@click.option("--wheels", type=_FILE, metavar="FOLDER", help="Wheels of your own, which go into plugins.zip.")
@click.option("--constraints", type=_FILE, metavar="FILE", help="A copy of the file that a --constraint line names.")
@output_option
@mwaa_errors_in_one_line
def package_requirements(
    *,
    file: Path,
    airflow_version: str,
    private_web_server: bool,
    wheels: Path | None,
    constraints: Path | None,
    output: str,
) -> None:
    """Check a requirements.txt as the image of an environment would install it.

    FILE is read as pip reads it, and resolved for the image's Python and platform under the constraints that the
    image gives pip, by uv, or by pip on the same Python. Exit status 1 says that MWAA cannot install it.

    \b
    Example:
      airflow-mwaa package requirements requirements.txt --airflow-version 3.3.1
    """
    from airflow_mwaa_provider.packaging.requirements.checking import check_requirements

    report = check_requirements(
        file, airflow_version, private_web_server=private_web_server, wheels=wheels, constraints=constraints
    )
    if output == "json":
        echo_json(report.as_dict())
    else:
        _echo(report)
    sys.exit(1 if report.errors else 0)


def _echo(report: RequirementsReport) -> None:
    for problem in report.problems:
        click.echo(f"{problem.severity.value}: {on_one_line(problem)} [{problem.code}]")
    target = report.target
    image = f"Airflow {target.airflow_version}, Python {target.python}"
    if report.errors:
        click.echo(f"{report.name}: MWAA cannot install it ({image}): {_count(len(report.errors), 'error')}.")
    elif not report.resolved:
        click.echo(f"{report.name}: nothing to install ({image}).")
    else:
        size = f"{report.download_bytes / 1e6:,.0f} MB" if report.download_bytes else "of unknown size"
        click.echo(
            f"{report.name}: {_count(len(report.resolved), 'package')}, at most {size} to download "
            f"({image}; by {report.resolver})."
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
