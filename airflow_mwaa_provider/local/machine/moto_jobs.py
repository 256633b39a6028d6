# SPDX-License-Identifier: Apache-2.0
"""Additions to moto: EMR steps and ECS tasks that start, run and end.

Nothing is executed. What a step or a container is asked to run decides how long it seems to run, and how it ends:
``false`` fails, ``exit N`` ends with exit code N, ``sleep N`` runs for N seconds, anything else succeeds within two
seconds. States follow from the clock when they are read, so that no thread is needed.

Source: the API references of Amazon EMR and Amazon ECS as in botocore 1.43, "Amazon ECS task lifecycle", and "Submit
work to an Amazon EMR cluster". Not simulated: CancelSteps, concurrent steps, idle timeouts, and more than a task's
first container.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moto.ecs import models as ecs
from moto.ecs import responses as ecs_responses
from moto.ecs.exceptions import InvalidParameterException
from moto.emr import models as emr
from moto.emr import responses as emr_responses
from moto.emr.exceptions import ValidationException
from moto.logs.models import logs_backends

if TYPE_CHECKING:
    from collections.abc import Sequence

RUN_S = 2.0
"""How long a step or a container runs that does not say."""
_CLUSTER_S = 1.0
"""How long a cluster is STARTING, BOOTSTRAPPING and TERMINATING."""
_TASK_S = 0.5
"""How long a task is PROVISIONING, PENDING and DEPROVISIONING."""
_KILLED = 143
"""The exit code of a process that SIGTERM ended."""
_ENDED = ("TERMINATING", "TERMINATED", "TERMINATED_WITH_ERRORS")

_OPTIONAL = re.compile(r"(<(LogUri|Ec2KeyName|Ec2SubnetId)>{{ *(cluster\.\w+) *}}</\2>)")

_lock = threading.RLock()


def pretend(command: Sequence[str]) -> tuple[float, int]:
    """Return how many seconds a command seems to run, and its exit code."""
    text = " ".join(command)
    slept = re.search(r"\bsleep (\d+(?:\.\d+)?)\b", text)
    exit_code = re.search(r"\bexit (\d{1,3})\b", text)
    failed = 1 if "false" in command else 0
    return (float(slept[1]) if slept else RUN_S), (int(exit_code[1]) if exit_code else failed)


def add_emr_steps() -> None:
    """Make EMR's clusters start, run their steps one after the other, and end."""
    cluster_class: Any = getattr(emr, "Cluster", None) or vars(emr)["FakeCluster"]
    backend: Any = emr.ElasticMapReduceBackend
    init, add_steps, terminate = cluster_class.__init__, cluster_class.add_steps, cluster_class.terminate

    def started(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self.job_clock = time.time()
        self.failed_step = None
        self.state, self.ready_datetime, self.end_datetime = "STARTING", None, None
        for step in self.steps:
            _set_step(self, step, "PENDING", 0.0)

    def added(self: Any, steps: Any) -> Any:
        if not hasattr(self, "job_clock"):
            return add_steps(self, steps)
        with _lock:
            advance_cluster(self, time.time())
            if self.state in _ENDED:
                raise ValidationException(
                    "A job flow that is shutting down, terminated, or finished may not be modified."
                )
            before = self.state
            made = add_steps(self, steps)
            self.state = before
            for step in made:
                _set_step(self, step, "PENDING", 0.0)
            if before == "WAITING":
                self.job_clock = time.time()
            advance_cluster(self, time.time())
            return made

    def terminated(self: Any) -> None:
        if not hasattr(self, "job_clock"):
            terminate(self)
            return
        with _lock:
            now = time.time()
            advance_cluster(self, now)
            if self.state not in _ENDED:
                _end_cluster(self, now, "Terminated by user request")

    # Older releases of moto answer "None" for what was not set.
    for name in ("DESCRIBE_CLUSTER_TEMPLATE", "DESCRIBE_JOB_FLOWS_TEMPLATE"):
        if text := vars(emr_responses).get(name):
            setattr(emr_responses, name, _OPTIONAL.sub(r"{% if \3 %}\1{% endif %}", text))

    cluster_class.__init__, cluster_class.add_steps, cluster_class.terminate = started, added, terminated
    for name in ("describe_cluster", "describe_step", "describe_job_flows", "list_clusters", "list_steps"):
        setattr(backend, name, _after_clusters(getattr(backend, name)))


def _after_clusters(read: Any) -> Any:
    def read_now(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _lock:
            for cluster in self.clusters.values():
                if hasattr(cluster, "job_clock"):
                    advance_cluster(cluster, time.time())
        return read(self, *args, **kwargs)

    return read_now


def advance_cluster(cluster: Any, now: float) -> None:
    """Bring a cluster and its steps to the states that they have at a time."""
    while True:
        clock = cluster.job_clock
        if cluster.state in ("STARTING", "BOOTSTRAPPING"):
            if now < clock + _CLUSTER_S:
                return
            cluster.job_clock = clock + _CLUSTER_S
            if cluster.state == "STARTING":
                cluster.state = "BOOTSTRAPPING"
                continue
            cluster.state, cluster.ready_datetime = "RUNNING", _stamp(cluster, cluster.job_clock)
        elif cluster.state == "TERMINATING":
            if now >= clock + _CLUSTER_S:
                failed = cluster.failed_step is not None
                cluster.state = "TERMINATED_WITH_ERRORS" if failed else "TERMINATED"
                cluster.end_datetime = _stamp(cluster, clock + _CLUSTER_S)
            return
        elif cluster.state not in ("RUNNING", "WAITING") or not _advance_steps(cluster, now):
            return


def _advance_steps(cluster: Any, now: float) -> bool:
    """Return whether anything has changed."""
    step = next((step for step in cluster.steps if step.state in ("RUNNING", "PENDING")), None)
    if step is None:
        if not cluster.keep_job_flow_alive_when_no_steps:
            _end_cluster(cluster, cluster.job_clock, "Steps completed")
            return True
        cluster.state = "WAITING"
        return False
    cluster.state = "RUNNING"
    if step.state == "PENDING":
        _set_step(cluster, step, "RUNNING", cluster.job_clock)
        return True
    seconds, exit_code = pretend(step.args)
    if now < cluster.job_clock + seconds:
        return False
    cluster.job_clock += seconds
    _set_step(cluster, step, "FAILED" if exit_code else "COMPLETED", cluster.job_clock)
    if exit_code:
        step.last_state_change_reason = f"exit code {exit_code}: nothing was run on this machine"
        if step.action_on_failure == "CANCEL_AND_WAIT":
            _cancel_pending(cluster)
        elif step.action_on_failure in ("TERMINATE_CLUSTER", "TERMINATE_JOB_FLOW"):
            cluster.failed_step = step
            _end_cluster(cluster, cluster.job_clock, "Shut down as step failed")
    return True


def _end_cluster(cluster: Any, at: float, reason: str) -> None:
    for step in cluster.steps:
        if step.state == "RUNNING":
            _set_step(cluster, step, "INTERRUPTED", at)
    _cancel_pending(cluster)
    cluster.state, cluster.job_clock, cluster.last_state_change_reason = "TERMINATING", at, reason


def _cancel_pending(cluster: Any) -> None:
    for step in cluster.steps:
        if step.state == "PENDING":
            step.state = "CANCELLED"


def _set_step(cluster: Any, step: Any, state: str, at: float) -> None:
    step.state = state
    stamp = _stamp(cluster, at)
    if state == "PENDING":
        step.start_datetime = step.start_date_time = None
    elif state == "RUNNING":
        step.start_datetime = step.start_date_time = stamp
    else:
        step.end_datetime = step.end_date_time = stamp


def _stamp(cluster: Any, at: float) -> datetime:
    """Return a time as this moto has its times: some have no time zone."""
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=cluster.creation_datetime.tzinfo)


def add_ecs_tasks() -> None:
    """Make ECS tasks start, run and stop, also those of Fargate, whose containers need not have a size."""
    task: Any = ecs.Task
    backend: Any = ecs.EC2ContainerServiceBackend
    init, requirements = task.__init__, backend._calculate_task_resource_requirements
    run, stop, list_tasks, create_service = (
        backend.run_task,
        backend.stop_task,
        backend.list_tasks,
        ecs_responses.EC2ContainerServiceResponse.create_service,
    )

    def started(self: Any, cluster: Any, task_definition: Any, *args: Any, **kwargs: Any) -> None:
        init(self, cluster, task_definition, *args, **kwargs)
        self._definition = task_definition
        self._created = time.time()
        self._stop_asked = None
        self._logged = False
        # Not moto's own: older releases have none, newer ones have an exit code from the beginning.
        first = task_definition.container_definitions[0]
        arn = f"{self.task_arn.replace(':task/', ':container/')}/{uuid.uuid4()}"
        container = {"containerArn": arn, "taskArn": self.task_arn, "name": first["name"], "image": first["image"]}
        self.containers = [{**container, "lastStatus": "PENDING", "networkInterfaces": []}]
        self._status = "PROVISIONING"

    def sized(task_definition: Any) -> Any:
        missing = [
            each
            for each in task_definition.container_definitions
            if not {"memory", "Memory", "memoryReservation", "MemoryReservation"} & set(each)
        ]
        for each in missing:
            each["memory"] = 0
        try:
            return requirements(task_definition)
        finally:
            for each in missing:
                del each["memory"]

    def ran(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _lock:
            return run(self, *args, **kwargs)

    def stopped(self: Any, cluster_str: str, task_str: str, reason: str) -> Any:
        with _lock:
            asked = _find_task(self, task_str)
            if asked is None:
                raise InvalidParameterException("The referenced task was not found.")
            advance_task(asked, time.time())
            if asked.desired_status == "STOPPED":
                return asked
            before = asked._status
            stop(self, cluster_str, task_str, reason)
            asked._status = before
            asked.stopped_reason = reason or "Task stopped by user"
            asked.stop_code = "UserInitiated"
            asked._stop_asked = time.time()
            advance_task(asked, time.time())
            return asked

    def listed(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _lock:
            for tasks in self.tasks.values():
                for each in tasks.values():
                    advance_task(each, time.time())
        return list_tasks(self, *args, **kwargs)

    def with_network(self: Any) -> Any:
        answer = create_service(self)  # older releases of moto forget the network
        network = self._get_param("networkConfiguration")
        if network:
            service = self.ecs_backend._get_service(
                self._get_param("cluster", "default"), self._get_param("serviceName")
            )
            service.network_configuration = network
        return answer

    task.__init__ = started
    task.advance = lambda self: advance_task(self, time.time())
    task.status = property(lambda self: self._status, _set_status)
    backend.run_task, backend.stop_task, backend.list_tasks = ran, stopped, listed
    backend._calculate_task_resource_requirements = staticmethod(sized)
    responses: Any = ecs_responses.EC2ContainerServiceResponse
    responses.create_service = with_network


def _set_status(task: Any, value: str) -> None:
    task._status = value


def _find_task(backend: Any, name: str) -> Any:
    wanted = name.rsplit("/", 1)[-1]
    return next((each for tasks in backend.tasks.values() for each in tasks.values() if each.id == wanted), None)


def advance_task(task: Any, now: float) -> None:
    """Bring a task and its container to the states that they have at a time."""
    with _lock:
        if task._status == "STOPPED":
            return
        seconds, exit_code = pretend(_command(task))
        began = task._created + 2 * _TASK_S
        asked = task._stop_asked
        if asked is None or asked >= began:
            if now >= began and not task._logged:
                task._logged = True
                refused = _log(task)
                if refused:
                    task.stop_code, task.stopped_reason = "TaskFailedToStart", refused
                    _stop_container(task, None)
                    task._status = task.desired_status = "STOPPED"
                    return
        elif task.desired_status != "STOPPED":
            task.desired_status = "STOPPED"
        ends = began + seconds if asked is None else asked
        if now < min(ends, task._created + _TASK_S):
            task._status = "PROVISIONING"
        elif now < min(ends, began):
            task._status = "PENDING"
        elif now < ends:
            task._status = "RUNNING"
            task.containers[0]["lastStatus"] = "RUNNING"
        else:
            task.desired_status = "STOPPED"
            if asked is None:
                task.stop_code, task.stopped_reason = "EssentialContainerExited", "Essential container in task exited"
            _stop_container(task, exit_code if asked is None else _KILLED if asked >= began else None)
            task._status = "DEPROVISIONING" if now < ends + _TASK_S else "STOPPED"


def _stop_container(task: Any, exit_code: int | None) -> None:
    container = task.containers[0]
    container["lastStatus"] = "STOPPED"
    if exit_code is not None:
        container["exitCode"] = exit_code


def _command(task: Any) -> list[str]:
    container = task._definition.container_definitions[0]
    for override in (task.overrides or {}).get("containerOverrides", []):
        if override.get("name") == container["name"] and override.get("command"):
            return [*override["command"]]
    return [*container.get("command", [])]


def _log(task: Any) -> str:
    """Write what the container prints, and return why it cannot start; empty if it can."""
    container = task._definition.container_definitions[0]
    settings = container.get("logConfiguration") or {}
    options = settings.get("options", {})
    if settings.get("logDriver") != "awslogs":
        return ""
    logs = logs_backends[task._account_id][options.get("awslogs-region", task.region_name)]
    group = options["awslogs-group"]
    if group not in logs.groups:
        if options.get("awslogs-create-group") != "true":
            return (
                "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: "
                f"The specified log group does not exist: {group}"
            )
        logs.create_log_group(group, {})
    stream = f"{options.get('awslogs-stream-prefix', 'ecs')}/{container['name']}/{task.id}"
    logs.create_log_stream(group, stream)
    message = f"local MWAA: no container was run; its command is {' '.join(_command(task)) or 'that of the image'}"
    logs.put_log_events(group, stream, [{"timestamp": int(time.time() * 1000), "message": message}])
    return ""
