# SPDX-License-Identifier: Apache-2.0
"""The metrics of MWAA are those of the user guide's tables, and the docs agree with the package."""

from __future__ import annotations

import pytest

from airflow_mwaa_provider.monitoring.mwaa_metrics import AIRFLOW, METRICS, MwaaMetric, find
from tests.monitoring.doc_tables import row, rows

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("namespace", "name", "dimensions"),
    [
        ("AWS/MWAA", "QueuedTasks", {"Function": "Executor", "Environment": "e"}),
        ("AmazonMWAA", "QueuedTasks", {"Function": "Scheduler", "Environment": "e"}),
        ("AmazonMWAA", "QueuedTasks", {"Function": "Executor"}),
        ("AmazonMWAA", "QueueTasks", {"Function": "Executor", "Environment": "e"}),
    ],
)
def test_a_metric_that_there_is_not_is_found_out(namespace: str, name: str, dimensions: dict[str, str]) -> None:
    assert find(namespace, name, dimensions) is None


TABLES = {
    "Function: Scheduler": "SLAMissed FailedSLACallback Updates Orphaned FilePathQueueUpdateCount CriticalSectionBusy "
    "FailedSLAEmailAttempts OtherCallbackCount SchedulerHeartbeat SlaCallbackCount TasksKilledExternally "
    "TriggeredDagRuns OrphanedTasksAdopted OrphanedTasksCleared TasksExecutable TasksPending TasksRunning "
    "TasksStarving TasksWithoutDagRun CriticalSectionDuration CriticalSectionQueryDuration SchedulerLoopDuration",
    "Function: DAG Processing": "DagBagSize ManagerStalls Processes DAGFileRefreshError ImportErrors TotalParseTime "
    "ProcessorTimeouts CollectDBDags",
    "Function: Celery": "FailedCeleryTaskExecution TaskTimeoutError",
    "Function: Executor": "OpenSlots QueuedTasks RunningTasks",
    "Function: Trigger": "TriggersSucceeded TriggersFailed TriggersBlockedMainThread",
    "Function: Triggerer": "TriggerHeartbeat",
    "Function: Trigger, HostName: {hostname}": "TriggersRunning",
    "Function: Smart Sensor Operator": "ExceptionFailures ExecutedTasks InfraFailures LoadedTasks PokedExceptions "
    "PokedSuccess PokedTasks",
    "DAG: All": "DagCallbackExceptions",
    "DAG: All, Task: All": "StartedTaskInstances TaskInstancePreviouslySucceeded TaskInstanceFailures "
    "TaskInstanceSuccesses ZombiesKilled",
    "DAG: {dag_id}": "TaskRemovedFromDAG TaskRestoredToDAG DAGDependencyCheck DAGDurationFailed DAGDurationSuccess "
    "DAGScheduleDelay FirstTaskSchedulingDelay",
    "DAG: {dag_id}, Task: {task_id}": "TaskCpuUsage TaskMemoryUsage TaskInstanceDuration TaskInstanceQueuedDuration "
    "TaskInstanceScheduledDuration",
    "DAG: {dag_id}, Task: {task_id}, State: {state}": "TaskInstanceFinished",
    "DAG Filename: {dag_filename}": "DAGFileProcessingLastRunSecondsAgo DAGFileProcessingLastNumOfDbQueries "
    "DAGFileProcessingLastDuration",
    "Job: {job_name}": "JobEnd JobHeartbeatFailure JobStart",
    "Operator: {operator_name}": "OperatorFailures OperatorSuccesses TaskInstanceCreatedUsingOperator",
    "Pool: {pool_name}": "PoolDeferredSlots PoolFailures PoolStarvingTasks PoolOpenSlots PoolQueuedSlots "
    "PoolRunningSlots PoolScheduledSlots",
}
"""The user guide's tables of Airflow's metrics, by dimension."""


def test_the_tables_of_airflows_metrics_are_the_guides() -> None:
    found: dict[str, set[str]] = {}
    for metric in METRICS:
        if metric.namespace == "AmazonMWAA":
            dimensions = ", ".join(f"{name}: {value}" for name, value in metric.dimensions.items())
            found.setdefault(dimensions, set()).add(metric.name)
    assert found == {dimensions: set(names.split()) for dimensions, names in TABLES.items()}


def test_no_metric_is_in_the_tables_twice() -> None:
    keys = [(metric.namespace, metric.name, tuple(metric.dimensions)) for metric in METRICS]
    assert len(keys) == len(set(keys)) == 100


def versions(metric: MwaaMetric) -> str:
    parts = [f"from {metric.since}" if metric.since else "", f"to {metric.until}" if metric.until else ""]
    return " ".join(part for part in parts if part)


def metric_row(metric: MwaaMetric) -> str:
    dimensions = ", ".join(f"{name}: {value}" for name, value in metric.dimensions.items())
    cells = [f"`{metric.name}`", metric.meaning, metric.unit, f"`{dimensions}`" if dimensions else ""]
    if metric.namespace == AIRFLOW:
        cells += [f"`{metric.airflow_name}`", versions(metric)]
    return row(*cells)


def test_the_table_of_metrics() -> None:
    assert rows("mwaa-metrics.md") == [metric_row(metric) for metric in METRICS]
