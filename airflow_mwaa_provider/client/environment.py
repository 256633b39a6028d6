# SPDX-License-Identifier: Apache-2.0
"""A remote MWAA environment: one object that chooses a transport and answers in our own types.

The transport is chosen at the first call that needs one and kept for all others, waits included: InvokeRestApi if
boto3 has it and the role may call it, else a web session, else the CLI endpoint. A transport that IAM denies is not
used for five minutes; then it is tried again, or earlier if the others are denied as well. Only a call that
InvokeRestApi cannot carry (a path over 64 characters, an answer over 6 MB) goes through the web session instead.

Every call has a deadline that its retries consume. Reading calls are repeated after any transient error; mutating calls
only if repeating them cannot take effect twice.
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

from airflow_mwaa_provider.client.access import ClientSettings, TransportSelector
from airflow_mwaa_provider.client.collections import Connections, Pools, Variables
from airflow_mwaa_provider.client.models import CliResult, RestRequest, TasksToClear
from airflow_mwaa_provider.client.parameters import check_seconds
from airflow_mwaa_provider.client.rest.transports import PLUGIN_PREFIX
from airflow_mwaa_provider.client.roles import Roles
from airflow_mwaa_provider.client.run_identity import IdentifiedRequest
from airflow_mwaa_provider.client.states import DagRunState, TaskState, TransportName
from airflow_mwaa_provider.client.waits.blocking import wait_until_done
from airflow_mwaa_provider.client.waits.run_wait import PollInterval, RunWait
from airflow_mwaa_provider.exceptions import (
    DagRunAlreadyExists,
    DagRunNotFound,
    MwaaError,
    MwaaInputError,
    RemoteConflict,
    TaskInstanceNotFound,
    UnexpectedAnswer,
    UnsupportedByTransport,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from airflow_mwaa_provider.client.aws.control_plane import ControlPlane
    from airflow_mwaa_provider.client.backend import Backend
    from airflow_mwaa_provider.client.models import Dag, DagFileError, DagRun, TaskInstance

log = logging.getLogger(__name__)

# Printable ASCII without a query, and without segments that would change the path.
_PATH = re.compile(r"(?!.*/\.{1,2}(/|$))/[!\"$-.0->@-~/]*", re.ASCII)
_DAGS_AT_ONCE = 25
_FAILED = (TaskState.FAILED, TaskState.UPSTREAM_FAILED)


class MwaaEnvironment:
    """The Airflow of one MWAA environment, called from outside.

    Thread-safe. Makes no call before the first method is used.

    :param control_plane: the MWAA API of the environment's account and region.
    :param name: the environment's name.
    :param settings: transport, proxy, time-outs.
    """

    def __init__(self, control_plane: ControlPlane, name: str, settings: ClientSettings | None = None) -> None:
        if not name:
            raise MwaaInputError("The environment's name is empty. Name an environment.")
        self.name = name
        self._access = TransportSelector(control_plane, name, settings or ClientSettings())
        self.variables = Variables(self._access)
        self.connections = Connections(self._access)
        self.pools = Pools(self._access)
        self.roles = Roles(self._access, self.missing_dags)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    # -- what it is --------------------------------------------------------------------------------

    @property
    def airflow_version(self) -> str:
        """The environment's Airflow version, such as ``"2.10.3"``; from GetEnvironment, else from Airflow itself.

        :raises EnvironmentNotFound: the environment does not exist.
        """
        return self._access.airflow_version()

    @property
    def transport(self) -> TransportName | None:
        """The transport in use; ``None`` until a call needs one."""
        return self._access.chosen

    @property
    def web_server_host(self) -> str:
        """Host name of the environment's web server; from GetEnvironment, else from a token."""
        return self._access.web_server_host()

    def dag_run_url(self, dag_id: str, run_id: str) -> str:
        """Return the address of a run's page in the environment's own UI, which requires a login there."""
        host, dag, run = self.web_server_host, quote(dag_id, safe=""), quote(run_id, safe="")
        if self._access.major() == 2:
            return f"https://{host}/dags/{dag}/grid?dag_run_id={run}"
        return f"https://{host}/dags/{dag}/runs/{run}"

    # -- DAGs --------------------------------------------------------------------------------------

    def list_dags(self) -> list[Dag]:
        """List the DAGs that have a file and that the role may see, sorted by id; one call per hundred.

        The CLI shows no schedules, and on Airflow 2 it omits DAGs whose files the web server cannot import.
        """
        return self._access.call(lambda backend: backend.list_dags())

    def list_dag_file_errors(self) -> list[DagFileError]:
        """List the DAG files that the environment cannot import, sorted by name."""
        return self._access.call(lambda backend: backend.list_dag_file_errors())

    def get_last_dag_runs(self, dag_ids: Sequence[str]) -> dict[str, DagRun]:
        """Read the latest run of each of these DAGs, by its date; about one call per hundred DAGs.

        The CLI transport has no such call.

        :return: the runs by DAG id; a DAG without runs is left out.
        """
        return self._access.call(lambda backend: backend.last_runs(dag_ids)) if dag_ids else {}

    def is_dag_paused(self, dag_id: str) -> bool | None:
        """Return whether a DAG is paused.

        :return: ``None`` if it exists and no command shows it: over the CLI of Airflow 2, for a DAG whose file the web
            server cannot import, because its packages are installed only where tasks run.
        :raises DagNotFound: the DAG does not exist.
        """
        return self._access.call(lambda backend: backend.is_paused(dag_id))

    def missing_dags(self, dag_ids: Sequence[str]) -> list[str]:
        """Return which of these DAGs do not exist, or may not be seen; each batch has its own deadline."""
        missing: list[str] = []
        for start in range(0, len(dag_ids), _DAGS_AT_ONCE):
            some = dag_ids[start : start + _DAGS_AT_ONCE]
            missing += self._access.call(lambda backend, some=some: backend.missing_dags(some))  # type: ignore[misc]
        return missing

    # -- DAG runs ----------------------------------------------------------------------------------

    def trigger_dag_run(
        self,
        dag_id: str,
        run_id: str | None = None,
        conf: Mapping[str, Any] | None = None,
        logical_date: datetime | None = None,
        note: str | None = None,
        *,
        data_interval: tuple[datetime, datetime] | None = None,
        former_run_id: str | None = None,
        identified_by: Collection[str] | None = None,
    ) -> DagRun:
        """Trigger a run, exactly once.

        The call carries the run's id. If its outcome is unknown (a time-out, an interrupted connection, a 5xx), it is
        not sent again before checking whether the run exists. Called twice with the same id, conf and date, it returns
        the same run; ``created`` says whether this call created it. After an attempt with an unknown outcome, a run
        that is found counts as created by it, because whether it existed before cannot be determined.

        :param run_id: id of the run; a unique one is generated if it is omitted.
        :param conf: JSON-serializable configuration of the run.
        :param logical_date: with a time zone. If omitted, Airflow 2 uses the current time, Airflow 3 none.
        :param data_interval: start and end of the run's data interval.
        :param former_run_id: the id that an earlier release of the caller gave to the same request. A run with this id
            is returned instead of creating one, if it is the same request; otherwise it is not touched.
        :param identified_by: keys of ``conf`` that distinguish requests; ``None`` compares all of it.
        :return: the run.
        :raises DagNotFound: the DAG does not exist.
        :raises DagRunAlreadyExists: the run with this id has another conf, logical date or data interval; on Airflow 3
            also if it has a date and none was requested.
        :raises RemoteConflict: another run has this logical date.
        :raises MwaaError: any other, with ``ambiguous`` set if the run may exist nevertheless.
        """
        run_id = run_id or f"mwaa__{uuid.uuid4().hex}"
        for moment in (logical_date, *(data_interval or ())):
            if moment is not None and moment.tzinfo is None:
                raise MwaaInputError(f"The date {moment.isoformat()} has no time zone. Add one, such as UTC.")
        try:
            jsonlib.dumps(conf, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise MwaaInputError(f"conf cannot be written as JSON: {error}.") from None
        request = IdentifiedRequest(conf or {}, logical_date, data_interval, note, identified_by)
        if former_run_id is not None:
            earlier = self._find_earlier(dag_id, run_id, former_run_id, request)
            if earlier is not None:
                return earlier
        fate_unknown = False

        def attempt(backend: Backend) -> DagRun:
            nonlocal fate_unknown
            if fate_unknown:
                found = backend.find_run(dag_id, run_id, recent=True, with_conf=True)
                if found is not None:
                    self._check_same_request(found, request)
                    log.info("Environment %r: run %r had been created despite the error", self.name, run_id)
                    return replace(found, created=True)
            try:
                run = backend.create_run(dag_id, run_id, request)
            except RemoteConflict:
                found = backend.find_run(dag_id, run_id, with_conf=True)
                if found is None:
                    raise  # the conflict is with another run, about the logical date
                self._check_same_request(found, request)
                return replace(found, created=fate_unknown)
            except MwaaError as error:
                fate_unknown = fate_unknown or error.ambiguous
                raise
            return replace(run, created=True)

        try:
            return self._access.call(
                attempt, idempotent=False, may_repeat=lambda error: error.transient or error.ambiguous
            )
        except DagRunAlreadyExists:
            raise  # no doubt is left: the run with this id is another one
        except MwaaError as error:
            # The last error may be about reading the run; the doubt is about the trigger before it.
            error.ambiguous = error.ambiguous or fate_unknown
            raise

    def find_earlier_run(
        self,
        dag_id: str,
        run_id: str,
        former_run_id: str,
        *,
        conf: Mapping[str, Any] | None = None,
        logical_date: datetime | None = None,
    ) -> DagRun | None:
        """Find the run of a request to which an earlier release of the caller gave another id.

        :return: ``None`` if no run has the former id, or if it was created for another request. If ``run_id`` exists
            as well, that run.
        """
        return self._find_earlier(dag_id, run_id, former_run_id, IdentifiedRequest(conf or {}, logical_date))

    def _find_earlier(self, dag_id: str, run_id: str, former_run_id: str, request: IdentifiedRequest) -> DagRun | None:
        def find(wanted: str) -> DagRun | None:
            found = self._access.call(lambda backend: backend.find_run(dag_id, wanted, recent=True, with_conf=True))
            return found if found is not None and not self._differences(found, request) else None

        former = find(former_run_id)
        if former is None:
            return None
        # If a run has the new id, this caller created it, and the former one is another caller's.
        return replace(find(run_id) or former, created=False)

    def _check_same_request(self, found: DagRun, request: IdentifiedRequest) -> None:
        """Refuse a run that has the right id and was created for another request."""
        differences = self._differences(found, request)
        if differences:
            raise DagRunAlreadyExists(
                f"Environment {self.name!r}: DAG {found.dag_id!r} already has a run {found.run_id!r}, created for "
                f"another request: {'; '.join(differences)}. Use another run id, or repeat the same request. A conf "
                "that changes with each try, such as the current time, makes another request.",
                env_name=self.name,
                status=409,
            )

    def _differences(self, found: DagRun, request: IdentifiedRequest) -> list[str]:
        """Return how a run differs from a request.

        On Airflow 3, a request without a date leaves the date of its run empty. Airflow 2 dates every run, and nothing
        that it or its CLI shows distinguishes a requested date from the time of the request: the run type is the same,
        the data interval follows from the date either way, and both may be in whole seconds. There such a run is taken
        for the same request. The ids that operators derive contain whether a date was requested, so that this only
        concerns ids that users give.
        """
        differences = request.differences(found)
        if request.logical_date is None and found.logical_date is not None and self._access.major() >= 3:
            return [f"its logical date is {found.logical_date.isoformat()}, and none was requested", *differences]
        return differences

    def get_dag_run(self, dag_id: str, run_id: str) -> DagRun:
        """Read one run.

        :raises DagRunNotFound: it, or its DAG, does not exist.
        """
        run = self._access.call(lambda backend: backend.find_run(dag_id, run_id))
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
        :return: the runs by their pair; those that do not exist are left out.
        """
        return self._access.call(lambda backend: backend.find_runs(pairs)) if pairs else {}

    def get_ended_dag_runs(self, dag_ids: Sequence[str], since: datetime) -> list[DagRun]:
        """Read the runs of these DAGs that ended at a time or after it; one call per hundred.

        :param since: with a time zone.
        """
        return self._access.call(lambda backend: list(backend.ended_runs(dag_ids, since))) if dag_ids else []

    def get_recent_dag_runs(
        self, dag_id: str, limit: int = 1, *, states: Sequence[DagRunState] = (), until: datetime | None = None
    ) -> list[DagRun]:
        """Read the latest runs of a DAG, the latest first.

        Latest by date (``run_after`` on Airflow 3, the logical date on Airflow 2), not by creation: a backfill of last
        year is not the latest run.

        :param until: with a time zone; leaves out the runs that could only begin after it (``run_after``). The CLI of
            Airflow 2 does not show that time; there a scheduled run counts from its start.
        :raises DagNotFound: the DAG does not exist.
        """
        return self._access.call(lambda backend: backend.recent_runs(dag_id, limit, states=states, until=until))

    def wait_for_dag_run(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout_s: float,
        allowed_states: AbstractSet[DagRunState] = frozenset({DagRunState.SUCCESS}),
        failed_states: AbstractSet[DagRunState] = frozenset({DagRunState.FAILED}),
        interval: PollInterval | None = None,
        seen: DagRun | None = None,
        on_look: Callable[[str], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> DagRun:
        """Wait until a run ends, also through throttling and a web server that is temporarily unavailable.

        :param timeout_s: seconds after which the wait ends; the run itself continues.
        :param allowed_states: states that end the wait with success.
        :param failed_states: states that end it with :class:`DagRunFailed`.
        :param seen: the run as just read or created; the first look is postponed then.
        :param on_look: called with what each look saw that did not end the wait: a state, or an error.
        :raises DagRunFailed: it failed; names the tasks that failed.
        :raises DagRunNotFound: it was deleted meanwhile.
        :raises WaitTimeout: ``timeout_s`` passed.
        """
        check_seconds(timeout_s, "timeout_s")
        started_at = clock()
        wait = RunWait(
            env_name=self.name,
            dag_id=dag_id,
            run_id=run_id,
            started_at=started_at,
            deadline_s=timeout_s,
            allowed_states=allowed_states,
            failed_states=failed_states,
            interval=interval or PollInterval(),
        )
        done = wait_until_done(self, wait, seen=seen, on_look=on_look, sleep=sleep, clock=clock)
        assert done.run is not None  # a run that ended was seen
        return done.run

    def set_dag_run_state(self, dag_id: str, run_id: str, state: DagRunState | str) -> DagRun:
        """Mark a run as queued, success or failed; Airflow ends its running tasks accordingly.

        :raises DagRunNotFound: it does not exist.
        """
        try:
            wanted = DagRunState(state)
        except ValueError:
            raise MwaaInputError(f"state={state!r} is none of queued, success, failed.") from None
        # Setting the same state again changes nothing, so that it may be repeated.
        return self._access.call(lambda backend: backend.set_run_state(dag_id, run_id, wanted), idempotent=True)

    def stop_dag_run(self, dag_id: str, run_id: str) -> DagRun:
        """Mark a run as failed, which ends its tasks; one that has already ended is not changed.

        :raises DagRunNotFound: it does not exist.
        """
        run = self.get_dag_run(dag_id, run_id)
        return run if run.state.is_final else self.set_dag_run_state(dag_id, run_id, DagRunState.FAILED)

    def clear_dag_run(self, dag_id: str, run_id: str) -> None:
        """Clear a run's tasks, so that it runs again under its id. Not repeated if the outcome is unknown."""
        self._access.call(lambda backend: backend.clear_run(dag_id, run_id), idempotent=False)

    # -- tasks -------------------------------------------------------------------------------------

    def get_task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> TaskInstance:
        """Read one task instance.

        :raises TaskInstanceNotFound: it does not exist.
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
        """List task instances of a run, mapped ones one by one; by default all of them."""
        return self.get_tasks_of_runs([(dag_id, run_id)], task_ids=task_ids, states=states)

    def get_tasks_of_runs(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        task_ids: Sequence[str] | None = None,
        states: Sequence[TaskState] = (),
    ) -> list[TaskInstance]:
        """List task instances of many runs; one call per hundred runs, and per hundred tasks of them.

        :param pairs: (dag_id, run_id) of each run; those that do not exist have no tasks.
        """
        if not pairs:
            return []
        return self._access.call(lambda backend: backend.get_tasks_of_runs(pairs, task_ids=task_ids, states=states))

    def clear_tasks(
        self,
        dag_id: str,
        run_id: str,
        *,
        task_ids: Sequence[str] | None = None,
        downstream: bool = False,
        only_failed: bool = False,
        dry_run: bool = False,
    ) -> list[TaskInstance]:
        """Clear task instances of a run, so that they run again; the run is queued again. The CLI has no such call.

        Nothing is cleared before everything was checked, and the call that clears is not repeated if its outcome is
        unknown. A running task that is cleared is stopped, and starts again.

        :param task_ids: the tasks, each with all of its mapped instances; ``None`` for all of the run.
        :param downstream: also the tasks that depend on them.
        :param only_failed: only those that failed, or whose upstream did.
        :param dry_run: change nothing.
        :return: the task instances, as they were before, mapped ones sorted by index.
        :raises DagRunNotFound: the run does not exist.
        :raises TaskInstanceNotFound: the run has no such task.
        :raises UnexpectedAnswer: Airflow would clear tasks of other runs too; nothing was cleared.
        """
        instances = self.get_task_instances(dag_id, run_id)
        missing = sorted(set(task_ids or ()) - {instance.task_id for instance in instances})
        if missing and instances:
            raise TaskInstanceNotFound(
                f"Environment {self.name!r}: run {run_id!r} of DAG {dag_id!r} has no task "
                f"{', '.join(map(repr, missing))}; nothing was cleared. Check the ids.",
                env_name=self.name,
                status=404,
            )

        selection = TasksToClear(task_ids, downstream, only_failed)

        def clear(*, dry_run: bool) -> list[tuple[str, str, int | None]]:
            return self._access.call(
                lambda backend: backend.clear_tasks(dag_id, run_id, selection, dry_run=dry_run), idempotent=dry_run
            )

        planned = clear(dry_run=True)
        if not instances and not planned:
            raise DagRunNotFound(
                f"Environment {self.name!r}: DAG {dag_id!r} has no run {run_id!r} with tasks; nothing was cleared. "
                "Check both ids.",
                env_name=self.name,
                status=404,
            )
        if others := sorted({of_run for of_run, _, _ in planned} - {run_id}):
            raise UnexpectedAnswer(
                f"Environment {self.name!r}: its Airflow would also clear tasks of run {others[0]!r} with those of "
                f"run {run_id!r}; nothing was cleared. Clear it in the Airflow UI.",
                env_name=self.name,
            )
        if planned and not dry_run:
            clear(dry_run=False)
        # Airflow 2 returns no map index; it clears the instances of a mapped task that pass the filter.
        wanted = {(task_id, map_index) for _, task_id, map_index in planned}
        found = [
            instance
            for instance in instances
            if (instance.task_id, instance.map_index) in wanted
            or ((instance.task_id, None) in wanted and (not only_failed or instance.state in _FAILED))
        ]
        # The database returns mapped instances in any order; tasks keep their order.
        order = {task_id: number for number, task_id in enumerate(dict.fromkeys(each.task_id for each in found))}
        return sorted(found, key=lambda instance: (order[instance.task_id], instance.map_index))

    def get_xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", *, map_index: int = -1
    ) -> Any:
        """Read an XCom. The CLI transport has no such call.

        Airflow before 2.10 returns a string, in which anything but a string is written as Python writes it.

        :raises TaskInstanceNotFound: the task has no XCom of that name.
        """
        return self._access.call(lambda backend: backend.get_xcom(dag_id, run_id, task_id, key, map_index=map_index))

    def get_task_log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1) -> str:
        """Read the log of one try of a task. The CLI transport has no such call.

        :param try_number: 1 for the first try.
        :raises TaskInstanceNotFound: the task instance does not exist.
        """
        return self._access.call(
            lambda backend: backend.get_task_log(dag_id, run_id, task_id, try_number=try_number, map_index=map_index)
        )

    # -- anything else -----------------------------------------------------------------------------

    def request(self, method: str, path: str, params: Mapping[str, Any] | None = None, json: Any = None) -> Any:
        """Call any endpoint of the environment's Airflow REST API.

        Reading calls (GET, and POST to a path that ends in ``/list``) are repeated after transient errors; others are
        not repeated once they may have taken effect.

        :param path: without ``/api/v1`` or ``/api/v2``, ids percent-encoded: ``/dags?limit=5`` is ``/dags`` and
            ``params={"limit": 5}``. A path that begins with ``/auth/`` belongs to the auth manager of Airflow 3, which
            only a web session reaches.
        :return: the answer's JSON, ``None`` if it is empty.
        :raises AirflowError: Airflow answered 400 or above.
        :raises UnsupportedByTransport: the transport is ``cli``.
        """
        method = method.upper()
        if method not in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
            raise MwaaInputError(f"method={method!r} is none of GET, HEAD, POST, PUT, PATCH, DELETE.")
        if not _PATH.fullmatch(path) or path.startswith(("/api/v1/", "/api/v2/")):
            raise MwaaInputError(
                f"path={path!r} must begin with a slash, without /api/v…, and be percent-encoded, such as '/dags'. "
                "Give what follows a question mark as params."
            )

        request = RestRequest(method, path, params, json)
        return self._access.call(lambda backend: backend.request(request), idempotent=not request.is_mutating)

    def call_plugin(self, method: str, path: str, json: Any = None) -> Any:
        """Call what a plugin of this package has added to the environment's web server, through a web session.

        Repeated after transient errors, because such calls may be carried out twice without harm.

        :param path: the whole path, which begins with ``/mwaa-provider/``.
        :return: the answer's JSON.
        :raises AirflowError: it answered 400 or above; :class:`RemoteNotFound` if the plugin does not exist.
        :raises UnsupportedByTransport: another transport than the web session was requested.
        """
        if not path.startswith(PLUGIN_PREFIX) or not _PATH.fullmatch(path):
            raise MwaaInputError(f"path={path!r} does not begin with {PLUGIN_PREFIX}.")
        if self._access.forced not in (None, TransportName.WEB_SESSION):
            raise UnsupportedByTransport(
                f"Environment {self.name!r}: {method} {path} needs a web session, and transport "
                f"{self._access.forced.value} was requested. Leave it out, or use web_session.",
                env_name=self.name,
            )
        request = RestRequest(method, path, json=json)
        return self._access.call_by([TransportName.WEB_SESSION], lambda backend: backend.request(request))

    def run_cli(self, argv: Sequence[str], *, idempotent: bool = False) -> CliResult:
        """Run an Airflow CLI command through the CLI endpoint; it is not repeated once it may have run.

        :param argv: the command without the leading ``airflow``: ``["variables", "list"]``.
        :param idempotent: running it twice does no harm, so that it is repeated after any transient error, such as an
            endpoint that is busy with four other commands.
        :return: its output; a command that ran and failed has ``exit_status`` 1 and raises no error.
        :raises UnsendableCommand: an argument cannot be sent unchanged.
        :raises CliCommandNotAllowed: MWAA does not allow the command.
        """
        if isinstance(argv, str):
            raise MwaaInputError("argv is a string. Give the command as a list: ['dags', 'list'].")
        return self._access.run_cli(list(argv), idempotent=idempotent)
