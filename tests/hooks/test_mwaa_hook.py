# SPDX-License-Identifier: Apache-2.0
"""What the hook makes of a connection: of type aws, of type mwaa, or none at all."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook
from airflow_mwaa_provider.provider_info import CONNECTION_FIELDS


def connection(monkeypatch: pytest.MonkeyPatch, name: str, conn_type: str, **fields: Any) -> str:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps({"conn_type": conn_type, **fields}))
    return name


def client(hook: MwaaEnvironmentHook) -> Any:
    return hook.control_plane._client  # what boto3 was configured with has no public face


def test_an_aws_connection_gives_credentials_region_and_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    name = connection(
        monkeypatch,
        "my_aws",
        "aws",
        login="AKIAEXAMPLE",
        password="secret",
        extra={
            "region_name": "eu-west-1",
            "endpoint_url": "http://127.0.0.1:9",
            "config_kwargs": {"retries": {"max_attempts": 7}},
        },
    )
    hook = MwaaEnvironmentHook(name)
    assert hook.control_plane.region_name == "eu-west-1"
    made = client(hook)
    assert made.meta.endpoint_url == "http://127.0.0.1:9"
    assert made._request_signer._credentials.access_key == "AKIAEXAMPLE"
    # Retries of botocore stay off, whatever the connection says: they repeat calls that act.
    assert made.meta.config.retries["total_max_attempts"] == 1


def test_parameters_win_over_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    name = connection(monkeypatch, "my_aws", "aws", extra={"region_name": "eu-west-1"})
    hook = MwaaEnvironmentHook(name, region_name="us-west-2", botocore_config={"read_timeout": 3})
    assert hook.control_plane.region_name == "us-west-2"
    assert client(hook).meta.config.read_timeout == 3


def test_an_mwaa_connection_adds_how_web_servers_are_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    connection(monkeypatch, "keys", "aws", login="AKIAEXAMPLE", password="secret")
    name = connection(
        monkeypatch,
        "other_account",
        "mwaa",
        extra={
            "aws_conn_id": "keys",
            "region_name": "eu-central-1",
            "transport": "web_session",
            "proxy": "socks5h://user:hidden@127.0.0.1:8080",
            "ca_bundle": "/some/ca.pem",
        },
    )
    hook = MwaaEnvironmentHook(name)
    assert hook.control_plane.region_name == "eu-central-1"
    assert client(hook)._request_signer._credentials.access_key == "AKIAEXAMPLE"
    environment = hook.environment("target")
    assert environment is hook.environment("target")
    assert "hidden" not in repr(environment)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"transprot": "cli"}, "unknown field 'transprot'"),
        ({"transport": "pigeon"}, "transport='pigeon' is none of"),
        ({"proxy": "127.0.0.1:8080"}, "write it as http://HOST:PORT"),
    ],
)
def test_a_wrong_mwaa_connection_is_refused(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, str], message: str
) -> None:
    name = connection(monkeypatch, "wrong", "mwaa", extra={"region_name": "eu-central-1", **extra})
    with pytest.raises(MwaaInputError, match=message):
        MwaaEnvironmentHook(name).environment("target")


def test_no_region_is_named_and_so_is_the_way_out() -> None:
    with pytest.raises(MwaaInputError, match=r"region_name"):
        assert MwaaEnvironmentHook(None).control_plane.region_name


def test_the_forms_test_button_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    name = connection(
        monkeypatch,
        "dead",
        "aws",
        login="a",
        password="secret",
        extra={"region_name": "us-east-1", "endpoint_url": "http://127.0.0.1:9"},
    )
    worked, words = MwaaEnvironmentHook(name).test_connection()
    assert not worked
    assert "could not be reached" in words
    assert "secret" not in words


def test_airflow_shows_the_provider_its_connection_type_and_its_form() -> None:
    """Asked in a process of its own, as the commands ``airflow providers list | get | hooks`` do."""
    program = (
        "import json\n"
        "from airflow.providers_manager import ProvidersManager\n"
        "found = ProvidersManager()\n"
        "hook = found.hooks['mwaa']\n"
        "fields = sorted(key for key in found.connection_form_widgets if 'mwaa__' in key)\n"
        "print('RESULT' + json.dumps([hook.hook_class_name, hook.hook_name, fields,\n"
        "    sorted(found.field_behaviours['mwaa']['hidden_fields']), sorted(found.extra_links_class_names)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    hook, name, fields, hidden, links = json.loads(line.removeprefix("RESULT"))
    assert hook == "airflow_mwaa_provider.hooks.mwaa.MwaaEnvironmentHook"
    assert name == "Amazon MWAA"
    assert [field.split("__")[-1] for field in fields] == sorted(CONNECTION_FIELDS)
    assert hidden == ["host", "login", "password", "port", "schema"]
    assert "airflow_mwaa_provider.links.dag_run.MwaaDagRunLink" in links
