# SPDX-License-Identifier: Apache-2.0
"""The user guide's own ways (boto3, curl, requests, the AWS CLI), with nothing but the exports of ``local env``."""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
import subprocess
import sys
import uuid

import boto3
import pytest
import requests

from tests.integration.world import World


@pytest.fixture(autouse=True)
def _exported(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in world.variables.items():
        monkeypatch.setenv(name, value)


def major(env_name: str) -> int:
    return int(env_name.split("-")[1])


def test_cli_token_recipe(world: World, env_name: str) -> None:
    world.environment(env_name)
    run_id = f"guide-{uuid.uuid4().hex}"
    python = shlex.quote(sys.executable)
    script = f"""
        set -euo pipefail
        CLI_JSON=$({python} -c '
import boto3, json, os
from botocore.config import Config
client = boto3.client("mwaa", config=Config(inject_host_prefix=False))
answer = client.create_cli_token(Name="{env_name}")
answer.pop("ResponseMetadata")
print(json.dumps(answer))')
        CLI_TOKEN=$(echo $CLI_JSON | {python} -c 'import json,sys; print(json.load(sys.stdin)["CliToken"])')
        HOST=$(echo $CLI_JSON | {python} -c 'import json,sys; print(json.load(sys.stdin)["WebServerHostname"])')
        curl --silent --fail --request POST "https://$HOST/aws_mwaa/cli" \
            --header "Authorization: Bearer $CLI_TOKEN" \
            --header "Content-Type: text/plain" \
            --data-raw "dags trigger paused --run-id {run_id}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert "paused" in base64.b64decode(answer["stdout"]).decode()
    assert world.environment(env_name).get_dag_run("paused", run_id).run_id == run_id


def test_rest_api_recipe(world: World, env_name: str) -> None:
    """Web login token, session cookie, one call to the REST API: the guide's get_session_info and trigger_dag."""
    world.environment(env_name)
    from botocore.config import Config

    client = boto3.client("mwaa", config=Config(inject_host_prefix=False))
    answer = client.create_web_login_token(Name=env_name)
    host = answer["WebServerHostname"]
    if major(env_name) == 2:
        login = requests.post(f"https://{host}/aws_mwaa/login", data={"token": answer["WebToken"]}, timeout=10)
        assert login.status_code == 200
        cookies, headers, version, body = {"session": login.cookies["session"]}, {}, "v1", {"conf": {}}
    else:
        login = requests.post(
            f"https://{host}/pluginsv2/aws_mwaa/login", data={"token": answer["WebToken"]}, timeout=10
        )
        assert login.status_code == 200
        cookies, version = {}, "v2"
        headers = {"Authorization": f"Bearer {login.cookies['_token']}"}
        body = {"conf": {}, "logical_date": None}
    url = f"https://{host}/api/{version}/dags/paused/dagRuns"
    response = requests.post(url, cookies=cookies, headers=headers, json=body, timeout=20)
    assert response.status_code == 200, response.text


def test_the_aws_cli(world: World, env_name: str) -> None:
    aws = shutil.which("aws")
    if aws is None:
        pytest.skip("the AWS CLI is not installed")
    world.environment(env_name)

    def run(*arguments: str) -> dict[str, object]:
        done = subprocess.run([aws, "mwaa", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    described = run("get-environment", "--name", env_name)["Environment"]
    assert isinstance(described, dict)
    assert described["Status"] == "AVAILABLE"
    assert run("create-cli-token", "--name", env_name)["CliToken"]
    assert run("create-web-login-token", "--name", env_name)["WebToken"]
    answer = run("invoke-rest-api", "--name", env_name, "--path", "/dags/paused", "--method", "GET")
    assert answer["RestApiStatusCode"] == 200
    listed = run("list-environments")["Environments"]
    assert isinstance(listed, list)
    assert env_name in listed


def test_the_amazon_providers_hook(world: World, env_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = pytest.importorskip(
        "airflow.providers.amazon.aws.hooks.mwaa", reason="the amazon provider of that image has no MWAA hook"
    )
    world.environment(env_name)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://")
    hook = hooks.MwaaHook()
    if not hasattr(hook.conn, "invoke_rest_api"):
        pytest.skip("the installed boto3 has no InvokeRestApi")
    answer = hook.invoke_rest_api(env_name=env_name, path="/dags/paused", method="GET")
    assert answer["RestApiResponse"]["dag_id"] == "paused"
    fallback = hook.invoke_rest_api(
        env_name=env_name,
        path="/dags/paused",
        method="GET",
        generate_local_token=True,
        airflow_version=major(env_name),
    )
    assert fallback["RestApiResponse"]["dag_id"] == "paused"
    # Without the permission their hook falls back by itself, told by AWS's words.
    made = world.admin("POST", "identities", {"denied_actions": ["airflow:InvokeRestApi"]})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", made["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", made["secret_access_key"])
    second = hooks.MwaaHook().invoke_rest_api(
        env_name=env_name, path="/dags/paused", method="GET", airflow_version=major(env_name)
    )
    assert second["RestApiStatusCode"] == 200
