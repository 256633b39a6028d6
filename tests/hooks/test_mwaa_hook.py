# SPDX-License-Identifier: Apache-2.0
"""How the hook uses a connection: of type aws, of type mwaa, or none."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.exceptions import MwaaError, MwaaInputError
from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook
from airflow_mwaa_provider.provider_info import CONNECTION_FIELDS
from tests.client.proxy import PASSWORD, USER, Proxy
from tests.client.world import KEY, REGION, SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.client.world import World


def connection(monkeypatch: pytest.MonkeyPatch, name: str, conn_type: str, **fields: Any) -> str:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps({"conn_type": conn_type, **fields}))
    return name


def client(hook: MwaaEnvironmentHook) -> Any:
    return hook.control_plane._client  # boto3's configuration is not exposed publicly


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
    # botocore's retries stay off regardless of the connection, because they would repeat calls with effects.
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
        ({"proxy": "127.0.0.1:8080"}, "Write it as http://HOST:PORT"),
    ],
)
def test_a_wrong_mwaa_connection_is_refused(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, str], message: str
) -> None:
    name = connection(monkeypatch, "wrong", "mwaa", extra={"region_name": "eu-central-1", **extra})
    with pytest.raises(MwaaInputError, match=message):
        MwaaEnvironmentHook(name).environment("target")


def test_no_region_is_named_and_so_is_the_way_out() -> None:
    with pytest.raises(MwaaInputError, match=r"region"):
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


# Read as the commands ``airflow providers list | get | hooks`` do.
PROVIDER = """
from airflow.providers_manager import ProvidersManager
found = ProvidersManager()
hook = found.hooks["mwaa"]
widgets = found.connection_form_widgets
fields = {key: widget.is_sensitive for key, widget in widgets.items() if "mwaa__" in key}
hidden = sorted(found.field_behaviours["mwaa"]["hidden_fields"])
answer = [hook.hook_class_name, hook.hook_name, fields, hidden, sorted(found.extra_links_class_names)]
"""

# Read from the installed Airflow's own REST API.
MASKED = f"""
from airflow_mwaa_provider._compat import AIRFLOW_V_3
from airflow.models import Connection
extra = json.dumps({dict.fromkeys(CONNECTION_FIELDS, "seen")})
connection = Connection(conn_id="x", conn_type="mwaa", extra=extra)
if AIRFLOW_V_3:
    from airflow.api_fastapi.core_api.datamodels.connections import ConnectionResponse
    fields = dict.fromkeys(["description", "host", "login", "schema", "port", "password", "team_name"])
    fields |= {{"connection_id": "x", "conn_type": "mwaa", "extra": extra}}
    shown = ConnectionResponse.model_validate(fields).extra
else:
    from airflow.api_connexion.schemas.connection_schema import connection_schema
    shown = connection_schema.dump(connection)["extra"]
answer = json.loads(shown)
"""

# Each request runs in a fresh child of an interpreter that has imported Airflow's models.
ASKING = """
import json, os, sys
import airflow.models
for name, program in json.loads(sys.argv[1]).items():
    if os.fork() == 0:
        known = {"json": json}
        exec(program, known)
        print("RESULT" + json.dumps([name, known["answer"]]), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def airflow_says() -> dict[str, Any]:
    """The answers of an Airflow in a separate process."""
    programs = json.dumps({"provider": PROVIDER, "masked": MASKED})
    done = subprocess.run([sys.executable, "-c", ASKING, programs], capture_output=True, text=True, check=False)
    lines = [line.removeprefix("RESULT") for line in done.stdout.splitlines() if line.startswith("RESULT")]
    return {"errors": done.stderr, **dict(json.loads(line) for line in lines)}


def test_airflow_shows_the_provider_its_connection_type_and_its_form(airflow_says: dict[str, Any]) -> None:
    assert "provider" in airflow_says, airflow_says["errors"]
    hook, name, fields, hidden, links = airflow_says["provider"]
    assert hook == "airflow_mwaa_provider.hooks.mwaa.MwaaEnvironmentHook"
    assert name == "Amazon MWAA"
    assert {field.split("__")[-1] for field in fields} == CONNECTION_FIELDS.keys()
    assert [field.split("__")[-1] for field, sensitive in fields.items() if sensitive] == ["proxy_password"]
    assert hidden == ["host", "login", "password", "port", "schema"]
    assert "airflow_mwaa_provider.links.dag_run.MwaaDagRunLink" in links


def test_airflow_masks_the_proxys_password_and_nothing_that_one_must_see(airflow_says: dict[str, Any]) -> None:
    assert "masked" in airflow_says, airflow_says["errors"]
    shown = airflow_says["masked"]
    assert shown["proxy_password"] == "***"
    assert {name for name, value in shown.items() if value != "seen"} <= {"proxy_password", "proxy_login", "proxy"}


@pytest.fixture
def proxy(world: World) -> Iterator[Proxy]:
    proxy = Proxy(world)
    proxy.needs_password = True
    yield proxy
    proxy.stop()


def test_a_proxys_password_of_its_own_reaches_the_proxy_and_nobody_else(
    world: World, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    connection(monkeypatch, "keys", "aws", login=KEY, password=SECRET, extra={"region_name": REGION})
    extra = {
        "aws_conn_id": "keys",
        "endpoint_url": world.url,
        "ca_bundle": world.ca,
        "transport": "web_session",
        "proxy": f"socks5h://127.0.0.1:{proxy.port}",
        "proxy_login": USER,
        "proxy_password": PASSWORD,
    }
    hook = MwaaEnvironmentHook(connection(monkeypatch, "tunnel", "mwaa", extra=extra))
    environment = hook.environment("env3")
    assert environment.is_dag_paused("etl") is False
    assert proxy.targets == [environment.web_server_host]
    assert PASSWORD not in caplog.text + repr(hook) + repr(environment)


@pytest.mark.parametrize(
    ("variables", "given", "words"),
    [
        ({"AWS_DEFAULT_REGION": "no where"}, {}, "InvalidRegionError"),
        ({"AWS_ENDPOINT_URL": "nonsense"}, {}, "Invalid endpoint: nonsense"),
        ({"AWS_RETRY_MODE": "xx"}, {}, "InvalidRetryModeError"),
        ({"AWS_PROFILE": "nope"}, {}, "nope"),
        ({}, {"botocore_config": {"bogus": 1}}, "bogus"),
        ({}, {"region_name": "no where"}, "InvalidRegionError"),
    ],
    ids=str,
)
def test_what_boto3_makes_no_client_of_is_one_line_of_ours(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], given: dict[str, Any], words: str
) -> None:
    for name, value in {"AWS_DEFAULT_REGION": "eu-west-1", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MwaaError) as caught:
        MwaaEnvironmentHook(None, **given).aws_client("cloudwatch")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
