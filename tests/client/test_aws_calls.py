# SPDX-License-Identifier: Apache-2.0
"""An answer that is not from AWS, such as a proxy's page, is never mistaken for one: over real HTTP."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import boto3
import pytest
import trustme
from botocore.exceptions import ClientError

from airflow_mwaa_provider.client.aws.calls import AwsCalls, aws_error
from airflow_mwaa_provider.client.http.retrying import RetryPolicy
from airflow_mwaa_provider.exceptions import AccessDenied, AwsError, MwaaInputError
from tests.client.page_server import PAGE, PageServer, _page_server, page_server

__all__ = ["_page_server", "page_server"]

PAGES = {
    "well-formed": PAGE,
    "as browsers take it": b"\n<!DOCTYPE html>\n<HTML lang=en><body>Log in<br>",
    "behind comments": b"\xef\xbb\xbf<!-- a --><?xml version='1.0'?>\n<!-- > --><html xmlns='x'></html>",
    "a word": b"moved",
}
CALLS: dict[str, dict[str, Any]] = {
    "ListDashboards": {},
    "DescribeAlarms": {},
    "PutDashboard": {"DashboardName": "d", "DashboardBody": "{}"},
    "DeleteAlarms": {"AlarmNames": ["a"]},
    "PutMetricData": {"Namespace": "n", "MetricData": [{"MetricName": "m", "Value": 1.0}]},
}


@pytest.fixture
def calls(page_server: PageServer) -> AwsCalls:
    return AwsCalls(page_server.client("cloudwatch"), "CloudWatch", "cloudwatch", policy=RetryPolicy(deadline_s=0.0))


@pytest.mark.parametrize("page", [name for name in PAGES if name != "a word"])
@pytest.mark.parametrize("operation", CALLS)
def test_a_page_is_no_answer(page_server: PageServer, calls: AwsCalls, page: str, operation: str) -> None:
    page_server.page = PAGES[page]
    for is_mutating in (False, True):
        with pytest.raises(AwsError, match=f"here: {operation}: what answered is not CloudWatch") as caught:
            calls.call(operation, "here", is_mutating=is_mutating, **CALLS[operation])
        assert (caught.value.ambiguous, "may have taken effect" in str(caught.value)) == (is_mutating, is_mutating)


@pytest.mark.parametrize("page", [*PAGES.values(), b'{"error": "log in"}', b"<R><ResponseMetadata/></R>", b""])
def test_an_answer_without_what_it_always_has_is_none(page_server: PageServer, calls: AwsCalls, page: bytes) -> None:
    page_server.page = page
    with pytest.raises(AwsError, match="what answered is not CloudWatch"):
        calls.call("GetDashboard", "here", member="DashboardBody", DashboardName="d")


@pytest.mark.parametrize(
    "answer",
    [b"", b"{}", b"null", b'{"login": "please"}', b"\xff\x00", b'{"__type": "Throttling", "message": "x"}',
     b"<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>"],
)  # fmt: skip
def test_what_acts_was_not_done_where_no_request_has_an_id(
    page_server: PageServer, calls: AwsCalls, answer: bytes
) -> None:
    page_server.page = answer
    with pytest.raises(AwsError, match="may have taken effect") as caught:
        calls.call("PutMetricData", "here", is_mutating=True, **CALLS["PutMetricData"])
    assert caught.value.ambiguous


def test_a_request_that_took_too_long_to_arrive_can_be_sent_again(page_server: PageServer, calls: AwsCalls) -> None:
    page_server.refusal = "RequestTimeout"
    with pytest.raises(AwsError, match="Try again later") as caught:
        calls.call("ListDashboards", "here")
    assert caught.value.transient


def _calls_of(url: str, **client: Any) -> AwsCalls:
    made = boto3.client(
        "cloudwatch", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x",
        **client,
    )  # fmt: skip
    return AwsCalls(made, "CloudWatch", "cloudwatch", policy=RetryPolicy(deadline_s=0.0))


def _refused(calls: AwsCalls) -> AwsError:
    with pytest.raises(AwsError, match="Check the network") as caught:
        calls.call("PutMetricData", "here", is_mutating=True, **CALLS["PutMetricData"])
    return caught.value


def test_a_connection_that_was_never_trusted_has_done_nothing(page_server: PageServer, tmp_path: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(server)
    with PageServer() as secured:
        secured.secure(server)
        for calls in (
            _calls_of(secured.url.replace("http:", "https:").replace("127.0.0.1", "localhost")),  # unknown CA
            _calls_of(page_server.url.replace("http:", "https:")),  # no TLS there
        ):
            error = _refused(calls)
            assert (error.ambiguous, "may have taken effect" in str(error)) == (False, False)
        for bundle in (tmp_path / "none.pem", tmp_path):
            calls = _calls_of(secured.url.replace("http:", "https:"), verify=str(bundle))
            with pytest.raises(MwaaInputError, match=r"the CA bundle cannot be read .* Check verify"):
                calls.call("PutMetricData", "here", is_mutating=True, **CALLS["PutMetricData"])


@pytest.mark.parametrize(
    ("code", "words", "action"),
    [
        (
            "AccessDeniedException",
            "role x is not authorized to perform: kms:Decrypt",
            "kms:GenerateDataKey, kms:Decrypt",
        ),
        ("AccessDeniedException", "Access to KMS is not allowed", "kms:GenerateDataKey, kms:Decrypt"),
        (
            "AccessDenied",
            "User: arn:aws:sts::1:assumed-role/mwaa-KMS/x is not authorized to perform: s3:PutObject on resource: y",
            "s3:PutObject",
        ),
        (
            "AccessDenied",
            "role KMS is not authorized to perform: kms:GenerateDataKey on resource: z",
            "kms:GenerateDataKey, kms:Decrypt",
        ),
        ("AccessDenied", "The KMS key is disabled", "kms:GenerateDataKey, kms:Decrypt"),
        ("AccessDenied", "no access to log group airflow-KMS-Task", "s3:PutObject"),
        ("EncryptionFailure", "no such key", "kms:GenerateDataKey, kms:Decrypt"),
        ("AccessDenied", "role x is not authorized to write arn:aws:s3:::my-kms-bucket/kms:x", "s3:PutObject"),
    ],
)
def test_a_key_that_may_not_be_used_names_kms(code: str, words: str, action: str) -> None:
    error = ClientError({"Error": {"Code": code, "Message": words}}, "PutObject")  # type: ignore[typeddict-item]
    found = aws_error("here: PutObject", "S3", error, action="s3:PutObject", is_mutating=True)
    assert isinstance(found, AccessDenied)
    assert found.action == action


def test_a_reason_that_repeats_a_hidden_value_is_left_out() -> None:
    details = {"Code": "ValidationException", "Message": "Value 'hunter2' at 'secretString' is too long"}
    error = ClientError({"Error": details}, "PutSecretValue")  # type: ignore[typeddict-item]
    found = aws_error("here", "Secrets Manager", error, action="x", is_mutating=False, hidden="hunter2")
    assert isinstance(found, MwaaInputError)
    assert "hunter2" not in str(found)
    assert "its reason repeats the value" in str(found)
