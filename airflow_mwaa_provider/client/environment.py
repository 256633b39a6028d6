# SPDX-License-Identifier: Apache-2.0
"""A remote MWAA environment: one object that picks a transport and answers in our own types.

The transport is chosen at the first call that needs one and kept for all others, waits included: InvokeRestApi where
boto3 has it and the role may call it, else a web session, else the CLI endpoint. Only a call that InvokeRestApi cannot
carry (a path over 64 characters, an answer over 6 MB) goes through the web session instead.

Every call has a deadline that its retries consume. Calls that only read are repeated after any transient error; calls
that act are repeated only when repeating cannot act twice.
"""

from __future__ import annotations

import json as jsonlib
import logging
import re
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_mwaa_provider.client.access import Access, ClientSettings
from airflow_mwaa_provider.client.collections import Connections, Pools, Variables
from airflow_mwaa_provider.client.models import CliResult, DagRun, DagRunState, TaskInstance, TaskState, TransportName
from airflow_mwaa_provider.client.polling import Done, Failed, PollInterval, RunWait
from airflow_mwaa_provider.client.transports import acts
from airflow_mwaa_provider.exceptions import (
    DagRunFailed,
    DagRunNotFound,
    MwaaError,
    MwaaInputError,
    RemoteConflict,
    TaskInstanceNotFound,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from airflow_mwaa_provider.client.backend import Backend
    from airflow_mwaa_provider.client.control_plane import ControlPlane

log = logging.getLogger(__name__)

# Printable ASCII without a query, and without segments that would lead elsewhere.
_PATH = re.compile(r"(?!.*/\.{1,2}(/|$))/[!\"$-.0->@-~/]*", re.ASCII)


class MwaaEnvironment:
    """The Airflow of one MWAA environment, from outside.

    Thread-safe. Makes no call before the first method is used.

    :param control_plane: the MWAA API of the environment's account and region.
    :param name: the environment's name.
    :param settings: transport, proxy, time-outs.
    """

    def __init__(self, control_plane: ControlPlane, name: str, settings: ClientSettings | None = None) -> None:
        if not name:
            raise MwaaInputError("The environment's name is empty; give env_name.")
        self.name = name
        self._access = Access(control_plane, name, settings or ClientSettings())
        self.variables = Variables(self._access)
        self.connections = Connections(self._access)
        self.pools = Pools(self._access)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    # -- what it is --------------------------------------------------------------------------------

    @property
    def airflow_version(self) -> str:
        """The Airflow version there, such as ``"2.10.3"``; from GetEnvironment, else from Airflow itself.

        :raises EnvironmentNotFound: there is no such environment.
        """
        return self._access.airflow_version()

    @property
    def transport(self) -> TransportName | None:
        """The transport in use; ``None`` as long as no call has needed one."""
        return self._access.chosen

    @property
    def web_server_host(self) -> str:
        """Host name of the environment's web server; from GetEnvironment, else from a token."""
        return self._access.web_server_host()

    def dag_run_url(self, dag_id: str, run_id: str) -> str:
        """The page of a run in the environment's own UI. Whoever opens it must be logged in there."""
        host, dag, run = self.web_server_host, quote(dag_id, safe=""), quote(run_id, safe="")
        if self._access.major() == 2:
            return f"https://{host}/dags/{dag}/grid?dag_run_id={run}"
        return f"https://{host}/dags/{dag}/runs/{run}"

    # -- runs --------------------------------------------------------------------------------------

    def trigger_dag_run(
        self,
        dag_id: str,
        run_id: str | None = None,
        conf: Mapping[str, Any] | None = None,
        logical_date: datetime | None = None,
        note: str | None = None,
        *,
        data_interval: tuple[datetime, datetime] | None = None,
    ) -> DagRun:
        """Trigger a run, exactly once.

        The call carries the run's id. When its fate is unknown (a time-out, a cut connection, a 5xx) it is not sent
        again before the environment has been asked whether the run is there. Called twice with the same id it gives
        the same run; ``created`` tells whether this call made it. After an attempt of unknown fate a run that is
        found counts as made by it: whether it was there before cannot be told.

        :param run_id: id of the run; a unique one is made when it is missing.
        :param conf: JSON-serialisable configuration of the run.
        :param logical_date: with a time zone. Left out, Airflow 2 takes the present, Airflow 3 none.
        :param data_interval: start and end of the run's data interval.
        :return: the run.
        :raises DagNotFound: there is no such DAG.
        :raises RemoteConflict: another run has this logical date.
        :raises MwaaError: any other, with ``ambiguous`` set when the run may be there all the same.
        """
        run_id = run_id or f"mwaa__{uuid.uuid4().hex}"
        for moment in (logical_date, *(data_interval or ())):
            if moment is not None and moment.tzinfo is None:
                raise MwaaInputError(f"The date {moment.isoformat()} has no time zone; add one, UTC for example.")
        try:
            jsonlib.dumps(conf, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise MwaaInputError(f"conf cannot be written as JSON: {error}.") from None
        fate_unknown = False

        def attempt(backend: Backend) -> DagRun:
            nonlocal fate_unknown
            if fate_unknown:
                found = backend.find_run(dag_id, run_id, recent=True)
                if found is not None:
                    log.info("Environment %r: run %r had been created in spite of the error", self.name, run_id)
                    return _with_created(found, True)
            try:
                run = backend.create_run(
                    dag_id,
                    run_id,
                    conf=conf,
                    logical_date=logical_date,
                    data_interval=data_interval,
                    note=note,
                )
            except RemoteConflict:
                found = backend.find_run(dag_id, run_id)
                if found is None:
                    raise  # the conflict is with another run, about the logical date
                return _with_created(found, fate_unknown)
            except MwaaError as error:
                fate_unknown = fate_unknown or error.ambiguous
                raise
            return _with_created(run, True)

        try:
            return self._access.call(
                attempt, idempotent=False, may_repeat=lambda error: error.transient or error.ambiguous
            )
        except MwaaError as error:
            # The last error may be about asking; the doubt is about the trigger before it.
            error.ambiguous = error.ambiguous or fate_unknown
            raise

    def get_dag_run(self, dag_id: str, run_id: str) -> DagRun:
        """Read one run.

        :raises DagRunNotFound: it isn't there, or its DAG isn't.
        """
        return self._get_dag_run(dag_id, run_id)

    def _get_dag_run(self, dag_id: str, run_id: str, deadline_s: float | None = None) -> DagRun:
        run = self._access.call(lambda backend: backend.find_run(dag_id, run_id), deadline_s=deadline_s)
        if run is None:
            raise DagRunNotFound(
                f"Environment {self.name!r}: DAG {dag_id!r} has no run {run_id!r}. Check both ids.",
                env_name=self.name,
                status=404,
            )
        return run

    def get_dag_runs(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], DagRun]:
        """Read many runs in few calls.

        :param pairs: (dag_id, run_id) of each.
        :return: the runs by their pair; those that aren't there are left out.
        """
        return self._access.call(lambda backend: backend.find_runs(pairs)) if pairs else {}

    def wait_for_dag_run(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout_s: float,
        allowed_states: AbstractSet[DagRunState] = frozenset({DagRunState.SUCCESS}),
        failed_states: AbstractSet[DagRunState] = frozenset({DagRunState.FAILED}),
        interval: PollInterval | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> DagRun:
        """Wait until a run ends; throttling, and a web server that is away for a while, are waited out.

        :param timeout_s: seconds after which the wait gives up; the run itself goes on.
        :param allowed_states: states that end the wait with success.
        :param failed_states: states that end it with :class:`DagRunFailed`.
        :raises DagRunFailed: it ended badly; names the tasks that failed.
        :raises DagRunNotFound: it was deleted meanwhile.
        :raises WaitTimeout: ``timeout_s`` passed.
        """
        wait = RunWait(
            env_name=self.name,
            dag_id=dag_id,
            run_id=run_id,
            started_at=clock(),
            deadline_s=timeout_s,
            allowed_states=allowed_states,
            failed_states=failed_states,
            interval=interval or PollInterval(),
        )
        while True:
            seen: DagRun | MwaaError
            try:
                seen = self._get_dag_run(dag_id, run_id, wait.left_s(clock()))
            except MwaaError as error:
                seen = error
            step = wait.step(seen, clock())
            if isinstance(step, Done):
                return step.run
            if isinstance(step, Failed):
                raise self._with_failed_tasks(step.error)
            log.info(
                "Environment %r: run %r of DAG %r: %s; next look in %.0f s",
                self.name,
                run_id,
                dag_id,
                step.note,
                step.delay_s,
            )
            sleep(step.delay_s)

    def _with_failed_tasks(self, error: MwaaError) -> MwaaError:
        """Add to a failed run's error which tasks failed; as it is when that cannot be asked."""
        if not isinstance(error, DagRunFailed) or error.dag_id is None or error.run_id is None:
            return error
        try:
            failed = self.get_task_instances(error.dag_id, error.run_id, states=[TaskState.FAILED])
        except MwaaError as unknown:
            log.warning("Which tasks of run %r failed is unknown: %s", error.run_id, unknown)
            return error
        labels = tuple(instance.label for instance in failed)
        return DagRunFailed(
            f"{error} Failed tasks: {', '.join(labels)}."
            if labels
            else f"{error} None of its tasks failed: it was marked so by hand, or stopped.",
            dag_id=error.dag_id,
            run_id=error.run_id,
            state=error.state,
            failed_task_ids=labels,
            env_name=self.name,
        )

    def set_dag_run_state(self, dag_id: str, run_id: str, state: DagRunState | str) -> DagRun:
        """Mark a run as queued, success or failed; Airflow ends its running tasks accordingly.

        :raises DagRunNotFound: it isn't there.
        """
        try:
            wanted = DagRunState(state)
        except ValueError:
            raise MwaaInputError(f"state={state!r} is none of queued, success, failed.") from None
        # Setting the same state again changes nothing, so that it may be repeated.
        return self._access.call(lambda backend: backend.set_run_state(dag_id, run_id, wanted), idempotent=True)

    def clear_dag_run(self, dag_id: str, run_id: str) -> None:
        """Clear a run's tasks, so that it runs again under its id. Not repeated when its fate is unknown."""
        self._access.call(lambda backend: backend.clear_run(dag_id, run_id), idempotent=False)

    def is_dag_paused(self, dag_id: str) -> bool:
        """Whether a DAG is paused there.

        :raises DagNotFound: there is no such DAG.
        """
        return self._access.call(lambda backend: backend.is_paused(dag_id))

    # -- tasks -------------------------------------------------------------------------------------

    def get_task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> TaskInstance:
        """Read one task instance.

        :raises TaskInstanceNotFound: it isn't there.
        """
        for instance in self.get_task_instances(dag_id, run_id, task_ids=[task_id]):
            if instance.map_index == map_index:
                return instance
        label = task_id if map_index < 0 else f"{task_id}[{map_index}]"
        raise TaskInstanceNotFound(
            f"Environment {self.name!r}: run {run_id!r} of DAG {dag_id!r} has no task {label!r}. Check the ids.",
            env_name=self.name,
            status=404,
        )

    def get_task_instances(
        self,
        dag_id: str,
        run_id: str,
        *,
        task_ids: Sequence[str] | None = None,
        states: Sequence[TaskState] = (),
    ) -> list[TaskInstance]:
        """List task instances of a run, each mapped one by itself; all of them where nothing narrows it."""
        return self._access.call(
            lambda backend: backend.get_task_instances(dag_id, run_id, task_ids=task_ids, states=states)
        )

    def get_task_log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1) -> str:
        """Read the log of one try of a task. The CLI transport has no such call.

        :param try_number: 1 for the first try.
        :raises TaskInstanceNotFound: it isn't there.
        """
        return self._access.call(
            lambda backend: backend.get_task_log(dag_id, run_id, task_id, try_number=try_number, map_index=map_index)
        )

    # -- anything else -----------------------------------------------------------------------------

    def request(self, method: str, path: str, params: Mapping[str, Any] | None = None, json: Any = None) -> Any:
        """Call any endpoint of Airflow's REST API there.

        What only reads (GET, and POST to a path that ends in ``/list``) is repeated after transient errors; nothing
        else is repeated once it may have taken effect.

        :param path: without ``/api/v1`` or ``/api/v2``, ids percent-encoded: ``/dags?limit=5`` is ``/dags`` and
            ``params={"limit": 5}``.
        :return: the answer's JSON, ``None`` where it is empty.
        :raises AirflowError: Airflow answered 400 or above.
        :raises UnsupportedByTransport: the transport is ``cli``.
        """
        method = method.upper()
        if method not in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
            raise MwaaInputError(f"method={method!r} is none of GET, HEAD, POST, PUT, PATCH, DELETE.")
        if not _PATH.fullmatch(path) or path.startswith(("/api/v1/", "/api/v2/")):
            raise MwaaInputError(
                f"path={path!r}: write it from the first slash on, without /api/v…, percent-encoded, what follows the "
                "question mark in params: '/dags'."
            )

        return self._access.call(
            lambda backend: backend.request(method, path, params=params, json=json),
            idempotent=not acts(method, path),
        )

    def run_cli(self, argv: Sequence[str], *, idempotent: bool = False) -> CliResult:
        """Run an Airflow CLI command through the CLI endpoint; not repeated once it may have run.

        :param argv: the command without the leading ``airflow``: ``["variables", "list"]``.
        :param idempotent: running it twice does no harm: repeat it after any transient error, such as an endpoint
            that is busy with four other commands.
        :return: what it printed; a command that ran and failed has ``exit_status`` 1 and raises nothing.
        :raises UnsendableCommand: an argument cannot travel unchanged.
        :raises CliCommandNotAllowed: MWAA does not let the command through.
        """
        if isinstance(argv, str):
            raise MwaaInputError("argv is one text: give the command as a list, ['dags', 'list'].")
        return self._access.run_cli(list(argv), idempotent=idempotent)


def _with_created(run: DagRun, created: bool) -> DagRun:
    return replace(run, created=created)
