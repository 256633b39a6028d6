# SPDX-License-Identifier: Apache-2.0
"""An example DAG that can be run on a local MWAA: what it needs there, and what came out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from airflow_mwaa_provider.cli.local.stage import Stage
    from airflow_mwaa_provider.client.models import DagRun

__all__ = ["Prepared", "Result", "Sample", "run_sample"]


@dataclass(frozen=True)
class Prepared:
    """What a DAG needs is there.

    :param outcome: returns what the run has done, read from the service it worked on: rows of what, and what was found.
    :param conf: the configuration of the run.
    """

    outcome: Callable[[DagRun], list[tuple[str, str]]]
    conf: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """An example DAG.

    :param name: the name of its file in ``example_dags``, without ``.py``.
    :param guide: the title of the user guide's page that it answers.
    :param shows: what it does, in a sentence.
    :param against: what it runs against on the local MWAA.
    :param prepare: makes what the DAG needs, for as long as it runs.
    :param options: configuration options of the environment.
    :param packages: modules that the DAG imports and neither Airflow nor this package installs, with the line of
        requirements.txt that does.
    """

    name: str
    dag_id: str
    guide: str
    shows: str
    against: str
    prepare: Callable[[Stage], AbstractContextManager[Prepared]]
    options: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """A run that has succeeded, and what it has done."""

    run: DagRun
    outcome: list[tuple[str, str]]
    seconds: float


def run_sample(sample: Sample, stage: Stage) -> Result:
    """Run a sample's DAG in an environment that has it.

    :raises MwaaError: the DAG does not appear, or its run fails; the error names it.
    """
    stage.wait_for_dag(sample.dag_id)
    with sample.prepare(stage) as prepared:
        stage.unpause(sample.dag_id)
        began = time.monotonic()
        run = stage.run(sample.dag_id, prepared.conf)
        seconds = time.monotonic() - began
        return Result(run, prepared.outcome(run), seconds)
