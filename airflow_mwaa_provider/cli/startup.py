# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa startup``: startup scripts for an environment's containers."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.cli.support.errors import mwaa_errors_in_one_line
from airflow_mwaa_provider.cli.support.output import echo_exactly, echo_json
from airflow_mwaa_provider.cli.support.output_files import file_option
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.startup.script import Component

if TYPE_CHECKING:
    from collections.abc import Callable


def _writes_a_script(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of all commands that make a script."""
    for option in (
        click.option("--force", is_flag=True, help="Replace the file also when it differs."),
        file_option(".sh", "stdout"),
    ):
        command = option(command)
    return command


@click.group()
def startup() -> None:
    """Make startup scripts for an environment's containers.

    Each command makes one part. Parts can be put one after another: write the first, and add the others with >>.

    \b
    Example:
      airflow-mwaa startup codeartifact --domain amazon --domain-owner 112233445566 --repository MyRepo > startup.sh
    """


@startup.command("codeartifact")
@click.option("--domain", required=True, help="Name of the CodeArtifact domain.")
@click.option("--domain-owner", required=True, help="Account id of the domain's owner.")
@click.option("--repository", required=True, help="Name of the repository.")
@click.option("--region", help="The domain's region; the environment's own if not given.")
@click.option("--replace-pypi", is_flag=True, help="Let pip look nowhere else: the repository has PyPI as an upstream.")
@_writes_a_script
@mwaa_errors_in_one_line
def startup_codeartifact(
    *,
    domain: str,
    domain_owner: str,
    repository: str,
    region: str | None,
    replace_pypi: bool,
    output: tuple[Path | None, str],
    force: bool,
) -> None:
    """Let pip read a CodeArtifact repository.

    The script holds no secret. pip asks for a token each time it needs one, so that none is ever out of date, and none
    is in a variable, a file or a log. With json, and beside a file, it shows the policy that the execution role needs.

    \b
    Example:
      airflow-mwaa startup codeartifact --domain amazon --domain-owner 112233445566 --repository MyRepo > startup.sh
    """
    from airflow_mwaa_provider.packaging.startup.codeartifact import codeartifact_policy, codeartifact_script

    script = codeartifact_script(domain, domain_owner, repository, region=region, replace_pypi=replace_pypi)
    policy = codeartifact_policy(domain, domain_owner, repository, region=region)
    _hand_over(script, output, force=force, policy=policy)


@startup.command("dbt")
@click.option("--dbt-version", required=True, help="Version of dbt-core, such as 1.11.2.")
@click.option(
    "--adapter",
    "adapters",
    required=True,
    multiple=True,
    metavar="NAME[==VERSION]",
    help="postgres, redshift, snowflake and so on; more than one if needed.",
)
@click.option(
    "--component",
    "components",
    multiple=True,
    type=click.Choice([component.value for component in Component]),
    default=[Component.WORKER.value],
    show_default=True,
    help="Which containers get it; more than one if needed. DAG files are parsed in the scheduler's.",
)
@_writes_a_script
@mwaa_errors_in_one_line
def startup_dbt(
    *,
    dbt_version: str,
    adapters: tuple[str, ...],
    components: tuple[str, ...],
    output: tuple[Path | None, str],
    force: bool,
) -> None:
    """Install dbt beside Airflow, in a virtual environment of its own.

    The command dbt is on PATH for tasks, and DBT_VENV names the environment.

    \b
    Example:
      airflow-mwaa startup dbt --dbt-version 1.11.2 --adapter postgres >> startup.sh
    """
    from airflow_mwaa_provider.packaging.startup.dbt import dbt_script

    script = dbt_script(dbt_version, adapters, components=[Component(component) for component in components])
    _hand_over(script, output, force=force)


def _by_component(
    _context: click.Context, _option: click.Parameter, values: tuple[str, ...]
) -> list[tuple[Component, str]]:
    """Read ``COMPONENT=VALUE``; a value alone is for the containers that run tasks and parse DAG files."""
    found = []
    for value in values:
        name, equals, rest = value.partition("=")
        if equals and name not in set(Component):
            raise click.BadParameter(f"{value!r}: {name!r} is none of {', '.join(Component)}.")
        if equals and not rest:
            raise click.BadParameter(f"{value!r}: nothing is named for the {name}.")
        components = [Component(name)] if equals else [Component.WORKER, Component.SCHEDULER]
        found += [(component, rest if equals else value) for component in components]
    return found


@startup.command("runtime")
@click.option(
    "--package",
    "packages",
    multiple=True,
    callback=_by_component,
    metavar="[COMPONENT=]NAME",
    help="A package of Amazon Linux for worker, scheduler or webserver; without one, for worker and scheduler.",
)
@click.option(
    "--requirements",
    multiple=True,
    callback=_by_component,
    metavar="[COMPONENT=]FILE",
    help="A requirements file for these containers alone. Its lines are put into the script.",
)
@_writes_a_script
@mwaa_errors_in_one_line
def startup_runtime(
    *,
    packages: list[tuple[Component, str]],
    requirements: list[tuple[Component, str]],
    output: tuple[Path | None, str],
    force: bool,
) -> None:
    """Install packages of the operating system and of Python, in the containers that need them.

    A private web server reaches no repository: nothing is installed there unless its name is given.

    \b
    Example:
      airflow-mwaa startup runtime --package libaio --requirements worker=worker.txt >> startup.sh
    """
    from airflow_mwaa_provider.packaging.startup.runtime import requirement_lines, runtime_script

    names: dict[Component, list[str]] = {}
    for component, name in packages:
        names.setdefault(component, []).append(name)
    texts: dict[Component, str] = {}
    for component, file in requirements:
        lines = requirement_lines(_text_of(file), file)
        texts[component] = "\n".join([texts.get(component, ""), *lines])
    _hand_over(runtime_script(names, texts), output, force=force)


def _text_of(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise MwaaInputError(f"{file}: cannot be read: {why}. Give a requirements file.") from None


def _line_break_before() -> str:
    """Return what ends a line that is there already, where stdout is a file that is added to."""
    try:
        status = os.fstat(sys.stdout.fileno())
    except (OSError, ValueError):  # no file at all
        return ""
    return "\n" if stat.S_ISREG(status.st_mode) and status.st_size else ""


def _hand_over(
    script: str, output: tuple[Path | None, str], *, force: bool, policy: dict[str, Any] | None = None
) -> None:
    """Print the script, or write it and say what comes next."""
    from airflow_mwaa_provider.packaging.startup.script import write_script

    path, form = output
    changed = path is not None and write_script(script, path, replace=force)
    if form == "json":
        written = {"file": str(path), "changed": changed} if path is not None else {}
        echo_json({**written, "script": script, **({"policy": policy} if policy else {})})
        return
    if path is None:
        echo_exactly(f"{_line_break_before()}{script}")
        return
    click.echo(f"{'Wrote' if changed else 'Unchanged:'} {path}: {len(script.encode())} bytes")
    click.echo("  Upload it to the environment's bucket, and give the environment its path and version.")
    if policy:
        click.echo("  The execution role's permissions for it:")
        for line in json.dumps(policy, indent=2).splitlines():
            click.echo(f"    {line}")
