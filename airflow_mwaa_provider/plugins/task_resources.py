# SPDX-License-Identifier: Apache-2.0
"""Resources by task: what each task instance has used of memory, CPU and disk, in its log and in CloudWatch.

Off until ``mwaa_provider.task_resources_namespace`` names the namespace of the metrics. A listener of Airflow measures
in the task's own process; no DAG has to change.

Every process of Airflow imports this module, so it imports what it needs only where it is used.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin
from pluggy import HookimplMarker

from airflow_mwaa_provider._compat import AIRFLOW_V_3

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mwaa_provider.monitoring.task_resources import TaskWatch
    from airflow_mwaa_provider.monitoring.task_results import TaskResults

__all__ = ["TaskResourcesListener", "TaskResourcesPlugin"]

log = logging.getLogger(__name__)
_MOST_DIGITS = 9
hookimpl = HookimplMarker("airflow")


@contextlib.contextmanager
def _never_fails() -> Iterator[None]:
    """Let a task go on, whatever happens here: an error of a listener fails the task in some versions of Airflow."""
    try:
        yield
    except Exception as error:  # noqa: BLE001
        log.warning("Task resources are missing: %s: %s", type(error).__name__, error)


class TaskResourcesListener:
    """Measures the tasks that this process runs, one after the other.

    :param namespace: namespace of the metrics.
    :param most_tasks: how many tasks of a container have metrics of their own in a day.
    """

    def __init__(self, namespace: str, most_tasks: int) -> None:
        self.namespace = namespace
        self.most_tasks = most_tasks
        self._watch: TaskWatch | None = None
        self._instance: Any = None
        self._results: TaskResults | None = None
        self._variables: dict[str, str] = {}
        atexit.register(self._at_exit)

    @hookimpl
    def on_task_instance_running(self, task_instance: Any) -> None:
        """Begin to measure; report tasks that were killed."""
        with _never_fails():
            self._begin(task_instance)

    @hookimpl
    def on_task_instance_success(self) -> None:
        """End with success."""
        with _never_fails():
            self._end("success")

    @hookimpl
    def on_task_instance_failed(self, task_instance: Any) -> None:
        """End with failure, or before a retry."""
        with _never_fails():
            self._end("up_for_retry" if _state(task_instance) == "up_for_retry" else "failed")

    @hookimpl
    def on_task_instance_skipped(self) -> None:
        """End because the task has skipped itself; since Airflow 3."""
        with _never_fails():
            self._end("skipped")

    @hookimpl
    def before_stopping(self) -> None:
        """End in any other way: deferred, rescheduled, and skipped on Airflow 2.

        Airflow 2 calls it in the process that supervises the task too, and there it reports a task that was killed.
        """
        with _never_fails():
            self._end(None)
            with contextlib.suppress(OSError):  # the task's line has why, or the task has changed its user or root
                self._results = self._results or self._folder()
                if self._tell_killed():
                    self._publish_soon()

    def _at_exit(self) -> None:
        """End a task about which Airflow reports nothing more, such as one of ``airflow tasks test`` on Airflow 2."""
        with _never_fails():
            self._end(None)

    def _begin(self, task_instance: Any) -> None:
        from airflow_mwaa_provider.monitoring.task_resources import TaskTry, TaskWatch

        self._end(None)
        missing = {}
        self._results = None
        try:
            self._results = self._folder()
        except OSError as error:
            missing["published metrics"] = f"{type(error).__name__}: {error}"
        self._variables = dict(os.environ)  # before the task changes them
        self._tell_killed()
        task = TaskTry(
            str(task_instance.dag_id),
            str(task_instance.task_id),
            str(task_instance.run_id),
            int(task_instance.map_index),
            int(task_instance.try_number),
            os.environ.get("AIRFLOW_ENV_NAME"),
        )
        self._instance = task_instance
        self._watch = TaskWatch(task, self._results, missing=missing)
        # Now, because it begins with what this process has: the task may change limits, umask, user.
        self._publish_soon()

    def _folder(self) -> TaskResults:
        from airflow_mwaa_provider.monitoring.task_results import TaskResults

        return TaskResults.of_environment(self.namespace)

    def _end(self, state: str | None) -> None:
        """End what is being measured, if anything is.

        :param state: how it ended; ``None`` asks the task instance.
        """
        watch, self._watch = self._watch, None
        if watch is None:
            return
        if state is None:
            state = _state(self._instance)
            state = "ended" if state in ("", "running", "queued") else state
        self._instance = None
        if watch.end(state) is None or self._results is None:
            return
        failure = self._results.failure()
        if failure:
            log.warning("Task resources of this worker are not published: %s", failure)
        with contextlib.suppress(OSError):  # in case that it has been ended meanwhile
            self._publish_soon()

    def _publish_soon(self) -> None:
        if self._results:
            self._results.publish_soon(self.namespace, self.most_tasks, self._variables or os.environ)

    def _tell_killed(self) -> bool:
        """Report tasks that were killed; return whether there were any."""
        from airflow_mwaa_provider.monitoring.task_resources import killed_line

        samples = self._results.killed(leave_to_parents=not AIRFLOW_V_3) if self._results else []
        for sample in samples:
            log.warning("%s", killed_line(sample))
        return bool(samples)


def _state(task_instance: Any) -> str:
    """Return the state of a task instance; an empty text where it has none."""
    state = getattr(task_instance, "state", None)
    return str(getattr(state, "value", state) or "")


@functools.cache
def _listener() -> TaskResourcesListener | None:
    """Return the listener; ``None`` where the configuration doesn't turn it on."""
    from airflow.configuration import conf

    namespace = str(conf.get("mwaa_provider", "task_resources_namespace", fallback="") or "").strip()
    if not namespace:
        return None
    from airflow_mwaa_provider.exceptions import MwaaInputError

    # The latter for the processes that are forked from this one: each task would import it anew.
    from airflow_mwaa_provider.monitoring import task_resources  # noqa: F401
    from airflow_mwaa_provider.monitoring.metrics import check_namespace

    most = str(conf.get("mwaa_provider", "task_resources_max_tasks", fallback="") or "200").strip()
    try:
        check_namespace(namespace)
        if not most.isdecimal() or len(most) > _MOST_DIGITS:
            raise MwaaInputError("mwaa_provider.task_resources_max_tasks must be a whole number from 0 to 999999999.")
    except MwaaInputError as error:
        # Raised, it would keep Airflow's processes from starting.
        log.error("Task resources stay off: mwaa_provider.task_resources_namespace: %s", error)
        return None
    return TaskResourcesListener(namespace, int(most))


class _WhenConfigured:
    """An attribute of the plugin that is empty unless the plugin is turned on."""

    def __get__(self, instance: object, owner: type) -> list[Any]:
        listener = _listener()
        return [listener] if listener else []


class TaskResourcesPlugin(AirflowPlugin):
    """Adds the listener to every process that runs tasks."""

    name = "mwaa_task_resources"
    listeners = _WhenConfigured()
