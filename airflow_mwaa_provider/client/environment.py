# SPDX-License-Identifier: Apache-2.0
"""A remote MWAA environment: one object that picks a transport and answers in our own types.

The transport is chosen at the first call that needs one and kept for all others, waits included: InvokeRestApi where
boto3 has it and the role may call it, else a web session, else the CLI endpoint. What IAM refuses is left out for five
minutes, and tried again after them, or when the others are refused as well. Only a call that InvokeRestApi cannot
carry (a path over 64 characters, an answer over 6 MB) goes through the web session instead.

Every call has a deadline that its retries consume. Calls that only read are repeated after any transient error; calls
that act are repeated only when repeating cannot act twice.
"""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_mwaa_provider.client.access import ClientSettings, TransportSelector
from airflow_mwaa_provider.client.collections import Connections, Pools, Variables
from airflow_mwaa_provider.client.dag_runs import DagRunCalls
from airflow_mwaa_provider.client.dags import DagCalls
from airflow_mwaa_provider.client.models import CliResult, DagRunState, RestRequest, TransportName
from airflow_mwaa_provider.client.parameters import check_seconds
from airflow_mwaa_provider.client.rest.transports import PLUGIN_PREFIX
from airflow_mwaa_provider.client.roles import Roles
from airflow_mwaa_provider.client.task_instances import TaskCalls
from airflow_mwaa_provider.client.waits.blocking import wait_until_done
from airflow_mwaa_provider.client.waits.run_wait import PollInterval, RunWait
from airflow_mwaa_provider.exceptions import MwaaInputError, UnsupportedByTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from airflow_mwaa_provider.client.aws.control_plane import ControlPlane
    from airflow_mwaa_provider.client.models import DagRun

log = logging.getLogger(__name__)

# Printable ASCII without a query, and without segments that would lead elsewhere.
_PATH = re.compile(r"(?!.*/\.{1,2}(/|$))/[!\"$-.0->@-~/]*", re.ASCII)


class MwaaEnvironment(DagCalls, DagRunCalls, TaskCalls):
    """The Airflow of one MWAA environment, from outside.

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
        self.roles = Roles(self._access)

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

    # -- waiting -----------------------------------------------------------------------------------

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
        """Wait until a run ends; throttling, and a web server that is away for a while, are waited out.

        :param timeout_s: seconds after which the wait gives up; the run itself goes on.
        :param allowed_states: states that end the wait with success.
        :param failed_states: states that end it with :class:`DagRunFailed`.
        :param seen: the run as it has just been seen, or made: the first look can come later.
        :param on_look: is told what each look saw that did not end the wait: a state, or what went wrong.
        :raises DagRunFailed: it ended badly; names the tasks that failed.
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

    # -- anything else -----------------------------------------------------------------------------

    def request(self, method: str, path: str, params: Mapping[str, Any] | None = None, json: Any = None) -> Any:
        """Call any endpoint of Airflow's REST API there.

        What only reads (GET, and POST to a path that ends in ``/list``) is repeated after transient errors; nothing
        else is repeated once it may have taken effect.

        :param path: without ``/api/v1`` or ``/api/v2``, ids percent-encoded: ``/dags?limit=5`` is ``/dags`` and
            ``params={"limit": 5}``. A path that begins with ``/auth/`` is one of the auth manager of Airflow 3, which a
            web session alone reaches.
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

        request = RestRequest(method, path, params, json)
        return self._access.call(lambda backend: backend.request(request), idempotent=not request.is_mutating)

    def call_plugin(self, method: str, path: str, json: Any = None) -> Any:
        """Call what a plugin of this package has added to the environment's web server, through a web session.

        Repeated after transient errors: such calls do no harm when they are carried out twice.

        :param path: whole, from ``/mwaa-provider/`` on.
        :return: the answer's JSON.
        :raises AirflowError: it answered 400 or above; :class:`RemoteNotFound` where there is no such plugin.
        :raises UnsupportedByTransport: another transport than the web session was asked for.
        """
        if not path.startswith(PLUGIN_PREFIX) or not _PATH.fullmatch(path):
            raise MwaaInputError(f"path={path!r} does not begin with {PLUGIN_PREFIX}.")
        if self._access.forced not in (None, TransportName.WEB_SESSION):
            raise UnsupportedByTransport(
                f"Environment {self.name!r}: {method} {path} goes through a web session only, and transport="
                f"{self._access.forced.value!r} was asked for.",
                env_name=self.name,
            )
        request = RestRequest(method, path, json=json)
        return self._access.call_by([TransportName.WEB_SESSION], lambda backend: backend.request(request))

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
