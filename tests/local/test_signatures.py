# SPDX-License-Identifier: Apache-2.0
"""Access: signatures, credentials, permissions."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
import requests
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from airflow_mwaa_provider.local.aws.aws_errors import AwsError
from airflow_mwaa_provider.local.aws.identity import IdentityStore
from airflow_mwaa_provider.local.aws.sigv4 import read_scope, verify
from tests.local.lab import KEY, REGION, SECRET, Lab


def code_and_status(error: ClientError) -> tuple[str, int]:
    return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]


def test_a_wrong_secret_is_refused(source: Lab) -> None:
    with pytest.raises(ClientError) as caught:
        source.client(secret="wrong").list_environments()
    assert code_and_status(caught.value) == ("InvalidSignatureException", 403)
    assert "does not match the signature you provided" in str(caught.value)


def test_an_unknown_key_is_refused(source: Lab) -> None:
    with pytest.raises(ClientError) as caught:
        source.client(key="AKIAUNKNOWN").list_environments()
    assert code_and_status(caught.value) == ("UnrecognizedClientException", 403)
    assert "The security token included in the request is invalid." in str(caught.value)


def test_another_region_is_refused(source: Lab) -> None:
    with pytest.raises(ClientError) as caught:
        source.client(region="eu-west-1").list_environments()
    assert code_and_status(caught.value) == ("InvalidSignatureException", 403)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/environments"), ("POST", "/clitoken/source"), ("GET", "/environments/source")],
)
def test_an_unsigned_request_is_refused(source: Lab, method: str, path: str) -> None:
    answer = requests.request(method, source.url + path, timeout=5)
    assert answer.status_code == 403
    assert answer.headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"


def test_an_unknown_path_is_named(source: Lab) -> None:
    request = AWSRequest("GET", f"{source.url}/nothing/here")
    SigV4Auth(Credentials(KEY, SECRET), "airflow", REGION).add_auth(request)
    answer = requests.get(request.url, headers=dict(request.headers), timeout=5)
    assert (answer.status_code, answer.headers["x-amzn-ErrorType"]) == (404, "UnknownOperationException")
    assert "/nothing/here" in answer.json()["message"]


def test_a_presigned_url_is_good(source: Lab) -> None:
    request = AWSRequest("GET", f"{source.url}/environments?MaxResults=5")
    SigV4QueryAuth(Credentials(KEY, SECRET), "airflow", REGION, expires=60).add_auth(request)
    assert requests.get(request.url, timeout=5).json() == {"Environments": ["source"]}
    answer = requests.get(request.url.replace("MaxResults=5", "MaxResults=6"), timeout=5)
    assert answer.headers["x-amzn-ErrorType"] == "InvalidSignatureException"


def test_a_changed_body_is_refused(source: Lab) -> None:
    request = AWSRequest("PATCH", f"{source.url}/environments/source", data=b'{"MaxWorkers": 2}')
    SigV4Auth(Credentials(KEY, SECRET), "airflow", REGION).add_auth(request)
    answer = requests.patch(request.url, data=b'{"MaxWorkers": 9}', headers=dict(request.headers), timeout=5)
    assert (answer.status_code, answer.headers["x-amzn-ErrorType"]) == (403, "InvalidSignatureException")


class TestVerify:
    """The function itself, for tests that set the time."""

    identities = IdentityStore("123456789012")
    identities.add(KEY, SECRET)

    def check(self, request: AWSRequest, now: datetime.datetime, **changes: Any) -> None:
        headers = {**dict(request.headers), "Host": "localhost"}
        headers.update(changes.pop("headers", {}))
        path, _, query = request.url.removeprefix("http://localhost").partition("?")
        arguments: dict[str, Any] = {
            "method": request.method,
            "raw_path": path,
            "query": query,
            "headers": headers.items(),
            "body": request.data or b"",
            "region": REGION,
            "now": now,
            **changes,
        }
        verify(read_scope(headers, query), self.identities, **arguments)

    def signed(self, path: str = "/environments", **kwargs: Any) -> AWSRequest:
        request = AWSRequest("GET", f"http://localhost{path}", **kwargs)
        SigV4Auth(Credentials(KEY, SECRET), "airflow", REGION).add_auth(request)
        return request

    @pytest.mark.parametrize("minutes", [0, 14, -14])
    def test_within_the_skew(self, minutes: int) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self.check(self.signed(), now + datetime.timedelta(minutes=minutes))

    @pytest.mark.parametrize(("minutes", "words"), [(16, "expired"), (-16, "not yet current")])
    def test_beyond_the_skew(self, minutes: int, words: str) -> None:
        now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=minutes)
        with pytest.raises(AwsError, match=words) as caught:
            self.check(self.signed(), now)
        assert (caught.value.code, caught.value.status) == ("InvalidSignatureException", 403)

    def test_a_presigned_url_ends(self) -> None:
        request = AWSRequest("GET", "http://localhost/environments")
        SigV4QueryAuth(Credentials(KEY, SECRET), "airflow", REGION, expires=60).add_auth(request)
        now = datetime.datetime.now(datetime.UTC)
        self.check(request, now)
        with pytest.raises(AwsError, match="expired"):
            self.check(request, now + datetime.timedelta(seconds=70))

    @pytest.mark.parametrize(
        "path", ["/tags/arn%3Aaws%3Aairflow%3Aus-east-1%3A1%3Aenvironment%2Fx", "/a%20b/c?b=2&a=1&a=0&c"]
    )
    def test_paths_and_queries_are_signed_as_sent(self, path: str) -> None:
        self.check(self.signed(path), datetime.datetime.now(datetime.UTC))

    def test_a_stated_hash_must_be_the_bodys(self) -> None:
        for stated in ("UNSIGNED-PAYLOAD", "0" * 64):
            request = self.signed(headers={"X-Amz-Content-SHA256": stated})
            with pytest.raises(AwsError, match="does not match"):
                self.check(request, datetime.datetime.now(datetime.UTC))

    def test_the_host_must_be_signed(self) -> None:
        request = self.signed()
        header = request.headers["Authorization"].replace("SignedHeaders=host;", "SignedHeaders=")
        with pytest.raises(AwsError, match="'Host' must be"):
            self.check(request, datetime.datetime.now(datetime.UTC), headers={"Authorization": header})

    def test_a_date_that_is_none(self) -> None:
        request = self.signed()
        with pytest.raises(AwsError, match="Date must be"):
            self.check(request, datetime.datetime.now(datetime.UTC), headers={"X-Amz-Date": "yesterday"})

    @pytest.mark.parametrize(
        "header", ["", "AWS4-HMAC-SHA256 Credential=nonsense, Signature=x", "Bearer x", "AWS4-HMAC-SHA256"]
    )
    def test_what_is_no_signature_is_none(self, header: str) -> None:
        assert read_scope({"Authorization": header}, "") is None


@pytest.mark.parametrize("action", ["airflow:CreateCliToken", "airflow:Create*", "*"])
def test_a_denied_action_names_who_and_what(source: Lab, action: str) -> None:
    made = source.admin("POST", "identities", {"denied_actions": [action]})
    client = source.client(key=made["access_key_id"], secret=made["secret_access_key"])
    with pytest.raises(ClientError) as caught:
        client.create_cli_token(Name="source")
    assert code_and_status(caught.value) == ("AccessDeniedException", 403)
    assert caught.value.response["Error"]["Message"] == (
        f"User: {made['arn']} is not authorized to perform: airflow:CreateCliToken on resource: "
        "arn:aws:airflow:us-east-1:123456789012:environment/source"
    )


def test_only_allowed_actions_are_allowed(source: Lab) -> None:
    made = source.admin("POST", "identities", {"allowed_actions": ["airflow:Get*"], "arn": "arn:aws:iam::1:user/x"})
    client = source.client(key=made["access_key_id"], secret=made["secret_access_key"])
    assert client.get_environment(Name="source")
    with pytest.raises(ClientError, match="User: arn:aws:iam::1:user/x is not authorized") as caught:
        client.create_web_login_token(Name="source")
    assert isinstance(caught.value, client.exceptions.AccessDeniedException)
    assert caught.value.response["Error"]["Message"].endswith(":role/source/Admin")


def test_a_role_without_invoke_rest_api_is_told_in_the_words_that_the_amazon_provider_knows(source: Lab) -> None:
    made = source.admin("POST", "identities", {"denied_actions": ["airflow:InvokeRestApi"]})
    client = source.client(key=made["access_key_id"], secret=made["secret_access_key"])
    if not hasattr(client, "invoke_rest_api"):
        pytest.skip("the installed botocore has no InvokeRestApi")
    with pytest.raises(ClientError) as caught:
        client.invoke_rest_api(Name="source", Path="/dags", Method="GET")
    assert code_and_status(caught.value) == ("AccessDeniedException", 403)
    assert "Airflow role" in caught.value.response["Error"]["Message"]


def test_secrets_are_in_no_repr() -> None:
    store = IdentityStore("123456789012")
    identity = store.add("AKIA", "the-secret")
    assert "the-secret" not in repr(identity) + repr(store)
