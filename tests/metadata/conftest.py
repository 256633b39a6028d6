# SPDX-License-Identifier: Apache-2.0
"""One PostgreSQL and one S3 for all tests of the metadata layer, with a separate database for each test."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from tests.metadata import history
from tests.metadata.lab import REGION, Lab


@pytest.fixture(scope="session")
def lab():
    # Not in pytest's own folder: each pytest that starts on the machine makes that inaccessible to root's PostgreSQL.
    lab = Lab(Path(tempfile.mkdtemp(prefix="lab.", dir=os.environ["AIRFLOW_HOME"])))
    try:
        lab.start_with_template()
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def database(lab):
    """Name of an empty metadata database."""
    name = lab.copy()
    yield name
    lab.drop(name)


@pytest.fixture
def filled(lab, template):
    """Name of a database for one test, a copy of the one that its module has filled."""
    name = lab.copy(template)
    yield name
    lab.drop(name)


@pytest.fixture
def bucket(lab):
    """Name of an empty bucket."""
    return lab.bucket()


@pytest.fixture
def short_history(lab, database):
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=12, tasks=3, dags=2)
    connection.close()
    return database


@pytest.fixture
def connections(lab, short_history, monkeypatch):
    """An AWS connection to moto, and a postgres one to the database; both as variables, as on MWAA."""
    lab.start_moto()
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    aws = {"conn_type": "aws", "login": "testing", "password": "testing"}
    aws["extra"] = {
        "region_name": REGION,
        "endpoint_url": lab.moto.url,
        "config_kwargs": {"s3": {"addressing_style": "path"}},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(aws))
    postgres = {
        "conn_type": "postgres", "host": "127.0.0.1", "port": lab.postgres.port, "schema": short_history,
        "login": "airflow_user", "password": lab.postgres.password,
        "extra": {"cursor": "dictcursor", "sslmode": "prefer"},
    }  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_METADATA", json.dumps(postgres))
    return monkeypatch, postgres
