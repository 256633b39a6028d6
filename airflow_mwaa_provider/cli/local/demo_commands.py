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
from airflow_mwaa_provider.cli.support.progress import make_progress

_DEMO_FOLDER = "~/.airflow-mwaa/demo"


@click.command()
@click.option("--once", is_flag=True, help="Stop everything when the run has ended, and delete its files.")
@click.option("--python", "pythons", multiple=True, metavar="NAME=PATH", help="The interpreter for source or target.")
@mwaa_paths_option
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=_DEMO_FOLDER,
    show_default=True,
    help="The folder for all state of the demo.",
)
@errors_in_one_line
def demo(*, once: bool, pythons: tuple[str, ...], no_mwaa_paths: bool, folder: Path) -> None:
    """Start two environments: a DAG in one runs a DAG in the other, waits for it and reads its result.

    \b
    Example:
      airflow-mwaa local demo --once
    """
    from airflow_mwaa_provider.cli.local import demo as story
    from airflow_mwaa_provider.local import lifecycle

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    folder = folder.expanduser()
    python = {"source": sys.executable, "target": sys.executable}
    for value in pythons:
        name, equals, path = value.partition("=")
        if not equals or name not in python:
            raise click.BadParameter("write source=PATH or target=PATH", param_hint="--python")
        python[name] = path
    began = time.monotonic()
    finished = False
    try:
        with make_progress() as progress:
            now = story.start(folder, python, progress.show, mwaa_paths=not no_mwaa_paths)
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
        story.echo_ways_on(folder)


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
    from airflow_mwaa_provider.cli.local import demo as story

    click.echo(story.login_url(folder.expanduser(), name))
