# SPDX-License-Identifier: Apache-2.0
"""InvokeRestApi: what it sends, what it returns, and its limits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from airflow_mwaa_provider.local.aws.service_model import MwaaServiceModel

if TYPE_CHECKING:
    from tests.local.lab import Lab

pytestmark = pytest.mark.skipif(
    "InvokeRestApi" not in MwaaServiceModel().operation_names, reason="the installed botocore has no InvokeRestApi"
)


def invoke(lab: Lab, path: str, method: str = "GET", **kwargs: Any) -> Any:
    return lab.client().invoke_rest_api(Name="source", Path=path, Method=method, **kwargs)


def refused(lab: Lab, path: str, method: str = "GET", **kwargs: Any) -> ClientError:
    with pytest.raises(ClientError) as caught:
        invoke(lab, path, method, **kwargs)
    return caught.value


@pytest.mark.parametrize(("version", "prefix"), [("2.10.3", "/api/v1"), ("3.3.1", "/api/v2")])
def test_the_prefix_is_added(lab: Lab, version: str, prefix: str) -> None:
    lab.environment(version=version)
    answer = invoke(lab, "/dags")
    assert answer["RestApiStatusCode"] == 200
    assert answer["RestApiResponse"]["path"] == "/dags"
    assert lab.factory.of("source").requests[-1]["path"] == f"{prefix}/dags"


def test_body_and_query(source: Lab) -> None:
    answer = invoke(
        source,
        "/variables",
        "PATCH",
        Body={"key": "größe", "value": 'a "b" \n'},
        QueryParameters={"limit": 5, "tags": ["a", "b&c"], "active": True, "none": None, "text": "é +"},
    )["RestApiResponse"]
    assert answer["query"] == [
        ["limit", "5"],
        ["tags", "a"],
        ["tags", "b&c"],
        ["active", "true"],
        ["text", "é +"],
    ]
    assert json.loads(answer["body"]) == {"key": "größe", "value": 'a "b" \n'}


def test_an_empty_body_is_not_sent_with_a_get(source: Lab) -> None:
    assert invoke(source, "/dags", Body={}, QueryParameters={})["RestApiResponse"]["body"] == ""
    assert invoke(source, "/dags/x/clear", "POST", Body={})["RestApiResponse"]["body"] == "{}"


def test_a_path_is_sent_as_given(source: Lab) -> None:
    path = "/dags/a%2Fb/dagRuns/manual__2024-01-01T00:00:00+00:00"
    invoke(source, path)
    assert source.factory.of("source").requests[-1]["path"] == f"/api/v2{path}"
    invoke(source, "/dags?limit=1", QueryParameters={"offset": 2})
    assert source.factory.of("source").requests[-1]["query"] == [("limit", "1"), ("offset", "2")]


@pytest.mark.parametrize("path", ["dags", "/../../health", "/dags/../x", "/./x"])
def test_a_path_outside_the_api(source: Lab, path: str) -> None:
    assert refused(source, path).response["Error"]["Code"] == "ValidationException"


@pytest.mark.parametrize("parameters", [{"a": {"b": 1}}, {"a": [[1]]}])
def test_query_parameters_that_can_not_be_sent(source: Lab, parameters: Any) -> None:
    assert refused(source, "/dags", QueryParameters=parameters).response["Error"]["Code"] == "ValidationException"


def test_one_login_serves_many_calls(source: Lab) -> None:
    for _ in range(3):
        invoke(source, "/dags")
    assert source.factory.of("source").logins == 1


def test_a_login_that_airflow_ended_is_renewed(source: Lab) -> None:
    invoke(source, "/dags")
    source.factory.of("source").valid_sessions.clear()
    assert invoke(source, "/dags")["RestApiStatusCode"] == 200
    assert source.factory.of("source").logins == 2


def test_a_401_that_stays_is_the_answer(source: Lab) -> None:
    error = refused(source, "/status/401")
    assert (error.response["Error"]["Code"], error.response["RestApiStatusCode"]) == ("RestApiClientException", 401)
    assert source.factory.of("source").logins == 2


def test_a_restarted_airflow_gets_a_login_of_its_own(source: Lab) -> None:
    invoke(source, "/dags")
    source.client().update_environment(Name="source", DagS3Path="other")
    source.settled("source")
    assert invoke(source, "/dags")["RestApiStatusCode"] == 200
    assert source.factory.of("source").logins == 1


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "RestApiClientException"),
        (404, "RestApiClientException"),
        (409, "RestApiClientException"),
        (500, "RestApiServerException"),
        (503, "RestApiServerException"),
    ],
)
def test_airflows_errors(source: Lab, status: int, name: str) -> None:
    client = source.client()
    with pytest.raises(getattr(client.exceptions, name)) as caught:
        client.invoke_rest_api(Name="source", Path=f"/status/{status}", Method="GET")
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert response["RestApiStatusCode"] == status
    assert response["RestApiResponse"] == {"detail": "as asked"}


def test_an_answer_that_is_no_json(source: Lab) -> None:
    error = refused(source, "/html")
    assert error.response["Error"]["Code"] == "RestApiServerException"
    assert (error.response["RestApiStatusCode"], error.response["RestApiResponse"]) == (
        502,
        "<html>bad gateway</html>",
    )


def test_an_empty_answer(source: Lab) -> None:
    answer = invoke(source, "/empty", "DELETE")
    assert (answer["RestApiStatusCode"], answer["RestApiResponse"]) == (204, {})


def test_the_time_limit(source: Lab) -> None:
    source.admin("PATCH", "limits", {"rest_timeout_s": 0.2})
    error = refused(source, "/slow")
    assert error.response["Error"]["Code"] == "RestApiServerException"
    assert error.response["RestApiStatusCode"] == 504


def test_six_megabytes_and_no_more(source: Lab) -> None:
    most = 6 * 1024 * 1024
    frame = len('{"text": ""}')
    answer = invoke(source, "/large", QueryParameters={"bytes": most - frame})
    assert len(answer["RestApiResponse"]["text"]) == most - frame
    error = refused(source, "/large", QueryParameters={"bytes": most - frame + 1})
    assert error.response["Error"]["Code"] == "RestApiClientException"
    assert error.response["RestApiStatusCode"] == 413


def test_ten_calls_a_second(source: Lab) -> None:
    for _ in range(10):
        invoke(source, "/dags")
    error = refused(source, "/dags")
    assert error.response["Error"] == {"Code": "ThrottlingException", "Message": "Rate exceeded"}
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    source.clock.pass_s(0.2)
    invoke(source, "/dags")
    invoke(source, "/dags")
    refused(source, "/dags")


def test_the_rate_is_a_limit_and_counts_by_environment(source: Lab) -> None:
    source.environment("target")
    source.admin("PATCH", "limits", {"rest_calls_per_second": 1})
    invoke(source, "/dags")
    refused(source, "/dags")
    assert source.client().invoke_rest_api(Name="target", Path="/dags", Method="GET")


def test_an_airflow_that_can_not_be_reached(source: Lab) -> None:
    source.wait(source.factory.of("source").stop())
    error = refused(source, "/dags")
    assert (error.response["Error"]["Code"], error.response["RestApiStatusCode"]) == ("RestApiServerException", 502)


def test_an_airflow_that_is_restarting(source: Lab) -> None:
    source.call(source.factory.start_gate.clear)
    source.client().update_environment(Name="source", DagS3Path="other")
    error = refused(source, "/dags")
    assert error.response["RestApiStatusCode"] == 503
    source.call(source.factory.start_gate.set)


def test_an_environment_that_is_none(source: Lab) -> None:
    client = source.client()
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke_rest_api(Name="other", Path="/dags", Method="GET")


def test_a_login_that_fails_is_an_internal_error(source: Lab) -> None:
    async def broken() -> None:
        raise RuntimeError("secret details")

    source.factory.of("source").login = broken
    error = refused(source, "/dags")
    assert error.response["Error"]["Code"] == "InternalServerException"
    assert "secret details" not in str(error)
