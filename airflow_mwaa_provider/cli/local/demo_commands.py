# SPDX-License-Identifier: Apache-2.0
"""The commands ``airflow-mwaa local demo`` and ``airflow-mwaa local login``."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import click

from airflow_mwaa_provider.cli.local.commands import errors_in_one_line, folder_option, mwaa_paths_option
from airflow_mwaa_provider.cli.support.interrupts import interrupt
from airflow_mwaa_provider.cli.support.output import output_option
from airflow_mwaa_provider.cli.support.progress import make_progress

_DEMO_FOLDER = "~/.airflow-mwaa/demo"
_SAMPLES_FOLDER = "~/.airflow-mwaa/samples"


@click.command()
@click.argument("name", required=False)
@click.option("--list", "listed", is_flag=True, help="List the samples that NAME can be; start nothing.")
@click.option("--once", is_flag=True, help="Stop everything when the run has ended, and delete its files.")
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="[NAME=]PATH",
    help="The interpreter for source or target, or for the environment of a sample.",
)
@mwaa_paths_option
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help=f"The folder for all state: {_DEMO_FOLDER} by default, {_SAMPLES_FOLDER} for samples.",
)
@output_option
@errors_in_one_line
def demo(
    name: str | None,
    *,
    listed: bool,
    once: bool,
    pythons: tuple[str, ...],
    no_mwaa_paths: bool,
    folder: Path | None,
    output: str,
) -> None:
    """Run a sample of the user guide on a local MWAA, and show what it has done. Without NAME: start two
    environments; a DAG in one runs a DAG in the other, waits for it and reads its result.

    \b
    Example:
      airflow-mwaa local demo --once
      airflow-mwaa local demo --list
      airflow-mwaa local demo environment_variables
    """
    if listed:
        from airflow_mwaa_provider.cli.local import sample_demo

        sample_demo.show_list(output)
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    if name is None:
        _tell_story(
            _pythons(pythons, ("source", "target")),
            (folder or Path(_DEMO_FOLDER)).expanduser(),
            once=once,
            mwaa_paths=not no_mwaa_paths,
        )
    else:
        from airflow_mwaa_provider.cli.local import sample_demo

        sample_demo.demonstrate(
            sample_demo.find_sample(name),
            _pythons(pythons, (sample_demo.ENVIRONMENT,))[sample_demo.ENVIRONMENT],
            (folder or Path(_SAMPLES_FOLDER)).expanduser(),
            once=once,
            mwaa_paths=not no_mwaa_paths,
            output=output,
        )


def _pythons(values: tuple[str, ...], names: tuple[str, ...]) -> dict[str, str]:
    """Return the interpreter of each environment."""
    python = dict.fromkeys(names, sys.executable)
    for value in values:
        name, equals, path = value.rpartition("=")
        if not equals:
            python = dict.fromkeys(names, path)
        elif name in python:
            python[name] = path
        else:
            raise click.BadParameter(f"write {' or '.join(f'{each}=PATH' for each in names)}", param_hint="--python")
    return python


def _tell_story(python: dict[str, str], folder: Path, *, once: bool, mwaa_paths: bool) -> None:
    from airflow_mwaa_provider.cli.local import demo as story
    from airflow_mwaa_provider.cli.local.stage import echo_ways_on
    from airflow_mwaa_provider.local import lifecycle

    began = time.monotonic()
    finished = False
    try:
        with make_progress() as progress:
            now = story.start(folder, python, progress.show, mwaa_paths=mwaa_paths)
            started = time.monotonic()
            told = story.play(folder, lambda message: progress.show("", message))
        story.show(told, now)
        played = time.monotonic()
        click.echo(f"Start {started - began:.0f} s, runs {played - started:.0f} s.")
        finished = True
    finally:
        if once or not finished:
            lifecycle.down(folder, purge=finished)
    if once:
        click.echo("Everything was stopped and deleted.")
    else:
        echo_ways_on(folder, [*python])


@click.command()
@click.argument("name")
@folder_option
@errors_in_one_line
def login(name: str, folder: Path) -> None:
    """Print a URL that logs a browser in to an environment's Airflow UI; it is valid for 60 seconds.

    \b
    Example:
      airflow-mwaa local login source
    """
    from airflow_mwaa_provider.cli.local.stage import login_url

    click.echo(login_url(folder.expanduser(), name))
