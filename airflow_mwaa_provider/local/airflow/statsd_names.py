# SPDX-License-Identifier: Apache-2.0
"""Convert Airflow's StatsD metrics to MWAA's names, units and dimensions in CloudWatch.

Ids are separated by dots: the first part is the DAG's, all others are the task's. A DAG id that contains a dot is split
there; what MWAA does with one is unproven.

Source: MWAA's user guide, "Apache Airflow environment metrics in CloudWatch". Names that Airflow 3 changed are listed
beside those of the guide's table; that MWAA publishes them under the same names is unproven.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.machine.metric_publishing import Datum, Statistics
from airflow_mwaa_provider.local.machine.statsd import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_mwaa_provider.local.machine.statsd import Series

NAMESPACE = "AmazonMWAA"
DEFAULT_PREFIX = "airflow"
"""Of ``metrics.statsd_prefix``."""
_UNITS = {Kind.COUNTER: "Count", Kind.GAUGE: "Count", Kind.TIMER: "Milliseconds"}
_SECONDS = ("TotalParseTime", "DAGFileProcessingLastRunSecondsAgo", "DAGFileProcessingLastDuration")
_TIMES_PER = {"Seconds": 1_000.0}
"""Milliseconds, StatsD's unit of time."""
_PERCENT = ("TaskCpuUsage", "TaskMemoryUsage")

_OF_FUNCTIONS: Mapping[str, Mapping[str, str]] = {
    "Scheduler": {
        "sla_missed": "SLAMissed",
        "sla_callback_notification_failure": "FailedSLACallback",
        "sla_email_notification_failure": "FailedSLAEmailAttempts",
        "dataset.updates": "Updates",
        "asset.updates": "Updates",
        "dataset.orphaned": "Orphaned",
        "asset.orphaned": "Orphaned",
        "dataset.triggered_dagruns": "TriggeredDagRuns",
        "asset.triggered_dagruns": "TriggeredDagRuns",
        "dag_processing.file_path_queue_update_count": "FilePathQueueUpdateCount",
        "dag_processing.other_callback_count": "OtherCallbackCount",
        "dag_processing.sla_callback_count": "SlaCallbackCount",
        "scheduler.critical_section_busy": "CriticalSectionBusy",
        "scheduler.critical_section_duration": "CriticalSectionDuration",
        "scheduler.critical_section_query_duration": "CriticalSectionQueryDuration",
        "scheduler.scheduler_loop_duration": "SchedulerLoopDuration",
        "scheduler_heartbeat": "SchedulerHeartbeat",
        "scheduler.orphaned_tasks.adopted": "OrphanedTasksAdopted",
        "scheduler.orphaned_tasks.cleared": "OrphanedTasksCleared",
        "scheduler.tasks.executable": "TasksExecutable",
        "scheduler.tasks.killed_externally": "TasksKilledExternally",
        "scheduler.tasks.running": "TasksRunning",
        "scheduler.tasks.starving": "TasksStarving",
        "scheduler.tasks.without_dagrun": "TasksWithoutDagRun",
    },
    "DAG Processing": {
        "collect_db_dags": "CollectDBDags",
        "dag_file_refresh_error": "DAGFileRefreshError",
        "dag_processing.import_errors": "ImportErrors",
        "dag_processing.manager_stalls": "ManagerStalls",
        "dag_processing.processes": "Processes",
        "dag_processing.processor_timeouts": "ProcessorTimeouts",
        "dag_processing.total_parse_time": "TotalParseTime",
        "dagbag_size": "DagBagSize",
    },
    "Executor": {
        "executor.open_slots": "OpenSlots",
        "executor.queued_tasks": "QueuedTasks",
        "executor.running_tasks": "RunningTasks",
    },
    "Trigger": {
        "triggers.blocked_main_thread": "TriggersBlockedMainThread",
        "triggers.failed": "TriggersFailed",
        "triggers.succeeded": "TriggersSucceeded",
    },
    "Triggerer": {"triggerer_heartbeat": "TriggerHeartbeat"},
}
_ALL_TASKS = (("DAG", "All"), ("Task", "All"))
_OF_ALL_TASKS = {
    "previously_succeeded": "TaskInstancePreviouslySucceeded",
    "ti_failures": "TaskInstanceFailures",
    "ti_successes": "TaskInstanceSuccesses",
    "zombies_killed": "ZombiesKilled",
    "task_instances_without_heartbeats_killed": "ZombiesKilled",
}
_DAG = (("DAG", "{dag}"),)
_TASK = (("DAG", "{dag}"), ("Task", "{task}"))
_FILE = (("DAG Filename", "{file}"),)
_JOB = (("Job", "{job}"),)
_OPERATOR = (("Operator", "{operator}"),)
_POOL = (("Pool", "{pool}"),)
_WITH_IDS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    (r"ti\.start\.{dag}\.{task}", "StartedTaskInstances", _ALL_TASKS),
    (r"ti\.finish\.{dag}\.{task}\.{state}", "TaskInstanceFinished", (*_TASK, ("State", "{state}"))),
    (r"cpu\.usage\.{dag}\.{task}", "TaskCpuUsage", _TASK),
    (r"mem\.usage\.{dag}\.{task}", "TaskMemoryUsage", _TASK),
    (r"dag\.{dag}\.{task}\.duration", "TaskInstanceDuration", _TASK),
    (r"dag\.{dag}\.{task}\.queued_duration", "TaskInstanceQueuedDuration", _TASK),
    (r"dag\.{dag}\.{task}\.scheduled_duration", "TaskInstanceScheduledDuration", _TASK),
    (r"dagrun\.dependency-check\.{last_dag}", "DAGDependencyCheck", _DAG),
    (r"dagrun\.duration\.failed\.{last_dag}", "DAGDurationFailed", _DAG),
    (r"dagrun\.duration\.success\.{last_dag}", "DAGDurationSuccess", _DAG),
    (r"dagrun\.schedule_delay\.{last_dag}", "DAGScheduleDelay", _DAG),
    (r"dagrun\.{last_dag}\.first_task_scheduling_delay", "FirstTaskSchedulingDelay", _DAG),
    (r"task_removed_from_dag\.{last_dag}", "TaskRemovedFromDAG", _DAG),
    (r"task_restored_to_dag\.{last_dag}", "TaskRestoredToDAG", _DAG),
    (r"dag_processing\.last_run\.seconds_ago\.{file}", "DAGFileProcessingLastRunSecondsAgo", _FILE),
    (r"dag_processing\.last_duration\.{file}", "DAGFileProcessingLastDuration", _FILE),
    (r"dag_processing\.last_num_of_db_queries\.{file}", "DAGFileProcessingLastNumOfDbQueries", _FILE),
    (r"{job}_start", "JobStart", _JOB),
    (r"{job}_end", "JobEnd", _JOB),
    (r"{job}_heartbeat_failure", "JobHeartbeatFailure", _JOB),
    (r"operator_failures_{operator}", "OperatorFailures", _OPERATOR),
    (r"operator_successes_{operator}", "OperatorSuccesses", _OPERATOR),
    (r"task_instance_created[-_]{operator}", "TaskInstanceCreatedUsingOperator", _OPERATOR),
    (r"pool\.deferred_slots\.{pool}", "PoolDeferredSlots", _POOL),
    (r"pool\.open_slots\.{pool}", "PoolOpenSlots", _POOL),
    (r"pool\.queued_slots\.{pool}", "PoolQueuedSlots", _POOL),
    (r"pool\.running_slots\.{pool}", "PoolRunningSlots", _POOL),
    (r"pool\.scheduled_slots\.{pool}", "PoolScheduledSlots", _POOL),
    (r"pool\.starving_tasks\.{pool}", "PoolStarvingTasks", _POOL),
    (r"triggers\.running\.{host}", "TriggersRunning", (("Function", "Trigger"), ("HostName", "{host}"))),
)
_PARTS = {
    **dict.fromkeys(("dag", "state", "job"), "[^.]+"),
    **dict.fromkeys(("task", "file", "operator", "pool", "host"), ".+"),
}


@dataclass(frozen=True)
class Rule:
    """An Airflow metric that MWAA publishes.

    :param pattern: matches Airflow's name, without the prefix.
    :param dimensions: names and values besides ``Environment``; a value in braces is a group of the pattern.
    """

    pattern: re.Pattern[str]
    name: str
    dimensions: tuple[tuple[str, str], ...]

    def unit(self, kind: Kind) -> str:
        """Return its unit in CloudWatch."""
        return "Seconds" if self.name in _SECONDS else "Percent" if self.name in _PERCENT else _UNITS[kind]


def _compiled(pattern: str) -> re.Pattern[str]:
    for part, text in _PARTS.items():
        pattern = pattern.replace(f"{{{part}}}", f"(?P<{part}>{text})")
    return re.compile(pattern.replace("{last_dag}", "(?P<dag>.+)"))


RULES: tuple[Rule, ...] = (
    *(
        Rule(re.compile(re.escape(airflow_name)), name, (("Function", function),))
        for function, names in _OF_FUNCTIONS.items()
        for airflow_name, name in names.items()
    ),
    Rule(re.compile(r"dag\.callback_exceptions"), "DagCallbackExceptions", (("DAG", "All"),)),
    *(Rule(re.compile(re.escape(airflow_name)), name, _ALL_TASKS) for airflow_name, name in _OF_ALL_TASKS.items()),
    *(Rule(_compiled(pattern), name, dimensions) for pattern, name, dimensions in _WITH_IDS),
)
"""All Airflow metrics that the local MWAA publishes."""


def translate(
    taken: Mapping[tuple[str, Kind], Series],
    env_name: str,
    prefix: str = DEFAULT_PREFIX,
    *,
    is_airflow_3: bool = True,
) -> list[Datum]:
    """Convert Airflow's metrics to MWAA's; those that MWAA does not publish are left out.

    :param prefix: Airflow's option ``metrics.statsd_prefix``.
    :param is_airflow_3: Airflow 3 reports the parsing time of a file in seconds, labeled as milliseconds.
    """
    begin = f"{prefix}." if prefix else ""
    added: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[tuple[Kind, Series]]] = {}
    for (full_name, kind), series in taken.items():
        if full_name.startswith(begin):
            for name, dimensions, unit in _matches(full_name.removeprefix(begin), kind):
                key = (name, unit, (*dimensions, ("Environment", env_name)))
                added.setdefault(key, []).append((kind, series))
    return [
        Datum(NAMESPACE, name, unit, dimensions, _value(reported, 1.0 if is_airflow_3 else _TIMES_PER.get(unit, 1.0)))
        for (name, unit, dimensions), reported in added.items()
    ]


def _matches(name: str, kind: Kind) -> Iterator[tuple[str, tuple[tuple[str, str], ...], str]]:
    for rule in RULES:
        found = rule.pattern.fullmatch(name)
        if found is not None:
            parts = found.groupdict()
            dimensions = tuple((key, value.format_map(parts)) for key, value in rule.dimensions)
            yield rule.name, dimensions, rule.unit(kind)
            return


def _value(reported: list[tuple[Kind, Series]], scale: float) -> float | Statistics:
    """Return the sum of a counter, the last value of a gauge, or the statistics of a timer divided by a scale."""
    kind = reported[0][0]
    if kind is Kind.COUNTER:
        return sum(series.total for _, series in reported)
    if kind is Kind.GAUGE:
        return reported[-1][1].total
    return Statistics(
        sum(series.count for _, series in reported),
        sum(series.total for _, series in reported) / scale,
        min(series.minimum for _, series in reported) / scale,
        max(series.maximum for _, series in reported) / scale,
    )
