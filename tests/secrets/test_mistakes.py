# SPDX-License-Identifier: Apache-2.0
"""Problems are logged once per process, with a fix, and without a value."""

from __future__ import annotations

import contextlib
import json
import logging
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3
from airflow_mwaa_provider.secrets import look_up_cache
from tests.secrets.conftest import CANARY, Clock, SecretsService, make
from tests.secrets.mistakes import CLASS, MISTAKES, Mistake


def configure(mistake: Mistake, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configure Airflow with this mistake."""
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", CLASS)
    keywords = {"cache_dir": str(folder), **mistake.keywords}
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", json.dumps(keywords))
    for name, value in mistake.options.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(look_up_cache, "default_parent", lambda: str(folder))


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_the_log_names_the_cause_and_the_way_out(
    mistake: Mistake,
    service: SecretsService,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mistake.prepare(service)
    configure(mistake, folder, monkeypatch)
    with caplog.at_level(logging.INFO, "airflow_mwaa_provider.secrets"):
        for _ in range(3):
            backend: Any = import_module("airflow.configuration").get_custom_secret_backend()
            with contextlib.suppress(Exception):  # as Airflow does
                (backend.get_variable if mistake.variable else backend.get_conn_value)(mistake.conn_id)
    records = [record for record in caplog.records if record.name == "airflow_mwaa_provider.secrets"]
    [told] = [record for record in records if mistake.says in record.getMessage()]
    assert mistake.do in told.getMessage()
    assert told.levelno == (logging.INFO if mistake.is_intended else logging.WARNING)
    assert "\n" not in told.getMessage()
    assert CANARY not in caplog.text


def test_an_answer_of_before_is_told_with_its_age(
    service: SecretsService, folder: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    make(folder).get_conn_value("new")
    service.put("airflow/connections/new", "http://h")
    clock.pass_s(20)
    look_up_cache._warned.clear()
    caplog.clear()
    for _ in range(2):
        assert make(folder).get_conn_value("new") is None
    [line] = [record.getMessage() for record in caplog.records if record.name == "airflow_mwaa_provider.secrets"]
    assert "This answer is 2" in line
    assert line.endswith("to ask at once: airflow-mwaa secrets invalidate new.")


@pytest.mark.skipif(not AIRFLOW_V_3, reason="one backend for all on Airflow 2")
def test_keywords_that_are_alike_everywhere_are_no_problem(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keywords = json.dumps({"cache_dir": str(folder)})
    for name in ("AIRFLOW__SECRETS__BACKEND", "AIRFLOW__WORKERS__SECRETS_BACKEND"):
        monkeypatch.setenv(name, CLASS)
        monkeypatch.setenv(f"{name}_KWARGS", keywords)
    backend: Any = import_module("airflow.configuration").get_custom_secret_backend(worker_mode=True)
    assert backend.cache.options.cache_dir == str(folder)
    assert "differ" not in caplog.text


def test_no_answer_about_a_role_is_told_without_a_client(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with contextlib.suppress(Exception):
        make(folder, role_arn="arn:aws:iam::999999999999:role/secrets").get_conn_value("db")
    assert "It could not be reached: check the VPC endpoint com.amazonaws.REGION.secretsmanager" in caplog.text
