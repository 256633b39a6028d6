# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa secrets explain`` of this shell's configuration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3, AIRFLOW_V_3_2
from airflow_mwaa_provider.cli.main import main
from tests.cli.terminal import runner, without_logging_of_others
from tests.secrets.conftest import CANARY, FERNET_KEY, SecretsService, error, make
from tests.secrets.mistakes import CLASS, MISTAKES, SECRET, Mistake
from tests.secrets.test_mistakes import configure

STOCK = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend"


def run(*arguments: str, status: int = 0) -> str:
    with without_logging_of_others():
        result = runner().invoke(main, ["secrets", "explain", *arguments])
    assert result.exit_code == status, f"{result.exit_code}: {result.output}{result.exception!r}"
    assert CANARY not in result.stdout
    assert CANARY not in result.stderr
    return result.stdout


def explained(*arguments: str, status: int = 0) -> dict[str, Any]:
    [explanation] = json.loads(run(*arguments, "--output", "json", status=status))["explanations"]
    return dict(explanation)


def all_said(explanation: dict[str, Any]) -> str:
    said = list(explanation["problems"])
    for source in explanation["sources"]:
        said += [source["detail"], source["cached"], *source["similar"]]
    return "\n".join(said)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_it_names_the_cause_and_the_way_out(
    mistake: Mistake, service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake.prepare(service)
    configure(mistake, folder, monkeypatch)
    only = "--variable" if mistake.variable else "--connection"
    if not AIRFLOW_V_3 and mistake.name == "keywords of the workers":
        pytest.skip("one backend for all on Airflow 2")
    is_found = mistake.is_found or mistake.name in ("keywords of the workers",)
    explanation = explained(mistake.conn_id, only, status=0 if is_found else 1)
    said = all_said(explanation)
    assert mistake.says in said
    assert mistake.do in said
    assert mistake.explains in said
    text = run(mistake.conn_id, only, status=0 if is_found else 1)
    assert " ".join(mistake.do.split()) in " ".join(text.split())
    assert not folder.exists()


@pytest.mark.parametrize("class_path", [STOCK, CLASS])
def test_what_a_task_gets_is_shown_without_what_is_secret(
    class_path: str, service: SecretsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.put("prod/db", f"postgres://me:{CANARY}@h:5432/s?sslmode={CANARY}&token={CANARY}")
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", class_path)
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", '{"connections_prefix": "prod"}')
    monkeypatch.setenv("AIRFLOW_CONN_DB", f"http://other:{CANARY}@h")
    explanation = explained("db", "--connection")
    first, second, *_ = explanation["sources"]
    assert (first["source"], first["names"], first["outcome"]) == ("Secrets Manager", ["prod/db"], "found")
    assert (first["region"], first["account"], first["option"]) == (
        "eu-west-1",
        "123456789012",
        "secrets.backend_kwargs",
    )
    assert (second["source"], second["names"], second["outcome"]) == (
        "environment variable",
        ["AIRFLOW_CONN_DB"],
        "found",
    )
    assert [source["process"] for source in explanation["sources"]] == (
        ["task", "task", "API server", "API server"] if AIRFLOW_V_3 else ["task"] * 3
    )
    assert explanation["result"] == {
        "source": 1, "type": "postgres", "login": "me", "has_password": True, "host": "h", "port": 5432, "schema": "s",
        "extra_keys": ["sslmode", "token"],
    }  # fmt: skip
    monkeypatch.setenv("COLUMNS", "80")
    shown = run("db", "--connection")
    assert "extra keys    sslmode, token" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


@pytest.mark.parametrize(
    "class_path",
    [
        "airflow.providers.amazon.aws.secrets.systems_manager.SystemsManagerParameterStoreBackend",
        "airflow_mwaa_provider.secrets.systems_manager.CachedSystemsManagerParameterStoreBackend",
    ],
)
def test_parameter_store_is_asked_too(
    class_path: str, service: SecretsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = service.client("ssm")
    client.put_parameter(Name="/explained/v", Value=CANARY, Type="SecureString", Overwrite=True)
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", class_path)
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", '{"variables_prefix": "/explained"}')
    source, *_ = explained("v", "--variable")["sources"]
    assert (source["source"], source["names"], source["outcome"]) == ("Parameter Store", ["/explained/v"], "found")
    assert explained("w", "--variable", status=1)["sources"][0]["outcome"] == "not there"
    service.fault = lambda action, request: error("AccessDeniedException") if action == "GetParameter" else None
    source, *_ = explained("v", "--variable", status=1)["sources"]
    assert source["outcome"] == "refused"
    assert "ssm:GetParameter on arn:aws:ssm:eu-west-1:123456789012:parameter/explained/v" in source["detail"]


def test_both_are_looked_up_unless_told(service: SecretsService, monkeypatch: pytest.MonkeyPatch) -> None:
    service.put("airflow/variables/v", CANARY)
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", STOCK)
    connection, variable = json.loads(run("v", "--output", "json"))["explanations"]
    assert (connection["kind"], connection["result"]) == ("connection", None)
    assert variable["result"] == {"source": 1, "characters": len(CANARY), "is_json": False}


def test_a_cached_answer_is_what_a_task_gets(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(Mistake("", "", ""), folder, monkeypatch)
    assert make(folder).get_conn_value("db") is None
    service.put("airflow/connections/db", SECRET)
    said = all_said(explained("db", "--connection", status=1))
    assert "an older answer, that it does not exist, from" in said
    assert "airflow-mwaa secrets invalidate db" in said
    service.put("airflow/variables/v", "old")
    make(folder).get_variable("v")
    assert "older" not in all_said(explained("v", "--variable"))
    service.put("airflow/variables/v", "newer")
    explanation = explained("v", "--variable")
    assert explanation["result"]["characters"] == 3
    assert "an older answer, a value" in all_said(explanation)


@pytest.mark.skipif(not AIRFLOW_V_3, reason="one backend for all on Airflow 2")
def test_the_api_server_asks_its_own_backend(service: SecretsService, monkeypatch: pytest.MonkeyPatch) -> None:
    service.put("two/db", SECRET)
    for section, name, prefix in (("SECRETS", "BACKEND", "two"), ("WORKERS", "SECRETS_BACKEND", "one")):
        monkeypatch.setenv(f"AIRFLOW__{section}__{name}", STOCK)
        monkeypatch.setenv(f"AIRFLOW__{section}__{name}_KWARGS", json.dumps({"connections_prefix": prefix}))
    explanation = explained("db", "--connection")
    assert [source["outcome"] for source in explanation["sources"]][:3] == ["not there", "not there", "found"]
    assert explanation["result"]["source"] == 3
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARG__CONNECTIONS_PREFIX", "three")
    # Only newer Airflows accept a single keyword.
    expected = (1, "three/db") if AIRFLOW_V_3_2 else (0, "two/db")
    assert explained("db", "--connection", status=expected[0])["sources"][2]["names"] == [expected[1]]


def test_a_team_has_names_of_its_own(service: SecretsService, monkeypatch: pytest.MonkeyPatch) -> None:
    service.put("airflow/connections/db", SECRET)
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", CLASS)
    backend, variable, *_ = explained("db", "--connection", "--team", "red")["sources"]
    stock = import_module(STOCK.rpartition(".")[0]).SecretsManagerBackend
    names = ["airflow/connections/red--db"] if hasattr(stock, "_names_a_team_namespace") else []
    assert backend["names"] == [*names, "airflow/connections/db"]
    assert variable["names"] == ["AIRFLOW_CONN__RED___DB", "AIRFLOW_CONN_DB"]


def test_other_backends_are_asked_as_they_are(service: SecretsService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "airflow.secrets.environment_variables.EnvironmentVariablesBackend")
    monkeypatch.setenv("AIRFLOW_VAR_V", "1")
    [source, *_] = explained("v", "--variable")["sources"]
    assert (source["source"], source["outcome"]) == ("EnvironmentVariablesBackend", "found")


def test_options_of_environments_are_refused_without_one() -> None:
    with without_logging_of_others():
        result = runner().invoke(main, ["secrets", "explain", "db", "--region", "eu-west-1"])
    assert result.exit_code == 2
    assert "--region requires --env-name" in result.stderr


def test_who_may_not_list_secrets_gets_an_explanation_too(
    service: SecretsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.fault = lambda action, request: error("AccessDeniedException") if action == "ListSecrets" else None
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", STOCK)
    assert explained("db", "--connection", status=1)["sources"][0]["outcome"] == "not there"


@pytest.mark.parametrize(
    ("class_path", "keywords", "says"),
    [
        (
            "airflow_mwaa_provider.secret.secrets_manager.CachedSecretsManagerBackend",
            "{}",
            "Did you mean airflow_mwaa_provider.secrets.secrets_manager.CachedSecretsManagerBackend?",
        ),
        (CLASS, '{"cache_ttl_s": "soon"}', "The backend cannot be created: cache_ttl_s: 'soon' must be a number"),
    ],
)
def test_a_backend_that_airflow_cannot_even_make_is_explained(
    class_path: str, keywords: str, says: str, tmp_path: Path
) -> None:
    """In a separate process, because Airflow 2 creates its backend, or fails, when it is imported."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__FERNET_KEY": FERNET_KEY,
        "AIRFLOW__SECRETS__BACKEND": class_path,
        "AIRFLOW__SECRETS__BACKEND_KWARGS": keywords,
    }
    command = [sys.executable, "-m", "airflow_mwaa_provider.cli.main", "secrets"]
    done = subprocess.run(
        [*command, "explain", "db", "--connection", "--output", "json"],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert says in json.loads(done.stdout)["explanations"][0]["sources"][0]["detail"]
    done = subprocess.run(
        [*command, "stats"], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2, done.stderr
    # Airflow 2.11 warns, when it is imported, about how it measures time.
    [*others, line] = done.stderr.splitlines()
    assert line.startswith("airflow-mwaa: ")
    assert not [other for other in others if other.startswith(("airflow-mwaa: ", "Traceback"))]
