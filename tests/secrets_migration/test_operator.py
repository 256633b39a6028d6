# SPDX-License-Identifier: Apache-2.0
"""``MigrateToSecretsManagerOperator``: where it reads, what it refuses when parsed, and that it reveals no value."""

from __future__ import annotations

import json
import logging
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3
from airflow_mwaa_provider.client.aws import secrets_manager
from airflow_mwaa_provider.client.models import Connection
from airflow_mwaa_provider.exceptions import MigrationRefused, MwaaError, MwaaInputError, NoMetadataRoute
from airflow_mwaa_provider.operators.secrets import MigrateToSecretsManagerOperator
from scripts.lib import canary
from tests.client.world import FakeTime, World
from tests.deferral import context
from tests.secrets.conftest import SecretsService, error, make
from tests.secrets_migration.conftest import Metadata

CANARY = canary.value()
NOT_ENCRYPTED = "canary-b20f7d"
"""The value of fields that Airflow's database has in clear; that of the whole run may be in none."""


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets_manager, "RetryPolicy", lambda deadline_s: FakeTime().policy(deadline_s))


@pytest.fixture
def execute(service: SecretsService, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    extra = {
        "region_name": "eu-west-1",
        "endpoint_url": service.url,
        "config_kwargs": {"retries": {"total_max_attempts": 1}},
    }
    aws = {"conn_type": "aws", "login": "AKIA0", "password": "secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SECRETS", json.dumps(aws))

    def run(**given: Any) -> Any:
        operator = MigrateToSecretsManagerOperator(task_id="t", secrets_conn_id="secrets", **given)
        operator.render_template_fields({})  # type: ignore[typeddict-item]
        result = operator.execute(context())
        assert json.loads(json.dumps(result)) == result
        return result

    return run


@pytest.fixture
def own_database(metadata: Metadata, monkeypatch: pytest.MonkeyPatch) -> Metadata:
    """The metadata database of this environment, named by a connection as on Airflow 3."""
    postgres = metadata.lab.postgres
    uri = {
        "conn_type": "postgres", "host": "127.0.0.1", "port": postgres.port, "schema": metadata.name,
        "login": "airflow_user", "password": postgres.password,
    }  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_METADATA", json.dumps(uri))
    return metadata


def test_from_the_own_database(own_database: Metadata, execute: Callable[..., Any], folder: Path) -> None:
    own_database.fill([Connection("db", "postgres", "H", "u", CANARY)], {"v": (CANARY, "d"), "w": ("1", None)})
    done = execute(metadata_conn_id="metadata", variables=["v"], tags={"team": "sales"})
    assert done["connections"]["created"] == ["db"]
    assert done["variables"]["created"] == ["v"]
    backend = make(folder)
    assert backend.get_connection("db").password == CANARY
    assert backend.get_variable("v") == CANARY
    assert backend.get_variable("w") is None
    assert execute(metadata_conn_id="metadata", dry_run=True)["variables"]["created"] == ["w"]


def test_what_a_task_gets_is_read_by_name(
    execute: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps({"conn_type": "http", "password": CANARY, "extra": {"a": 1}}))
    monkeypatch.setenv("AIRFLOW_VAR_V", CANARY)
    done = execute(source="task", connections=["mine"], variables=["v"])
    assert done["connections"]["created"] == ["mine"]
    backend = make(folder)
    assert backend.get_connection("mine").password == CANARY
    assert backend.get_variable("v") == CANARY
    with pytest.raises(MwaaInputError, match=r"connections: patterns need a list of all names, and AIRFLOW_ENV_NAME"):
        execute(source="task", variables=[])


def test_boto3_repeats_no_write_whatever_the_connection_says(
    execute: Callable[..., Any], service: SecretsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_V", CANARY)
    failures = [error("InternalServiceError", status=500)]
    service.fault = lambda action, request: failures.pop() if action == "CreateSecret" and failures else None
    settings = {"retries": {"total_max_attempts": 3}}
    done = execute(source="task", connections=[], variables=["v"], botocore_config=settings)
    assert done["variables"]["created"] == ["v"]
    assert service.calls["CreateSecret"] == 2, "it is repeated, but not by boto3"
    assert service.repeated_by_boto3["CreateSecret"] == 0


def test_names_for_patterns_come_from_the_api(
    world: World, connection: Callable[..., str], execute: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_ENV_NAME", "env3")
    monkeypatch.setenv("AIRFLOW_VAR_SALES_1", CANARY)
    environment = world.environment("env3", "web_session")
    for key in ("sales_1", "other"):
        environment.variables.set(key, "masked", is_new=True)
    given: dict[str, Any] = {"source": "task", "connections": [], "variables": ["sales_*"]}
    done = execute(aws_conn_id=connection("web_session"), delete_source=True, **given)
    assert done["variables"]["created"] == done["variables"]["deleted"] == ["sales_1"]
    assert sorted(world.airflow("env3").objects["variables"]) == ["other"]


def test_of_another_environment_over_its_api(
    world: World, connection: Callable[..., str], execute: Callable[..., Any]
) -> None:
    world.environment("env3", "web_session").variables.set("v", CANARY, is_new=True)
    done = execute(env_name="env3", aws_conn_id=connection("web_session"))
    assert done["variables"]["created"] == ["v"]


@pytest.mark.skipif(not AIRFLOW_V_3, reason="on Airflow 2 a task has the database")
def test_a_task_of_airflow_3_has_no_database(execute: Callable[..., Any]) -> None:
    with pytest.raises(NoMetadataRoute, match="tasks of Airflow 3 cannot access it"):
        execute(source="database")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"on_conflict": "replace"}, "on_conflict='replace' must be one of"),
        ({"form": "yaml"}, "form='yaml' must be one of"),
        ({"source": "cli"}, "source='cli' must be one of 'auto', 'database', 'task', 'environment'"),
        ({"connections": "db"}, "connections='db' is not a list"),
        ({"variables": None}, "variables=None is not a list"),
        ({"connections_prefix": "a b"}, "connections_prefix='a b': Secrets Manager accepts only"),
        ({"connections_prefix": "x", "variables_prefix": "x/"}, "are the same"),
        ({"tags": ["x"]}, r"tags=\['x'\] must be a dict"),
        ({"transport": "soap"}, "transport='soap' is none of"),
    ],
)
def test_what_cannot_be_is_refused_when_the_dag_is_parsed(given: dict[str, Any], says: str) -> None:
    with pytest.raises(MwaaInputError, match=says):
        MigrateToSecretsManagerOperator(task_id="t", **given)
    MigrateToSecretsManagerOperator(task_id="t", on_conflict="{{ x }}", connections=["{{ x }}"], tags="{{ x }}")


def test_another_environment_has_no_tasks_here(execute: Callable[..., Any]) -> None:
    with pytest.raises(MwaaInputError, match="source='task' reads the environment that the task runs in"):
        execute(env_name="other", source="task")


def test_a_value_is_in_no_log_file_xcom_or_error(
    own_database: Metadata,
    service: SecretsService,
    execute: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With every logger at DEBUG, whatever fails, and on disk."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    own_database.fill(
        [
            Connection(
                "db",
                "postgres",
                f"{NOT_ENCRYPTED}-h",
                f"{NOT_ENCRYPTED}-u",
                CANARY,
                NOT_ENCRYPTED,
                1,
                json.dumps({"k": CANARY}),
            ),
            Connection("web", "http", password=CANARY),
        ],
        {
            "v": (CANARY, None),
            "big": (CANARY * 6000, None),
            "bad name": (CANARY, None),
            "j": (f'{{"{CANARY}": 1}}', ""),
        },
    )
    service.put("airflow/variables/v", f"other {CANARY}")
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    logged: list[str] = []

    def attempt(**given: Any) -> None:
        # Requests of the test itself to Secrets Manager.
        caplog.clear()
        capfd.readouterr()
        try:
            told.append(json.dumps(execute(metadata_conn_id="metadata", **given)))
        except MwaaError as raised:
            told.append("".join(traceback.format_exception(raised)) + repr(raised) + repr(raised.__dict__))
        output = capfd.readouterr()
        logged.append(caplog.text + output.out + output.err)

    attempt()
    attempt(leave_out_refused=True)
    attempt(dry_run=True)
    for action in ("BatchGetSecretValue", "GetSecretValue", "CreateSecret", "PutSecretValue"):
        for answer in (
            error("AccessDeniedException", "no"),
            error("ThrottlingException", "slow down"),
            error("InternalServiceError", "oops", 500),
            error("InvalidParameterException", "bad"),
            (200, {"ARN": "arn", "Name": "n", "SecretString": f"another {CANARY}"}),
        ):
            service.fault = None
            for name in ("connections/db", "connections/web", "variables/j"):
                service.client().delete_secret(SecretId=f"airflow/{name}", ForceDeleteWithoutRecovery=True)
            service.put("airflow/variables/v", f"other {CANARY}")
            service.fault = lambda asked, request, action=action, answer=answer: answer if asked == action else None
            attempt(leave_out_refused=True, on_conflict="overwrite")
    service.fault = None
    attempt(leave_out_refused=True, on_conflict="overwrite", form="uri")
    assert '"created"' in told[-1]
    assert len([text for text in told if "Traceback" in text]) > 10
    assert "DEBUG    botocore" in "".join(logged)

    for value in (CANARY, NOT_ENCRYPTED):
        assert value not in "".join(told)
        assert [text for text in logged if value in text] == []
    kept = [tmp_path, Path(os.environ["AIRFLOW_HOME"])]
    files = [path for folder in kept for path in folder.rglob("*") if path.is_file() and "lab." not in str(path)]
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []


def test_refusals_come_before_any_write(
    own_database: Metadata, service: SecretsService, execute: Callable[..., Any]
) -> None:
    own_database.fill([], {"bad name": ("1", None), "fine": ("1", None)})
    with pytest.raises(MigrationRefused, match="variable 'bad name': Secrets Manager accepts only"):
        execute(metadata_conn_id="metadata")
    assert service.calls["CreateSecret"] == 0
