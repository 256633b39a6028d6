# SPDX-License-Identifier: Apache-2.0
"""Alarms on an MWAA environment: thresholds with their reasons, as CloudWatch API calls and as CloudFormation.

Source: the MWAA user guide of 2026, "Monitoring dashboards and alarms", whose recommended alarms are included with
their thresholds; AWS's CloudWatch dashboard automation for MWAA, for idle workers. The others are this package's own.
"""

from __future__ import annotations

import hashlib
import json
import operator
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.monitoring.privileges import PRIVILEGES_METRIC
from airflow_mwaa_provider.monitoring.series import Series, check_env_names, of_airflow, of_containers, of_own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["ALARMS", "Alarm", "alarm_name", "alarm_requests", "template"]

MARK = "[airflow-mwaa]"
"""Ends the description of each alarm, and marks it as created by this package."""

MAX_RESOURCES = 500
MAX_TEMPLATE_BYTES = 1_000_000
"""CloudFormation's limit for a template."""

_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?")
_COMPARISONS = {
    "GreaterThanThreshold": "above",
    "LessThanThreshold": "below",
    "GreaterThanOrEqualToThreshold": "at least",
}
_WRONG: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "GreaterThanOrEqualToThreshold": operator.ge,
}


@dataclass(frozen=True)
class Alarm:
    """An alarm on one environment.

    :param key: its name within an environment, such as ``"scheduler-cpu"``.
    :param title: what is wrong when it is in alarm.
    :param series: the series that it evaluates, by their ids in the expression; one series if there is no expression.
    :param threshold: in the unit of the metric; ``None``: the environment's maximum number of workers.
    :param comparison: how a value beyond the threshold compares to it, in CloudWatch's terms.
    :param datapoints: how many values must be beyond the threshold.
    :param evaluated: out of how many of the newest values; 0: out of the same number, so consecutive ones.
    :param missing: how missing values count: ``"breaching"``, ``"notBreaching"``, ``"missing"`` or ``"ignore"``.
    :param why: the reason for the threshold, and what to do.
    :param unit: the unit of the threshold, for people.
    :param expression: CloudWatch's metric math over the series.
    """

    key: str
    title: str
    series: Mapping[str, Series] = field(hash=False)
    threshold: float | None
    comparison: str
    datapoints: int
    missing: str
    why: str
    unit: str
    expression: str = ""
    evaluated: int = 0

    @property
    def period_s(self) -> int:
        """The seconds that one value covers."""
        return next(iter(self.series.values())).period_s

    @property
    def is_of_low_values(self) -> bool:
        """Whether low values set it off."""
        return self.comparison.startswith("LessThan")

    def is_wrong(self, value: float) -> bool:
        """Return whether a value is beyond the threshold."""
        assert self.threshold is not None
        return _WRONG[self.comparison](value, self.threshold)

    def excess(self, value: float) -> float:
        """Return how far a value is from the threshold, as a multiple of it; in units if it is 0."""
        assert self.threshold is not None
        return abs(value - self.threshold) / (abs(self.threshold) or 1.0)

    def condition(self) -> str:
        """Return what sets it off, for people."""
        wrong_s, of_s = self.datapoints * self.period_s, self.evaluated * self.period_s
        value, unit = self.threshold, self.unit
        if unit == "bytes" and value is not None:
            value, unit = value / 2**20, "MiB"
        shown = "the maximum number of" if value is None else f"{value:,g}"
        length = f"{wrong_s // 60} of {of_s // 60} minutes" if of_s else f"{wrong_s // 60} minutes"
        return f"{_COMPARISONS[self.comparison]} {shown} {unit} for {length}"

    def request(self, env_name: str, topics: Iterable[str] = ()) -> dict[str, Any]:
        """Return the parameters of PutMetricAlarm, which are also those of ``AWS::CloudWatch::Alarm``.

        :param topics: ARNs of SNS topics that are notified when the alarm starts and ends.
        """
        told = list(topics)
        request: dict[str, Any] = {
            "AlarmName": alarm_name(env_name, self.key),
            "AlarmDescription": f"{env_name}: {self.title}. {self.why} {MARK}",
            "ActionsEnabled": True,
            "AlarmActions": told,
            "OKActions": told,
            "ComparisonOperator": self.comparison,
            "Threshold": self.threshold,
            "EvaluationPeriods": self.evaluated or self.datapoints,
            "DatapointsToAlarm": self.datapoints,
            "TreatMissingData": self.missing,
        }
        if self.expression:
            parts = [each.query(query_id, env_name) for query_id, each in self.series.items()]
            whole = {"Id": "value", "Expression": self.expression, "Label": self.title, "ReturnData": True}
            return {**request, "Metrics": [whole, *parts]}
        (only,) = self.series.values()
        return {
            **request,
            "Namespace": only.namespace,
            "MetricName": only.name,
            "Dimensions": only.dimension_list(env_name),
            "Statistic": only.stat,
            "Period": only.period_s,
        }


def _one(series: Series) -> dict[str, Series]:
    return {"value": series}


def _utilization(component: str, cluster: str, datapoints: int, advice: str) -> tuple[Alarm, Alarm]:
    """Return the alarms on CPU and memory of a component."""

    def of(what: str, metric: str) -> Alarm:
        return Alarm(
            key=f"{component.replace(' ', '-')}-{what}",
            title=f"{'CPU' if what == 'cpu' else 'memory'} of the {component} is used up",
            series=_one(of_containers(metric, "Average", Cluster=cluster)),
            threshold=95,
            comparison="GreaterThanThreshold",
            datapoints=datapoints,
            missing="missing",
            why=advice,
            unit="%",
        )

    return of("cpu", "CPUUtilization"), of("memory", "MemoryUtilization")


def _operator_failures(key: str, title: str, operator_name: str, advice: str) -> Alarm:
    return Alarm(
        key=key,
        title=title,
        series=_one(of_airflow("OperatorFailures", "Sum", Operator=operator_name)),
        threshold=0,
        comparison="GreaterThanThreshold",
        datapoints=1,
        missing="notBreaching",
        why=f"Every failed attempt of {operator_name} counts, including retries. {advice}",
        unit="failures",
    )


_QUEUED = of_airflow("QueuedTasks", "Maximum", Function="Executor")
_RUNNING = of_airflow("RunningTasks", "Maximum", Function="Executor")
BASE_WORKERS = replace(of_containers("CPUUtilization", "SampleCount", Cluster="BaseWorker"), period_s=60)
ADDITIONAL_WORKERS = replace(of_containers("CPUUtilization", "SampleCount", Cluster="AdditionalWorker"), period_s=60)

ALARMS: tuple[Alarm, ...] = (
    Alarm(
        key="scheduler-heartbeat",
        title="no scheduler is alive",
        series=_one(of_airflow("SchedulerHeartbeat", "Sum", Function="Scheduler")),
        threshold=1,
        comparison="LessThanThreshold",
        datapoints=2,
        missing="breaching",
        why="A scheduler sends a heartbeat every few seconds; none for two periods, or no data, means that "
        "nothing is scheduled. See the scheduler's log group.",
        unit="heartbeat",
    ),
    Alarm(
        key="oldest-queued-task",
        title="tasks wait too long for a worker",
        series=_one(of_containers("ApproximateAgeOfOldestTask", "Maximum")),
        threshold=1800,
        comparison="GreaterThanThreshold",
        datapoints=3,
        missing="notBreaching",
        why="Half an hour is more than new workers take to start. Raise the maximum number of workers, or their class. "
        "An empty queue has no age, and counts as OK.",
        unit="seconds",
    ),
    Alarm(
        key="workers-idle",
        title="tasks are queued and none runs",
        series={"queued": _QUEUED, "running": _RUNNING},
        expression="IF(queued > 0 AND running == 0, queued, 0)",
        threshold=0,
        comparison="GreaterThanThreshold",
        datapoints=3,
        missing="notBreaching",
        why="Workers take tasks from the queue within seconds; for 15 minutes none did. See the workers' log group.",
        unit="queued tasks",
    ),
    Alarm(
        key="workers-at-maximum",
        title="all workers that there may be are at work, and tasks are queued",
        series={
            "base": BASE_WORKERS,
            "additional": ADDITIONAL_WORKERS,
            "queued": replace(_QUEUED, period_s=60),
        },
        expression="IF(FILL(queued, 0) > 0, base + FILL(additional, 0), 0)",
        threshold=None,
        comparison="GreaterThanOrEqualToThreshold",
        datapoints=25,
        evaluated=30,
        missing="notBreaching",
        why="For half an hour there was no worker to add. Raise the maximum number of workers, or spread the "
        "schedules.",
        unit="workers",
    ),
    *_utilization(
        "scheduler", "Scheduler", 3,
        "15 minutes without a pause are more than a parsing peak. Simplify DAG files, or take a larger class.",
    ),
    *_utilization(
        "workers", "BaseWorker", 6,
        "Tasks may use all capacity for a while; after half an hour tasks get killed. Lower "
        "celery.worker_autoscale, or take a larger class.",
    ),
    *_utilization(
        "web server", "WebServer", 3,
        "After 15 minutes the UI and the REST API barely respond. Add web servers, or take a larger class.",
    ),
    Alarm(
        key="database-cpu",
        title="CPU of the metadata database is used up",
        series=_one(of_containers("CPUUtilization", "Average", DatabaseRole="WRITER")),
        threshold=95,
        comparison="GreaterThanThreshold",
        datapoints=3,
        missing="missing",
        why="Schedulers wait for the database. Clean the metadata, make fewer queries in DAG files, or take a larger "
        "class.",
        unit="%",
    ),
    Alarm(
        key="database-memory",
        title="the metadata database runs out of memory",
        series=_one(of_containers("FreeableMemory", "Average", DatabaseRole="WRITER")),
        threshold=512 * 1024 * 1024,
        comparison="LessThanThreshold",
        datapoints=3,
        missing="missing",
        why="Below 512 MiB connections fail. Lower the number of connections, clean the metadata, or take a larger "
        "class.",
        unit="bytes",
    ),
    Alarm(
        key="import-errors",
        title="DAG files cannot be imported",
        series=_one(of_airflow("ImportErrors", "Maximum", Function="DAG Processing")),
        threshold=0,
        comparison="GreaterThanThreshold",
        datapoints=3,
        missing="notBreaching",
        why="The DAGs of such a file are outdated or missing. 15 minutes leave time for the files of a deployment "
        "to arrive. See the DAG processing log group.",
        unit="files",
    ),
    _operator_failures(
        "cleanup-failed",
        "cleaning the metadata failed",
        "MetadataCleanupOperator",
        "The database grows until one succeeds. See the task's log.",
    ),
    _operator_failures(
        "export-failed",
        "exporting the metadata failed",
        "MetadataToS3Operator",
        "Data read from the last export is out of date. See the task's log.",
    ),
    Alarm(
        key="privileges-changed",
        title="roles or permissions of Airflow's users were changed",
        series=_one(of_own(PRIVILEGES_METRIC, "Maximum")),
        threshold=0,
        comparison="GreaterThanThreshold",
        datapoints=1,
        missing="notBreaching",
        why="PrivilegeChangesOperator returns its findings as XCom: who, when and by which DAG. Without that "
        "operator this alarm stays quiet.",
        unit="changes",
    ),
)  # fmt: skip
"""All alarms, in the order in which they are shown."""


def alarm_on(series: Series) -> Alarm | None:
    """Return the alarm on just the metric of a series, with any statistic; ``None`` if there is none."""
    for alarm in ALARMS:
        looked_at = list(alarm.series.values())
        if len(looked_at) == 1 and replace(looked_at[0], label="", stat="") == replace(series, label="", stat=""):
            return alarm
    return None


def alarm_name(env_name: str, key: str) -> str:
    """Return the name of an environment's alarm in CloudWatch."""
    return f"{name_prefix(env_name)}{key}"


def name_prefix(env_name: str) -> str:
    """Return the prefix of the names of an environment's alarms. It is unambiguous, because no name has a slash."""
    return f"mwaa/{env_name}/"


def alarm_requests(
    env_names: Iterable[str],
    *,
    max_workers: Mapping[str, int] | None = None,
    topics: Iterable[str] = (),
    thresholds: Mapping[str, float] | None = None,
    without: Iterable[str] = (),
) -> list[dict[str, Any]]:
    """Return the parameters of PutMetricAlarm for all alarms of environments.

    :param env_names: the environments, in their order.
    :param max_workers: the maximum number of workers by environment, MaxWorkers of GetEnvironment; an environment
        without it has no alarm ``workers-at-maximum``.
    :param topics: ARNs of SNS topics that are notified when an alarm starts and ends; up to five.
    :param thresholds: other thresholds, by the key of an alarm, such as ``{"scheduler-cpu": 80}``.
    :param without: keys of alarms to leave out.
    :raises MwaaInputError: CloudWatch would reject something, or there is no alarm with a key.
    """
    names = check_env_names(env_names)
    told = _checked_topics(topics)
    alarms = _chosen(thresholds or {}, list(without))
    requests = []
    for env_name in names:
        workers = (max_workers or {}).get(env_name)
        for alarm in alarms:
            if alarm.threshold is not None:
                requests.append(alarm.request(env_name, told))
            elif workers is not None:
                requests.append(replace(alarm, threshold=float(workers)).request(env_name, told))
    return requests


def template(requests: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return alarms as a CloudFormation template.

    :param requests: the result of :func:`alarm_requests`.
    :raises MwaaInputError: there are more alarms than CloudFormation accepts in one template.
    """
    resources = {
        logical_id(request["AlarmName"]): {"Type": "AWS::CloudWatch::Alarm", "Properties": dict(request)}
        for request in requests
    }
    if len(resources) > MAX_RESOURCES:
        raise MwaaInputError(
            f"{len(resources)} alarms: CloudFormation accepts {MAX_RESOURCES} in a template. Name fewer "
            "environments in one."
        )
    made = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Alarms on Amazon MWAA environments, written by airflow-mwaa.",
        "Resources": resources,
    }
    if len(json.dumps(made, indent=2)) > MAX_TEMPLATE_BYTES:
        raise MwaaInputError(
            f"{len(resources)} alarms: the template has more than {MAX_TEMPLATE_BYTES:,} bytes, which "
            "CloudFormation rejects. Name fewer environments in one."
        )
    return made


def logical_id(name: str) -> str:
    """Return a name for CloudFormation that is deterministic and different for each name."""
    letters = "".join(part[:1].upper() + part[1:] for part in re.split(r"[^0-9A-Za-z]+", name))
    return f"{letters[:200]}{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _chosen(thresholds: Mapping[str, float], without: list[str]) -> list[Alarm]:
    known = [alarm.key for alarm in ALARMS]
    for key in [*thresholds, *without]:
        if key not in known:
            raise MwaaInputError(f"No such alarm: {key[:80]!r}. Give one of {', '.join(known)}.")
    for key, value in thresholds.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not -1e300 < value < 1e300:
            raise MwaaInputError(f"The threshold of alarm {key!r} must be a number, not {str(value)[:80]!r}.")
    return [
        replace(alarm, threshold=float(thresholds[alarm.key])) if alarm.key in thresholds else alarm
        for alarm in ALARMS
        if alarm.key not in without
    ]


def _checked_topics(topics: Iterable[str]) -> list[str]:
    found = [topics] if isinstance(topics, str) else list(topics)
    for topic in found:
        if not isinstance(topic, str) or not _TOPIC.fullmatch(topic):
            raise MwaaInputError(
                f"{str(topic)[:120]!r} is not the ARN of an SNS topic. Give one such as "
                "arn:aws:sns:eu-west-1:123456789012:on-call."
            )
    if len(found) > 5:
        raise MwaaInputError(f"{len(found)} SNS topics: an alarm accepts 5. Give fewer.")
    return found
