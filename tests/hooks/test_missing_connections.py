# SPDX-License-Identifier: Apache-2.0
"""A missing connection, or one of an unrelated type, is refused, and the error names it."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.hooks import mwaa
from airflow_mwaa_provider.hooks.metadata import MetadataHook
from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook
from airflow_mwaa_provider.metadata.export.run import ExportOptions
from airflow_mwaa_provider.operators.cli import MwaaCliOperator
from airflow_mwaa_provider.operators.dag_run import MwaaTriggerDagRunOperator
from airflow_mwaa_provider.operators.metadata import MetadataToS3Operator
from airflow_mwaa_provider.operators.roles import MwaaDagRoleOperator
from airflow_mwaa_provider.operators.trigger_and_wait import trigger_and_wait
from airflow_mwaa_provider.operators.variables import MwaaExportVariablesOperator, MwaaImportVariablesOperator
from airflow_mwaa_provider.sensors.dag_run import MwaaDagRunSensor, MwaaTaskSensor
from tests.deferral import TaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "hunter2hunter2"
IDS = {"task_id": "t", "env_name": "env3"}
SENSOR = {"task_id": "t", "external_env_name": "env3", "external_dag_id": "etl", "external_dag_run_id": "r"}
OPERATORS: list[Callable[..., Any]] = [
    lambda **more: MwaaTriggerDagRunOperator(**IDS, trigger_dag_id="etl", **more),
    lambda **more: MwaaCliOperator(**IDS, command="version", **more),
    lambda **more: MwaaDagRoleOperator(**IDS, role_name="r", dag_ids=["etl"], **more),
    lambda **more: MwaaImportVariablesOperator(**IDS, variables={"a": "b"}, **more),
    lambda **more: MwaaExportVariablesOperator(**IDS, destination="never.json", **more),
    lambda **more: MetadataToS3Operator(**IDS, bucket="b", route="api", **more),
    lambda **more: MwaaDagRunSensor(**SENSOR, **more),
    lambda **more: MwaaDagRunSensor(**SENSOR, deferrable=True, **more),
    lambda **more: MwaaTaskSensor(**SENSOR, external_task_id=None, **more),
]


@pytest.fixture(autouse=True)
def _credentials_that_must_not_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATHEWORKERSOWN000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the worker's own")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # reaching this causes another error


@pytest.fixture
def define(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    def make(name: str, conn_type: str, **fields: Any) -> str:
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps({"conn_type": conn_type, **fields}))
        return name

    return make


@pytest.mark.parametrize("make", OPERATORS)
def test_each_operator_and_sensor_refuses_a_connection_that_is_missing(make: Callable[..., Any]) -> None:
    with pytest.raises(MwaaInputError, match=r"Connection 'prod_acount' is not defined.*use None"):
        make(aws_conn_id="prod_acount").execute({"ti": TaskInstance()})


@pytest.mark.parametrize("make", OPERATORS)
def test_each_operator_and_sensor_refuses_a_connection_of_another_kind(
    make: Callable[..., Any], define: Callable[..., str]
) -> None:
    name = define("warehouse", "postgres", login="reader", password=SECRET)
    with pytest.raises(
        MwaaInputError, match=r"Connection 'warehouse' is of type 'postgres'.*type aws or mwaa"
    ) as caught:
        make(aws_conn_id=name).execute({"ti": TaskInstance()})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "ask",
    [
        lambda name: trigger_and_wait("env3", "etl", run_id="r", aws_conn_id=name),
        lambda name: MwaaEnvironmentHook(name).control_plane,
        lambda name: MwaaEnvironmentHook(name).aws_client("s3"),
        lambda name: MwaaEnvironmentHook(name).environment("env3"),
        lambda name: MetadataHook(name).database(),
        lambda name: MetadataHook(None, "api", "env3").export("b", ExportOptions(), s3_conn_id=name),
        lambda name: MwaaExportVariablesOperator(**IDS, destination="s3://b/k", s3_conn_id=name)._s3(),
    ],
)
def test_every_other_way_to_name_one(ask: Callable[[str], Any], define: Callable[..., str]) -> None:
    with pytest.raises(MwaaInputError, match=r"Connection 'absent' is(n't| not) defined"):
        ask("absent")
    with pytest.raises(MwaaInputError, match="Connection 'shop' is of type 'http'"):
        ask(define("shop", "http", password=SECRET))


def test_the_one_that_an_mwaa_connection_names(define: Callable[..., str]) -> None:
    name = define("far", "mwaa", extra={"aws_conn_id": "absent", "region_name": "eu-west-1"})
    with pytest.raises(MwaaInputError, match="Connection 'absent', which connection 'far' names, is not defined"):
        assert MwaaEnvironmentHook(name).control_plane
    define("absent", "mwaa")
    with pytest.raises(MwaaInputError, match=r"'absent', which connection 'far' names, is of type 'mwaa'.*type aws"):
        assert MwaaEnvironmentHook(name).control_plane
    assert MwaaEnvironmentHook(name).test_connection()[0] is False


def test_none_and_a_missing_default_are_boto3s_own_rules_which_is_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_AWS_DEFAULT", raising=False)
    caplog.set_level(logging.INFO, mwaa.__name__)
    mwaa._log_default_chain.cache_clear()
    for name in (None, "", "aws_default", "aws_default"):
        credentials = MwaaEnvironmentHook(name).control_plane._client._request_signer._credentials
        assert credentials.access_key == "AKIATHEWORKERSOWN000"
    assert caplog.text.count("'aws_default' is not defined. Using boto3's default credentials") == 1
    assert "switching to empty" not in caplog.text


def test_a_default_of_another_kind_is_refused_too(define: Callable[..., str]) -> None:
    define("aws_default", "postgres", password=SECRET)
    with pytest.raises(MwaaInputError, match="Connection 'aws_default' is of type 'postgres'"):
        assert MwaaEnvironmentHook().control_plane
