# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa package requirements``: check a requirements.txt before it is uploaded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from airflow_mwaa_provider.cli.support.errors import mwaa_errors_in_one_line
from airflow_mwaa_provider.cli.support.interrupts import signals_as_interrupts
from airflow_mwaa_provider.cli.support.output import echo_json, output_option
from airflow_mwaa_provider.cli.support.problems import echo_problems

if TYPE_CHECKING:
    from airflow_mwaa_provider.packaging.requirements.offline import OfflinePackage
    from airflow_mwaa_provider.packaging.requirements.provider_update import ProviderUpdate
    from airflow_mwaa_provider.packaging.requirements.report import RequirementsReport

_FILE = click.Path(path_type=Path)
_UNCHECKED = ("not-here", "variable", "version-control")
"""Codes of warnings about lines that were not passed to the resolver."""


@click.command("requirements")
@click.argument("file", type=_FILE)
@click.option("--airflow-version", required=True, metavar="X.Y.Z", help="Airflow version of the environment.")
@click.option("--private-web-server", is_flag=True, help="The web server reaches no package index.")
@click.option(
    "--wheels", type=_FILE, metavar="FOLDER", help="Folder of your own wheels, which are part of plugins.zip."
)
@click.option(
    "--constraints", type=_FILE, metavar="FILE", help="Local copy of the file that a --constraint line names."
)
@click.option("--offline", type=_FILE, metavar="FILE.zip", help="Write a plugins.zip with all wheels.")
@click.option("--update-provider", metavar="NAME==X", help="Write constraints with this version of a provider.")
@click.option("--force", is_flag=True, help="Replace files even if this command did not write them.")
@output_option
@mwaa_errors_in_one_line
def package_requirements(
    *,
    file: Path,
    airflow_version: str,
    private_web_server: bool,
    wheels: Path | None,
    constraints: Path | None,
    offline: Path | None,
    update_provider: str | None,
    force: bool,
    output: str,
) -> None:
    """Check a requirements.txt as the image of an environment would install it.

    FILE is parsed as pip parses it, and resolved for the Python and platform of the image, under the constraints that
    the image sets for pip: by uv, or by pip on the same Python. The exit status is 1 if MWAA cannot install it.

    With --offline, all packages are downloaded into a plugins.zip, and packaged_requirements.txt beside it has the
    lines that install from there, without a package index. With --update-provider, the constraints of the image with
    another version of a provider are written beside FILE, and FILE is checked against them.

    \b
    Example:
      airflow-mwaa package requirements requirements.txt --airflow-version 3.3.1
      airflow-mwaa package requirements requirements.txt --airflow-version 3.3.1 --offline plugins.zip
      airflow-mwaa package requirements requirements.txt --airflow-version 3.3.1 --update-provider amazon==9.35.0
    """
    from airflow_mwaa_provider.packaging.requirements import provider_update
    from airflow_mwaa_provider.packaging.requirements.checking import check_requirements
    from airflow_mwaa_provider.packaging.requirements.offline import OfflinePackage, package_offline
    from airflow_mwaa_provider.packaging.requirements.provider_update import ProviderUpdate
    from airflow_mwaa_provider.packaging.requirements.report import RequirementsReport

    if update_provider is not None and (offline or constraints or private_web_server):
        raise click.UsageError("--update-provider excludes --offline, --constraints and --private-web-server.")
    done: OfflinePackage | ProviderUpdate | RequirementsReport
    with signals_as_interrupts():  # temporary folders are removed
        if update_provider is not None:
            done = provider_update.update_provider(
                file, airflow_version, update_provider, wheels=wheels, replace_anything=force
            )
        elif offline is not None:
            done = package_offline(
                file, airflow_version, offline, wheels=wheels, constraints=constraints, replace_anything=force
            )
        else:
            done = check_requirements(
                file, airflow_version, private_web_server=private_web_server, wheels=wheels, constraints=constraints
            )
    report = done if isinstance(done, RequirementsReport) else done.report
    if output == "json":
        echo_json(done.as_dict())
    else:
        _echo(report)
        if isinstance(done, OfflinePackage):
            _echo_offline(done)
        elif isinstance(done, ProviderUpdate):
            _echo_update(done, file)
    sys.exit(1 if report.errors else 0)


def _echo(report: RequirementsReport) -> None:
    echo_problems(report.problems)
    target = report.target
    image = f"Airflow {target.airflow_version}, Python {target.python}"
    if not report.is_complete:
        click.echo(f"{report.name}: not checked completely; it is unknown whether MWAA can install it ({image}).")
    elif report.errors:
        click.echo(f"{report.name}: MWAA cannot install it ({image}): {_count(len(report.errors), 'error')}.")
    elif not report.resolved:
        unchecked = {problem.where for problem in report.problems if problem.code in _UNCHECKED}
        were = "was" if len(unchecked) == 1 else "were"
        more = f"; {_count(len(unchecked), 'line')} {were} not checked" if unchecked else ""
        click.echo(f"{report.name}: {'nothing else' if unchecked else 'nothing'} to install{more} ({image}).")
    else:
        size = f"{report.download_bytes / 1e6:,.0f} MB" if report.download_bytes else "of unknown size"
        click.echo(
            f"{report.name}: {_count(len(report.resolved), 'package')}, at most {size} to download "
            f"({image}; by {report.resolver})."
        )


def _echo_offline(done: OfflinePackage) -> None:
    if done.zip is not None:
        changed = "Wrote" if done.zip.changed else "Unchanged:"
        click.echo(f"{changed} {done.zip.path}: {_count(len(done.zip.names), 'wheel')}, {done.zip.size_bytes:,} bytes.")
        click.echo(f"Wrote {done.requirements}: upload it as requirements.txt, after plugins.zip.")
    elif not done.report.errors:
        click.echo("There is nothing to package; no file was written.")


def _echo_update(done: ProviderUpdate, file: Path) -> None:
    for name, (old, new) in done.changes.items():
        click.echo(f"  {name} {old} to {new}")
    if done.constraints is not None:
        click.echo(f"Wrote {done.constraints}: upload it into dags/, and put these lines into {file.name}:")
    elif done.lines:
        click.echo(f"Nothing was written. {file.name} was checked with these lines, at its end or replacing its own:")
    for line in done.lines:
        click.echo(f"  {line}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
