# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa local demo NAME``: a sample of the user guide runs on a local MWAA, and its outcome is shown."""

from __future__ import annotations

import importlib.util
import time
from typing import TYPE_CHECKING

import click

from airflow_mwaa_provider.cli.local.samples.catalogue import SAMPLES
from airflow_mwaa_provider.cli.local.samples.sample import run_sample
from airflow_mwaa_provider.cli.local.stage import Stage, dag_folder, echo_ways_on, secrets_options
from airflow_mwaa_provider.cli.support.output import echo_json, echo_table, nearest_to
from airflow_mwaa_provider.cli.support.progress import make_progress
from airflow_mwaa_provider.local import lifecycle
from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.up_request import EnvironmentRequest

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mwaa_provider.cli.local.samples.sample import Result, Sample

ENVIRONMENT = "samples"
"""The environment that all samples share, so that only the first one waits for it."""


def show_list(output: str) -> None:
    """Print what samples there are."""
    if output == "json":
        fields = ("name", "dag_id", "guide", "shows", "against")
        echo_json([{name: getattr(sample, name) for name in fields} for sample in SAMPLES.values()])
        return
    rows: list[tuple[object, ...]] = [("NAME", "SHOWS"), *((each.name, each.shows) for each in SAMPLES.values())]
    echo_table(rows, piped_width=80)


def find_sample(name: str) -> Sample:
    """Find a sample by its name.

    :raises LocalMwaaError: it does not exist, or a package that it needs is not installed.
    """
    sample = SAMPLES.get(name)
    if sample is None:
        near = nearest_to("sample", name, [*SAMPLES])
        raise LocalMwaaError(
            f"There is no sample {name!r}. {near or 'airflow-mwaa local demo --list lists them.'}", misuse=True
        )
    for module, line in sample.packages.items():
        if importlib.util.find_spec(module) is None:
            raise LocalMwaaError(f"Sample {name} needs {line}. Install it: pip install '{line}'")
    return sample


def environment_options(folder: Path) -> dict[str, str]:
    """Return the configuration options of an environment that can run all samples."""
    options = secrets_options(folder)
    for sample in SAMPLES.values():
        options |= sample.options
    return options


def demonstrate(sample: Sample, python: str, folder: Path, *, once: bool, mwaa_paths: bool, output: str) -> None:
    """Start the environment if it is not running, run the sample, and show what it has done."""
    began = time.monotonic()
    finished = False
    try:
        with make_progress() as progress:
            if lifecycle.running(folder, [ENVIRONMENT]) is None:
                request = EnvironmentRequest(
                    ENVIRONMENT, python, str(dag_folder()), options=environment_options(folder)
                )
                lifecycle.up(folder, [request], mwaa_paths=mwaa_paths, on_progress=progress.show)
            start_s = time.monotonic() - began
            result = run_sample(sample, Stage(folder, ENVIRONMENT, lambda message: progress.show("", message)))
        finished = True
        _show(sample, result, start_s, output)
    finally:
        if once or not finished:
            lifecycle.down(folder, purge=finished)
    if output == "json":
        return
    if once:
        click.echo("Everything was stopped and deleted.")
    else:
        echo_ways_on(folder, [ENVIRONMENT])


def _show(sample: Sample, result: Result, start_s: float, output: str) -> None:
    if output == "json":
        echo_json(
            {
                "name": sample.name,
                "dag_id": sample.dag_id,
                "run_id": result.run.run_id,
                "state": result.run.state.value,
                "outcome": dict(result.outcome),
                "start_seconds": round(start_s, 1),
                "seconds": round(result.seconds, 1),
            }
        )
        return
    click.echo(f"\n{sample.shows}")
    echo_table(
        [
            ("Guide", sample.guide),
            ("File", f"example_dags/{sample.name}.py"),
            ("DAG", sample.dag_id),
            ("Against", sample.against),
            ("Run", f"{result.run.run_id}: {result.run.state.value}"),
        ],
        piped_width=80,
    )
    click.echo("\nWhat came out")
    rows: list[tuple[object, ...]] = [("WHAT", "FOUND"), *result.outcome]
    echo_table(rows, piped_width=80)
    click.echo(f"\nStart {start_s:.0f} s, run {result.seconds:.0f} s.")
