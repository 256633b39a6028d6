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

# Printable ASCII without a query, and without segments that would change the path.
_PATH = re.compile(r"(?!.*/\.{1,2}(/|$))/[!\"$-.0->@-~/]*", re.ASCII)


class MwaaEnvironment(DagCalls, DagRunCalls, TaskCalls):
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
        self.roles = Roles(self._access)

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
