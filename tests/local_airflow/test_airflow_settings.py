# SPDX-License-Identifier: Apache-2.0
"""The environment of an Airflow process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_mwaa_provider.local.airflow import settings
from airflow_mwaa_provider.local.airflow.interpreter import Interpreter
from airflow_mwaa_provider.local.errors import LocalMwaaError

pytestmark = pytest.mark.once

INTERPRETER = Interpreter(Path("/venv/bin/python"), Path("/venv"), "3.12.1", "3.3.1", "3.8.0", "asyncpg")


def variables(version="3.3.1", statsd=None, **configuration):
    return settings.airflow_variables(
        env_name="source",
        interpreter=replace(INTERPRETER, airflow_version=version),
        home=Path("/usr/local/airflow"),
        database=settings.Database("URL", "ASYNC", "127.0.0.1", 5432, "db", "airflow_user", 'p"w'),
        keys=settings.EnvironmentKeys("FERNET", "WEB", "JWT"),
        web=settings.WebServer(8080, "https://127.0.0.2:9"),
        aws=settings.AwsWorld("http://127.0.0.1:1", "AKIA", "SECRET", "us-east-1", Path("/ca.pem")),
        configuration={name.replace("__", "."): value for name, value in configuration.items()},
        marker={"AIRFLOW_MWAA_LOCAL": "/state"},
        statsd=statsd,
    )


@pytest.mark.parametrize("version", ["2.8.1", "2.10.3", "3.0.6", "3.3.1"])
def test_what_mwaas_containers_have(version):
    found = variables(version)
    assert found["AIRFLOW_ENV_NAME"] == "source"
    assert found["AIRFLOW_HOME"] == "/usr/local/airflow"
    assert found["AIRFLOW__CORE__DAGS_FOLDER"] == "/usr/local/airflow/dags"
    assert found["AIRFLOW_CONN_AWS_DEFAULT"] == "aws://"
    assert json.loads(found["MWAA__DB__CREDENTIALS"]) == {"username": "airflow_user", "password": 'p"w'}
    assert found["MWAA__DB__POSTGRES_HOST"] == "127.0.0.1"
    assert found["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == "URL"
    assert found["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert found["AIRFLOW_MWAA_LOCAL"] == "/state"
    assert found["PATH"].startswith("/venv/bin:")
    assert "aws_default" in json.loads(found["AIRFLOW__SECRETS__BACKEND_KWARGS"])["connections_lookup_pattern"]
    assert ("AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS" in found) == version.startswith("3")


def test_the_users_own_settings_are_not_inherited(monkeypatch):
    for name in ("AIRFLOW__CORE__EXECUTOR", "AIRFLOW_CONN_X", "AWS_PROFILE", "AWS_SESSION_TOKEN", "PYTHONPATH"):
        monkeypatch.setenv(name, "theirs")
    monkeypatch.setenv("LANG", "C.UTF-8")
    found = variables()
    assert "theirs" not in found.values()
    assert found["LANG"] == "C.UTF-8"


def test_options_beat_defaults_but_not_what_holds_it_together():
    found = variables(core__parallelism="3", core__executor="CeleryExecutor", smtp__smtp_host="mail")
    assert found["AIRFLOW__CORE__PARALLELISM"] == "3"
    assert found["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert found["AIRFLOW__SMTP__SMTP_HOST"] == "mail"
    assert "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION" not in found


def test_metrics_go_to_the_local_mwaa_unless_options_send_them_elsewhere():
    at = ("127.0.0.1", 8125)
    found = variables(statsd=at, metrics__metrics_block_list="pool")
    assert found["AIRFLOW__METRICS__STATSD_ON"] == "True"
    assert (found["AIRFLOW__METRICS__STATSD_HOST"], found["AIRFLOW__METRICS__STATSD_PORT"]) == ("127.0.0.1", "8125")
    assert found["AIRFLOW__METRICS__METRICS_BLOCK_LIST"] == "pool"
    assert "AIRFLOW__METRICS__STATSD_ON" not in variables()
    theirs = variables(statsd=at, metrics__statsd_on="True", metrics__statsd_host="collector")
    assert theirs["AIRFLOW__METRICS__STATSD_HOST"] == "collector"
    assert "AIRFLOW__METRICS__STATSD_PORT" not in theirs
    assert "AIRFLOW__METRICS__STATSD_ON" not in variables(statsd=at, metrics__otel_on="True")


@pytest.mark.parametrize(
    ("listed", "begin"), [("", "localhost,127.0.0.1,"), ("corp.example,localhost", "corp.example,localhost,127.0.0.1,")]
)
def test_no_proxy_is_asked_for_this_machine(listed, begin):
    found = settings.without_proxy({"no_proxy": listed}, ["127.0.0.77", "127.0.0.2"])
    assert found["NO_PROXY"] == found["no_proxy"]
    assert found["NO_PROXY"].startswith(begin)
    names = found["NO_PROXY"].split(",")
    assert {"127.0.0.19", "127.0.0.77", "127.0.0.0/8"} < set(names)
    assert len(set(names)) == len(names)
    assert settings.without_proxy({"NO_PROXY": found["NO_PROXY"]}, ["127.0.0.77"]) == found, "the second time"


def test_no_proxy_for_anything_stays(monkeypatch):
    # Among other names, * means nothing to urllib and requests.
    monkeypatch.setenv("NO_PROXY", "*")
    assert variables()["NO_PROXY"] == variables()["no_proxy"] == "*"


def test_a_startup_script_may_change_what_the_options_leave_and_the_local_mwaa_does_not_need(monkeypatch):
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("NO_PROXY", "theirs")
    names = settings.overridable_names(INTERPRETER, {"core.parallelism": "3"})
    assert {"LANG", "PATH", "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL"} <= names
    assert not names & {"AIRFLOW__CORE__PARALLELISM", "AIRFLOW__CORE__FERNET_KEY", "AWS_ENDPOINT_URL", "NO_PROXY"}
    assert names & set(variables()) < set(variables())


@pytest.mark.parametrize("option", ["core", "core.", ".key", ""])
def test_options_without_a_section_are_refused(option):
    with pytest.raises(LocalMwaaError, match=r"does not have the form section\.key"):
        settings.configuration_variable(option)


def test_secrets_stay_out_of_representations():
    world = settings.AwsWorld("http://x", "AKIA", "SECRET", "us-east-1", Path("/ca.pem"))
    keys = settings.EnvironmentKeys("FERNET", "WEB", "JWT")
    text = repr(world) + repr(keys)
    assert not any(secret in text for secret in ("SECRET", "FERNET", "WEB", "JWT"))
