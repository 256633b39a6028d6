# SPDX-License-Identifier: Apache-2.0
"""What is not AWS and answers for it, such as a proxy's page, is never taken for an answer: over real HTTP."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from airflow_mwaa_provider.client.aws_calls import AwsCalls
from airflow_mwaa_provider.client.retrying import RetryPolicy
from airflow_mwaa_provider.exceptions import AwsError
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
    client = boto3.client(
        "cloudwatch",
        endpoint_url=page_server.url,
        region_name="eu-west-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )
    return AwsCalls(client, "CloudWatch", "cloudwatch", policy=RetryPolicy(deadline_s=0.0))


@pytest.mark.parametrize("page", [name for name in PAGES if name != "a word"])
@pytest.mark.parametrize("operation", CALLS)
def test_a_page_is_no_answer(page_server: PageServer, calls: AwsCalls, page: str, operation: str) -> None:
    page_server.page = PAGES[page]
    for acts in (False, True):
        with pytest.raises(AwsError, match=f"here: {operation}: what answered is not CloudWatch") as caught:
            calls.call(operation, "here", acts=acts, **CALLS[operation])
        assert (caught.value.ambiguous, "may have taken effect" in str(caught.value)) == (acts, acts)


@pytest.mark.parametrize("page", [*PAGES.values(), b'{"error": "log in"}', b"<R><ResponseMetadata/></R>", b""])
def test_an_answer_without_what_it_always_has_is_none(page_server: PageServer, calls: AwsCalls, page: bytes) -> None:
    page_server.page = page
    with pytest.raises(AwsError, match="what answered is not CloudWatch"):
        calls.call("GetDashboard", "here", member="DashboardBody", DashboardName="d")
