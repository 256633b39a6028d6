# SPDX-License-Identifier: Apache-2.0
"""What the sensors of other MWAA environments have in common: which run they wait for, and the three ways to wait."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_mwaa_provider._compat import (
    BaseSensorOperator,
    default_deferrable,
    deferral_errors,
    first_start,
    sensor_timeout,
    skip_exception,
)
from airflow_mwaa_provider.client.parameters import check_seconds, flag, number
from airflow_mwaa_provider.client.waits.blocking import explained
from airflow_mwaa_provider.client.waits.run_wait import Done, RunWait, Wait
from airflow_mwaa_provider.client.waits.task_wait import TaskWait
from airflow_mwaa_provider.client.waits.watcher import Watcher
from airflow_mwaa_provider.exceptions import (
    DagRunFailed,
    DagRunNotFound,
    MwaaError,
    MwaaInputError,
    TaskInstanceFailed,
    WaitTimeout,
)
from airflow_mwaa_provider.hooks.templating import is_rendered_later, known_elements
from airflow_mwaa_provider.operators.base import MwaaEnvironmentOperator, given
from airflow_mwaa_provider.triggers.events import outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from airflow_mwaa_provider._compat import BaseTrigger, Context
    from airflow_mwaa_provider.client.environment import MwaaEnvironment

__all__ = ["POKE_INTERVAL_S", "RemoteSensor", "thawed"]

POKE_INTERVAL_S = 60.0


def thawed(states: Collection[str] | None) -> Collection[str] | None:
    """Return a frozenset as a set, because Airflow renders no templates in a frozenset."""
    return set(states) if isinstance(states, frozenset) else states


class RemoteSensor(MwaaEnvironmentOperator, BaseSensorOperator):
    """What both sensors have in common: which run they wait for, and the three ways to wait."""

    template_fields: Sequence[str] = (
        *MwaaEnvironmentOperator.template_fields,
        "env_name",
        "external_env_name",
        "external_dag_id",
        "external_dag_run_id",
        "success_states",
        "failure_states",
        "deferrable",
        "max_retries",
        "poke_interval",
    )
    text_fields: ClassVar[Collection[str]] = (
        *MwaaEnvironmentOperator.text_fields, "env_name", "external_env_name", "external_dag_id", "external_dag_run_id",
    )  # fmt: skip

    def __init__(
        self,
        *,
        external_dag_id: str,
        external_dag_run_id: str | None = None,
        env_name: str | None = None,
        external_env_name: str | None = None,
        success_states: Collection[str] | None = None,
        failure_states: Collection[str] | None = None,
        check_existence: bool = True,
        deferrable: bool | str | None = None,
        poke_interval: float | timedelta | str = POKE_INTERVAL_S,
        max_retries: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        # Airflow's own sensor accepts no template here.
        interval_s = None if is_rendered_later(poke_interval) else number(poke_interval, "poke_interval", or_zero=True)
        if kwargs.get("timeout") is not None:
            timeout = kwargs["timeout"]
            check_seconds(timeout.total_seconds() if isinstance(timeout, timedelta) else timeout, "timeout")
        super().__init__(poke_interval=POKE_INTERVAL_S if interval_s is None else interval_s, **kwargs)
        if is_rendered_later(poke_interval):
            self.poke_interval: Any = poke_interval
        _, self.external_env_name = given(
            ("env_name", env_name), ("external_env_name", external_env_name), kwargs.get("default_args")
        )
        # Both are template fields, so that a mapped task waits for an XCom that is given to either.
        self.env_name = self.external_env_name
        if self.external_env_name is None:
            raise MwaaInputError("env_name is missing. Name the MWAA environment.")
        self.external_dag_id = external_dag_id
        self.external_dag_run_id = external_dag_run_id
        self.success_states = thawed(success_states)
        self.failure_states = thawed(failure_states)
        self.check_existence = check_existence
        self.deferrable: Any = default_deferrable() if deferrable is None else deferrable
        self.max_retries: Any = max_retries
        self._anchor = datetime.now(UTC)
        self._reached: MwaaEnvironment | None = None
        if not is_rendered_later(max_retries):
            number(max_retries, "max_retries")
        if not is_rendered_later(deferrable):
            flag(deferrable, "deferrable")
        self._check_when_parsed()

    def execute(self, context: Context) -> Any:
        """Wait as any sensor does (``poke`` or ``reschedule``), or in the triggerer."""
        self._read_rendered()
        self._anchor = first_start(self, context)
        if not self.deferrable:
            return super().execute(context)
        self._look_and_defer(self._anchor.timestamp())
        return None

    def execute_again(self, context: Context, event: dict[str, Any] | None = None, *, began_at: float) -> None:  # noqa: ARG002 - Airflow's signature
        """Look for the latest run again, after a deferred pause.

        :param began_at: when the wait began, in seconds since 1970.
        """
        self._read_rendered()
        self._anchor = datetime.fromtimestamp(began_at, UTC)
        self._look_and_defer(began_at)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> None:  # noqa: ARG002 - Airflow's signature
        """Continue after a deferred wait.

        :raises MwaaError: the wait ended without success.
        """
        self._read_rendered()
        outcome = outcome_of(event)
        if isinstance(outcome, Done):
            self._succeed(outcome)
        elif isinstance(outcome.error, WaitTimeout):
            raise self._unless_soft(sensor_timeout(str(outcome.error)))
        else:
            raise self._unless_soft(explained(self._environment(), outcome.error))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after a deferral, or report that Airflow itself has ended it."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except deferral_errors() as error:
            raise self._unless_soft(error) from error

    def poke(self, context: Context) -> bool:  # noqa: ARG002 - Airflow's signature
        """Look once.

        :raises MwaaError: the wait has ended without success. An environment that is unavailable for a while does not
            end it.
        """
        return self._look(time.time()) is None

    # -- within ------------------------------------------------------------------------------------

    def _read_rendered(self) -> None:
        """Read what templates rendered to, which is text, and check it like what is written in the DAG file."""
        self.read_rendered(required=("external_env_name", "external_dag_id"))
        interval_s = number(self.poke_interval, "poke_interval", or_zero=True)
        self.poke_interval = POKE_INTERVAL_S if interval_s is None else interval_s
        self.max_retries = number(self.max_retries, "max_retries")
        self.deferrable = default_deferrable() if self.deferrable is None else flag(self.deferrable, "deferrable")
        self._states()

    def _check_when_parsed(self) -> None:
        """Check the values that are known when the DAG is parsed."""
        raise NotImplementedError

    def _check_states(self, read: Callable[[Any, str], object], **states: Any) -> None:
        """Check states, by the names that they were given under, as far as they are known."""
        if not any(map(is_rendered_later, states.values())):
            self._states()
        for name, value in states.items():
            read(known_elements(value), name)

    def _states(self) -> tuple[frozenset[Any], ...]:
        """Return the states that count as success, as failure, and as neither."""
        raise NotImplementedError

    def _look_and_defer(self, began_at: float) -> None:
        # A wait that is over needs no triggerer.
        going_on = self._look(began_at)
        if isinstance(going_on, Wait):
            # Imported here, because parsing a DAG file needs no trigger.
            from airflow_mwaa_provider.triggers.pause import PauseTrigger

            pause = PauseTrigger(until=time.time() + going_on.delay_s)
            self.defer(trigger=pause, method_name="execute_again", kwargs={"began_at": began_at})
        elif going_on is not None:
            self.defer(trigger=self._trigger(going_on), method_name="execute_complete")

    def _look(self, began_at: float) -> RunWait | TaskWait | Wait | None:
        """Look once. Return the wait if it is not over, and a pause if the run is not known."""
        environment = self._environment()
        try:
            run_id = self._run_id(environment)
        except MwaaError as error:
            return self._look_again(error, began_at)
        wait = self._wait(run_id, began_at)
        seen: Any
        try:
            seen = Watcher(environment).look([wait])[0]
        except MwaaError as error:
            seen = error
        step = wait.step(seen, wait.started_at)
        if isinstance(step, Wait):
            self.log.info("%s: %s", self._what(wait), step.note)
            return wait
        if isinstance(step, Done):
            self._succeed(step)
            return None
        # A run that does not exist at the first look was not deleted during the wait.
        ended = seen if isinstance(seen, DagRunNotFound) else step.error
        raise self._unless_soft(explained(environment, ended))

    def _look_again(self, error: MwaaError, began_at: float) -> Wait:
        """Return the pause before the next look for the latest run, if the error is a passing one."""
        if not error.transient:
            raise self._unless_soft(error)
        left_s = self._deadline_s() - (time.time() - began_at)
        if left_s <= 0:
            timeout = f"The latest run was not found within {self._deadline_s():g} s. The last look failed: {error}"
            raise self._unless_soft(sensor_timeout(timeout)) from error
        self.log.info("Looking for the latest run again: %s", error)
        return Wait(min(max(float(self.poke_interval), error.retry_after_s or 0.0), left_s), str(error))

    def _wait(self, run_id: str, began_at: float) -> RunWait | TaskWait:
        raise NotImplementedError

    def _trigger(self, wait: RunWait | TaskWait) -> BaseTrigger:
        raise NotImplementedError

    def _run_id(self, environment: MwaaEnvironment) -> str:
        """Return the run's id: the given one, or that of the latest run by date that existed when this task began."""
        if self.external_dag_run_id is None:
            runs = environment.get_recent_dag_runs(self.external_dag_id, until=self._anchor)
            if not runs:
                raise DagRunNotFound(
                    f"Environment {self.external_env_name!r}: DAG {self.external_dag_id!r} has no run yet. Give "
                    "external_dag_run_id, or start this task after the run.",
                    env_name=self.external_env_name,
                    status=404,
                )
            self.log.info("Environment %r: the latest run is %r", self.external_env_name, runs[0].run_id)
            self.external_dag_run_id = runs[0].run_id
        return self.external_dag_run_id

    def _what(self, wait: RunWait | TaskWait) -> str:
        tasks = f"task(s) {wait.tasks} of " if isinstance(wait, TaskWait) else ""
        return f"Environment {wait.env_name!r}: {tasks}run {wait.run_id!r} of DAG {wait.dag_id!r}"

    def _environment(self) -> MwaaEnvironment:
        # Kept between pokes, with its web session and what it knows of the environment.
        if self._reached is None:
            self._reached = self.hook_settings.environment(self.external_env_name)
        return self._reached

    def _deadline_s(self) -> float:
        """Return how long a deferred wait may last: ``timeout``, or the time of ``max_retries`` if that is less."""
        timeout_s = float(self.timeout)
        if self.max_retries is not None:
            timeout_s = min(timeout_s, self.max_retries * float(self.poke_interval))
        return timeout_s

    def _succeed(self, done: Done) -> None:
        if done.skipped:
            labels = ", ".join(instance.label for instance in done.tasks) or "all that was waited for"
            raise skip_exception(f"Skipped there: {labels}. Skipping this task, too.")

    def _unless_soft(self, error: Exception) -> Exception:
        """Return the exception to raise, which is a skip with ``never_fail``, or after a failure with ``soft_fail``."""
        ended = isinstance(error, (DagRunFailed, TaskInstanceFailed, type(sensor_timeout("")), *deferral_errors()))
        # Airflow before 2.10 has no never_fail.
        if (self.soft_fail and ended) or getattr(self, "never_fail", False):
            return skip_exception(f"{error} Skipping instead of failing, because soft_fail or never_fail is set.")
        return error
