# SPDX-License-Identifier: Apache-2.0
"""AWS errors that the local MWAA does not return, classified from boto3's own exceptions."""

from __future__ import annotations

import functools
import traceback
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore import exceptions as botocore_errors
from botocore.config import Config
from botocore.exceptions import ClientError

from airflow_mwaa_provider.client.access import ClientSettings
from airflow_mwaa_provider.client.aws.control_plane import ControlPlane
from airflow_mwaa_provider.client.environment import MwaaEnvironment
from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    CallTimeout,
    MwaaError,
    MwaaInputError,
    Throttled,
    UnexpectedAnswer,
)
from tests.client.world import REGION, FakeTime

if TYPE_CHECKING:
    from pathlib import Path

    from tests.client.world import World

HUSH = "hush-hush-value"


@functools.cache
def _plane(**more: Any) -> ControlPlane:
    # Reused, because creating a boto3 client takes longer than these tests.
    session = boto3.Session(aws_access_key_id="x", aws_secret_access_key=HUSH, region_name=REGION)
    return ControlPlane(session, **more)


def plane_that_fails(monkeypatch: pytest.MonkeyPatch, error: Exception, **more: Any) -> ControlPlane:
    """A control plane whose HTTP fails before anything is sent."""
    plane = _plane(**more)

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(plane._client, "_make_api_call", fail)
    return plane


def client_error(code: str, status: int, text: str = "words", operation: str = "GetEnvironment") -> ClientError:
    metadata: Any = {"HTTPStatusCode": status, "HTTPHeaders": {"retry-after": "3"}}
    return ClientError({"Error": {"Code": code, "Message": text}, "ResponseMetadata": metadata}, operation)


@pytest.mark.parametrize(
    ("error", "expected", "transient"),
    [
        (client_error("ThrottlingException", 400), Throttled, True),
        (client_error("TooManyRequestsException", 429), Throttled, True),
        (client_error("InternalServerException", 500), UnexpectedAnswer, True),
        (client_error("", 301), UnexpectedAnswer, False),
        (client_error("SomethingNew", 400), UnexpectedAnswer, False),
        (client_error("ExpiredTokenException", 403), AccessDenied, False),
        (botocore_errors.NoCredentialsError(), AccessDenied, False),
        (botocore_errors.CredentialRetrievalError(provider="p", error_msg="e"), AccessDenied, False),
        (botocore_errors.ConnectTimeoutError(endpoint_url="https://x", error=None), UnexpectedAnswer, True),
        (botocore_errors.EndpointConnectionError(endpoint_url="https://x", error="e"), UnexpectedAnswer, True),
        (botocore_errors.ReadTimeoutError(endpoint_url="https://x", error="e"), CallTimeout, True),
        (botocore_errors.ConnectionClosedError(endpoint_url="https://x", error="e"), UnexpectedAnswer, True),
        (botocore_errors.SSLError(endpoint_url="https://x", error="EOF occurred"), UnexpectedAnswer, True),
        (
            botocore_errors.ProxyConnectionError(proxy_url=f"http://u:{HUSH}@h:1", error="e"),
            UnexpectedAnswer,
            True,
        ),
        (botocore_errors.ParamValidationError(report=f"Body: {HUSH}"), MwaaInputError, False),
    ],
)
def test_every_error_of_boto3_is_one_of_ours(
    monkeypatch: pytest.MonkeyPatch, error: Exception, expected: type[MwaaError], transient: bool
) -> None:
    with pytest.raises(MwaaError) as caught:
        plane_that_fails(monkeypatch, error).get_environment("env")
    assert type(caught.value) is expected
    assert caught.value.transient is transient
    assert not caught.value.ambiguous, "reading leaves no doubt"
    assert "'env', GetEnvironment in us-east-1" in str(caught.value)
    assert HUSH not in "".join(traceback.format_exception(caught.value))
    if isinstance(error, ClientError):
        assert caught.value.retry_after_s == 3


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            client_error("InvalidSignatureException", 403, "Credential should be scoped to a valid region."),
            "the endpoint belongs to another region .* Check the region, and that of the endpoint",
        ),
        (client_error("UnrecognizedClientException", 403), "Check the AWS connection or profile, and the region"),
        (
            client_error("InvalidSignatureException", 403, "Signature expired"),
            "Check the AWS connection or profile, and the clock",
        ),
        (
            botocore_errors.EndpointConnectionError(endpoint_url="https://x", error="e"),
            "Check the region, the network",
        ),
    ],
)
def test_a_wrong_region_is_told_as_one(monkeypatch: pytest.MonkeyPatch, error: Exception, words: str) -> None:
    with pytest.raises(MwaaError, match=words):
        plane_that_fails(monkeypatch, error).get_environment("env")


def test_a_role_that_cannot_be_assumed_is_no_lack_of_mwaas_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    plane = plane_that_fails(monkeypatch, client_error("AccessDenied", 403, operation="AssumeRole"))
    environment = MwaaEnvironment(plane, "env", ClientSettings(airflow_major=3, retry=FakeTime().policy()))
    with pytest.raises(AccessDenied, match=r"AssumeRole.*Allow it in IAM") as caught:
        environment.trigger_dag_run("etl", "run_1")
    assert caught.value.action == "sts:AssumeRole"
    assert environment.transport in ("rest_api", "web_session"), "the next transport would fail alike"


def test_the_time_out_of_the_callers_config_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    error = botocore_errors.ReadTimeoutError(endpoint_url="https://x", error="e")
    with pytest.raises(CallTimeout, match="within 7 s"):
        plane_that_fails(monkeypatch, error, config=Config(read_timeout=7)).get_environment("env")


def test_a_client_that_cannot_be_made() -> None:
    for more in ({"region_name": "no region!"}, {"endpoint_url": "no url"}, {"config": {"no_such_option": 1}}):
        plane = ControlPlane(boto3.Session(aws_access_key_id="x", aws_secret_access_key=HUSH), **more)
        with pytest.raises(MwaaInputError, match="Check the region"):
            plane.get_environment("env")


def test_a_profile_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(MwaaInputError, match="no-such-profile"):
        ControlPlane(region_name=REGION).get_environment("env")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_bundle_that_cannot_be_used(world: World, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    url = f"https://{world.environment().web_server_host}"
    session = boto3.Session(aws_access_key_id="x", aws_secret_access_key="y", region_name=REGION)
    with pytest.raises(MwaaError, match="verify") as caught:
        ControlPlane(session, endpoint_url=url, verify=str(path)).create_cli_token("env")
    assert not caught.value.ambiguous


@pytest.mark.parametrize(
    ("url", "prefixed"),
    [
        (None, True),
        ("https://airflow-fips.us-east-1.amazonaws.com", True),
        ("https://vpce-1.airflow.us-east-1.vpce.amazonaws.com", False),
        ("http://127.0.0.1:1", False),
    ],
)
def test_host_prefixes_stand_before_awss_own_names_alone(url: str | None, prefixed: bool) -> None:
    session = boto3.Session(aws_access_key_id="x", aws_secret_access_key="y", region_name=REGION)
    hosts: list[str] = []
    client = ControlPlane(session, endpoint_url=url)._client

    def before_send(request: Any, **_: object) -> None:
        hosts.append(request.url.split("/")[2])
        raise ConnectionError

    client.meta.events.register("before-send", before_send)
    with pytest.raises(ConnectionError):
        client.get_environment(Name="env")
    assert hosts[0].startswith("api.") is prefixed
