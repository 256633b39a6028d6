# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa local``: MWAA on your machine."""

from __future__ import annotations

import functools
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from airflow_mwaa_provider.cli.support.durations import DURATION
from airflow_mwaa_provider.cli.support.errors import fail, mwaa_errors_in_one_line
from airflow_mwaa_provider.cli.support.interrupts import interrupt
from airflow_mwaa_provider.cli.support.output import echo_json, echo_table, output_option
from airflow_mwaa_provider.cli.support.progress import make_progress
from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.extras import require_local_extra

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from airflow_mwaa_provider.local.up_request import EnvironmentRequest

P = ParamSpec("P")
R = TypeVar("R")

NO_MWAA_PATHS = "AIRFLOW_MWAA_LOCAL_NO_MWAA_PATHS"
mwaa_paths_option = click.option(
    "--no-mwaa-paths",
    is_flag=True,
    envvar=NO_MWAA_PATHS,
    help=f"Do not give the environments' processes /usr/local/airflow; {NO_MWAA_PATHS}=1 does the same.",
)
_DEFAULT_FOLDER = "~/.airflow-mwaa/local"
folder_option = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=_DEFAULT_FOLDER,
    show_default=True,
    help="The folder for all state; one local MWAA per folder.",
)


def errors_in_one_line(command: Callable[P, R]) -> Callable[P, R]:
    """Turn an expected error into one line on stderr, followed by the end of the log, and an exit status."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            require_local_extra()
            return command(*args, **kwargs)
        except LocalMwaaError as error:
            fail(str(error), error.log_tail, 2 if error.misuse else 1)
        except KeyboardInterrupt:
            fail("interrupted; everything that was started has been ended")

    return mwaa_errors_in_one_line(wrapper)


@click.group()
def local() -> None:
    """Run MWAA on your machine: its endpoints, real Airflows, and the other AWS services through moto.

    \b
    Example:
      airflow-mwaa local up --environment source --environment target
      eval "$(airflow-mwaa local env)"
      aws mwaa get-environment --name source
      airflow-mwaa local down
    """


@local.command()
@click.option("--environment", "-e", "names", multiple=True, help="The name of an environment. Repeatable.")
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="[NAME=]PATH",
    help="The interpreter with the Airflow to run, for all environments or for one. By default the current one.",
)
@click.option(
    "--dags", "dags", multiple=True, metavar="NAME=DIR", help="DAG files to upload to an environment's bucket first."
)
@click.option("--plugins", "plugins", multiple=True, metavar="NAME=FILE", help="An environment's plugins.zip.")
@click.option(
    "--requirements", "requirements", multiple=True, metavar="NAME=FILE", help="An environment's requirements.txt."
)
@click.option(
    "--startup-script",
    "startup_scripts",
    multiple=True,
    metavar="NAME=FILE",
    help="An environment's startup script. The environment keeps these files; NAME= removes one.",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=SECTION.KEY=VALUE",
    help="An Airflow configuration option for an environment. Repeatable.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="The port of the AWS endpoint. By default any free one.")
@click.option("--region", default="", help="The AWS region. By default the last one, initially us-east-1.")
@click.option(
    "--metrics-interval",
    type=DURATION,
    default="1m",
    show_default=True,
    help="How often environments publish MWAA's own metrics to CloudWatch, such as 10s or 1m.",
)
@mwaa_paths_option
@folder_option
@output_option
@errors_in_one_line
def up(
    names: tuple[str, ...],
    pythons: tuple[str, ...],
    dags: tuple[str, ...],
    plugins: tuple[str, ...],
    requirements: tuple[str, ...],
    startup_scripts: tuple[str, ...],
    options: tuple[str, ...],
    port: int | None,
    region: str,
    *,
    metrics_interval: timedelta,
    no_mwaa_paths: bool,
    folder: Path,
    output: str,
) -> None:
    """Start the environments, and return when all are available. If they are already running, change nothing.

    \b
    Example:
      airflow-mwaa local up -e source -e target --python target=/opt/airflow-2.10/bin/python --dags source=./dags
      airflow-mwaa local up -e source --plugins source=plugins.zip --requirements source=requirements.txt
    """
    from airflow_mwaa_provider.local import lifecycle

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    started = time.monotonic()
    files = {"plugins": plugins, "requirements": requirements, "startup_script": startup_scripts}
    requests = _environment_requests(names or ("local",), pythons, dags, files, options)
    option = "" if folder == Path(_DEFAULT_FOLDER) else f" --folder {shlex.quote(str(folder))}"
    result = lifecycle.running(folder, names)
    if result is not None:
        how = "is already running, and was not changed"
    else:
        with make_progress() as progress:
            result = lifecycle.up(
                folder,
                requests,
                port=port or 0,
                region=region,
                mwaa_paths=not no_mwaa_paths,
                metrics_interval_s=metrics_interval.total_seconds(),
                on_progress=progress.show,
            )
        how = f"is running after {time.monotonic() - started:.0f} s"
    if output == "json":
        echo_json(result)
        return
    click.echo(f"The local MWAA {how}: {result['endpoint_url']}")
    _echo_environments(result)
    click.echo(f'Use it:  eval "$(airflow-mwaa local env{option})"')
    click.echo(f"Stop it: airflow-mwaa local down{option}")


@local.command()
@click.option("--purge", is_flag=True, help="Also delete all data: databases, DAG files, logs, credentials.")
@folder_option
@errors_in_one_line
def down(*, purge: bool, folder: Path) -> None:
    """End every process of the local MWAA, even after a crash. If none is running, do nothing.

    \b
    Example:
      airflow-mwaa local down --purge
    """
    from airflow_mwaa_provider.local import lifecycle

    ended = lifecycle.down(folder, purge=purge)
    click.echo(f"Ended {ended} processes." if ended else "Nothing was running.")
    if purge:
        click.echo(f"Removed {folder}.")


@local.command()
@folder_option
@output_option
@errors_in_one_line
def status(folder: Path, output: str) -> None:
    """Show what is running. The exit status is 1 if nothing is.

    \b
    Example:
      airflow-mwaa local status --output json
    """
    from airflow_mwaa_provider.local import lifecycle

    now = lifecycle.status(folder)
    if output == "json":
        echo_json(now)
    elif now["running"]:
        click.echo(f"The local MWAA in {now['folder']} is running: {now.get('endpoint_url', 'just starting')}")
        _echo_environments(now)
    elif now["left_over_pids"]:
        count = len(now["left_over_pids"])
        click.echo(f"The daemon in {now['folder']} died and left {count} processes. Run `airflow-mwaa local down`.")
    else:
        click.echo(f"Nothing is running in {now['folder']}.")
    sys.exit(0 if now["running"] else 1)


@local.command()
@click.option(
    "--environment",
    "-e",
    "name",
    help="The environment that AIRFLOW_MWAA_DATABASE_URL refers to, if there are several.",
)
@folder_option
@errors_in_one_line
def env(name: str | None, folder: Path) -> None:
    """Print the settings that make boto3, the AWS CLI, curl, requests and psql use the local MWAA.

    \b
    Example:
      eval "$(airflow-mwaa local env)"
      eval "$(airflow-mwaa local env --environment source)" && airflow-mwaa metadata plan
    """
    from airflow_mwaa_provider.local import lifecycle

    for variable, value in lifecycle.client_variables(folder, name).items():
        click.echo(f"export {variable}={shlex.quote(value)}")


def _environment_requests(
    names: tuple[str, ...],
    pythons: tuple[str, ...],
    dags: tuple[str, ...],
    files: dict[str, tuple[str, ...]],
    options: tuple[str, ...],
) -> list[EnvironmentRequest]:
    from airflow_mwaa_provider.local.up_request import EnvironmentRequest

    default = sys.executable
    by_name: dict[str, str] = {}
    for value in pythons:
        name, equals, path = value.partition("=")
        if equals and name in names:
            by_name[name] = path
        elif equals and not Path(value).expanduser().exists():
            raise LocalMwaaError(f"--python {value}: no such environment: {name!r}", misuse=True)
        else:
            default = value
    configured = _options_by_environment(options, names)
    folders = _by_environment("--dags", "DIR", dags, names)
    paths = {
        kind: _by_environment(f"--{kind.replace('_', '-')}", "FILE", values, names) for kind, values in files.items()
    }
    return [
        EnvironmentRequest(
            name,
            by_name.get(name, default),
            folders.get(name),
            files={kind: of_kind[name] for kind, of_kind in paths.items() if name in of_kind},
            options=configured[name],
        )
        for name in names
    ]


def _options_by_environment(values: tuple[str, ...], names: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Parse ``NAME=SECTION.KEY=VALUE`` values."""
    found: dict[str, dict[str, str]] = {name: {} for name in names}
    for given in values:
        name, _, option = given.partition("=")
        key, equals, value = option.partition("=")
        if not equals or name not in found or not all(key.partition(".")):
            raise LocalMwaaError(
                f"--option {name}={key}: write NAME=SECTION.KEY=VALUE, with the name of an environment", misuse=True
            )
        found[name][key] = value
    return found


def _by_environment(option: str, what: str, values: tuple[str, ...], names: tuple[str, ...]) -> dict[str, str]:
    """Parse ``NAME=PATH`` values; the path of a file may be empty."""
    paths: dict[str, str] = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals or name not in names or not (path or what == "FILE"):
            raise LocalMwaaError(f"{option} {value}: write NAME={what}, with the name of an environment", misuse=True)
        paths[name] = os.path.abspath(os.path.expanduser(path)) if path else ""  # noqa: PTH100, PTH111
    return paths


def _echo_paths(now: dict[str, Any]) -> None:
    """Print whether DAGs have MWAA's paths, once it is known."""
    if now.get("mwaa_paths"):
        click.echo("DAGs find their files in /usr/local/airflow, as on MWAA.")
    elif now.get("mwaa_paths_error"):
        click.echo(f"DAGs cannot use /usr/local/airflow: {now['mwaa_paths_error']}. Use $AIRFLOW_HOME.")


def _echo_environments(now: dict[str, Any]) -> None:
    rows = [("ENVIRONMENT", "STATUS", "AIRFLOW", "WEB SERVER", "PIDS")]
    for name, environment in now["environments"].items():
        pids = " ".join(f"{component}={pid}" for component, pid in environment["pids"].items())
        rows.append((name, environment["status"], environment["airflow_version"], environment["url"], pids))
    echo_table(rows)
    for name, environment in now["environments"].items():
        if environment.get("database_url"):
            # On a separate line, because it is long and meant to be copied.
            click.echo(f"  {name}: its metadata database is\n    {environment['database_url']}")
        paths = [file["path"] for file in environment.get("files", {}).values()]
        if paths:
            click.echo(f"  {name} has {', '.join(paths)} from s3://{environment['bucket']}")
        if environment.get("requirements_error"):
            click.echo(f"  {name} runs without its requirements: {environment['requirements_error']}")
    _echo_paths(now)
