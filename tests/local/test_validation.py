# SPDX-License-Identifier: Apache-2.0
"""Requests are checked against the constraints of botocore's model, in AWS's words."""

from __future__ import annotations

import json
from typing import Any

import botocore
import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from airflow_mwaa_provider.local.aws.aws_errors import AwsError, NotImplementedByLocalMwaa
from airflow_mwaa_provider.local.aws.service_model import MwaaServiceModel
from tests.local.lab import KEY, REGION, ROLE, SECRET, Lab

MODEL = MwaaServiceModel()
GOOD: dict[str, Any] = {
    "ExecutionRoleArn": ROLE,
    "SourceBucketArn": "arn:aws:s3:::bucket",
    "DagS3Path": "dags",
    "NetworkConfiguration": {"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]},
}


def parse(members: dict[str, Any], method: str = "PUT", path: str = "/environments/made", query: str = "") -> Any:
    found = MODEL.match(method, path)
    assert found is not None
    return MODEL.parse_request(*found, query, json.dumps(members).encode())


def faults_of(members: dict[str, Any], **kwargs: Any) -> str:
    with pytest.raises(AwsError) as caught:
        parse(members, **kwargs)
    assert caught.value.code == "ValidationException"
    assert caught.value.status == 400
    return caught.value.message


def test_a_good_request_passes() -> None:
    assert parse({**GOOD, "KmsKey": None}) == {**GOOD, "Name": "made"}


def test_a_member_that_the_installed_botocore_does_not_know_is_refused_by_name() -> None:
    newer = {"Teams": 1, "NetworkConfiguration": {**GOOD["NetworkConfiguration"], "Ipv6": "secret"}}
    assert faults_of({**GOOD, **newer}) == (
        f"NetworkConfiguration.Ipv6, Teams: unknown to botocore {botocore.__version__}, whose model the local MWAA "
        "uses. Remove it, or install a newer boto3 beside airflow-mwaa."
    )
    assert "Unknown" in faults_of({"Unknown": 1}, method="PATCH")


def test_one_in_the_query_is_refused_as_well_and_a_signature_there_is_none() -> None:
    listing: dict[str, Any] = {"method": "GET", "path": "/environments"}
    assert faults_of({}, **listing, query="MaxResults=1&Teams=secret&Teams=2&Empty=").startswith(
        "Empty, Teams: unknown to botocore"
    )
    signed = "X-Amz-Credential=1&X-Amz-Signature=2&MaxResults=1"
    assert parse({}, **listing, query=signed) == {"MaxResults": 1}


@pytest.mark.parametrize("missing", sorted(GOOD))
def test_required_members(missing: str) -> None:
    members = {name: value for name, value in GOOD.items() if name != missing}
    wire = missing[0].lower() + missing[1:]
    assert faults_of(members) == (
        f"1 validation error detected: Value at '{wire}' failed to satisfy constraint: Member must not be null"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ExecutionRoleArn": "me"}, "regular expression pattern: "),
        ({"SourceBucketArn": "arn:aws:s3:::Bucket"}, "regular expression pattern"),
        ({"SourceBucketArn": "arn:aws:s3:::bucket\n"}, "regular expression pattern"),
        ({"DagS3Path": ""}, "length greater than or equal to 1"),
        ({"DagS3Path": "d" * 1025}, "length less than or equal to 1024"),
        ({"NetworkConfiguration": {"SubnetIds": ["subnet-1"]}}, "length greater than or equal to 2"),
        ({"NetworkConfiguration": {"SubnetIds": ["subnet-1", "net"]}}, "'networkConfiguration.subnetIds.2.member'"),
        ({"NetworkConfiguration": {"SecurityGroupIds": ["sg-1"] * 6}}, "length less than or equal to 5"),
        (
            {"Schedulers": 6},
            "'schedulers' failed to satisfy constraint: Member must have value less than or equal to 5",
        ),
        ({"MaxWorkers": 0}, "value greater than or equal to 1"),
        ({"WebserverAccessMode": "OPEN"}, "enum value set: [PRIVATE_ONLY, PUBLIC_ONLY"),
        ({"AirflowConfigurationOptions": {"Core.x": "1"}}, "airflowConfigurationOptions.key"),
        ({"AirflowConfigurationOptions": {"core.x": "a\nb"}}, "airflowConfigurationOptions.core.x.member"),
        ({"LoggingConfiguration": {"TaskLogs": {"Enabled": True}}}, "'loggingConfiguration.taskLogs.logLevel'"),
        ({"Tags": {}}, "length greater than or equal to 1"),
        ({"Tags": {"a\tb": "x"}}, "tags.key"),
        ({"WeeklyMaintenanceWindowStart": "SUN:3"}, "weeklyMaintenanceWindowStart"),
    ],
)
def test_constraints(changes: dict[str, Any], words: str) -> None:
    assert words in faults_of({**GOOD, **changes})


def test_all_faults_are_named_at_once_and_no_value_is_repeated() -> None:
    message = faults_of({**GOOD, "ExecutionRoleArn": "hunter2", "Schedulers": 9})
    assert message.startswith("2 validation errors detected: ")
    assert "hunter2" not in message


@pytest.mark.parametrize("name", ["1made", "m" * 81, "ma.de"])
def test_labels_are_checked_too(name: str) -> None:
    assert "'name'" in faults_of(GOOD, path=f"/environments/{name}")


@pytest.mark.parametrize(
    "changes",
    [
        {"MaxWorkers": "3"},
        {"MaxWorkers": True},
        {"MaxWorkers": 1.5},
        {"DagS3Path": 1},
        {"Tags": []},
        {"NetworkConfiguration": "x"},
        {"LoggingConfiguration": {"TaskLogs": {"Enabled": 1, "LogLevel": "INFO"}}},
    ],
)
def test_types(changes: dict[str, Any]) -> None:
    with pytest.raises(AwsError) as caught:
        parse({**GOOD, **changes})
    assert (caught.value.code, caught.value.status) == ("SerializationException", 400)


def test_query_values() -> None:
    assert parse({}, "GET", "/environments", "MaxResults=25&NextToken=x") == {"MaxResults": 25, "NextToken": "x"}
    assert "less than or equal to 25" in faults_of({}, method="GET", path="/environments", query="MaxResults=26")
    with pytest.raises(AwsError, match="MaxResults must be a whole number"):
        parse({}, "GET", "/environments", "MaxResults=ten")
    arn = "arn%3Aaws%3Aairflow%3Aus-east-1%3A123456789012%3Aenvironment%2Fmade"
    assert parse({}, "DELETE", f"/tags/{arn}", "tagKeys=a&tagKeys=b%20c")["tagKeys"] == ["a", "b c"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'"text"'])
def test_a_body_that_is_no_json_object(source: Lab, body: bytes) -> None:
    request = AWSRequest("PATCH", f"{source.url}/environments/source", data=body)
    SigV4Auth(Credentials(KEY, SECRET), "airflow", REGION).add_auth(request)
    answer = requests.patch(request.url, data=body, headers=dict(request.headers), timeout=5)
    assert (answer.status_code, answer.headers["x-amzn-ErrorType"]) == (400, "SerializationException")


def test_a_path_of_65_characters_is_refused_in_awss_words(source: Lab) -> None:
    client = source.client()
    if not hasattr(client, "invoke_rest_api"):
        pytest.skip("the installed botocore has no InvokeRestApi")
    client.invoke_rest_api(Name="source", Path="/" + "x" * 63, Method="GET")
    with pytest.raises(client.exceptions.ValidationException) as caught:
        client.invoke_rest_api(Name="source", Path="/" + "x" * 64, Method="GET")
    assert (
        "Value at 'path' failed to satisfy constraint: Member must have length less than or equal to 64"
        in caught.value.response["Error"]["Message"]
    )
    source.admin("PATCH", "limits", {"rest_path_max_chars": 100})
    client.invoke_rest_api(Name="source", Path="/" + "x" * 64, Method="GET")


def test_errors_survive_pickling() -> None:
    import pickle

    for error in (AwsError("X", "text", status=400, members={"a": 1}), NotImplementedByLocalMwaa("PublishMetrics")):
        copy = pickle.loads(pickle.dumps(error))
        assert (copy.code, copy.message, copy.status, copy.members) == (
            error.code,
            error.message,
            error.status,
            error.members,
        )
