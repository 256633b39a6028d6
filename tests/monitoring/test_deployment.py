# SPDX-License-Identifier: Apache-2.0
"""With moto's CloudWatch: applying twice writes nothing, deleting leaves nothing, and others' are not touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from airflow_mwaa_provider.client.http.retrying import RetryPolicy
from airflow_mwaa_provider.exceptions import AccessDenied, AwsError, MwaaInputError
from airflow_mwaa_provider.monitoring import alarms, dashboard
from airflow_mwaa_provider.monitoring.deployment import Action, AlarmDeployment, Change, DashboardDeployment
from tests.monitoring.conftest import CloudWatchService

TOPIC = "arn:aws:sns:eu-west-1:123456789012:on-call"
WRITES = {"PutDashboard", "DeleteDashboards", "PutMetricAlarm", "DeleteAlarms"}


class Recorded:
    """boto3's client, and its calls."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.called: list[str] = []
        client.meta.events.register("before-call.cloudwatch", self._record)

    def _record(self, model: Any, **_: Any) -> None:
        self.called.append(model.name)

    def writes(self) -> list[str]:
        """Return the writing calls since the last time."""
        found = [name for name in self.called if name in WRITES]
        self.called.clear()
        return found


@pytest.fixture
def recorded(cloudwatch: CloudWatchService) -> Iterator[Recorded]:
    client = cloudwatch.client()
    yield Recorded(client)
    names = [each["AlarmName"] for each in client.describe_alarms()["MetricAlarms"]]
    if names:
        client.delete_alarms(AlarmNames=names)
    boards = [each["DashboardName"] for each in client.list_dashboards()["DashboardEntries"]]
    if boards:
        client.delete_dashboards(DashboardNames=boards)


def requests_of(*env_names: str, **given: Any) -> list[dict[str, Any]]:
    return alarms.alarm_requests(env_names, **{"max_workers": dict.fromkeys(env_names, 10), **given})


def apply_alarms(recorded: Recorded, *env_names: str, **given: Any) -> list[Change]:
    there = AlarmDeployment(recorded.client, env_names)
    changes = there.plan(requests_of(*env_names, **given))
    there.apply(changes)
    return changes


def apply_dashboard(recorded: Recorded, name: str, body: dict[str, Any]) -> Change:
    there = DashboardDeployment(recorded.client, name)
    change = there.plan(body)
    there.apply(change)
    return change


def alarm_names(recorded: Recorded) -> set[str]:
    return {each["AlarmName"] for each in recorded.client.describe_alarms()["MetricAlarms"]}


# -- alarms ----------------------------------------------------------------------------------------------


def test_alarms_applied_twice_are_written_once(recorded: Recorded) -> None:
    first = apply_alarms(recorded, "prod", "prod-eu", topics=[TOPIC])
    assert {change.action for change in first} == {Action.CREATE}
    assert recorded.writes() == ["PutMetricAlarm"] * 32
    second = apply_alarms(recorded, "prod", "prod-eu", topics=[TOPIC])
    assert [change.differs for change in second if change.differs] == []
    assert {change.action for change in second} == {Action.KEEP}
    assert recorded.writes() == []


def test_a_plan_writes_nothing(recorded: Recorded) -> None:
    AlarmDeployment(recorded.client, ["prod"]).plan(requests_of("prod"))
    AlarmDeployment(recorded.client, ["prod"]).deletion()
    DashboardDeployment(recorded.client, "d").plan(dashboard.build(["prod"], "eu-west-1"))
    DashboardDeployment(recorded.client, "d").deletion()
    assert recorded.writes() == []


def test_what_was_put_is_what_cloudwatch_has(recorded: Recorded) -> None:
    apply_alarms(recorded, "prod", topics=[TOPIC])
    there = {each["AlarmName"]: each for each in recorded.client.describe_alarms()["MetricAlarms"]}
    found = there["mwaa/prod/oldest-queued-task"]
    assert (found["Namespace"], found["MetricName"], found["Threshold"]) == (
        "AWS/MWAA",
        "ApproximateAgeOfOldestTask",
        1800,
    )
    assert found["Dimensions"] == [{"Name": "Environment", "Value": "prod"}]
    assert found["AlarmActions"] == [TOPIC]
    maximum = there["mwaa/prod/workers-at-maximum"]
    assert maximum["Threshold"] == 10
    assert {part["Id"] for part in maximum["Metrics"]} == {"value", "base", "additional", "queued"}


@pytest.mark.parametrize(
    ("by_hand", "differs"),
    [
        ({"Threshold": 50.0}, ("Threshold",)),
        ({"AlarmActions": []}, ("AlarmActions",)),
        ({"ActionsEnabled": False}, ("ActionsEnabled",)),
        ({"TreatMissingData": "ignore", "EvaluationPeriods": 9}, ("EvaluationPeriods", "TreatMissingData")),
        ({"Dimensions": [{"Name": "Environment", "Value": "other"}]}, ("Dimensions",)),
    ],
)
def test_only_the_alarm_that_differs_is_written(
    recorded: Recorded, by_hand: dict[str, Any], differs: tuple[str, ...]
) -> None:
    apply_alarms(recorded, "prod", topics=[TOPIC])
    [request] = [each for each in requests_of("prod", topics=[TOPIC]) if each["AlarmName"].endswith("scheduler-cpu")]
    recorded.client.put_metric_alarm(**{**request, **by_hand})
    recorded.writes()
    changes = apply_alarms(recorded, "prod", topics=[TOPIC])
    assert [(change.name, change.action, change.differs) for change in changes if change.action is not Action.KEEP] == [
        ("mwaa/prod/scheduler-cpu", Action.UPDATE, differs)
    ]
    assert recorded.writes() == ["PutMetricAlarm"]


def test_the_order_of_dimensions_is_no_difference(recorded: Recorded) -> None:
    apply_alarms(recorded, "prod")
    [request] = [each for each in requests_of("prod") if each["AlarmName"].endswith("scheduler-cpu")]
    recorded.client.put_metric_alarm(**{**request, "Dimensions": request["Dimensions"][::-1]})
    assert {change.action for change in apply_alarms(recorded, "prod")} == {Action.KEEP}


def test_an_alarm_that_is_left_out_is_deleted(recorded: Recorded) -> None:
    apply_alarms(recorded, "prod")
    changes = apply_alarms(recorded, "prod", without=["export-failed"])
    assert [change.name for change in changes if change.action is Action.DELETE] == ["mwaa/prod/export-failed"]
    assert "mwaa/prod/export-failed" not in alarm_names(recorded)


def test_deleted_alarms_leave_nothing_and_others_stay(recorded: Recorded) -> None:
    own = {"AlarmName": "mwaa/prod/my-own", "AlarmDescription": "mine"}
    [request] = [each for each in requests_of("prod") if each["AlarmName"].endswith("scheduler-cpu")]
    recorded.client.put_metric_alarm(**{**request, **own})
    apply_alarms(recorded, "prod", "prod-eu")
    assert {change.action for change in apply_alarms(recorded, "prod")} == {Action.KEEP}
    there = AlarmDeployment(recorded.client, ["prod"])
    there.apply(there.deletion())
    assert {name for name in alarm_names(recorded) if not name.startswith("mwaa/prod-eu/")} == {"mwaa/prod/my-own"}
    assert len(alarm_names(recorded)) == 17
    recorded.writes()
    there.apply(there.deletion())
    assert recorded.writes() == []


def test_an_alarm_of_other_hands_is_not_written_over(recorded: Recorded) -> None:
    [request] = [each for each in requests_of("prod") if each["AlarmName"].endswith("scheduler-cpu")]
    recorded.client.put_metric_alarm(**{**request, "AlarmDescription": "mine"})
    recorded.writes()
    with pytest.raises(MwaaInputError, match="'mwaa/prod/scheduler-cpu' was not created by airflow-mwaa"):
        apply_alarms(recorded, "prod")
    assert recorded.writes() == []


def test_more_alarms_than_one_call_deletes_are_deleted(recorded: Recorded) -> None:
    names = [f"e{number}" for number in range(8)]
    apply_alarms(recorded, *names)
    assert len(alarm_names(recorded)) > 100 or recorded.client.describe_alarms().get("NextToken")
    recorded.writes()
    there = AlarmDeployment(recorded.client, names)
    told: list[Change] = []
    there.apply(there.deletion(), told.append)
    assert recorded.writes() == ["DeleteAlarms"] * 2
    assert len(told) == 128
    assert there.deletion() == []


# -- dashboards ------------------------------------------------------------------------------------------


def test_a_dashboard_applied_twice_is_written_once(recorded: Recorded) -> None:
    body = dashboard.build(["prod", "staging"], "eu-west-1", max_workers={"prod": 10})
    assert apply_dashboard(recorded, "MWAA", body).action is Action.CREATE
    assert recorded.writes() == ["PutDashboard"]
    assert json.loads(recorded.client.get_dashboard(DashboardName="MWAA")["DashboardBody"]) == body
    assert apply_dashboard(recorded, "MWAA", body).action is Action.KEEP
    assert recorded.writes() == []


def test_a_dashboard_that_differs_is_written(recorded: Recorded) -> None:
    apply_dashboard(recorded, "MWAA", dashboard.build(["prod"], "eu-west-1"))
    change = apply_dashboard(recorded, "MWAA", dashboard.build(["prod"], "eu-west-1", max_workers={"prod": 3}))
    assert (change.action, change.differs) == (Action.UPDATE, ("widgets",))


def test_a_dashboard_with_its_keys_in_another_order_is_the_same(recorded: Recorded) -> None:
    body = dashboard.build(["prod"], "eu-west-1")
    recorded.client.put_dashboard(DashboardName="MWAA", DashboardBody=json.dumps(body, sort_keys=True, indent=2))
    assert DashboardDeployment(recorded.client, "MWAA").plan(body).action is Action.KEEP


def test_a_deleted_dashboard_leaves_nothing(recorded: Recorded) -> None:
    there = DashboardDeployment(recorded.client, "MWAA")
    apply_dashboard(recorded, "MWAA", dashboard.build(["prod"], "eu-west-1"))
    [change] = there.deletion()
    there.apply(change)
    assert recorded.client.list_dashboards()["DashboardEntries"] == []
    assert there.deletion() == []
    there.apply(change)  # someone else was faster


def test_a_dashboard_of_other_hands_is_neither_written_over_nor_deleted(recorded: Recorded) -> None:
    recorded.client.put_dashboard(DashboardName="MWAA", DashboardBody='{"widgets": []}')
    there = DashboardDeployment(recorded.client, "MWAA")
    with pytest.raises(MwaaInputError, match="'MWAA' was not created by airflow-mwaa"):
        there.plan(dashboard.build(["prod"], "eu-west-1"))
    with pytest.raises(MwaaInputError, match="'MWAA' was not created by airflow-mwaa"):
        there.deletion()


def test_a_dashboard_of_other_hands_with_a_copied_text_is_one_of_other_hands(recorded: Recorded) -> None:
    theirs = dashboard.build(["prod"], "eu-west-1")
    theirs["widgets"].insert(0, {"type": "text", "width": 6, "height": 2, "properties": {"markdown": "# Team"}})
    recorded.client.put_dashboard(DashboardName="MWAA", DashboardBody=json.dumps(theirs))
    there = DashboardDeployment(recorded.client, "MWAA")
    with pytest.raises(MwaaInputError, match="'MWAA' was not created by airflow-mwaa"):
        there.plan(dashboard.build(["prod"], "eu-west-1"))
    with pytest.raises(MwaaInputError, match="'MWAA' was not created by airflow-mwaa"):
        there.deletion()


@pytest.mark.parametrize(
    "body", [{}, {"widgets": {}}, {"widgets": [1]}, {"widgets": [{"type": "text"}]},
             {"widgets": [{"type": "text", "properties": {"markdown": 5}}]},
             {"widgets": [{"type": "text", "properties": [dashboard.MARK]}]}]
)  # fmt: skip
def test_a_dashboard_of_any_shape_is_of_other_hands(body: dict[str, Any]) -> None:
    assert not dashboard.is_made_here(body)


def test_a_name_that_others_environments_have_too_is_no_permission(recorded: Recorded) -> None:
    name = dashboard.dashboard_name(["prod", "eu"])
    assert name == dashboard.dashboard_name(["prod-eu"])
    apply_dashboard(recorded, name, dashboard.build(["prod", "eu"], "eu-west-1"))
    there = DashboardDeployment(recorded.client, name, ["prod-eu"])
    with pytest.raises(MwaaInputError, match="shows other environments than prod-eu"):
        there.plan(dashboard.build(["prod-eu"], "eu-west-1"))
    with pytest.raises(MwaaInputError, match="shows other environments than prod-eu"):
        there.deletion()
    assert DashboardDeployment(recorded.client, name, ["prod", "eu"]).deletion() == [Change(name, Action.DELETE)]
    # The environments of a named dashboard can change.
    assert DashboardDeployment(recorded.client, name).plan(dashboard.build(["prod"], "eu-west-1")).action is (
        Action.UPDATE
    )


@pytest.mark.parametrize(
    "by_hand", [{"Unit": "Bytes"}, {"InsufficientDataActions": [TOPIC]}, {"ActionsEnabled": False}]
)
def test_what_somebody_has_added_to_an_alarm_is_a_difference(recorded: Recorded, by_hand: dict[str, Any]) -> None:
    apply_alarms(recorded, "prod")
    request = {**next(each for each in requests_of("prod") if "MetricName" in each), **by_hand}
    recorded.client.put_metric_alarm(**request)
    changed = [change for change in apply_alarms(recorded, "prod") if change.action is Action.UPDATE]
    assert [(change.name, change.differs) for change in changed] == [(request["AlarmName"], tuple(by_hand))]
    assert {change.action for change in apply_alarms(recorded, "prod")} == {Action.KEEP}


# -- what CloudWatch answers -----------------------------------------------------------------------------


class Answering:
    """A CloudWatch client with given answers."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers
        self.meta = mock.Mock()

    def __getattr__(self, method: str) -> Any:
        answer = self._answers[method]

        def call(**request: Any) -> Any:
            found = answer(request) if callable(answer) else answer
            if isinstance(found, Exception):
                raise found
            return found

        return call


def refusal(code: str, status: int = 400) -> Exception:
    from botocore.exceptions import ClientError

    response = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Operation")


@pytest.mark.parametrize("code", ["ResourceNotFound", "DashboardNotFoundError", "ResourceNotFoundException"])
def test_that_there_is_no_dashboard_is_known_in_each_protocol(code: str) -> None:
    there = DashboardDeployment(Answering(get_dashboard=refusal(code, 404)), "MWAA")
    assert there.plan({"widgets": []}).action is Action.CREATE


def test_a_refusal_names_the_action_to_allow() -> None:
    with pytest.raises(AccessDenied, match="Allow cloudwatch:GetDashboard"):
        DashboardDeployment(Answering(get_dashboard=refusal("AccessDenied", 403)), "MWAA").deletion()
    with pytest.raises(AccessDenied, match="Allow cloudwatch:DescribeAlarms"):
        AlarmDeployment(Answering(describe_alarms=refusal("AccessDenied", 403)), ["prod"]).deletion()


def test_another_failure_is_not_taken_for_no_dashboard() -> None:
    policy = RetryPolicy(deadline_s=0.0)
    with pytest.raises(AwsError, match="HTTP 500"):
        DashboardDeployment(Answering(get_dashboard=refusal("InternalFailure", 500)), "M", policy=policy).deletion()


def test_what_cloudwatch_remarks_on_a_body_is_returned() -> None:
    answer = {"DashboardValidationMessages": [{"DataPath": "/widgets/0", "Message": "should not be"}]}
    there = DashboardDeployment(Answering(put_dashboard=answer), "MWAA")
    assert there.apply(Change("MWAA", Action.CREATE, wanted={"widgets": []})) == ["should not be"]


def test_all_pages_of_alarms_are_read() -> None:
    def describe(request: dict[str, Any]) -> dict[str, Any]:
        assert request["AlarmNamePrefix"] == "mwaa/prod/"
        number = int(request.get("NextToken", "0"))
        alarm = {"AlarmName": f"mwaa/prod/{number}", "AlarmDescription": f"x {alarms.MARK}"}
        return {"MetricAlarms": [alarm], **({"NextToken": str(number + 1)} if number < 2 else {})}

    there = AlarmDeployment(Answering(describe_alarms=describe), ["prod"])
    assert [change.name for change in there.deletion()] == ["mwaa/prod/0", "mwaa/prod/1", "mwaa/prod/2"]


def test_pages_without_an_end_are_an_error() -> None:
    client = Answering(describe_alarms={"MetricAlarms": [], "NextToken": "again"})
    with pytest.raises(AwsError, match=r"DescribeAlarms: .* would never end"):
        AlarmDeployment(client, ["prod"]).deletion()
