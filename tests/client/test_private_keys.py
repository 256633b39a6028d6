# SPDX-License-Identifier: Apache-2.0
"""Private keys that AWS does not hand out: each error names the place and the way out."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import IncompleteReadError
from botocore.response import StreamingBody
from botocore.stub import Stubber

from airflow_mwaa_provider.client.aws import private_keys
from airflow_mwaa_provider.client.aws.private_keys import PrivateKeySource
from airflow_mwaa_provider.client.http.retrying import RetryPolicy
from airflow_mwaa_provider.exceptions import AccessDenied, AwsError, MwaaError, Throttled

ROLE = "User: arn:aws:sts::112233445566:assumed-role/mwaa/KMS is not authorized to perform"
SECRET, OBJECT = "secretsmanager://prod/ssh", "s3://my-bucket/keys/a.pem"
OPERATIONS = {"secretsmanager": "get_secret_value", "s3": "get_object"}


def answering(code: str, message: str, status: int = 400) -> Callable[[str], Any]:
    def make(service: str) -> Any:
        client = boto3.client(
            service,
            region_name="us-west-2",
            aws_access_key_id="a",
            aws_secret_access_key="b",
            config=Config(retries={"total_max_attempts": 1}),
        )
        stub = Stubber(client)
        for _ in range(10):
            stub.add_client_error(OPERATIONS[service], code, message, status)
        stub.activate()
        return client

    return make


@pytest.mark.parametrize(
    ("reference", "code", "message", "error", "words"),
    [
        (SECRET, "AccessDeniedException", f"{ROLE}: secretsmanager:GetSecretValue on resource", AccessDenied,
         "Secret 'prod/ssh': GetSecretValue: access denied. Allow secretsmanager:GetSecretValue."),
        (SECRET, "AccessDeniedException", "Access to KMS is not allowed", AccessDenied,
         "Secret 'prod/ssh': GetSecretValue: the KMS key may not be used"),
        (SECRET, "DecryptionFailure", "cannot be decrypted", AccessDenied, "Allow kms:GenerateDataKey and kms:Decrypt"),
        (OBJECT, "AccessDenied", f"{ROLE}: s3:GetObject on resource", AccessDenied,
         "Object 'keys/a.pem' in bucket 'my-bucket': GetObject: access denied. Allow s3:GetObject."),
        (OBJECT, "AccessDenied", "Access Denied", AccessDenied, "Without s3:ListBucket, S3 answers so for"),
        (OBJECT, "AccessDenied", f"{ROLE}: kms:Decrypt on the resource", AccessDenied, "the KMS key may not be used"),
        (OBJECT, "SlowDown", "Reduce your request rate", MwaaError, "GetObject: S3 answered HTTP 503"),
        (SECRET, "ThrottlingException", "Rate exceeded", Throttled, "GetSecretValue: throttled"),
        (SECRET, "ExpiredTokenException", "expired", AccessDenied, "the AWS credentials were rejected"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_place_and_the_way_out(
    reference: str, code: str, message: str, error: type[MwaaError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_keys, "_POLICY", RetryPolicy(deadline_s=0.1))
    with pytest.raises(error) as caught:
        PrivateKeySource.parse(reference).read(answering(code, message, 503 if code == "SlowDown" else 400))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_object_that_is_cut_off_is_not_half_a_key() -> None:
    class CutOff(io.BytesIO):
        def read(self, amount: int | None = -1, /) -> bytes:
            raise IncompleteReadError(actual_bytes=1, expected_bytes=2)

    client = boto3.client("s3", region_name="us-west-2", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as stub:
        stub.add_response("get_object", {"Body": StreamingBody(CutOff(), 2)})
        with pytest.raises(AwsError, match=r"Object 'keys/a.pem' in bucket 'my-bucket': GetObject: S3 did not answer"):
            PrivateKeySource.parse(OBJECT).read(lambda _: client)


@pytest.mark.parametrize(("reference", "region"), [
    ("secretsmanager://arn:aws:secretsmanager:eu-west-1:112233445566:secret:ssh-AbCdEf#pem", "eu-west-1"),
    (SECRET, None), (OBJECT, None),
])  # fmt: skip
def test_an_arn_names_the_region(reference: str, region: str | None) -> None:
    assert PrivateKeySource.parse(reference).region_name == region
