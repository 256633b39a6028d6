# SPDX-License-Identifier: Apache-2.0
"""Write a dashboard and alarms to CloudWatch: compare with what exists, and write only what differs.

What this package did not create is never overwritten or deleted: a dashboard without its mark, an alarm whose
description does not end with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.aws.calls import AwsCalls
from airflow_mwaa_provider.exceptions import AwsError, MwaaInputError
from airflow_mwaa_provider.monitoring import alarms, dashboard
from airflow_mwaa_provider.monitoring.series import check_env_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_mwaa_provider.client.http.retrying import RetryPolicy

__all__ = ["Action", "AlarmDeployment", "Change", "DashboardDeployment"]

_NO_DASHBOARD = {"ResourceNotFound", "ResourceNotFoundException", "DashboardNotFoundError"}
_DELETED_AT_ONCE = 100
_UNNAMED = (
    "InsufficientDataActions", "OKActions", "AlarmActions", "Unit", "Statistic", "ExtendedStatistic", "Metrics",
    "Dimensions", "DatapointsToAlarm", "EvaluateLowSampleCountPercentile", "ThresholdMetricId",
)  # fmt: skip
"""Parts of an alarm that PutMetricAlarm removes if they are not in the request."""


class Action(Enum):
    """What is to be done about one dashboard or alarm."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    KEEP = "keep"


@dataclass(frozen=True)
class Change:
    """One dashboard or alarm, and what is to be done about it.

    :param name: its name in CloudWatch.
    :param action: create, update, delete, or keep.
    :param differs: for an update: the parts that differ from what exists.
    :param wanted: the new body, or the parameters of PutMetricAlarm; ``None`` for a deletion.
    """

    name: str
    action: Action
    differs: tuple[str, ...] = ()
    wanted: Mapping[str, Any] | None = field(default=None, hash=False)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return {"name": self.name, "action": self.action.value, "differs": list(self.differs), "wanted": self.wanted}


class DashboardDeployment:
    """One dashboard in CloudWatch.

    :param client: a boto3 client for CloudWatch.
    :param name: the name of the dashboard.
    :param env_names: the environments that an existing dashboard of this name must show; by default any. Default names
        can be ambiguous: ``MWAA-a-b`` is the dashboard of ``a`` and ``b``, and of ``a-b``.
    :param policy: how calls are retried.
    """

    def __init__(
        self, client: Any, name: str, env_names: Iterable[str] | None = None, *, policy: RetryPolicy | None = None
    ) -> None:
        self.name = name
        self.env_names = None if env_names is None else check_env_names(env_names)
        self._calls = AwsCalls(client, "CloudWatch", "cloudwatch", policy=policy)

    def plan(self, body: Mapping[str, Any]) -> Change:
        """Return the change that applies a body to the dashboard; write nothing.

        :param body: the result of :func:`dashboard.build`.
        :raises MwaaInputError: a dashboard of this name exists that was not created here, or shows other environments.
        :raises MwaaError: a call failed.
        """
        there = self._there()
        if there is None:
            return Change(self.name, Action.CREATE, wanted=body)
        if there == body:
            return Change(self.name, Action.KEEP, wanted=body)
        differs = tuple(key for key in sorted({*there, *body}) if there.get(key) != body.get(key))
        return Change(self.name, Action.UPDATE, differs, body)

    def apply(self, change: Change) -> list[str]:
        """Carry out a change; return CloudWatch's remarks on the body.

        :raises MwaaError: a call failed.
        """
        if change.action in (Action.CREATE, Action.UPDATE):
            assert change.wanted is not None
            answer = self._call(
                "PutDashboard", DashboardName=self.name, DashboardBody=dashboard.body_text(change.wanted)
            )
            return [str(each.get("Message", "")) for each in answer.get("DashboardValidationMessages", ())]
        if change.action is Action.DELETE:
            try:
                self._call("DeleteDashboards", DashboardNames=[self.name])
            except AwsError as error:
                if error.code not in _NO_DASHBOARD:
                    raise
        return []

    def deletion(self) -> list[Change]:
        """Return what is to be deleted: the dashboard, or nothing.

        :raises MwaaInputError: it was not created here, or shows other environments.
        :raises MwaaError: a call failed.
        """
        return [] if self._there() is None else [Change(self.name, Action.DELETE)]

    def _there(self) -> dict[str, Any] | None:
        try:
            text = self._call("GetDashboard", member="DashboardBody", DashboardName=self.name)["DashboardBody"]
        except AwsError as error:
            if error.code in _NO_DASHBOARD:
                return None
            raise
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict) or not dashboard.is_made_here(found):
            raise MwaaInputError(
                f"Dashboard {self.name!r} was not created by airflow-mwaa. Give another name, or delete it in "
                "CloudWatch first."
            )
        if self.env_names is not None and not dashboard.is_made_here(found, self.env_names):
            raise MwaaInputError(
                f"Dashboard {self.name!r} exists, and shows other environments than {', '.join(self.env_names)}. "
                "Give another name, or its own name to change it anyway."
            )
        return found

    def _call(self, operation: str, **request: Any) -> Any:
        return self._calls.call(operation, f"Dashboard {self.name!r}", **request)


class AlarmDeployment:
    """The alarms of environments in CloudWatch.

    :param client: a boto3 client for CloudWatch.
    :param env_names: the environments.
    :param policy: how calls are retried.
    :raises MwaaInputError: a name is not one of an environment.
    """

    def __init__(self, client: Any, env_names: Iterable[str], *, policy: RetryPolicy | None = None) -> None:
        self.env_names = check_env_names(env_names)
        self._calls = AwsCalls(client, "CloudWatch", "cloudwatch", policy=policy)

    def plan(self, requests: Iterable[Mapping[str, Any]]) -> list[Change]:
        """Return the changes after which the environments have these alarms, and no others created here; write nothing.

        :param requests: the result of :func:`alarms.alarm_requests`.
        :raises MwaaInputError: an alarm of such a name exists that was not created here.
        :raises MwaaError: a call failed.
        """
        there = self._there()
        changes = []
        for request in requests:
            name = request["AlarmName"]
            found = there.pop(name, None)
            if found is None:
                changes.append(Change(name, Action.CREATE, wanted=request))
                continue
            if not _is_ours(found):
                raise MwaaInputError(
                    f"Alarm {name!r} was not created by airflow-mwaa. Rename it in CloudWatch, or leave this one out."
                )
            differs = _differences(found, request)
            changes.append(Change(name, Action.UPDATE if differs else Action.KEEP, differs, request))
        return [*changes, *(Change(name, Action.DELETE) for name, found in there.items() if _is_ours(found))]

    def deletion(self) -> list[Change]:
        """Return the deletion of all alarms of the environments that were created here.

        :raises MwaaError: a call failed.
        """
        return [Change(name, Action.DELETE) for name, found in self._there().items() if _is_ours(found)]

    def apply(self, changes: Iterable[Change], done: Callable[[Change], None] | None = None) -> None:
        """Carry out changes, writes first.

        If a call fails, what was done is kept; a new plan continues from there.

        :param done: called with each change that was carried out.
        :raises MwaaError: a call failed.
        """
        listed = list(changes)
        for change in listed:
            if change.action in (Action.CREATE, Action.UPDATE):
                assert change.wanted is not None
                self._calls.call("PutMetricAlarm", f"Alarm {change.name!r}", **change.wanted)
                _tell(done, change)
        deleted = [change for change in listed if change.action is Action.DELETE]
        for start in range(0, len(deleted), _DELETED_AT_ONCE):
            part = deleted[start : start + _DELETED_AT_ONCE]
            self._calls.call("DeleteAlarms", f"{len(part)} alarms", AlarmNames=[change.name for change in part])
            for change in part:
                _tell(done, change)

    def _there(self) -> dict[str, Mapping[str, Any]]:
        """Return the alarms under the names of these environments, by name, regardless of who created them."""
        found: dict[str, Mapping[str, Any]] = {}
        for env_name in self.env_names:
            pages = self._calls.pages(
                "DescribeAlarms",
                f"Alarms of environment {env_name!r}",
                AlarmNamePrefix=alarms.name_prefix(env_name),
                AlarmTypes=["MetricAlarm"],
            )
            for page in pages:
                found.update({alarm["AlarmName"]: alarm for alarm in page.get("MetricAlarms", ())})
        return found


def _tell(done: Callable[[Change], None] | None, change: Change) -> None:
    if done is not None:
        done(change)


def _is_ours(alarm: Mapping[str, Any]) -> bool:
    return str(alarm.get("AlarmDescription", "")).endswith(alarms.MARK)


def _differences(found: Mapping[str, Any], request: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the parts in which an alarm differs from a request."""
    given = [key for key in request if _plain(found.get(key)) != _plain(request[key])]
    # The request would reset what it does not contain, so a value that was set manually is also a difference.
    added = [key for key in _UNNAMED if key not in request and found.get(key)]
    return (*given, *added)


def _plain(value: Any) -> Any:
    """Return a part of an alarm in a form that can be compared: the order of dimensions does not matter."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        parts = [_plain(part) for part in value]
        return sorted(parts, key=str) if parts and isinstance(parts[0], Mapping) and "Name" in parts[0] else parts
    return value
