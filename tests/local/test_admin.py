# SPDX-License-Identifier: Apache-2.0
"""The admin API."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from tests.local.lab import ADMIN_TOKEN, KEY, SECRET, Lab, tells_identity


@pytest.mark.parametrize("headers", [{}, {"X-Local-Admin": "wrong"}, {"X-Local-Admin": "é".encode().decode("latin-1")}])
def test_without_the_token_nothing_is_told(source: Lab, headers: dict[str, str]) -> None:
    for path in ("status", "faults", "nothing"):
        answer = requests.get(f"{source.url}/_local/{path}", headers=headers, timeout=5)
        assert answer.status_code == 403
        assert set(answer.json()) == {"error"}


def test_status(source: Lab) -> None:
    source.environment("target", version="2.10.3", configuration={"core.broken": "yes"})
    first, second = source.admin("GET", "status")["environments"]
    assert (first["name"], first["status"], first["airflow_version"]) == ("source", "AVAILABLE", "3.3.1")
    assert first["url"].startswith("https://127.0.0.")
    assert (second["status"], second["error"]) == ("CREATE_FAILED", "Airflow did not start: exit status 1")


def test_faults_are_added_counted_and_removed(source: Lab) -> None:
    added = source.fault("cli", "html", times=3)
    source.cli("version")
    (listed,) = source.admin("GET", "faults")["faults"]
    assert listed == {**added, "fired": 1, "seen": 1}
    source.fault("login", "html")
    assert [fault["target"] for fault in source.admin("DELETE", "faults", id=str(added["id"]))["faults"]] == ["login"]
    assert source.admin("DELETE", "faults") == {"faults": []}


def test_limits(source: Lab) -> None:
    assert source.admin("GET", "limits") == {
        "cli_concurrency": 4,
        "cli_timeout_s": 300.0,
        "rest_calls_per_second": 10.0,
        "rest_path_max_chars": 64,
        "rest_response_max_bytes": 6291456,
        "rest_timeout_s": 10.0,
        "session_lifetime_s": 43200.0,
        "token_lifetime_s": 60.0,
        "update_min_s": 0.01,
    }
    assert source.admin("PATCH", "limits", {"token_lifetime_s": 1})["token_lifetime_s"] == 1.0


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("PATCH", "limits", {"colour": 1}, 400, "no such limit: 'colour'"),
        ("PATCH", "limits", {"token_lifetime_s": 5, "cli_concurrency": -1}, 400, "cli_concurrency must be"),
        ("PATCH", "limits", {"cli_concurrency": 1.5}, 400, "a whole number"),
        ("PATCH", "limits", {"cli_concurrency": True}, 400, "a positive number"),
        ("POST", "faults", {"target": "cli"}, 400, "kind must be one of"),
        ("DELETE", "faults?id=99", None, 404, "no fault has the id"),
        ("POST", "expire", {}, 400, "name what to expire"),
        ("POST", "identities", {"denied_actions": "x"}, 400, "lists of strings"),
        ("POST", "identities", {"colour": "x"}, 400, "an identity has"),
        ("PATCH", "identities", {}, 400, "a change of an identity has access_key_id"),
        ("PATCH", "identities", {"access_key_id": "x", "allowed_actions": 1}, 400, "lists of strings"),
        ("PATCH", "identities", {"access_key_id": "AKIANOBODY"}, 404, "no identity has the access key id 'AKIANOBODY'"),
        ("POST", "faults", [], 400, "isn't a JSON object"),
        ("GET", "calls?limit=x", None, 400, "whole number"),
        ("GET", "nothing", None, 404, "GET status"),
        ("PUT", "status", None, 404, "no PUT"),
    ],
)
def test_errors_are_one_line(source: Lab, method: str, path: str, body: Any, status: int, words: str) -> None:
    answer = requests.request(
        method, f"{source.url}/_local/{path}", json=body, headers={"X-Local-Admin": ADMIN_TOKEN}, timeout=5
    )
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert source.mwaa.limits.token_lifetime_s == 60


def test_a_body_that_is_no_json(source: Lab) -> None:
    headers = {"X-Local-Admin": ADMIN_TOKEN}
    answer = requests.post(f"{source.url}/_local/faults", data=b"{", headers=headers, timeout=5)
    assert (answer.status_code, answer.json()) == (400, {"error": "the body isn't JSON"})


def test_calls_are_counted_by_environment_and_target(source: Lab) -> None:
    source.cli("dags trigger secret-dag -c 'secret conf'")
    session = source.login()
    url = source.mwaa.environments.get("source").public_url
    session.get(f"{url}/api/v2/dags?secret=query", timeout=5)
    session.get(f"{url}/home", timeout=5)
    source.fault("cli", "reset_before", times=1)
    with pytest.raises(requests.ConnectionError):
        source.cli("version")
    source.client("s3").list_buckets()
    answer = source.admin("GET", "calls")
    assert answer["counts"] == {
        "": {"aws:s3": 1},
        "source": {"cli": 2, "create_cli_token": 2, "create_web_login_token": 1, "login": 1, "rest": 1, "ui": 1},
    }
    calls = answer["calls"]
    trigger = next(call for call in calls if call["command"] == "dags trigger")
    assert (trigger["method"], trigger["path"], trigger["status"]) == ("POST", "/aws_mwaa/cli", 200)
    assert trigger["milliseconds"] >= 0
    cut = next(call for call in calls if call["fault"])
    assert (cut["status"], cut["fault"], cut["command"]) == (None, "reset_before", "version")
    text = json.dumps(answer)
    assert "secret" not in text
    assert SECRET not in text
    assert [call["target"] for call in source.admin("GET", "calls", environment="source", limit="1")["calls"]] == [
        "cli"
    ]
    assert source.admin("DELETE", "calls") == {"counts": {}, "calls": []}
    assert source.admin("GET", "calls")["calls"] == []


def test_refused_calls_are_noted(source: Lab) -> None:
    source.admin("DELETE", "calls")
    requests.get(f"{source.url}/environments", timeout=5)
    (call,) = source.admin("GET", "calls")["calls"]
    assert (call["target"], call["status"], call["environment"]) == ("control_plane", 403, None)


def test_identities(source: Lab) -> None:
    made = source.admin("POST", "identities", {"arn": "arn:aws:iam::123456789012:user/ana"})
    assert made["access_key_id"] != KEY
    client = source.client(key=made["access_key_id"], secret=made["secret_access_key"])
    answer = client.create_web_login_token(Name="source")
    assert answer["WebToken"]
    if tells_identity(client):
        assert answer["IamIdentity"] == "user/ana"


def test_permissions_change_while_they_are_used(source: Lab) -> None:
    made = source.admin("POST", "identities", {})
    client = source.client(key=made["access_key_id"], secret=made["secret_access_key"])
    assert client.create_cli_token(Name="source")
    change = {"access_key_id": made["access_key_id"], "denied_actions": ["airflow:CreateCliToken"]}
    assert source.admin("PATCH", "identities", change)["arn"] == made["arn"]
    with pytest.raises(ClientError, match="airflow:CreateCliToken"):
        client.create_cli_token(Name="source")
    assert client.create_web_login_token(Name="source")
    source.admin("PATCH", "identities", {"access_key_id": made["access_key_id"]})
    assert client.create_cli_token(Name="source")


def test_nothing_secret_is_logged(source: Lab, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", logger="airflow_mwaa_provider"):
        token = source.client().create_cli_token(Name="source")["CliToken"]
        source.cli("variables set secret-name secret-value", token=token)
        source.cli("variables set secret-name 'secret-value")
        made = source.admin("POST", "identities", {})
        source.login()
    for secret in (token, "secret-value", made["secret_access_key"], SECRET, ADMIN_TOKEN, "session-source"):
        assert secret not in caplog.text
