# SPDX-License-Identifier: Apache-2.0
"""Trigger a DAG in another MWAA environment."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow_mwaa_provider._compat import (
    default_deferrable,
    deferral_errors,
    failure_without_retry,
    skip_exception,
)
from airflow_mwaa_provider.client.parameters import (
    check_duration,
    check_positive,
    flag,
    parse_datetime,
)
from airflow_mwaa_provider.client.states import DagRunState, TransportName
from airflow_mwaa_provider.exceptions import (
    DagPaused,
    DagRunAlreadyExists,
    MwaaError,
    MwaaInputError,
    UnsupportedByTransport,
    WaitTimeout,
)
from airflow_mwaa_provider.hooks.templating import is_rendered_later, run_states
from airflow_mwaa_provider.links.dag_run import MwaaDagRunLink
from airflow_mwaa_provider.operators.base import MwaaEnvironmentOperator
from airflow_mwaa_provider.operators.results import result_of, url_of
from airflow_mwaa_provider.operators.run_ids import (
    began_before,
    derived_run_id,
    former_run_id,
    tries_before,
    was_cleared,
    was_tried,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow_mwaa_provider._compat import Context
    from airflow_mwaa_provider.client.environment import MwaaEnvironment
    from airflow_mwaa_provider.client.models import DagRun

# MWAA ends every task after 12 hours, so a longer wait would end without an error of ours.
MAX_WAIT = timedelta(hours=12)


class MwaaTriggerDagRunOperator(MwaaEnvironmentOperator):
    """Trigger a DAG in an MWAA environment, and wait for the run if asked to.

    *Exactly once.* If no run id is given, it is derived from the environment, the source run and the task instance. A
    retry therefore finds the run that an earlier try created instead of creating a second one, and no other task does.
    An existing run is adopted only if its conf and dates are the requested ones. Clearing the task by hand creates a
    new run. With a ``logical_date``, for which Airflow allows only one run, it needs ``reset_dag_run`` to run that one
    again.

    A retry does not create a second run of a remote run that failed, either. It fails as well, unless ``reset_dag_run``
    or ``cancel_on_kill`` allows it to clear that run, or somebody has cleared it in the remote environment. A string
    that a template renders to ``None``, or to nothing, counts as not given.

    Takes all parameters of the amazon provider's operator of the same name, and those that users know from
    ``TriggerDagRunOperator``. Also takes the parameters of
    :class:`~airflow_mwaa_provider.operators.base.MwaaEnvironmentOperator`.

    :param env_name: name of the environment (templated).
    :param trigger_dag_id: id of the DAG there (templated).
    :param trigger_run_id: id of the run (templated). The default is a derived id, see above.
    :param logical_date: ISO 8601 string or datetime, with a time zone (templated).
    :param data_interval_start: start of the run's data interval (templated). Requires the end as well.
    :param data_interval_end: end of the run's data interval (templated).
    :param conf: configuration of the run, JSON-serializable (templated).
    :param note: note on the run (templated). The CLI transport cannot set one.
    :param wait_for_completion: wait until the run ends, and fail if it failed.
    :param waiter_delay: seconds between two looks. ``None`` starts with 2 and slows down to 60.
    :param waiter_max_attempts: give up after this many times ``waiter_delay`` (60 s if that is ``None``), however many
        looks were made in that time. ``None`` sets no limit but ``wait_timeout``.
    :param deferrable: wait in the triggerer, without a worker slot; all such waits on one environment share their
        calls. ``None`` uses Airflow's ``operators.default_deferrable``.
    :param wait_timeout: a ``timedelta``; stop waiting after this time. The remote run continues.
    :param allowed_states: states of the run that count as success. Default: ``["success"]``.
    :param failed_states: states of the run that count as failure. Default: ``["failed"]``.
    :param reset_dag_run: if the run exists and has ended, clear it so that it runs again. If it has not ended, wait for
        it. With ``retries``, this repeats a remote run that failed.
    :param skip_when_already_exists: skip the task if a run with the given ``trigger_run_id`` exists, or if the task was
        cleared and its ``logical_date`` has a run.
    :param fail_when_dag_is_paused: fail instead of triggering a run that would stay queued.
    :param cancel_on_kill: mark the remote run as failed if this task is killed, or exceeds its ``execution_timeout``,
        while it waits. A retry then clears that run so that it runs again. It does the same with a run that failed on
        its own, because the two cannot be distinguished. The CLI transport can do neither.
    :param cancel_on_timeout: mark the remote run as failed after ``wait_timeout``. Otherwise it continues.
    :param result_task_id: a task of the remote run whose XCom is added to this task's return value as ``result``
        (templated). The CLI transport cannot read XComs.
    :param result_key: key of that XCom (templated).
    :return: ``{"env_name", "dag_id", "run_id", "state", "url", "RestApiStatusCode", "RestApiResponse"}``. The last two
        are those of the amazon provider's operator, without the run's conf.
    """

    template_fields: Sequence[str] = (
        *MwaaEnvironmentOperator.template_fields,
        "env_name",
        "trigger_dag_id",
        "trigger_run_id",
        "logical_date",
        "data_interval_start",
        "data_interval_end",
        "conf",
        "note",
        "result_task_id",
        "result_key",
    )
    text_fields: ClassVar[Collection[str]] = (
        *MwaaEnvironmentOperator.text_fields, "env_name", "trigger_dag_id", "trigger_run_id", "note", "result_task_id",
        "result_key",
    )  # fmt: skip
    native_fields = ("conf",)
    template_fields_renderers = {"conf": "json"}  # noqa: RUF012 - Airflow's own declaration
    operator_extra_links = (MwaaDagRunLink(),)

    def __init__(
        self,
        *,
        env_name: str,
        trigger_dag_id: str,
        trigger_run_id: str | None = None,
        logical_date: str | datetime | None = None,
        data_interval_start: str | datetime | None = None,
        data_interval_end: str | datetime | None = None,
        conf: dict[str, Any] | None = None,
        note: str | None = None,
        wait_for_completion: bool = False,
        waiter_delay: float | None = None,
        waiter_max_attempts: int | None = None,
        deferrable: bool | None = None,
        wait_timeout: timedelta = MAX_WAIT,
        allowed_states: Sequence[str] | None = None,
        failed_states: Sequence[str] | None = None,
        reset_dag_run: bool = False,
        skip_when_already_exists: bool = False,
        fail_when_dag_is_paused: bool = False,
        cancel_on_kill: bool = False,
        cancel_on_timeout: bool = False,
        result_task_id: str | None = None,
        result_key: str = "return_value",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.env_name = env_name
        self.trigger_dag_id = trigger_dag_id
        self.trigger_run_id = trigger_run_id
        self.logical_date = logical_date
        self.data_interval_start = data_interval_start
        self.data_interval_end = data_interval_end
        self.conf = conf
        self.note = note
        self.wait_for_completion = wait_for_completion
        self.waiter_delay = waiter_delay
        self.waiter_max_attempts = waiter_max_attempts
        self.deferrable = default_deferrable() if deferrable is None else flag(deferrable, "deferrable")
        self.wait_timeout = wait_timeout
        self.allowed_states = allowed_states
        self.failed_states = failed_states
        self.reset_dag_run = reset_dag_run
        self.skip_when_already_exists = skip_when_already_exists
        self.fail_when_dag_is_paused = fail_when_dag_is_paused
        self.cancel_on_kill = cancel_on_kill
        self.cancel_on_timeout = cancel_on_timeout
        self.result_task_id = result_task_id
        self.result_key = result_key
        self._waited_for: tuple[MwaaEnvironment, DagRun] | None = None
        run_states(allowed_states, "allowed_states")
        run_states(failed_states, "failed_states")
        # A wait that cannot begin must fail before its run is created.
        check_duration(wait_timeout, "wait_timeout")
        check_positive(waiter_delay, "waiter_delay")
        check_positive(waiter_max_attempts, "waiter_max_attempts")
        if not is_rendered_later(result_task_id):
            self._check_result()

    def execute(self, context: Context) -> dict[str, Any]:
        """Trigger the run, store its link, and wait for it if asked to.

        :raises DagPaused: the DAG is paused (with ``fail_when_dag_is_paused``).
        :raises AirflowFailException: a run with the given id existed before this task's first try, or the run with this
            id was created with another conf or date. A retry would not help. Its cause is a ``DagRunAlreadyExists``.
        :raises DagRunFailed: the run failed.
        """
        self.read_rendered(required=("env_name", "trigger_dag_id"))
        call = self._checked_call()
        environment = self.hook_settings.environment(self.env_name)
        if self.fail_when_dag_is_paused and environment.is_dag_paused(self.trigger_dag_id):
            raise DagPaused(
                f"Environment {self.env_name!r}: DAG {self.trigger_dag_id!r} is paused, so its run would stay queued. "
                "Unpause the DAG there, or omit fail_when_dag_is_paused.",
                env_name=self.env_name,
            )
        run_id, former = self._run_ids(context)
        if former is not None and was_tried(context, one_for_all_rounds=call["logical_date"] is not None):
            call["former_run_id"] = former
        try:
            run = environment.trigger_dag_run(self.trigger_dag_id, run_id, **call)
        except DagRunAlreadyExists as error:
            self._refuse_other_request(error)
        url = self._leave_link(environment, run, context)
        if run.created:
            self.log.info("Environment %r: created run %r of DAG %r: %s", self.env_name, run_id, run.dag_id, url)
        else:
            run = self._adopt_existing_run(environment, run, context)
        if self.deferrable and not run.state.is_final:
            self._defer(run, url)
        if self.waits:
            run = self._wait(environment, run)
        return self._result(environment, run, url)

    def _refuse_other_request(self, error: DagRunAlreadyExists) -> NoReturn:
        """Fail, or skip if asked to, because the existing run was created with another conf or date.

        :raises AirflowSkipException: ``skip_when_already_exists`` is set, and the run id was given.
        :raises AirflowFailException: otherwise, because a retry would not help.
        """
        if self.trigger_run_id is not None and self.skip_when_already_exists:
            raise skip_exception(f"{error} Skipping, because skip_when_already_exists is set.")
        raise failure_without_retry(str(error)) from error

    def _adopt_existing_run(self, environment: MwaaEnvironment, run: DagRun, context: Context) -> DagRun:
        """Decide whether an existing run is that of an earlier try, or of somebody else.

        :return: the run to continue with; cleared, if it has to run again.
        :raises AirflowSkipException: it is somebody else's, and ``skip_when_already_exists`` is set.
        :raises AirflowFailException: it is somebody else's, so a retry would not help.
        """
        # No other task derives this ID. With a date, the run may be of an earlier round, before the task was cleared,
        # or of a source run with the same id that was deleted.
        dated = self.trigger_run_id is None and self.logical_date is not None
        earlier_source_run = dated and began_before(context, run)
        earlier_round = dated and (was_cleared(context) or earlier_source_run)
        earlier_try = not earlier_source_run and (
            tries_before(context) > 0 or (self.trigger_run_id is None and not earlier_round)
        )
        if not earlier_try and self.skip_when_already_exists:
            raise skip_exception(f"Environment {self.env_name!r}: run {run.run_id!r} already exists. Skipping.")
        if not earlier_try and not self.reset_dag_run:
            error = DagRunAlreadyExists(
                f"Environment {self.env_name!r}: DAG {run.dag_id!r} already has a run {run.run_id!r}, "
                f"{run.state.value}"
                + (
                    f". This task created it before {'its own run' if earlier_source_run else 'it'} was "
                    f"{'created again, or queued again,' if earlier_source_run else 'cleared,'} and a logical_date "
                    "can have only one run. Set reset_dag_run to run it again, or skip_when_already_exists."
                    if earlier_round
                    else ". Omit trigger_run_id, or set reset_dag_run or skip_when_already_exists."
                ),
                env_name=self.env_name,
                status=409,
            )
            # A retry could not distinguish this run from one that an earlier try has created, and would adopt it.
            raise failure_without_retry(str(error)) from error
        failed = run.state.is_final and run.state not in self.wanted_states()
        # An earlier try may have been killed, and have marked the run. The CLI transport cannot mark or clear runs.
        may_be_killed = self.cancel_on_kill and self.waits and environment.transport != TransportName.CLI
        if (failed and may_be_killed) or (self.reset_dag_run and run.state.is_final and (failed or not earlier_try)):
            self.log.info(
                "Environment %r: run %r already exists and ended as %s. Clearing it so that it runs again",
                self.env_name,
                run.run_id,
                run.state.value,
            )
            environment.clear_dag_run(run.dag_id, run.run_id)
            return environment.get_dag_run(run.dag_id, run.run_id)
        if failed and self.waits:
            self.log.warning(
                "Environment %r: run %r of an earlier try ended as %s, and a retry creates no second run. To run it "
                "again, clear it there, clear this task here, or set reset_dag_run.",
                self.env_name,
                run.run_id,
                run.state.value,
            )
        else:
            self.log.info("Environment %r: adopting run %r, which is %s", self.env_name, run.run_id, run.state.value)
        return run

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None, url: str = "") -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Continue after a deferred wait: fail if the run did, or return the result.

        :raises DagRunFailed: the run failed.
        """
        from airflow_mwaa_provider.client.waits.run_wait import Failed
        from airflow_mwaa_provider.triggers.events import outcome_of

        self.read_rendered(required=("env_name", "trigger_dag_id"))
        environment = self.hook_settings.environment(self.env_name)
        outcome = outcome_of(event)
        if isinstance(outcome, Failed):
            raise self._ended_badly(environment, outcome.error, outcome.run)
        if outcome.run is None:
            raise outcome_of(None).error  # type: ignore[union-attr]
        return self._result(environment, outcome.run, url)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after a deferral. If Airflow itself ended it (``execution_timeout``), mark the run if asked to."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except deferral_errors():
            if self.cancel_on_kill:
                self.read_rendered(required=("env_name", "trigger_dag_id"))
                environment = self.hook_settings.environment(self.env_name)
                run_id, former = self._run_ids(context)
                self._mark_as_failed(environment, self._deferred_for(environment, run_id, former))
            raise

    def _run_ids(self, context: Context) -> tuple[str, str | None]:
        """Return the run's id, and the id that an earlier release would have derived."""
        if self.trigger_run_id:
            return self.trigger_run_id, None
        # A date has one run, so clearing the task cannot create another one.
        dated = self.logical_date is not None
        return (
            derived_run_id(context, one_for_all_rounds=dated),
            former_run_id(context, one_for_all_rounds=dated),
        )

    def _deferred_for(self, environment: MwaaEnvironment, run_id: str, former: str | None) -> str:
        """Return the id of the run that was waited for. The wait may have begun before this package was upgraded."""
        if former is None:
            return run_id
        call = self._checked_call()
        try:
            found = environment.find_earlier_run(
                self.trigger_dag_id, run_id, former, conf=call["conf"], logical_date=call["logical_date"]
            )
        except MwaaError as error:
            self.log.warning("Cannot find out whether an earlier release has created the run: %s", error)
            return run_id
        return found.run_id if found is not None else run_id

    def on_kill(self) -> None:
        """Mark the remote run as failed, if ``cancel_on_kill`` is set and the task was waiting."""
        if not self.cancel_on_kill or self._waited_for is None:
            return
        environment, run = self._waited_for
        self._mark_as_failed(environment, run.run_id)

    def _mark_as_failed(self, environment: MwaaEnvironment, run_id: str) -> None:
        self.log.info("Marking run %r in environment %r as failed", run_id, self.env_name)
        try:
            environment.stop_dag_run(self.trigger_dag_id, run_id)
        except MwaaError as error:
            self.log.error("The remote run continues, because it could not be marked as failed: %s", error)

    def _check_result(self) -> None:
        if self.result_task_id is not None and self.transport == TransportName.CLI:
            raise UnsupportedByTransport(
                "result_task_id: the CLI transport cannot read XComs. Use another transport, or omit result_task_id."
            )
        if self.result_task_id is not None and not self.waits:
            raise MwaaInputError(
                "result_task_id: the result exists only when the run has ended. Set wait_for_completion or deferrable."
            )

    def _checked_call(self) -> dict[str, Any]:
        """Check everything that will be sent, before anything is sent."""
        self._check_result()
        conf = self.conf or {}
        if not isinstance(conf, dict):
            raise MwaaInputError(
                f"conf is a {type(conf).__name__}, not a dict. A run's conf is a JSON object. To render all of it from "
                "one template, set render_template_as_native_obj=True on the DAG."
            )
        try:
            json.dumps(conf, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise MwaaInputError(f"conf cannot be written as JSON: {error}.") from error
        start = parse_datetime(self.data_interval_start, "data_interval_start")
        end = parse_datetime(self.data_interval_end, "data_interval_end")
        if (start is None) != (end is None):
            raise MwaaInputError("data_interval_start and data_interval_end belong together. Give both or neither.")
        return {
            "conf": conf,
            "logical_date": parse_datetime(self.logical_date, "logical_date"),
            "note": self.note or None,
            "data_interval": (start, end) if start and end else None,
        }

    def _leave_link(self, environment: MwaaEnvironment, run: DagRun, context: Context) -> str:
        url = url_of(environment, run)
        if url:
            MwaaDagRunLink.persist(context, url)
        return url

    def _defer(self, run: DagRun, url: str) -> NoReturn:
        from airflow_mwaa_provider.triggers.dag_run import MwaaDagRunTrigger

        now = time.time()
        self.log.info("Environment %r: run %r is %s, deferring", self.env_name, run.run_id, run.state.value)
        self.defer(
            trigger=MwaaDagRunTrigger(
                env_name=self.env_name,
                dag_id=run.dag_id,
                run_id=run.run_id,
                hook=self.hook_settings.serialize(),
                allowed_states=sorted(self.wanted_states()),
                failed_states=sorted(self._failed()),
                waiter_delay=self.waiter_delay,
                started_at=now,
                deadline_s=self._timeout_s(),
                created_at=now,
                cancel_on_kill=self.cancel_on_kill,
            ),
            method_name="execute_complete",
            kwargs={"url": url},
        )

    def _wait(self, environment: MwaaEnvironment, run: DagRun) -> DagRun:
        from airflow_mwaa_provider.client.waits.run_wait import PollInterval

        self._waited_for = (environment, run)
        try:
            return environment.wait_for_dag_run(
                run.dag_id,
                run.run_id,
                timeout_s=self._timeout_s(),
                allowed_states=self.wanted_states(),
                failed_states=self._failed(),
                interval=PollInterval(fixed_s=self.waiter_delay),
                seen=run,
            )
        except WaitTimeout as error:
            raise self._ended_badly(environment, error, run) from None

    def _timeout_s(self) -> float:
        timeout_s = self.wait_timeout.total_seconds()
        if self.waiter_max_attempts is not None:
            timeout_s = min(timeout_s, self.waiter_max_attempts * (self.waiter_delay or 60))
        return timeout_s

    def _ended_badly(self, environment: MwaaEnvironment, error: MwaaError, run: DagRun | None) -> MwaaError:
        from airflow_mwaa_provider.client.waits.blocking import explained

        if isinstance(error, WaitTimeout) and self.cancel_on_timeout and run is not None:
            self._mark_as_failed(environment, run.run_id)
        return explained(environment, error)

    def _result(self, environment: MwaaEnvironment, run: DagRun, url: str) -> dict[str, Any]:
        result = result_of(self.env_name, run, url)
        if self.result_task_id:
            key = self.result_key or "return_value"
            result["result"] = environment.get_xcom(run.dag_id, run.run_id, self.result_task_id, key)
        return result

    def _failed(self) -> frozenset[DagRunState]:
        return run_states(self.failed_states, "failed_states") or frozenset({DagRunState.FAILED})

    @property
    def waits(self) -> bool:
        """Whether the task waits until the run has ended."""
        return self.wait_for_completion or self.deferrable

    def wanted_states(self) -> frozenset[DagRunState]:
        """Return the states of the run that count as success."""
        return run_states(self.allowed_states, "allowed_states") or frozenset({DagRunState.SUCCESS})
