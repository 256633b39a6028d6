# SPDX-License-Identifier: Apache-2.0
"""Alarms use existing metrics, follow AWS's recommendations if there are any, and are valid for CloudWatch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.validate import ParamValidator

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.monitoring import alarms
from airflow_mwaa_provider.monitoring.mwaa_metrics import find
from airflow_mwaa_provider.monitoring.privileges import PRIVILEGES_METRIC
from tests.monitoring.cfn_lint import complaints

pytestmark = pytest.mark.once

TOPIC = "arn:aws:sns:eu-west-1:123456789012:on-call"
RECOMMENDED = {
    "scheduler-heartbeat": ("SchedulerHeartbeat", "Sum", "LessThanThreshold", 1, 2),
    "oldest-queued-task": ("ApproximateAgeOfOldestTask", "Maximum", "GreaterThanThreshold", 1800, 3),
    "scheduler-cpu": ("CPUUtilization", "Average", "GreaterThanThreshold", 95, 3),
    "scheduler-memory": ("MemoryUtilization", "Average", "GreaterThanThreshold", 95, 3),
    "workers-cpu": ("CPUUtilization", "Average", "GreaterThanThreshold", 95, 6),
    "workers-memory": ("MemoryUtilization", "Average", "GreaterThanThreshold", 95, 6),
    "web-server-cpu": ("CPUUtilization", "Average", "GreaterThanThreshold", 95, 3),
    "web-server-memory": ("MemoryUtilization", "Average", "GreaterThanThreshold", 95, 3),
    "database-cpu": ("CPUUtilization", "Average", "GreaterThanThreshold", 95, 3),
    "database-memory": ("FreeableMemory", "Average", "LessThanThreshold", 536_870_912, 3),
}
"""AWS's recommendations, by our names: metric, statistic, comparison, threshold, periods of 300 seconds."""


def by_key(*env_names: str, **given: Any) -> dict[str, dict[str, Any]]:
    requests = alarms.alarm_requests(env_names or ["prod"], **{"max_workers": {"prod": 10}, **given})
    return {request["AlarmName"].rpartition("/")[2]: request for request in requests}


@pytest.mark.parametrize("key", RECOMMENDED)
def test_what_aws_recommends_is_as_it_recommends_it(key: str) -> None:
    request = by_key()[key]
    fields = ("MetricName", "Statistic", "ComparisonOperator", "Threshold", "EvaluationPeriods")
    assert tuple(request[field] for field in fields) == RECOMMENDED[key]
    assert (request["Period"], request["DatapointsToAlarm"]) == (300, request["EvaluationPeriods"])


def test_no_heartbeat_and_no_data_is_an_alarm_and_no_failure_is_none() -> None:
    found = by_key()
    assert found["scheduler-heartbeat"]["TreatMissingData"] == "breaching"
    assert {found[key]["TreatMissingData"] for key in ("cleanup-failed", "export-failed")} == {"notBreaching"}


def test_all_look_at_metrics_that_mwaa_or_this_package_publishes() -> None:
    for request in by_key().values():
        looked_at = [part["MetricStat"]["Metric"] for part in request.get("Metrics", ()) if "MetricStat" in part]
        for metric in looked_at or [request]:
            dimensions = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
            if metric["Namespace"] == "MWAA-Custom":
                assert (metric["MetricName"], dimensions) == (PRIVILEGES_METRIC, {"Environment": "prod"})
                continue
            assert find(metric["Namespace"], metric["MetricName"], dimensions), request["AlarmName"]
            assert dimensions["Environment"] == "prod"


def test_a_failed_cleanup_and_a_failed_export_are_told_by_the_operators_that_there_are() -> None:
    from airflow_mwaa_provider.operators.metadata import MetadataToS3Operator
    from airflow_mwaa_provider.operators.metadata_cleanup import MetadataCleanupOperator

    for key, operator in (("cleanup-failed", MetadataCleanupOperator), ("export-failed", MetadataToS3Operator)):
        assert {"Name": "Operator", "Value": operator.__name__} in by_key()[key]["Dimensions"]


def test_cloudwatch_can_take_them() -> None:
    client = boto3.client("cloudwatch", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    shape = client.meta.service_model.operation_model("PutMetricAlarm").input_shape
    for request in by_key("e" * 80, topics=[TOPIC], max_workers={"e" * 80: 25}).values():
        assert ParamValidator().validate(request, shape).generate_report() == ""
        period = request.get("Period") or request["Metrics"][1]["MetricStat"]["Period"]
        assert request["EvaluationPeriods"] * period <= 86_400
        assert request["DatapointsToAlarm"] <= request["EvaluationPeriods"]
        assert len(request["AlarmName"]) <= 255
        assert len(request["AlarmDescription"]) <= 1024
        assert len(request.get("Metrics", ())) <= 10
        assert [part["ReturnData"] for part in request.get("Metrics", ())].count(True) == ("Metrics" in request)
        assert request["AlarmActions"] == request["OKActions"] == [TOPIC]


def test_the_names_of_one_environment_are_no_beginning_of_another_ones() -> None:
    first, second = (alarms.alarm_requests([name])[0]["AlarmName"] for name in ("prod", "prod-eu"))
    assert first.startswith(alarms.name_prefix("prod"))
    assert not second.startswith(alarms.name_prefix("prod"))


def test_the_maximum_of_workers_is_that_of_the_environment() -> None:
    assert by_key(max_workers={"prod": 7})["workers-at-maximum"]["Threshold"] == 7
    assert "workers-at-maximum" not in by_key(max_workers={"other": 7})


def test_thresholds_can_be_others_and_alarms_left_out() -> None:
    found = by_key(thresholds={"scheduler-cpu": 80}, without=["export-failed"])
    assert found["scheduler-cpu"]["Threshold"] == 80
    assert found["scheduler-memory"]["Threshold"] == 95
    assert set(by_key()) - set(found) == {"export-failed"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"thresholds": {"cpu": 1}}, "No such alarm: 'cpu'"),
        ({"without": ["cpu"]}, "No such alarm: 'cpu'"),
        ({"thresholds": {"scheduler-cpu": float("nan")}}, "must be a number"),
        ({"thresholds": {"scheduler-cpu": "80"}}, "must be a number"),
        ({"topics": ["on-call"]}, "is not the ARN of an SNS topic"),
        ({"topics": [TOPIC] * 6}, "an alarm accepts 5"),
    ],
)
def test_what_cloudwatch_would_refuse_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(MwaaInputError, match=words):
        alarms.alarm_requests(["prod"], **given)


def test_the_condition_is_told_to_people() -> None:
    told = {alarm.key: alarm.condition() for alarm in alarms.ALARMS}
    assert told["scheduler-heartbeat"] == "below 1 heartbeat for 10 minutes"
    assert told["database-memory"] == "below 512 MiB for 15 minutes"
    assert told["workers-at-maximum"] == "at least the maximum number of workers for 25 of 30 minutes"


def test_a_template_has_no_more_than_cloudformation_takes() -> None:
    names = [f"e{number}" for number in range(34)]
    assert len(alarms.template(alarms.alarm_requests(names[:33]))["Resources"]) == 33 * 15
    with pytest.raises(MwaaInputError, match="accepts 500 in a template"):
        alarms.template(alarms.alarm_requests(names))


def test_a_template_is_not_longer_than_cloudformation_takes() -> None:
    names = [f"e{number}".ljust(80, "x") for number in range(33)]
    topics = [f"arn:aws:sns:eu-west-1:123456789012:{letter * 256}" for letter in "abc"]
    with pytest.raises(MwaaInputError, match="more than 1,000,000 bytes"):
        alarms.template(alarms.alarm_requests(names, topics=topics))


def test_each_alarm_has_an_id_of_its_own_that_stays() -> None:
    ids = [list(alarms.template(alarms.alarm_requests([name]))["Resources"]) for name in ("my-env", "my_env", "myEnv")]
    assert len({each for found in ids for each in found}) == 3 * 15
    together = list(alarms.template(alarms.alarm_requests(["myEnv", "my-env"]))["Resources"])
    assert together == ids[2] + ids[0]


@pytest.mark.once
def test_the_template_passes_cfn_lint(tmp_path: Path) -> None:
    requests = alarms.alarm_requests(["prod", "my_env"], max_workers={"prod": 10}, topics=[TOPIC])
    template = alarms.template(requests)
    assert complaints(template, tmp_path) == ""
    first = next(iter(template["Resources"].values()))
    first["Properties"]["ComparisonOperator"] = "IsGreaterThan"
    assert "IsGreaterThan" in complaints(template, tmp_path)
