# SPDX-License-Identifier: Apache-2.0
"""Trigger a DAG in another MWAA environment."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_mwaa_provider._compat import (
    BaseOperator,
    default_deferrable,
    deferral_errors,
    failure_without_retry,
    skip_exception,
)
from airflow_mwaa_provider.client.models import DagRun, DagRunState, TransportName
from airflow_mwaa_provider.client.parameters import (
    check_duration,
    check_positive,
    check_transport,
    flag,
    parse_datetime,
)
from airflow_mwaa_provider.exceptions import (
    DagPaused,
    DagRunAlreadyExists,
    MwaaError,
    MwaaInputError,
    UnsupportedByTransport,
    WaitTimeout,
)
from airflow_mwaa_provider.hooks.templating import TextTemplates, is_rendered_later, run_states
from airflow_mwaa_provider.links.dag_run import MwaaDagRunLink
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
    from collections.abc import Sequence

    from airflow_mwaa_provider._compat import Context
    from airflow_mwaa_provider.client.environment import MwaaEnvironment
    from airflow_mwaa_provider.hooks.settings import HookSettings

# MWAA ends every task after 12 hours, so a longer wait would end without a word of ours.
MAX_WAIT = timedelta(hours=12)


class MwaaTriggerDagRunOperator(TextTemplates, BaseOperator):
    """Trigger a DAG in an MWAA environment, and wait for it if asked.

    *Exactly once.* When no run id is given it is derived from the environment, the source run and the task instance, so
    that a retry finds the run that an earlier try made instead of making a second one, and nobody else does. A run that
    is there is taken up only if its conf and its dates are those that are asked for. Clearing the task by hand makes a
    new run; with a ``logical_date``, for which Airflow takes one run only, it needs ``reset_dag_run`` to run that one
    again.

    A retry never makes a second run of a remote run that failed either: it fails as well, unless ``reset_dag_run`` or
    ``cancel_on_kill`` lets it clear that run, or somebody has cleared it over there. Text that a template renders to
    ``None``, or to nothing, counts as not given.

    Takes all parameters of the amazon provider's operator of the same name, and those that users know from
    ``TriggerDagRunOperator``.

    :param env_name: name of the environment (templated).
    :param trigger_dag_id: id of the DAG there (templated).
    :param trigger_run_id: id of the run (templated); derived when it is missing, see above.
    :param logical_date: ISO 8601 text or a datetime, with a time zone (templated).
    :param data_interval_start: start of the run's data interval (templated); needs the end as well.
    :param data_interval_end: end of the run's data interval (templated).
    :param conf: configuration of the run, JSON-serialisable (templated).
    :param note: note on the run (templated). The CLI transport cannot carry one.
    :param airflow_version: major version there, 2 or 3 (templated); used only where GetEnvironment isn't permitted.
    :param wait_for_completion: wait until the run ends, and fail if it failed.
    :param waiter_delay: seconds between two looks; ``None`` begins with 2 and slows down to 60.
    :param waiter_max_attempts: give up after so many times ``waiter_delay`` (60 s where that is ``None``), however
        often is looked in that time; ``None`` leaves it to ``wait_timeout``.
    :param deferrable: wait in the triggerer, without a worker's slot; all such waits on one environment share their
        calls. ``None`` takes Airflow's ``operators.default_deferrable``.
    :param wait_timeout: a ``timedelta``; give up waiting after this time; the remote run goes on.
    :param allowed_states: states of the run that count as success; ``["success"]``.
    :param failed_states: states of the run that count as failure; ``["failed"]``.
    :param reset_dag_run: when the run is already there and has ended, clear it and let it run again. A run that is
        still going on is waited for instead. With ``retries`` this repeats a remote run that failed.
    :param skip_when_already_exists: when a run of the given ``trigger_run_id`` is already there, skip the task; also
        when the task was cleared and its ``logical_date`` has a run already.
    :param fail_when_dag_is_paused: fail instead of triggering a run that would stay queued.
    :param cancel_on_kill: mark the remote run as failed when this task is killed, or exceeds its
        ``execution_timeout``, while it waits. A retry then clears that run and lets it run again; a run that failed
        by itself as well, because the two look alike. The CLI transport can do neither.
    :param cancel_on_timeout: mark the remote run as failed when ``wait_timeout`` has passed; otherwise it goes on.
    :param result_task_id: a task of the remote run whose XCom is added to what this task returns, as ``result``
        (templated). The CLI transport cannot read one.
    :param result_key: key of that XCom (templated).
    :param transport: ``"rest_api"``, ``"web_session"`` or ``"cli"``; ``None`` chooses by itself.
    :param aws_conn_id: connection of type ``aws`` or ``mwaa`` (templated); see
        :class:`~airflow_mwaa_provider.hooks.mwaa.MwaaEnvironmentHook`.
    :param region_name: region of the environment (templated).
    :param region: older name of ``region_name``, as the amazon provider's operators take it.
    :param verify: ``False`` or the path of a CA bundle (templated).
    :param botocore_config: keywords of botocore's ``Config``.
    :return: ``{"env_name", "dag_id", "run_id", "state", "url", "RestApiStatusCode", "RestApiResponse"}``; the last two
        as the amazon provider's operator gives them, without the run's conf.
    """

    template_fields: Sequence[str] = (
        "env_name",
        "trigger_dag_id",
        "trigger_run_id",
        "logical_date",
        "data_interval_start",
        "data_interval_end",
        "conf",
        "note",
        "airflow_version",
        "result_task_id",
        "result_key",
        "aws_conn_id",
        "region_name",
        "verify",
    )
    text_fields = (
        "env_name", "trigger_dag_id", "trigger_run_id", "note", "result_task_id", "result_key", "aws_conn_id",
        "region_name",
    )  # fmt: skip
    native_fields = ("conf",)
    template_fields_renderers = {"conf": "json"}  # noqa: RUF012 - Airflow's own declaration
    operator_extra_links = (MwaaDagRunLink(),)
    ui_color = "#d6cef2"

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
        airflow_version: int | None = None,
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
        transport: str | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        region: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
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
        self.airflow_version = airflow_version
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
        self.transport = transport
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name or region
        self.verify = verify
        self.botocore_config = botocore_config
        self._waited_for: tuple[MwaaEnvironment, DagRun] | None = None
        run_states(allowed_states, "allowed_states")
        run_states(failed_states, "failed_states")
        # A wait that cannot begin must be told before its run is made.
        check_transport(transport)
        check_duration(wait_timeout, "wait_timeout")
        check_positive(waiter_delay, "waiter_delay")
        check_positive(waiter_max_attempts, "waiter_max_attempts")
        if not is_rendered_later(result_task_id):
            self._check_result()

    def execute(self, context: Context) -> dict[str, Any]:
        """Trigger the run, leave its link behind, and wait for it if asked.

        :raises DagPaused: the DAG is paused (with ``fail_when_dag_is_paused``).
        :raises AirflowFailException: a run of the given id was there before this task's first try; no retry mends
            that; or the run of this id was made with another conf or date. Its cause is a ``DagRunAlreadyExists``.
        :raises DagRunFailed: the run ended badly.
        """
        self.read_rendered(required=("env_name", "trigger_dag_id"))
        call = self._checked_call()
        environment = self._settings().environment(self.env_name)
        if self.fail_when_dag_is_paused and environment.is_dag_paused(self.trigger_dag_id):
            raise DagPaused(
                f"Environment {self.env_name!r}: DAG {self.trigger_dag_id!r} is paused, so that its run would stay "
                "queued. Unpause it there, or leave out fail_when_dag_is_paused.",
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
        """Fail, or skip if asked, because the run that is there was made for another conf or date.

        :raises AirflowSkipException: ``skip_when_already_exists`` is set, and the run id was given.
        :raises AirflowFailException: no retry mends that.
        """
        if self.trigger_run_id is not None and self.skip_when_already_exists:
            raise skip_exception(f"{error} Skipping, because skip_when_already_exists is set.")
        raise failure_without_retry(str(error)) from error

    def _adopt_existing_run(self, environment: MwaaEnvironment, run: DagRun, context: Context) -> DagRun:
        """Decide what a run means that was there before: an earlier try's, or somebody else's.

        :return: the run to go on with; cleared, when it has to run again.
        :raises AirflowSkipException: it is somebody else's, and ``skip_when_already_exists`` is set.
        :raises AirflowFailException: it is somebody else's; no retry mends that.
        """
        # A derived id is nobody else's; with a date it may be that of an earlier round, before the task was cleared, or
        # of a source run of the same id that was deleted.
        dated = self.trigger_run_id is None and self.logical_date is not None
        earlier_source_run = dated and began_before(context, run)
        earlier_round = dated and (was_cleared(context) or earlier_source_run)
        earlier_try = not earlier_source_run and (
            tries_before(context) > 0 or (self.trigger_run_id is None and not earlier_round)
        )
        if not earlier_try and self.skip_when_already_exists:
            raise skip_exception(f"Environment {self.env_name!r}: run {run.run_id!r} is already there; skipping.")
        if not earlier_try and not self.reset_dag_run:
            error = DagRunAlreadyExists(
                f"Environment {self.env_name!r}: DAG {run.dag_id!r} already has a run {run.run_id!r}, "
                f"{run.state.value}"
                + (
                    f": this task made it before {'its run' if earlier_source_run else 'it'} was "
                    f"{'made again, or put back into the queue,' if earlier_source_run else 'cleared,'} and a "
                    "logical_date has one run only. Set reset_dag_run to run it again, or skip_when_already_exists."
                    if earlier_round
                    else ". Leave trigger_run_id out, or set reset_dag_run or skip_when_already_exists."
                ),
                env_name=self.env_name,
                status=409,
            )
            # A retry could not tell this run from one that an earlier try of its own has made, and would take it up.
            raise failure_without_retry(str(error)) from error
        failed = run.state.is_final and run.state not in self.wanted_states()
        # An earlier try may have been killed and have marked it. The CLI transport marks and clears nothing.
        may_be_killed = self.cancel_on_kill and self.waits and environment.transport != TransportName.CLI
        if (failed and may_be_killed) or (self.reset_dag_run and run.state.is_final and (failed or not earlier_try)):
            self.log.info(
                "Environment %r: run %r is already there and ended as %s, clearing it so that it runs again",
                self.env_name,
                run.run_id,
                run.state.value,
            )
            environment.clear_dag_run(run.dag_id, run.run_id)
            return environment.get_dag_run(run.dag_id, run.run_id)
        if failed and self.waits:
            self.log.warning(
                "Environment %r: run %r of an earlier try ended as %s; a retry makes no second run. To run it again, "
                "clear it there or this task here, or set reset_dag_run.",
                self.env_name,
                run.run_id,
                run.state.value,
            )
        else:
            self.log.info("Environment %r: taking up run %r, which is %s", self.env_name, run.run_id, run.state.value)
        return run

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None, url: str = "") -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Go on after a deferred wait: fail as its end says, or give the result.

        :raises DagRunFailed: the run ended badly.
        """
        from airflow_mwaa_provider.client.waits.run_wait import Failed
        from airflow_mwaa_provider.triggers.events import outcome_of

        self.read_rendered(required=("env_name", "trigger_dag_id"))
        environment = self._settings().environment(self.env_name)
        outcome = outcome_of(event)
        if isinstance(outcome, Failed):
            raise self._ended_badly(environment, outcome.error, outcome.run)
        if outcome.run is None:
            raise outcome_of(None).error  # type: ignore[union-attr]
        return self._result(environment, outcome.run, url)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral; where Airflow itself ended it (``execution_timeout``), mark the run if asked to."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except deferral_errors():
            if self.cancel_on_kill:
                self.read_rendered(required=("env_name", "trigger_dag_id"))
                environment = self._settings().environment(self.env_name)
                run_id, former = self._run_ids(context)
                self._mark_as_failed(environment, self._deferred_for(environment, run_id, former))
            raise

    def _run_ids(self, context: Context) -> tuple[str, str | None]:
        """Return the run's id, and the one that an earlier release would have given it."""
        if self.trigger_run_id:
            return self.trigger_run_id, None
        # One date has one run, so that clearing the task cannot make another one.
        dated = self.logical_date is not None
        return (
            derived_run_id(context, one_for_all_rounds=dated),
            former_run_id(context, one_for_all_rounds=dated),
        )

    def _deferred_for(self, environment: MwaaEnvironment, run_id: str, former: str | None) -> str:
        """Return the id of the run that was waited for; the wait may have begun before this package was upgraded."""
        if former is None:
            return run_id
        call = self._checked_call()
        try:
            found = environment.find_earlier_run(
                self.trigger_dag_id, run_id, former, conf=call["conf"], logical_date=call["logical_date"]
            )
        except MwaaError as error:
            self.log.warning("Whether an earlier release has made the run cannot be found out: %s", error)
            return run_id
        return found.run_id if found is not None else run_id

    def on_kill(self) -> None:
        """Mark the remote run as failed, where that was asked for and the task was waiting."""
        if not self.cancel_on_kill or self._waited_for is None:
            return
        environment, run = self._waited_for
        self._mark_as_failed(environment, run.run_id)

    def _mark_as_failed(self, environment: MwaaEnvironment, run_id: str) -> None:
        self.log.info("Marking run %r in environment %r as failed", run_id, self.env_name)
        try:
            environment.stop_dag_run(self.trigger_dag_id, run_id)
        except MwaaError as error:
            self.log.error("The remote run goes on, because it could not be marked: %s", error)

    def _settings(self) -> HookSettings:
        # Imported here and in the following, because parsing a DAG file needs none of it.
        from airflow_mwaa_provider.hooks.settings import HookSettings

        return HookSettings.of(self)

    def _check_result(self) -> None:
        if self.result_task_id is not None and self.transport == TransportName.CLI:
            raise UnsupportedByTransport(
                "result_task_id: the CLI transport reads no XComs. Use another, or leave it out."
            )
        if self.result_task_id is not None and not self.waits:
            raise MwaaInputError("result_task_id needs wait_for_completion or deferrable: the result comes at the end.")

    def _checked_call(self) -> dict[str, Any]:
        """Check what is sent before anything is sent."""
        self._check_result()
        conf = self.conf or {}
        if not isinstance(conf, dict):
            raise MwaaInputError(
                f"conf is a {type(conf).__name__}, not a dict; a run's conf is a JSON object. A template that stands "
                "for all of it needs a DAG with render_template_as_native_obj=True."
            )
        try:
            json.dumps(conf, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise MwaaInputError(f"conf cannot be written as JSON: {error}.") from error
        start = parse_datetime(self.data_interval_start, "data_interval_start")
        end = parse_datetime(self.data_interval_end, "data_interval_end")
        if (start is None) != (end is None):
            raise MwaaInputError("data_interval_start and data_interval_end go together; give both or none.")
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
                hook=self._settings().serialize(),
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
        """Whether the task lasts until the run has ended."""
        return self.wait_for_completion or self.deferrable

    def wanted_states(self) -> frozenset[DagRunState]:
        """Give the states of the run that count as success."""
        return run_states(self.allowed_states, "allowed_states") or frozenset({DagRunState.SUCCESS})
