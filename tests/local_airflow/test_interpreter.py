# SPDX-License-Identifier: Apache-2.0
"""Which Airflow a Python interpreter has."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError

from airflow_mwaa_provider.local.airflow import interpreter
from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine.process_environment import clean_python_environment


@pytest.fixture
def pretend(tmp_path):
    """Return a function that creates an "interpreter" that reports given facts."""

    def make(**facts):
        told = {"python": "3.12.1", "prefix": "/p", "airflow": "3.3.1", "fab": "3.8.0"}
        told["modules"] = ["airflow", "psycopg2", "asyncpg"]
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps({**told, **facts})}\nEND\n")
        path.chmod(0o755)
        return path

    return make


def test_the_running_interpreter():
    found = interpreter.inspect(sys.executable)
    assert found.airflow_release >= (2, 8, 1)
    assert str(found.path) == sys.executable


@pytest.mark.parametrize(
    ("version", "release"), [("3.3.1", (3, 3, 1)), ("2.11", (2, 11, 0)), ("3.4.0b1", (3, 4, 0)), ("3", (3, 0, 0))]
)
def test_releases(version, release):
    assert interpreter.release_of(version) == release


@pytest.mark.parametrize(("modules", "driver"), [(["asyncpg"], "asyncpg"), (["psycopg"], "psycopg_async"), ([], None)])
def test_async_drivers(pretend, modules, driver):
    assert interpreter.inspect(pretend(modules=["airflow", "psycopg2", *modules])).async_driver == driver


def test_airflow_sends_metrics_where_statsd_is(pretend):
    found = [interpreter.inspect(pretend(modules=["airflow", "psycopg2", *more])) for more in (["statsd"], [])]
    assert [each.has_statsd for each in found] == [True, False]


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"airflow": None}, r"has no Airflow: `.*python -m pip install apache-airflow`"),
        ({"airflow": "2.7.3"}, r"has Airflow 2\.7\.3; 2\.8\.1 is the oldest"),
        ({"fab": None}, r"`.*python -m pip install apache-airflow-providers-fab`"),
        ({"modules": ["airflow", "asyncpg"]}, "pip install psycopg2-binary`"),
        ({"airflow": "3.0.6", "modules": ["airflow", "psycopg2"]}, "pip install asyncpg`"),
        ({"python": "3.10.2"}, r"is Python 3\.10\.2; 3\.11 is the oldest"),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(pretend, facts, message):
    with pytest.raises(LocalMwaaError, match=message) as caught:
        interpreter.inspect(pretend(**facts))
    assert caught.value.misuse
    assert "\n" not in str(caught.value)


def test_airflow_2_needs_no_fab_provider(pretend):
    found = interpreter.inspect(pretend(airflow="2.10.3", fab=None, modules=["airflow", "psycopg2"]))
    assert not found.is_airflow_3


@pytest.mark.parametrize("path", ["/no/such/python", "no-such-python-anywhere", "/etc/passwd", "/bin"])
def test_no_interpreter(path):
    with pytest.raises(LocalMwaaError, match="no Python interpreter at"):
        interpreter.inspect(path)


@pytest.mark.parametrize("path", ["/bin/false", "/bin/true", "/bin/echo"])
def test_another_program(path):
    with pytest.raises(LocalMwaaError, match="does not behave like a Python 3 interpreter"):
        interpreter.inspect(path)


def test_the_callers_modules_are_left_out(monkeypatch):
    environment = {"PYTHONPATH": "/x", "PYTHONHOME": "/y", "PATH": "/bin"}
    assert clean_python_environment(environment) == {"PATH": "/bin"}


def test_an_old_botocore_is_told_to_leave_host_names_alone(tmp_path, monkeypatch):
    import botocore

    from airflow_mwaa_provider.local.airflow import aws_models

    aws_models.write_without_host_prefix(Path(botocore.__file__).parent, tmp_path)
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    client = boto3.session.Session().client(
        "mwaa",
        region_name="us-east-1",
        endpoint_url="http://127.0.0.1:1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(connect_timeout=1, retries={"total_max_attempts": 1}),
    )
    with pytest.raises(EndpointConnectionError, match=r'"http://127\.0\.0\.1:1/environments'):
        client.list_environments()
    client.close()
