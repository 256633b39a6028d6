# SPDX-License-Identifier: Apache-2.0
"""Temporary credentials of moto's STS at the control plane, and the hook with a connection that has a role."""

from __future__ import annotations

import json
import traceback
from typing import Any

import boto3
import pytest
import requests
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from airflow_mwaa_provider.exceptions import AccessDenied, MwaaInputError, UnexpectedAnswer
from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook
from tests.local.lab import KEY, REGION, ROLE, SECRET, Lab

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def refusal(call: Any, **arguments: Any) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error, metadata = caught.value.response["Error"], caught.value.response["ResponseMetadata"]
    return error["Code"], metadata["HTTPStatusCode"], error["Message"]


def mwaa(lab: Lab, credentials: dict[str, Any], **changed: str) -> Any:
    """A client with temporary credentials."""
    given = {**credentials, **changed}
    return boto3.client(
        "mwaa",
        endpoint_url=lab.url,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"] or None,
        config=Config(retries={"total_max_attempts": 1}, region_name=REGION, inject_host_prefix=False),
    )


def assume(lab: Lab, *, key: str = KEY, secret: str = SECRET, **more: Any) -> dict[str, Any]:
    sts = lab.client("sts", key=key, secret=secret, parameter_validation=False)
    credentials: dict[str, Any] = sts.assume_role(RoleArn=ROLE, RoleSessionName="me", **more)["Credentials"]
    return credentials


def test_an_assumed_role_gets_in_and_is_named(source: Lab) -> None:
    credentials = assume(source)
    client = mwaa(source, credentials)
    assert client.list_environments()["Environments"] == ["source"]
    identity = client.create_web_login_token(Name="source")["IamIdentity"]
    assert identity == "assumed-role/mwaa/me"
    assert len(assume(source)["SessionToken"]) > 100
    assert mwaa(source, credentials).get_environment(Name="source"), "a second session leaves the first one alone"


def test_sts_tells_callers_who_they_are(source: Lab) -> None:
    caller = source.client("sts").get_caller_identity()
    assert caller["Arn"] == f"arn:aws:sts::123456789012:assumed-role/LocalMwaa/{KEY}"
    assert caller["Account"] == "123456789012"
    assert caller["UserId"].endswith(f":{KEY}")
    credentials = assume(source)
    session = boto3.Session(
        credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"], REGION
    )
    arn = session.client("sts", endpoint_url=source.url).get_caller_identity()["Arn"]
    assert arn == "arn:aws:sts::123456789012:assumed-role/mwaa/me"


def test_a_session_token_of_the_caller_gets_in_with_the_callers_permissions(source: Lab) -> None:
    made = source.admin("POST", "identities", {"denied_actions": ["airflow:CreateCliToken"], "arn": "arn:aws:iam::1:x"})
    sts = source.client("sts", key=made["access_key_id"], secret=made["secret_access_key"])
    for credentials in (
        sts.get_session_token()["Credentials"],
        sts.get_federation_token(Name="somebody")["Credentials"],
    ):
        client = mwaa(source, credentials)
        assert client.list_environments()
        assert refusal(client.create_cli_token, Name="source")[:2] == ("AccessDeniedException", 403)


def test_a_role_assumed_by_a_role_gets_in(source: Lab) -> None:
    first = assume(source)
    session = boto3.Session(first["AccessKeyId"], first["SecretAccessKey"], first["SessionToken"], REGION)
    sts = session.client("sts", endpoint_url=source.url)
    second = sts.assume_role(RoleArn=ROLE, RoleSessionName="again")["Credentials"]
    assert mwaa(source, second).create_web_login_token(Name="source")["IamIdentity"] == "assumed-role/mwaa/again"


@pytest.mark.parametrize("token", ["", "another token"])
def test_the_session_token_must_be_the_right_one(source: Lab, token: str) -> None:
    client = mwaa(source, assume(source), SessionToken=token)
    assert refusal(client.list_environments) == (
        "UnrecognizedClientException",
        403,
        "The security token included in the request is invalid.",
    )


def test_a_token_beside_a_key_that_has_none_is_refused(source: Lab) -> None:
    credentials = {"AccessKeyId": KEY, "SecretAccessKey": SECRET, "SessionToken": "of-nobody"}
    assert refusal(mwaa(source, credentials).list_environments)[:2] == ("UnrecognizedClientException", 403)


def test_a_wrong_secret_beside_the_right_token_is_refused(source: Lab) -> None:
    client = mwaa(source, assume(source), SecretAccessKey="wrong")
    assert refusal(client.list_environments)[:2] == ("InvalidSignatureException", 403)


def test_an_expired_session_is_refused(source: Lab) -> None:
    client = mwaa(source, assume(source, DurationSeconds=-5))
    assert refusal(client.list_environments) == (
        "ExpiredTokenException",
        403,
        "The security token included in the request is expired",
    )


@pytest.mark.parametrize(("key", "secret"), [("AKIASTRANGER", "any"), (KEY, "wrong")])
def test_what_moto_gives_a_stranger_does_not_count(source: Lab, key: str, secret: str) -> None:
    credentials = assume(source, key=key, secret=secret)
    assert refusal(mwaa(source, credentials).list_environments)[:2] == ("UnrecognizedClientException", 403)


def test_what_nobody_signed_for_does_not_count(source: Lab) -> None:
    sts = source.client("sts")
    arguments = {"RoleArn": ROLE, "RoleSessionName": "me", "WebIdentityToken": "header.payload.signature"}
    credentials = sts.assume_role_with_web_identity(**arguments)["Credentials"]
    assert refusal(mwaa(source, credentials).list_environments)[:2] == ("UnrecognizedClientException", 403)


def test_who_may_not_assume_a_role_is_told_so(source: Lab) -> None:
    made = source.admin("POST", "identities", {"denied_actions": ["sts:AssumeRole"], "arn": "arn:aws:iam::1:user/<x>"})
    sts = source.client("sts", key=made["access_key_id"], secret=made["secret_access_key"])
    assert refusal(sts.assume_role, RoleArn=ROLE, RoleSessionName="me") == (
        "AccessDenied",
        403,
        "User: arn:aws:iam::1:user/<x> is not authorized to perform: sts:AssumeRole",
    )


@pytest.mark.parametrize("how", ["form", "query", "json"])
def test_however_sts_is_asked(source: Lab, how: str) -> None:
    text = f"Action=AssumeRole&Version=2011-06-15&RoleArn={ROLE}&RoleSessionName=me"
    if how in ("form", "json"):
        headers = {**FORM, **({"Accept": "application/json"} if how == "json" else {})}
        request = AWSRequest("POST", f"{source.url}/", data=text, headers=headers)
    else:
        request = AWSRequest("GET", f"{source.url}/?{text}")
    SigV4Auth(Credentials(KEY, SECRET), "sts", REGION).add_auth(request)
    answer = requests.request(request.method, request.url, data=request.data, headers=dict(request.headers), timeout=5)
    assert answer.status_code == 200, answer.text
    if answer.text.startswith("{"):
        credentials = answer.json()["AssumeRoleResponse"]["AssumeRoleResult"]["Credentials"]
    else:
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        credentials = {name: answer.text.split(f"<{name}>")[1].split("<")[0] for name in names}
    assert mwaa(source, credentials).list_environments()["Environments"] == ["source"]


def test_a_presigned_request_with_temporary_credentials(source: Lab) -> None:
    made = assume(source)
    credentials = Credentials(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])
    request = AWSRequest("GET", f"{source.url}/environments")
    SigV4QueryAuth(credentials, "airflow", REGION, expires=60).add_auth(request)
    assert requests.get(request.url, timeout=5).json() == {"Environments": ["source"]}


# -- the hook ------------------------------------------------------------------------------------------


@pytest.fixture
def role_connection(source: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> str:
    """What a DAG for another account has: a connection with a role, and the endpoint in the environment."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_CA_BUNDLE", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", source.url)
    connect(monkeypatch, KEY, SECRET)
    extra = {"aws_conn_id": "role", "ca_bundle": str(source.certificates.ca_pem_path)}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER_ACCOUNT", json.dumps({"conn_type": "mwaa", "extra": extra}))
    return "other_account"


def connect(monkeypatch: pytest.MonkeyPatch, key: str, secret: str, external_id: object = "agreed") -> None:
    extra = {"region_name": REGION, "role_arn": ROLE, "assume_role_kwargs": {"ExternalId": external_id}}
    role = {"conn_type": "aws", "login": key, "password": secret, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_ROLE", json.dumps(role))


@pytest.mark.parametrize("transport", [None, "web_session", "cli"])
def test_the_hook_with_a_role(source: Lab, role_connection: str, transport: str | None) -> None:
    environment = MwaaEnvironmentHook(role_connection).environment("source", transport=transport)
    assert environment.airflow_version == "3.3.1"
    assert environment.run_cli(["version"]).stdout == '["version"]'
    if transport != "cli":
        assert environment.request("GET", "/anything")["path"] == "/anything"
    assert "AssumeRole" not in repr(environment)


def test_the_hook_with_a_role_that_it_may_not_assume(
    source: Lab, role_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = source.admin("POST", "identities", {"denied_actions": ["sts:*"]})
    connect(monkeypatch, made["access_key_id"], made["secret_access_key"])
    with pytest.raises(AccessDenied, match=r"'other_account': .* AssumeRole answered AccessDenied") as caught:
        MwaaEnvironmentHook(role_connection).environment("source")
    assert caught.value.action == "sts:AssumeRole"
    worked, words = MwaaEnvironmentHook(role_connection).test_connection()
    assert not worked
    assert words == str(caught.value)


def test_the_hook_with_a_role_that_nobody_gives(role_connection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, KEY, SECRET, external_id={"hush": "hush-hush"})
    with pytest.raises(MwaaInputError, match=r"'other_account': .* assume_role_kwargs") as caught:
        MwaaEnvironmentHook(role_connection).environment("source")
    assert "hush" not in "".join(traceback.format_exception(caught.value))
    connect(monkeypatch, KEY, SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(UnexpectedAnswer, match=r"'other_account': .* network to AWS STS") as unreached:
        MwaaEnvironmentHook(role_connection).environment("source")
    assert unreached.value.transient


def test_the_hook_with_a_role_of_a_stranger(source: Lab, role_connection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "AKIASTRANGER", "any")
    environment = MwaaEnvironmentHook(role_connection).environment("source")
    with pytest.raises(AccessDenied, match="the AWS credentials were rejected"):
        environment.request("GET", "/dags")
