# SPDX-License-Identifier: Apache-2.0
"""Trigger a DAG in another MWAA environment."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider._compat import BaseOperator, failure_without_retry, skip_exception
from airflow_mwaa_provider.client.models import DagRun, DagRunState, TransportName
from airflow_mwaa_provider.client.polling import PollInterval
from airflow_mwaa_provider.exceptions import DagPaused, DagRunAlreadyExists, MwaaError, MwaaInputError
from airflow_mwaa_provider.links.dag_run import MwaaDagRunLink
from airflow_mwaa_provider.operators.run_ids import derived_run_id, tries_before, was_cleared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mwaa_provider._compat import Context
    from airflow_mwaa_provider.client.environment import MwaaEnvironment
    from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook

# MWAA ends every task after 12 hours, so a longer wait would end without a word of ours.
MAX_WAIT = timedelta(hours=12)


class MwaaTriggerDagRunOperator(BaseOperator):
    """Trigger a DAG in an MWAA environment, and wait for it if asked.

    *Exactly once.* When no run id is given it is derived from the task instance, so that a retry finds the run that an
    earlier try made instead of making a second one. Clearing the task by hand makes a new run; with a
    ``logical_date``, for which Airflow takes one run only, it needs ``reset_dag_run`` to run that one again.

    A retry never makes a second run of a remote run that failed either: it fails as well, unless ``reset_dag_run`` or
    ``cancel_on_kill`` lets it clear that run, or somebody has cleared it over there. Text that a template renders to
    ``None``, or to nothing, counts as not given.

    Takes all parameters of the amazon provider's operator of the same name, and those that users know from
    ``TriggerDagRunOperator``.

    :param env_name: name of the environment (templated).
    :param trigger_dag_id: id of the DAG there (templated).
    :param trigger_run_id: id of the run (templated); derived from the task instance when it is missing.
    :param logical_date: ISO 8601 text or a datetime, with a time zone (templated).
    :param data_interval_start: start of the run's data interval (templated); needs the end as well.
    :param data_interval_end: end of the run's data interval (templated).
    :param conf: configuration of the run, JSON-serialisable (templated).
    :param note: note on the run (templated). The CLI transport cannot carry one.
    :param airflow_version: major version there, 2 or 3 (templated); used only where GetEnvironment isn't permitted.
    :param wait_for_completion: wait until the run ends, and fail if it failed.
    :param waiter_delay: seconds between two looks; ``None`` begins with 2 and slows down to 60.
    :param waiter_max_attempts: give up after this many looks; ``None`` leaves it to ``wait_timeout``.
    :param deferrable: not there yet; must be ``False``.
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
        "aws_conn_id",
        "region_name",
        "verify",
    )
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
        deferrable: bool = False,
        wait_timeout: timedelta = MAX_WAIT,
        allowed_states: Sequence[str] | None = None,
        failed_states: Sequence[str] | None = None,
        reset_dag_run: bool = False,
        skip_when_already_exists: bool = False,
        fail_when_dag_is_paused: bool = False,
        cancel_on_kill: bool = False,
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
        self.deferrable = deferrable
        self.wait_timeout = wait_timeout
        self.allowed_states = allowed_states
        self.failed_states = failed_states
        self.reset_dag_run = reset_dag_run
        self.skip_when_already_exists = skip_when_already_exists
        self.fail_when_dag_is_paused = fail_when_dag_is_paused
        self.cancel_on_kill = cancel_on_kill
        self.transport = transport
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name or region
        self.verify = verify
        self.botocore_config = botocore_config
        self._waited_for: tuple[MwaaEnvironment, DagRun] | None = None
        if deferrable:
            raise MwaaInputError("deferrable=True isn't there yet; leave it out and the task waits in its slot.")
        _states(allowed_states, "allowed_states")
        _states(failed_states, "failed_states")
        if transport is not None and transport not in TransportName.__members__.values():
            known = ", ".join(repr(name.value) for name in TransportName)
            raise MwaaInputError(f"transport={transport!r} is none of {known}.")
        # A wait that cannot begin must be told before its run is made.
        if not isinstance(wait_timeout, timedelta):
            raise MwaaInputError(f"wait_timeout={wait_timeout!r} is no timedelta; write timedelta(seconds=600).")
        for name, value in (("waiter_delay", waiter_delay), ("waiter_max_attempts", waiter_max_attempts)):
            if value is not None and not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise MwaaInputError(f"{name}={value!r} is no number above 0.")

    def execute(self, context: Context) -> dict[str, Any]:
        """Trigger the run, leave its link behind, and wait for it if asked.

        :raises DagPaused: the DAG is paused (with ``fail_when_dag_is_paused``).
        :raises AirflowFailException: a run of the given id was there before this task's first try; no retry mends
            that. Its cause is a ``DagRunAlreadyExists``.
        :raises DagRunFailed: the run ended badly.
        """
        self._forget_empty_text()
        call = self._checked_call()
        environment = self._hook().environment(
            self.env_name, transport=self.transport, airflow_major=_major(self.airflow_version)
        )
        if self.fail_when_dag_is_paused and environment.is_dag_paused(self.trigger_dag_id):
            raise DagPaused(
                f"Environment {self.env_name!r}: DAG {self.trigger_dag_id!r} is paused, so that its run would stay "
                "queued. Unpause it there, or leave out fail_when_dag_is_paused.",
                env_name=self.env_name,
            )
        # One date has one run, so that clearing the task cannot make another one.
        run_id = self.trigger_run_id or derived_run_id(context, one_for_all_rounds=call["logical_date"] is not None)
        run = environment.trigger_dag_run(self.trigger_dag_id, run_id, **call)
        url = self._leave_link(environment, run, context)
        if run.created:
            self.log.info("Environment %r: created run %r of DAG %r: %s", self.env_name, run_id, run.dag_id, url)
        else:
            run = self._take_up(environment, run, context)
        if self.wait_for_completion:
            run = self._wait(environment, run)
        return _result(self.env_name, run, url)

    def on_kill(self) -> None:
        """Mark the remote run as failed, where that was asked for and the task was waiting."""
        if not self.cancel_on_kill or self._waited_for is None:
            return
        environment, run = self._waited_for
        self.log.info("Killed: marking run %r in environment %r as failed", run.run_id, self.env_name)
        try:
            environment.set_dag_run_state(run.dag_id, run.run_id, DagRunState.FAILED)
        except MwaaError as error:
            self.log.error("The remote run goes on, because it could not be marked: %s", error)

    def _hook(self) -> MwaaEnvironmentHook:
        # Imported here, because it brings boto3 and the amazon provider, which a DAG file's parsing must not load.
        from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook

        return MwaaEnvironmentHook(self.aws_conn_id, self.region_name, self.verify, self.botocore_config)

    def _forget_empty_text(self) -> None:
        """Take what a template rendered to ``None``, or to nothing, as not given."""
        for name in self.template_fields:
            if getattr(self, name) in ("", "None") and name not in ("env_name", "trigger_dag_id"):
                setattr(self, name, None)
        if isinstance(self.verify, str) and self.verify.lower() in ("true", "false"):
            self.verify = self.verify.lower() == "true"

    def _checked_call(self) -> dict[str, Any]:
        """Check what is sent before anything is sent."""
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
        start = _moment(self.data_interval_start, "data_interval_start")
        end = _moment(self.data_interval_end, "data_interval_end")
        if (start is None) != (end is None):
            raise MwaaInputError("data_interval_start and data_interval_end go together; give both or none.")
        return {
            "conf": conf,
            "logical_date": _moment(self.logical_date, "logical_date"),
            "note": self.note or None,
            "data_interval": (start, end) if start and end else None,
        }

    def _leave_link(self, environment: MwaaEnvironment, run: DagRun, context: Context) -> str:
        try:
            url = environment.dag_run_url(run.dag_id, run.run_id)
        except MwaaError as error:
            # The run is there: a role that may not ask for the host's name must not make it look failed.
            self.log.warning("There is no link to the run, because its address cannot be asked for: %s", error)
            return ""
        MwaaDagRunLink.persist(context, url)
        return url

    def _take_up(self, environment: MwaaEnvironment, run: DagRun, context: Context) -> DagRun:
        """Decide what a run means that was there before: an earlier try's, or somebody else's."""
        # A derived id is nobody else's; with a date it may be that of an earlier round, before the task was cleared.
        earlier_round = self.trigger_run_id is None and self.logical_date is not None and was_cleared(context)
        earlier_try = tries_before(context) > 0 or (self.trigger_run_id is None and not earlier_round)
        if not earlier_try and self.skip_when_already_exists:
            raise skip_exception(f"Environment {self.env_name!r}: run {run.run_id!r} is already there; skipping.")
        if not earlier_try and not self.reset_dag_run:
            error = DagRunAlreadyExists(
                f"Environment {self.env_name!r}: DAG {run.dag_id!r} already has a run {run.run_id!r}, "
                f"{run.state.value}"
                + (
                    ": this task made it before it was cleared, and a logical_date has one run only. Set reset_dag_run "
                    "to run it again, or skip_when_already_exists."
                    if earlier_round
                    else ". Leave trigger_run_id out, or set reset_dag_run or skip_when_already_exists."
                ),
                env_name=self.env_name,
                status=409,
            )
            # A retry could not tell this run from one that an earlier try of its own has made, and would take it up.
            raise failure_without_retry(str(error)) from error
        failed = run.state.is_final and run.state not in self._allowed()
        # An earlier try may have been killed and have marked it. The CLI transport marks and clears nothing.
        may_be_killed = self.cancel_on_kill and self.wait_for_completion and environment.transport != TransportName.CLI
        if (failed and may_be_killed) or (self.reset_dag_run and run.state.is_final and (failed or not earlier_try)):
            self.log.info(
                "Environment %r: run %r is already there and ended as %s, clearing it so that it runs again",
                self.env_name,
                run.run_id,
                run.state.value,
            )
            environment.clear_dag_run(run.dag_id, run.run_id)
            return environment.get_dag_run(run.dag_id, run.run_id)
        if failed and self.wait_for_completion:
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

    def _wait(self, environment: MwaaEnvironment, run: DagRun) -> DagRun:
        timeout_s = self.wait_timeout.total_seconds()
        if self.waiter_max_attempts is not None:
            timeout_s = min(timeout_s, self.waiter_max_attempts * (self.waiter_delay or 60))
        self._waited_for = (environment, run)
        return environment.wait_for_dag_run(
            run.dag_id,
            run.run_id,
            timeout_s=timeout_s,
            allowed_states=self._allowed(),
            failed_states=_states(self.failed_states, "failed_states") or frozenset({DagRunState.FAILED}),
            interval=PollInterval(fixed_s=self.waiter_delay),
        )

    def _allowed(self) -> frozenset[DagRunState]:
        return _states(self.allowed_states, "allowed_states") or frozenset({DagRunState.SUCCESS})


def _major(version: object) -> int | None:
    """Read ``airflow_version``, which may be text out of a template: ``3``, ``"3"`` and ``"3.0.6"`` alike."""
    if version is None:
        return None
    major = str(version).partition(".")[0].strip()
    if major not in ("2", "3"):
        raise MwaaInputError(f"airflow_version={version!r} is neither 2 nor 3; leave it out to have it found out.")
    return int(major)


def _states(names: Sequence[str] | None, parameter: str) -> frozenset[DagRunState]:
    try:
        return frozenset(DagRunState(str(name)) for name in names or ())
    except ValueError as error:
        known = ", ".join(state.value for state in DagRunState)
        raise MwaaInputError(f"{parameter}: {error}; there are {known}.") from error


def _moment(value: str | datetime | None, parameter: str) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError as error:
        raise MwaaInputError(
            f"{parameter}={value!r} is no ISO 8601 date, such as 2026-01-31T00:00:00+00:00."
        ) from error
    if moment.tzinfo is None:
        raise MwaaInputError(f"{parameter}={value!r} has no time zone; write 2026-01-31T00:00:00+00:00.")
    return moment


def _result(env_name: str, run: DagRun, url: str) -> dict[str, Any]:
    def text(moment: datetime | None) -> str | None:
        return moment.isoformat() if moment else None

    return {
        "env_name": env_name,
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "state": run.state.value,
        "url": url,
        "RestApiStatusCode": 200,
        "RestApiResponse": {
            "dag_id": run.dag_id,
            "dag_run_id": run.run_id,
            "state": run.state.value,
            "logical_date": text(run.logical_date),
            "start_date": text(run.start_date),
            "end_date": text(run.end_date),
            "note": run.note,
        },
    }
