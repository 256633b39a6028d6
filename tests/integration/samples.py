# SPDX-License-Identifier: Apache-2.0
"""Runs a sample of the catalogue in an environment of the tests, as ``airflow-mwaa local demo NAME`` does."""

from __future__ import annotations

from airflow_mwaa_provider.cli.local.samples.catalogue import SAMPLES
from airflow_mwaa_provider.cli.local.samples.sample import run_sample
from airflow_mwaa_provider.cli.local.stage import Stage
from tests.integration.world import World


def run(world: World, env_name: str, name: str) -> dict[str, str]:
    """Run a sample and return what came out."""
    world.environment(env_name)
    return dict(run_sample(SAMPLES[name], Stage(world.folder, env_name, say=print)).outcome)
