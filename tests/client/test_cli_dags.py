# SPDX-License-Identifier: Apache-2.0
"""DAGs over the CLI of Airflow 2: ``dags list`` reads files, and omits those that the web server cannot import."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from airflow_mwaa_provider.exceptions import DagNotFound
from airflow_mwaa_provider.local.aws import cli_allowlist

if TYPE_CHECKING:
    from tests.client.world import World


def test_a_dag_that_the_web_server_cannot_import_is_there(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """MWAA's table of commands has no ``dags details``, so whether the DAG is paused is unknown."""
    environment, airflow = world.environment("env2", "cli"), world.airflow("env2")
    airflow.not_importable = {"etl"}
    assert environment.trigger_dag_run("etl", "run_1").created
    assert environment.missing_dags(["etl", "paused", "nothing"]) == ["nothing"]
    with caplog.at_level(logging.WARNING):
        assert environment.is_dag_paused("etl") is None
    assert "The CLI does not show whether it is paused" in caplog.text
    assert environment.is_dag_paused("paused") is True
    assert [run.run_id for run in environment.get_recent_dag_runs("etl", 5)] == ["run_1"]
    with pytest.raises(DagNotFound, match="no DAG 'nothing'"):
        environment.is_dag_paused("nothing")
    with pytest.raises(DagNotFound, match="no DAG 'nothing'"):
        environment.trigger_dag_run("nothing", "run_1")
    with pytest.raises(DagNotFound, match="no DAG 'nothing'"):
        environment.get_recent_dag_runs("nothing", 1)


@pytest.mark.parametrize("is_paused", [True, False])
def test_where_details_are_let_through_they_tell(
    world: World, monkeypatch: pytest.MonkeyPatch, is_paused: bool
) -> None:
    environment, airflow = world.environment("env2", "cli"), world.airflow("env2")
    airflow.not_importable, airflow.dags["etl"] = {"etl"}, is_paused
    monkeypatch.setitem(cli_allowlist._AIRFLOW_2, "dags details", (2, 0))
    assert environment.is_dag_paused("etl") is is_paused
