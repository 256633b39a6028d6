# SPDX-License-Identifier: Apache-2.0
"""The search for changes of privileges: its period, its log groups, and what is returned and published."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from airflow_mwaa_provider.client.aws.control_plane import ControlPlane
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.monitoring.privileges import changes_in
from airflow_mwaa_provider.operators.cloudwatch import PrivilegeChangesOperator
from tests.monitoring.conftest import CloudWatchService, cloudwatch, running_cloudwatch

__all__ = ["cloudwatch", "running_cloudwatch"]

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
DELAY = timedelta(minutes=5)


def _operator(**keywords: Any) -> PrivilegeChangesOperator:
    return PrivilegeChangesOperator(task_id="search", aws_conn_id=None, **keywords)


@pytest.mark.parametrize(
    ("run_type", "interval", "keywords", "expected"),
    [
        ("scheduled", (NOW - 2 * HOUR, NOW), {}, (NOW - 2 * HOUR - DELAY, NOW - DELAY)),
        ("backfill", (NOW - 9 * HOUR, NOW - 8 * HOUR), {}, (NOW - 9 * HOUR - DELAY, NOW - 8 * HOUR - DELAY)),
        ("scheduled", (NOW, NOW), {"window": 3 * HOUR}, (NOW - 3 * HOUR - DELAY, NOW - DELAY)),
        ("scheduled", (NOW - HOUR, NOW), {"delay": timedelta(0)}, (NOW - HOUR, NOW)),
        ("scheduled", (NOW - HOUR, NOW), {"start": NOW - 3 * HOUR}, (NOW - 3 * HOUR, NOW - DELAY)),
        ("manual", (NOW - 9 * HOUR, NOW - 8 * HOUR), {"end": NOW.isoformat()}, (NOW - HOUR, NOW)),
        ("manual", (None, None), {"end": NOW, "start": NOW - HOUR}, (NOW - HOUR, NOW)),
    ],
)
def test_the_time_that_is_searched(run_type: str, interval: Any, keywords: Any, expected: Any) -> None:
    context: Any = {"dag_run": SimpleNamespace(run_type=run_type)}
    if interval[0]:
        context |= {"data_interval_start": interval[0], "data_interval_end": interval[1]}
    assert _operator(**keywords)._searched(context) == expected


def test_a_manual_run_searches_until_now() -> None:
    start, end = _operator()._searched({"dag_run": SimpleNamespace(run_type="manual")})  # type: ignore[typeddict-item]
    assert end - start == HOUR
    assert NOW <= end <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"window": timedelta(0)}, "window=0:00:00"),
        ({"delay": timedelta(seconds=-1)}, "delay=-1 day"),
        ({"changes": ["role-gone"]}, r"role-gone.*must be a list of role-given"),
        ({"changes": "role-given"}, "must be a list"),
        ({"namespace": "AWS/MWAA"}, "AWS/MWAA"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(keywords: Any, words: str) -> None:
    with pytest.raises(MwaaInputError, match=words):
        _operator(**keywords)


def test_a_start_after_the_end_and_a_missing_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_ENV_NAME", raising=False)
    with pytest.raises(MwaaInputError, match=r"AIRFLOW_ENV_NAME.*Give env_name"):
        _operator().execute({})
    with pytest.raises(MwaaInputError, match="must be before end"):
        _operator(env_name="e", start=NOW, end=NOW).execute({})


@pytest.fixture
def env_name(cloudwatch: CloudWatchService, monkeypatch: pytest.MonkeyPatch) -> str:
    """An environment with lines in three of its log groups; the fourth is off, and the fifth has no group."""
    name = f"e{uuid.uuid4().hex[:8]}"
    lines = {
        "Task": ["airflow users create -u mallory -p hunter2; airflow users add-role -u mallory -r Op",
                 'User "mallory" added to role "Op"', "rows: 5"],
        "WebServer": ["{override.py:1962} INFO - Added Permission can edit on DAG:d to role Op", "Added user alice"],
        "Worker": ["nothing"],
    }  # fmt: skip
    logs = boto3.client(
        "logs", endpoint_url=cloudwatch.url, region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    for component, messages in lines.items():
        group, stream = f"airflow-{name}-{component}", "dag_id=d/run_id=r/task_id=t/attempt=1.log"
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        events = [{"timestamp": _ms(NOW - 30 * timedelta(minutes=1)), "message": message} for message in messages]
        events += [{"timestamp": _ms(NOW + HOUR), "message": "airflow users add-role -u later -r Op"}]
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    arn = f"arn:aws:logs:eu-west-1:123456789012:log-group:airflow-{name}-"
    described = {
        f"{component}Logs": {
            "Enabled": component != "Scheduler", "LogLevel": "INFO", "CloudWatchLogGroupArn": arn + component
        }
        for component in ("DagProcessing", "Scheduler", "Task", "WebServer", "Worker")
    }  # fmt: skip

    def get_environment(_: ControlPlane, asked: str) -> dict[str, Any]:
        assert asked == name
        return {"Name": name, "LoggingConfiguration": described}

    monkeypatch.setattr(ControlPlane, "get_environment", get_environment)
    return name


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What operators log: through logging on Airflow 2, and printed by structlog on 3."""
    caplog.set_level(logging.INFO)
    return lambda: caplog.text + capsys.readouterr().out


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def test_what_is_found_is_returned_and_counted(
    cloudwatch: CloudWatchService, env_name: str, said: Callable[[], str]
) -> None:
    task = _operator(namespace=f"Test/{env_name}", env_name=env_name, start=NOW - HOUR, end=NOW)
    result, log = task.execute({}), said()
    assert result["count"] == 4
    assert result["by_change"] == {"role-given": 2, "permission-given": 1, "user-created": 1}
    assert (result["start"], result["end"]) == ((NOW - HOUR).isoformat(), NOW.isoformat())
    assert [(each["change"], each["evidence"], each["subject"], each["granted"]) for each in result["findings"]] == [
        ("user-created", "command", "mallory", None),
        ("role-given", "command", "mallory", "Op"),
        ("role-given", "result", "mallory", "Op"),
        ("permission-given", "result", "Op", "can edit on DAG:d"),
    ]
    assert {(each["dag_id"], each["run_id"], each["task_id"]) for each in result["findings"]} == {("d", "r", "t")}
    assert "hunter2" not in json.dumps(result) + log
    assert f"Log group 'airflow-{env_name}-DagProcessing' does not exist" in log
    assert "SchedulerLogs are not enabled" in log

    found = {}
    for metric in cloudwatch.client().list_metrics(Namespace=f"Test/{env_name}")["Metrics"]:
        (point,) = cloudwatch.client().get_metric_statistics(
            **metric, StartTime=NOW - HOUR, EndTime=NOW + HOUR, Period=60, Statistics=["Maximum"]
        )["Datapoints"]
        assert point["Unit"] == "Count"
        assert abs(point["Timestamp"] - NOW) < timedelta(minutes=1)
        found[frozenset((each["Name"], each["Value"]) for each in metric["Dimensions"])] = point["Maximum"]
    environment = ("Environment", env_name)
    assert found == {
        frozenset([environment]): 4.0,
        frozenset([environment, ("Change", "user-created")]): 1.0,
        frozenset([environment, ("Change", "role-given")]): 2.0,
        frozenset([environment, ("Change", "permission-given")]): 1.0,
    }
    # No later search finds its own log.
    assert "role-given: 1 line(s), command, in the log of Task: dag_id=d/run_id=r/" in log
    assert [line for line in log.splitlines() if changes_in(line)] == []


def test_one_change_alone_is_searched_for_and_none_is_a_zero(cloudwatch: CloudWatchService, env_name: str) -> None:
    keywords = {"namespace": f"Test/{env_name}", "env_name": env_name, "end": NOW}
    assert _operator(changes=["user-added"], **keywords).execute({})["by_change"] == {"user-added": 1}
    assert _operator(changes=["role-deleted"], **keywords).execute({})["count"] == 0
    (total,) = cloudwatch.client().get_metric_statistics(
        Namespace=f"Test/{env_name}", MetricName="privilege_changes", StartTime=NOW - HOUR, EndTime=NOW + HOUR,
        Dimensions=[{"Name": "Environment", "Value": env_name}], Period=7200, Statistics=["Minimum"],
    )["Datapoints"]  # fmt: skip
    assert total["Minimum"] == 0.0


def test_what_is_too_long_ago_to_be_published_is_returned(
    cloudwatch: CloudWatchService, env_name: str, said: Callable[[], str]
) -> None:
    task = _operator(namespace=f"Test/{env_name}", env_name=env_name, end=NOW - timedelta(days=14))
    assert task.execute({})["count"] == 0
    assert "CloudWatch accepts no metric that is older than two weeks" in said()
    assert cloudwatch.client().list_metrics(Namespace=f"Test/{env_name}")["Metrics"] == []


def test_an_environment_without_log_groups_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ControlPlane, "get_environment", lambda *_: {"Name": "e", "LoggingConfiguration": {}})
    with pytest.raises(MwaaInputError, match=r"'e' has no log group enabled.*Enable its logs at level INFO"):
        _operator(env_name="e").execute({})
