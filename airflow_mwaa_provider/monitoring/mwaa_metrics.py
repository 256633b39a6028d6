# SPDX-License-Identifier: Apache-2.0
"""The metrics that MWAA publishes to CloudWatch, as data.

Two namespaces: ``AmazonMWAA`` has Airflow's own StatsD metrics, ``AWS/MWAA`` those of containers, queue, database and
load balancer. All have the dimension ``Environment``, which is not repeated here.

Source: the MWAA user guide of 2026, "Apache Airflow environment metrics in CloudWatch" and "Container, queue, and
database metrics for Amazon MWAA". For ``AWS/MWAA``, the guide only names groups: the dimensions ``Cluster``,
``DatabaseRole`` and their values are those that environments publish; queue and load balancer have only
``Environment``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AIRFLOW", "CLUSTERS", "CONTAINERS", "METRICS", "MwaaMetric", "find"]

AIRFLOW = "AmazonMWAA"
CONTAINERS = "AWS/MWAA"
CLUSTERS = ("Scheduler", "BaseWorker", "AdditionalWorker", "WebServer", "AdditionalWebservers")
"""Values of the dimension ``Cluster``."""


@dataclass(frozen=True)
class MwaaMetric:
    """A metric that MWAA publishes.

    :param namespace: ``AmazonMWAA`` or ``AWS/MWAA``.
    :param name: its name in CloudWatch.
    :param unit: CloudWatch's name of the unit, such as ``"Count"``; the guide's words if CloudWatch has none.
    :param dimensions: names and values besides ``Environment``; a value in braces stands for any.
    :param meaning: what it counts or measures.
    :param airflow_name: Airflow's own name of it.
    :param since: the first Airflow version that has it; empty for all.
    :param until: the last Airflow version that has it; empty if the newest does.
    """

    namespace: str
    name: str
    unit: str
    dimensions: Mapping[str, str] = field(hash=False)
    meaning: str
    airflow_name: str = ""
    since: str = ""
    until: str = ""

    def has(self, dimensions: Mapping[str, str]) -> bool:
        """Return whether it is published with exactly these dimensions, including ``Environment``."""
        own = {**self.dimensions, "Environment": "{env_name}"}
        return own.keys() == dimensions.keys() and all(
            value == own[name] or own[name].startswith("{") for name, value in dimensions.items()
        )


_SCHEDULER = {"Function": "Scheduler"}
_PROCESSING = {"Function": "DAG Processing"}
_EXECUTOR = {"Function": "Executor"}
_CELERY = {"Function": "Celery"}
_TRIGGER = {"Function": "Trigger"}
_SMART_SENSOR = {"Function": "Smart Sensor Operator"}
_ALL_DAGS = {"DAG": "All"}
_ALL_TASKS = {"DAG": "All", "Task": "All"}
_DAG = {"DAG": "{dag_id}"}
_TASK = {"DAG": "{dag_id}", "Task": "{task_id}"}
_FILE = {"DAG Filename": "{dag_filename}"}
_JOB = {"Job": "{job_name}"}
_OPERATOR = {"Operator": "{operator_name}"}
_POOL = {"Pool": "{pool_name}"}

_COUNTERS = (
    ("SLAMissed", "sla_missed", _SCHEDULER, "missed SLAs", "2.4.3", "2.10.3"),
    ("FailedSLACallback", "sla_callback_notification_failure", _SCHEDULER,
     "SLA callbacks that failed", "2.4.3", "2.10.3"),
    ("Updates", "dataset.updates", _SCHEDULER, "datasets updated", "2.6.3"),
    ("Orphaned", "dataset.orphaned", _SCHEDULER, "datasets that no DAG refers to", "2.6.3"),
    ("FailedCeleryTaskExecution", "celery.execute_command.failure", _CELERY,
     "commands that Celery could not run", "2.4.3"),
    ("FilePathQueueUpdateCount", "dag_processing.file_path_queue_update_count", _SCHEDULER,
     "scans for DAG files", "2.6.3"),
    ("CriticalSectionBusy", "scheduler.critical_section_busy", _SCHEDULER, "times another scheduler held the lock"),
    ("DagBagSize", "dagbag_size", _PROCESSING, "DAGs found"),
    ("DagCallbackExceptions", "dag.callback_exceptions", _ALL_DAGS, "DAG callbacks that raised an exception"),
    ("FailedSLAEmailAttempts", "sla_email_notification_failure", _SCHEDULER,
     "SLA e-mails that failed", "", "2.11.2"),
    ("TaskInstanceFinished", "ti.finish.{dag_id}.{task_id}.{state}", {**_TASK, "State": "{state}"},
     "task instances ended, by state"),
    ("JobEnd", "{job_name}_end", _JOB, "jobs ended"),
    ("JobHeartbeatFailure", "{job_name}_heartbeat_failure", _JOB, "job heartbeats that failed"),
    ("JobStart", "{job_name}_start", _JOB, "jobs started"),
    ("ManagerStalls", "dag_processing.manager_stalls", _PROCESSING, "times the DAG processor stalled"),
    ("OperatorFailures", "operator_failures_{operator_name}", _OPERATOR, "failed attempts of an operator's tasks"),
    ("OperatorSuccesses", "operator_successes_{operator_name}", _OPERATOR, "an operator's tasks that succeeded"),
    ("OtherCallbackCount", "dag_processing.other_callback_count", _SCHEDULER,
     "callbacks other than SLA callbacks", "2.6.3"),
    ("Processes", "dag_processing.processes", _PROCESSING, "processes that parse DAG files"),
    ("SchedulerHeartbeat", "scheduler_heartbeat", _SCHEDULER, "heartbeats of the schedulers"),
    ("StartedTaskInstances", "ti.start.{dag_id}.{task_id}", _ALL_TASKS, "task instances started"),
    ("SlaCallbackCount", "dag_processing.sla_callback_count", _SCHEDULER, "SLA callbacks", "2.6.3"),
    ("TasksKilledExternally", "scheduler.tasks.killed_externally", _SCHEDULER, "tasks killed from outside Airflow"),
    ("TaskTimeoutError", "celery.task_timeout_error", _CELERY, "timeouts while handing a task to Celery"),
    ("TaskInstanceCreatedUsingOperator", "task_instance_created-{operator_name}", _OPERATOR,
     "task instances created from an operator"),
    ("TaskInstancePreviouslySucceeded", "previously_succeeded", _ALL_TASKS, "task instances that had succeeded before"),
    ("TaskInstanceFailures", "ti_failures", _ALL_TASKS, "failed attempts of task instances"),
    ("TaskInstanceSuccesses", "ti_successes", _ALL_TASKS, "task instances that succeeded"),
    ("TaskRemovedFromDAG", "task_removed_from_dag.{dag_id}", _DAG, "tasks removed from their DAG"),
    ("TaskRestoredToDAG", "task_restored_to_dag.{dag_id}", _DAG, "tasks restored to their DAG"),
    ("TriggersSucceeded", "triggers.succeeded", _TRIGGER, "triggers that fired", "2.7.2"),
    ("TriggersFailed", "triggers.failed", _TRIGGER, "triggers that failed", "2.7.2"),
    ("TriggersBlockedMainThread", "triggers.blocked_main_thread", _TRIGGER,
     "triggers that blocked the triggerer", "2.7.2"),
    ("TriggerHeartbeat", "triggerer_heartbeat", {"Function": "Triggerer"}, "heartbeats of the triggerer", "2.8.1"),
    ("ZombiesKilled", "zombies_killed", _ALL_TASKS, "tasks failed because their process had disappeared"),
)  # fmt: skip

_GAUGES = (
    ("DAGFileRefreshError", "dag_file_refresh_error", _PROCESSING, "DAG files that failed to load"),
    ("ImportErrors", "dag_processing.import_errors", _PROCESSING, "DAG files with an import error"),
    ("ExceptionFailures", "smart_sensor_operator.exception_failures", _SMART_SENSOR, "failures due to an exception"),
    ("ExecutedTasks", "smart_sensor_operator.executed_tasks", _SMART_SENSOR, "tasks run"),
    ("InfraFailures", "smart_sensor_operator.infra_failures", _SMART_SENSOR, "failures of the infrastructure"),
    ("LoadedTasks", "smart_sensor_operator.loaded_tasks", _SMART_SENSOR, "tasks loaded"),
    ("TriggeredDagRuns", "dataset.triggered_dagruns", _SCHEDULER, "runs started by datasets", "2.6.3"),
    ("TriggersRunning", "triggers.running.{hostname}", {**_TRIGGER, "HostName": "{hostname}"},
     "running triggers", "2.7.2"),
    ("PoolDeferredSlots", "pool.deferred_slots.{pool_name}", _POOL, "slots of deferred tasks", "2.7.2"),
    ("OpenSlots", "executor.open_slots", _EXECUTOR, "free slots of the executor"),
    ("OrphanedTasksAdopted", "scheduler.orphaned_tasks.adopted", _SCHEDULER, "tasks adopted from another scheduler"),
    ("OrphanedTasksCleared", "scheduler.orphaned_tasks.cleared", _SCHEDULER,
     "tasks of another scheduler that were reset"),
    ("PokedExceptions", "smart_sensor_operator.poked_exception", _SMART_SENSOR, "pokes that raised an exception"),
    ("PokedSuccess", "smart_sensor_operator.poked_success", _SMART_SENSOR, "pokes that succeeded"),
    ("PokedTasks", "smart_sensor_operator.poked_tasks", _SMART_SENSOR, "tasks poked"),
    ("PoolFailures", "pool.open_slots.{pool_name}", _POOL, "free slots of a pool, according to the guide"),
    ("PoolStarvingTasks", "pool.starving_tasks.{pool_name}", _POOL, "tasks waiting for a slot of a pool"),
    ("PoolOpenSlots", "pool.open_slots.{pool_name}", _POOL, "free slots of a pool"),
    ("PoolQueuedSlots", "pool.queued_slots.{pool_name}", _POOL, "slots of queued tasks"),
    ("PoolRunningSlots", "pool.running_slots.{pool_name}", _POOL, "slots of running tasks"),
    ("PoolScheduledSlots", "pool.scheduled_slots.{pool_name}", _POOL, "slots of scheduled tasks", "2.10.1"),
    ("ProcessorTimeouts", "dag_processing.processor_timeouts", _PROCESSING, "DAG files whose parsing took too long"),
    ("QueuedTasks", "executor.queued_tasks", _EXECUTOR, "queued tasks of the executor"),
    ("RunningTasks", "executor.running_tasks", _EXECUTOR, "running tasks of the executor"),
    ("TasksExecutable", "scheduler.tasks.executable", _SCHEDULER, "tasks that could be queued"),
    ("TasksPending", "scheduler.tasks.pending", _SCHEDULER, "tasks waiting in the executor", "", "2.1"),
    ("TasksRunning", "scheduler.tasks.running", _SCHEDULER, "tasks running in the executor"),
    ("TasksStarving", "scheduler.tasks.starving", _SCHEDULER, "tasks that find no free slot"),
    ("TasksWithoutDagRun", "scheduler.tasks.without_dagrun", _SCHEDULER, "tasks whose run no longer exists"),
    ("DAGFileProcessingLastNumOfDbQueries", "dag_processing.last_num_of_db_queries.{dag_filename}", _FILE,
     "database queries of the last parsing", "2.10.1"),
)  # fmt: skip

_SECONDS = (
    ("TotalParseTime", "dag_processing.total_parse_time", _PROCESSING, "time to parse all DAG files once"),
    ("DAGFileProcessingLastRunSecondsAgo", "dag_processing.last_run.seconds_ago.{dag_filename}", _FILE,
     "time since the last parsing"),
    ("DAGFileProcessingLastDuration", "dag_processing.last_duration.{dag_filename}", _FILE, "time of the last parsing"),
)  # fmt: skip

_PERCENT = (
    ("TaskCpuUsage", "cpu.usage.{dag_id}.{task_id}", _TASK, "CPU of a task", "2.10.1"),
    ("TaskMemoryUsage", "mem.usage.{dag_id}.{task_id}", _TASK, "memory of a task", "2.10.1"),
)

_MILLISECONDS = (
    ("CollectDBDags", "collect_db_dags", _PROCESSING, "time to read the serialized DAGs"),
    ("CriticalSectionDuration", "scheduler.critical_section_duration", _SCHEDULER, "time that the lock was held"),
    ("CriticalSectionQueryDuration", "scheduler.critical_section_query_duration", _SCHEDULER,
     "time of the query under the lock", "2.5.1"),
    ("DAGDependencyCheck", "dagrun.dependency-check.{dag_id}", _DAG, "time to check dependencies"),
    ("DAGDurationFailed", "dagrun.duration.failed.{dag_id}", _DAG, "duration of failed runs"),
    ("DAGDurationSuccess", "dagrun.duration.success.{dag_id}", _DAG, "duration of runs that succeeded"),
    ("DAGScheduleDelay", "dagrun.schedule_delay.{dag_id}", _DAG, "how late runs start"),
    ("FirstTaskSchedulingDelay", "dagrun.{dag_id}.first_task_scheduling_delay", _DAG,
     "how late their first task starts"),
    ("SchedulerLoopDuration", "scheduler.scheduler_loop_duration", _SCHEDULER, "time of a scheduler's loop", "2.5.1"),
    ("TaskInstanceDuration", "dag.{dag_id}.{task_id}.duration", _TASK, "duration of a task"),
    ("TaskInstanceQueuedDuration", "dag.{dag_id}.{task_id}.queued_duration", _TASK, "time in the queue", "2.7.2"),
    ("TaskInstanceScheduledDuration", "dag.{dag_id}.{task_id}.scheduled_duration", _TASK, "time scheduled", "2.7.2"),
)  # fmt: skip

_CLUSTER = {"Cluster": "{cluster}"}
_DATABASE = {"DatabaseRole": "{WRITER or READER}"}

_OF_CONTAINERS: tuple[tuple[str, str, Mapping[str, str], str], ...] = (
    ("CPUUtilization", "Percent", _CLUSTER, "CPU of the containers of a component; its sample count is their number"),
    ("MemoryUtilization", "Percent", _CLUSTER, "memory of the containers of a component"),
    ("EphemeralStorageUtilized", "Megabytes", _CLUSTER, "disk space in use"),
    ("EphemeralStorageReserved", "Megabytes", _CLUSTER, "disk space available in total"),
    ("NetworkTxBytes", "Bytes/Second", _CLUSTER, "bytes sent"),
    ("NetworkRxBytes", "Bytes/Second", _CLUSTER, "bytes received"),
    ("CPUUtilization", "Percent", _DATABASE, "CPU of the database"),
    ("DatabaseConnections", "Count", _DATABASE, "connections to the database"),
    ("DiskQueueDepth", "Count", _DATABASE, "requests waiting for the disk"),
    ("FreeableMemory", "Bytes", _DATABASE, "free memory of the database"),
    ("VolumeWriteIOPS", "Count in 5 minutes", _DATABASE, "writes to the storage volume"),
    ("WriteIOPS", "Count/Second", _DATABASE, "writes"),
    ("WriteLatency", "Seconds", _DATABASE, "time of a write"),
    ("WriteThroughput", "Bytes/Second", _DATABASE, "bytes written"),
    ("ApproximateAgeOfOldestTask", "Seconds", {}, "age of the oldest task in the queue"),
    ("RunningTasks", "Count", {}, "tasks that a worker has taken from the queue"),
    ("QueuedTasks", "Count", {}, "tasks in the queue"),
    ("ActiveConnectionCount", "Count", {}, "connections to the web servers' load balancer"),
)


def _of_airflow(
    unit: str,
    name: str,
    airflow_name: str,
    dimensions: Mapping[str, str],
    meaning: str,
    since: str = "",
    until: str = "",
) -> MwaaMetric:
    return MwaaMetric(AIRFLOW, name, unit, dimensions, meaning, airflow_name, since, until)


METRICS: tuple[MwaaMetric, ...] = (
    *(
        _of_airflow(unit, *row)
        for unit, rows in (
            ("Count", _COUNTERS),
            ("Count", _GAUGES),
            ("Seconds", _SECONDS),
            ("Percent", _PERCENT),
            ("Milliseconds", _MILLISECONDS),
        )
        for row in rows
    ),
    *(MwaaMetric(CONTAINERS, name, unit, dimensions, meaning) for name, unit, dimensions, meaning in _OF_CONTAINERS),
)
"""All metrics, Airflow's first, in the guide's order within each kind."""


def find(namespace: str, name: str, dimensions: Mapping[str, str]) -> MwaaMetric | None:
    """Return the metric that MWAA publishes under a name with exactly these dimensions; ``None`` if there is none.

    :param dimensions: all dimensions, including ``Environment``.
    """
    for metric in METRICS:
        if (metric.namespace, metric.name) == (namespace, name) and metric.has(dimensions):
            return metric
    return None
