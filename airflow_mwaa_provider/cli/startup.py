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
    """Add the options of all commands that write a script."""
    for option in (
        click.option("--force", is_flag=True, help="Replace the file even if it differs."),
        file_option(".sh", "stdout"),
    ):
        command = option(command)
    return command


@click.group()
def startup() -> None:
    """Generate startup scripts for the containers of an environment.

    Each command generates one part. To combine parts, write the first with > and append the others with >>.

    \b
    Example:
      airflow-mwaa startup codeartifact --domain amazon --domain-owner 112233445566 --repository MyRepo > startup.sh
    """


@startup.command("codeartifact")
@click.option("--domain", required=True, help="Name of the CodeArtifact domain.")
@click.option("--domain-owner", required=True, help="Account ID of the owner of the domain.")
@click.option("--repository", required=True, help="Name of the repository.")
@click.option("--region", help="Region of the domain. Default: that of the environment.")
@click.option("--replace-pypi", is_flag=True, help="Use no other index: the repository has PyPI as an upstream.")
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

    The script contains no secret. pip requests a token each time it needs one, so tokens never expire in use, and none
    is in a variable, a file or a log. With json or a file, the output shows the policy that the execution role needs.

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
    help="Adapter, such as postgres, redshift or snowflake; repeatable.",
)
@click.option(
    "--component",
    "components",
    multiple=True,
    type=click.Choice([component.value for component in Component]),
    default=[Component.WORKER.value],
    show_default=True,
    help="Container that gets it; repeatable. DAG files are parsed in that of the scheduler.",
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
    """Install dbt beside Airflow, in its own virtual environment.

    The command dbt is on the PATH of tasks, and DBT_VENV is the path of the virtual environment.

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
    """Parse ``COMPONENT=VALUE``; a value alone applies to the containers that run tasks and parse DAG files."""
    found = []
    for value in values:
        name, equals, rest = value.partition("=")
        if equals and name not in set(Component):
            raise click.BadParameter(f"{value!r}: {name!r} is not one of {', '.join(Component)}.")
        if equals and not rest:
            raise click.BadParameter(f"{value!r}: the value for the {name} is empty.")
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
    help="Package of Amazon Linux for worker, scheduler or webserver. Default: worker and scheduler.",
)
@click.option(
    "--requirements",
    multiple=True,
    callback=_by_component,
    metavar="[COMPONENT=]FILE",
    help="Requirements file for these containers only. Its lines are copied into the script.",
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
    """Install packages of the operating system and of Python in the containers that need them.

    Nothing is installed on the web server unless you name it: a private one reaches no repository.

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
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise MwaaInputError(f"{file}: cannot be read: {why}. Name a requirements file.") from None


def _line_break_before() -> str:
    """Return a line break if stdout is a file that is appended to."""
    try:
        status = os.fstat(sys.stdout.fileno())
    except (OSError, ValueError):  # not a file
        return ""
    return "\n" if stat.S_ISREG(status.st_mode) and status.st_size else ""


def _hand_over(
    script: str, output: tuple[Path | None, str], *, force: bool, policy: dict[str, Any] | None = None
) -> None:
    """Print the script, or write it and print the next steps."""
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
    click.echo("  Upload it to the bucket of the environment, and set its path and version in the environment.")
    if policy:
        click.echo("  Permissions that the execution role needs:")
        for line in json.dumps(policy, indent=2).splitlines():
            click.echo(f"    {line}")
