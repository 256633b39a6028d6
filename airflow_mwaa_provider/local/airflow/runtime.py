# SPDX-License-Identifier: Apache-2.0
"""A real Airflow behind an environment of the local MWAA: its processes and its logins.

The components are started separately and not with ``airflow standalone``, which leaves servers behind when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import signal
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp

from airflow_mwaa_provider.local.airflow import aws_models, environment_files, login, setup, webserver_2
from airflow_mwaa_provider.local.airflow.airflow_logs import PREPARATION, AirflowLogs
from airflow_mwaa_provider.local.airflow.environment_metrics import EnvironmentMetrics
from airflow_mwaa_provider.local.airflow.interpreter import release_of
from airflow_mwaa_provider.local.airflow.metadata_databases import MetadataDatabases, make_fernet_key
from airflow_mwaa_provider.local.airflow.preparation import Preparation, Prepared
from airflow_mwaa_provider.local.airflow.settings import (
    AwsWorld,
    EnvironmentKeys,
    WebServer,
    airflow_variables,
    overridable_names,
    sends_metrics_elsewhere,
)
from airflow_mwaa_provider.local.airflow.startup_script import Component
from airflow_mwaa_provider.local.airflow.statsd_names import DEFAULT_PREFIX
from airflow_mwaa_provider.local.airflow.warm_interpreter import Request, WarmInterpreter
from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine import processes, state
from airflow_mwaa_provider.local.machine.mwaa_home import AirflowHome
from airflow_mwaa_provider.local.machine.statsd import StatsdListener
from airflow_mwaa_provider.local.machine.supervision import keep_running
from airflow_mwaa_provider.local.machine.threads import run_whole
from airflow_mwaa_provider.local.runtime import ApiSession, CliOutcome, EnvironmentSpec, RuntimeStartError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from airflow_mwaa_provider.local.airflow.interpreter import Interpreter
    from airflow_mwaa_provider.local.machine.bucket_files import BucketFiles
    from airflow_mwaa_provider.local.machine.bucket_sync import BucketSync
    from airflow_mwaa_provider.local.machine.state import StateFolder
    from airflow_mwaa_provider.local.runtime import LogKind

log = logging.getLogger(__name__)

_SETUP_TIMEOUT_S = 300.0
_START_TIMEOUT_S = 240.0
_STOP_GRACE_S = 6.0
_DRAIN_TIMEOUT_S = 12 * 3600.0
_HEALTH_POLL_S = 0.5
_FIRST_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=120)
# The command of each component in the warm interpreter; the web server first.
_COMPONENTS_2: dict[str, Request] = {
    "webserver": {"script": webserver_2.__file__},
    "scheduler": {"argv": ["scheduler", "--skip-serve-logs"]},
    "triggerer": {"argv": ["triggerer", "--skip-serve-logs"]},
}
_COMPONENTS_3: dict[str, Request] = {
    "api-server": {"argv": ["api-server", "--proxy-headers"]},
    "scheduler": {"argv": ["scheduler", "--skip-serve-logs"]},
    "dag-processor": {"argv": ["dag-processor"]},
    "triggerer": {"argv": ["triggerer", "--skip-serve-logs"]},
}
# Whose environment each has, and with it what it starts. Tasks are forks of the scheduler here, and MWAA's workers run
# them; on MWAA, the scheduler's container has the other two.
_CONTAINERS = {"webserver": Component.WEBSERVER, "api-server": Component.WEBSERVER, "scheduler": Component.WORKER}
_WARM = Component.WORKER
# The health endpoint's names of the components, and the field with the time when each last reported.
_HEALTH_2 = {"scheduler": "latest_scheduler_heartbeat", "triggerer": "latest_triggerer_heartbeat"}
_HEALTH_3 = {**_HEALTH_2, "dag_processor": "latest_dag_processor_heartbeat"}


@dataclass
class RuntimeContext:
    """The shared parts of all environments of one local MWAA."""

    folder: StateFolder
    databases: MetadataDatabases
    ports: processes.PortAllocator
    aws: Callable[[EnvironmentSpec], AwsWorld] | None = None
    """How an environment's processes reach AWS; set once the endpoint listens, before the first one starts."""
    bucket_files: BucketFiles | None = None
    bucket_sync: BucketSync | None = None
    mwaa_paths: bool = False
    """Whether environments' processes have their AIRFLOW_HOME at MWAA's path."""
    buckets_filled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the environments' buckets are filled, and the two above are set."""


class AirflowRuntime:
    """The Airflow of one environment (:class:`~airflow_mwaa_provider.local.runtime.Runtime`)."""

    def __init__(self, spec: EnvironmentSpec, interpreter: Interpreter, context: RuntimeContext) -> None:
        self.spec = spec
        self.interpreter = interpreter
        """The interpreter in use: the given one, or an overlay over it."""
        self.requirements_error: str | None = None
        """Why its requirements are not installed, and where the log is."""
        self.phase = "not started"
        """What it is doing, for people who wait for it."""
        self.folder = context.folder.environment(spec.name)
        self.restarts: dict[str, int] = {}
        """How often each component has ended unexpectedly since the environment started."""
        self.began: dict[str, float] = {}
        """When each component, and :data:`~.airflow_logs.PREPARATION`, began, in seconds since 1970."""
        self._given_interpreter = interpreter
        self._context = context
        self._home = AirflowHome(self.folder.airflow_home, context.mwaa_paths)
        self._record: dict[str, Any] = {}
        self._components: dict[str, processes.ProcessGroup] = {}
        self._supervisors: dict[str, asyncio.Task[None]] = {}
        self._interpreter: WarmInterpreter | None = None
        self._http: aiohttp.ClientSession | None = None
        self._statsd: StatsdListener | None = None
        self._metrics: EnvironmentMetrics | None = None
        self._started_at = datetime.now(UTC)

    @property
    def base_url(self) -> str:
        """Where the web server listens."""
        return f"http://127.0.0.1:{self._record['web_port']}"

    @property
    def api_prefix(self) -> str:
        """The REST API's version, as a path."""
        return "/api/v2" if self.interpreter.is_airflow_3 else "/api/v1"

    @property
    def pids(self) -> dict[str, int]:
        """The components' process ids."""
        return {name: process.pid for name, process in self._components.items() if process.is_running}

    def logs(self, levels: Mapping[LogKind, int]) -> AirflowLogs:
        """Return its logs, for CloudWatch Logs.

        :param levels: the lowest level of each enabled kind of log.
        """
        return AirflowLogs(self.spec.name, self.folder, self.interpreter.is_airflow_3, dict(self.began), levels)

    def metrics(self) -> EnvironmentMetrics | None:
        """Return the source of its metrics; None while it is not running."""
        if self._metrics is not None:
            self._metrics.pids = self.pids
        return self._metrics

    async def start(self, public_url: str) -> None:
        """Start everything and return once all components are healthy.

        :raises RuntimeStartError: it did not start; nothing is left running.
        """
        if self._components:
            raise RuntimeStartError(f"environment {self.spec.name} is already running")
        started = time.monotonic()
        try:
            await self._start(public_url)
        except (LocalMwaaError, OSError, aiohttp.ClientError) as error:
            await self.stop()
            message = state.describe_os_error(error) if isinstance(error, OSError) else str(error)
            raise RuntimeStartError(message, getattr(error, "log_tail", "")) from error
        except BaseException:
            await self.stop()
            raise
        self.phase = "running"
        log.info("environment %s is healthy after %.1f s", self.spec.name, time.monotonic() - started)

    async def _start(self, public_url: str) -> None:
        self._load_record()
        self.began = {PREPARATION: time.time()}
        assert self._context.aws is not None, "the endpoint listens before an environment starts"
        aws = self._context.aws(self.spec)
        if not self._given_interpreter.has_statsd:
            python = self._given_interpreter.path
            log.warning(
                "environment %s: Airflow sends no metrics: `%s -m pip install statsd`, which MWAA's images have",
                self.spec.name,
                python,
            )
        elif not sends_metrics_elsewhere(self.spec.configuration):
            self._statsd = await StatsdListener.open()
        prepared = await self._prepare(self._variables(WebServer(self._record["web_port"], public_url), aws), aws)
        self.interpreter, self.requirements_error = prepared.interpreter, prepared.requirements_error
        self._interpreter = WarmInterpreter(
            self.interpreter.path,
            prepared.variables[_WARM],
            self.folder.components / "interpreter.log",
            self._home,
            # On MWAA, the command line runs in the web server.
            prepared.changes(_WARM, Component.WEBSERVER),
        )
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        self.phase = "importing Airflow"
        await self._interpreter.warm_up()
        await self._provide_database()
        self._started_at = datetime.now(UTC)
        components = {
            name: {**request, "variables": prepared.changes(_WARM, _CONTAINERS.get(name, Component.SCHEDULER))}
            for name, request in (_COMPONENTS_3 if self.interpreter.is_airflow_3 else _COMPONENTS_2).items()
        }
        for name, request in components.items():
            await self._start_component(name, request)
        await self._wait_until_healthy()
        await self._make_first_requests()
        await run_whole(environment_files.remember, self.folder, self.spec.files)
        self.restarts = {}
        prefix = self.spec.configuration.get("metrics.statsd_prefix", DEFAULT_PREFIX)
        self._metrics = EnvironmentMetrics(
            self.spec.name,
            self._context.databases,
            self._statsd,
            prefix,
            is_airflow_3=self.interpreter.is_airflow_3,
        )
        self._supervisors = {
            name: asyncio.create_task(self._supervise(name, request), name=f"{self.spec.name} {name}")
            for name, request in components.items()
        }

    async def _prepare(self, variables: dict[str, str], aws: AwsWorld) -> Prepared:
        """Let plugins, startup script and requirements take effect."""
        public = {"airflow_home", "airflow_version"}
        secrets_ = [value for name, value in self._record.items() if isinstance(value, str) and name not in public]
        database = self._context.databases.database(self.spec.name, self._given_interpreter)
        preparation = Preparation(
            files=self.spec.files,
            folder=self.folder,
            home=self._home,
            interpreter=self._given_interpreter,
            variables=variables,
            overridable=overridable_names(self._given_interpreter, self.spec.configuration),
            secrets=[*secrets_, database.password, aws.secret_access_key],
        )

        def say(phase: str) -> None:
            self.phase = phase

        return await preparation.carry_out(say)

    async def drain(self) -> None:
        """Start no more tasks, and return when the running ones have ended, after 12 hours at the latest."""
        scheduler, supervisor = self._components.get("scheduler"), self._supervisors.get("scheduler")
        if scheduler is None or supervisor is None:
            return
        self.phase = "waiting for running tasks"
        supervisor.cancel()
        await asyncio.gather(supervisor, return_exceptions=True)
        # Its executor waits for running tasks, which are in the scheduler's group, and must not get the signal.
        with contextlib.suppress(ProcessLookupError):
            os.kill(scheduler.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(scheduler.wait(), _DRAIN_TIMEOUT_S)

    async def stop(self) -> None:
        """End all its processes. Do nothing if none is running."""
        self.phase = "stopping"
        self._metrics = None
        for task in self._supervisors.values():
            task.cancel()
        await asyncio.gather(*self._supervisors.values(), return_exceptions=True)
        self._supervisors = {}
        running = [process.stop(_STOP_GRACE_S) for process in self._components.values()]
        await asyncio.gather(*running)
        if self._interpreter is not None:
            await self._interpreter.stop()
        # Tasks run in their own sessions; processes that the components leave behind are found by their marker.
        await asyncio.to_thread(processes.end_all, self._context.folder.path, self.spec.name, 1.0)
        self._components = {}
        self._interpreter = None
        if self._statsd is not None:
            self._statsd.close()
            self._statsd = None
        if self._http is not None:
            await self._http.close()
            self._http = None
        self.phase = "stopped"

    async def delete(self) -> None:
        """Stop, and permanently delete the environment's database and files."""
        await self.stop()
        await self._context.databases.drop(self.spec.name)
        await asyncio.to_thread(shutil.rmtree, self.folder.root, ignore_errors=True)

    async def login(self) -> ApiSession:
        """Log in as the environment's administrator; each call is a new login, valid for 12 hours.

        :raises LocalMwaaError: Airflow rejected it, or is not running.
        """
        if not self._components:
            raise LocalMwaaError(f"environment {self.spec.name} is not running")
        log_in = login.log_in_3 if self.interpreter.is_airflow_3 else login.log_in_2
        return await log_in(self.base_url, self._record["admin_password"])

    async def run_cli(self, argv: Sequence[str], timeout_s: float) -> CliOutcome:
        """Run ``airflow ARGV`` in a warm interpreter.

        :raises TimeoutError: the command took too long, and was killed.
        :raises LocalMwaaError: the environment is not running, or its command line cannot be started.
        """
        if self._interpreter is None:
            raise LocalMwaaError(f"environment {self.spec.name} is not running")
        return await self._interpreter.run(argv, timeout_s)

    def _load_record(self) -> None:
        """Load the environment's keys, passwords and ports, or create them."""
        self.folder.create()
        record = state.read_json(self.folder.record_path)
        if not record:
            record = {
                "fernet_key": make_fernet_key(),
                "web_secret_key": secrets.token_urlsafe(32),
                "jwt_secret": secrets.token_urlsafe(64),
                "admin_password": secrets.token_urlsafe(24),
            }
        # The same ports at every start, so that bookmarks and scripts remain valid.
        for port in ("web_port", "worker_log_port", "triggerer_log_port"):
            record[port] = self._context.ports.take(record.get(port))
        if record.get("airflow_home", str(self.folder.airflow_home)) != str(self._home.path):
            # It contains the old paths; Airflow writes a new one.
            (self.folder.airflow_home / "airflow.cfg").unlink(missing_ok=True)
        record["airflow_home"] = str(self._home.path)
        self._record = record
        state.write_json(self.folder.record_path, record)

    async def _provide_database(self) -> None:
        databases = self._context.databases
        wanted, found = self.interpreter.airflow_version, self._record.get("airflow_version")
        if found is None or not await databases.exists(self.spec.name):
            self.phase = "setting up the metadata database"
            await databases.create(self.spec.name, self._given_interpreter, self._set_up_database)
        elif found != wanted:
            if release_of(found) > release_of(wanted):
                raise LocalMwaaError(
                    f"the metadata of {self.spec.name} are from Airflow {found} and cannot be downgraded to {wanted}: "
                    "delete the environment, or run `airflow-mwaa local down --purge`"
                )
            self.phase = f"migrating the metadata database from Airflow {found}"
            await self._set_up_database()
        await databases.set_admin_password(self.spec.name, self._record["admin_password"])
        self._record["airflow_version"] = wanted
        state.write_json(self.folder.record_path, self._record)

    async def _set_up_database(self) -> None:
        """Let Airflow create, or migrate, its tables and roles."""
        assert self._interpreter is not None
        log_path = self.folder.components / "database.log"
        try:
            async with asyncio.timeout(_SETUP_TIMEOUT_S):
                exit_status = await self._interpreter.run_to_end("the set-up", {"script": setup.__file__}, log_path)
        except TimeoutError:
            problem = f"took over {_SETUP_TIMEOUT_S:.0f} s"
        else:
            if exit_status == 0:
                return
            problem = f"ended with status {exit_status}"
        raise LocalMwaaError(
            f"setting up the metadata database {problem}; the log is {log_path}", processes.tail(log_path)
        )

    def _variables(self, web: WebServer, aws: AwsWorld) -> dict[str, str]:
        record = self._record
        ports = {
            "logging.worker_log_server_port": str(record["worker_log_port"]),
            "logging.trigger_log_server_port": str(record["triggerer_log_port"]),
        }
        return airflow_variables(
            env_name=self.spec.name,
            interpreter=self.interpreter,
            home=self._home.path,
            database=self._context.databases.database(self.spec.name, self.interpreter),
            keys=EnvironmentKeys(record["fernet_key"], record["web_secret_key"], record["jwt_secret"]),
            web=web,
            aws=aws,
            configuration={**self.spec.configuration, **ports},
            marker=processes.marked(self._context.folder.path, self.spec.name),
            aws_data_path=self._write_aws_models(),
            statsd=self._statsd.address if self._statsd else None,
        )

    def _write_aws_models(self) -> Path | None:
        botocore = self.interpreter.botocore
        if botocore is None or aws_models.heeds_variable(botocore):
            return None
        aws_models.write_without_host_prefix(botocore, self.folder.aws_models)
        return self.folder.aws_models

    async def _start_component(self, name: str, request: Request) -> processes.ProcessGroup:
        assert self._interpreter is not None
        log_path = self.folder.components / f"{name}.log"
        self.began[name] = time.time()
        self._components[name] = await self._interpreter.spawn(f"Airflow's {name}", request, log_path)
        return self._components[name]

    async def _supervise(self, name: str, request: Request) -> None:
        def count() -> None:
            self.restarts[name] = self.restarts.get(name, 0) + 1

        what = f"environment {self.spec.name}: {name}"
        await keep_running(what, self._components[name], lambda: self._start_component(name, request), ended=count)

    async def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while missing := await self._unhealthy():
            self.phase = f"waiting for {', '.join(missing)}"
            for name, process in self._components.items():
                if not process.is_running:
                    raise LocalMwaaError(
                        f"Airflow's {name} ended with status {process.exit_status}; its log is {process.log_path}",
                        process.log_tail(),
                    )
            if time.monotonic() > deadline:
                suspect = self._components.get(missing[0].replace("_", "-"), next(iter(self._components.values())))
                raise LocalMwaaError(
                    f"Airflow's {missing[0]} is not healthy after {_START_TIMEOUT_S:.0f} s; "
                    f"its log is {suspect.log_path}",
                    suspect.log_tail(),
                )
            await asyncio.sleep(_HEALTH_POLL_S)

    async def _make_first_requests(self) -> None:
        """Make the first request of each kind, for which Airflow takes 5-10 s without answering anybody else."""
        assert self._http is not None
        self.phase = "warming up the web server"
        if self.interpreter.is_airflow_3:
            async with self._http.get(f"{self.base_url}/execution/health", timeout=_FIRST_REQUEST_TIMEOUT) as answer:
                await answer.read()
        await self.login()

    async def _unhealthy(self) -> list[str]:
        """Return the components that aren't healthy yet."""
        path = "/api/v2/monitor/health" if self.interpreter.is_airflow_3 else "/health"
        web = next(iter(self._components))
        assert self._http is not None
        try:
            async with self._http.get(self.base_url + path) as answer:
                health: Mapping[str, Any] = await answer.json() if answer.status == 200 else {}
        except (aiohttp.ClientError, TimeoutError, ValueError):
            health = {}
        if not health:
            return [web]
        wanted = _HEALTH_3 if self.interpreter.is_airflow_3 else _HEALTH_2
        return [name for name, beat in wanted.items() if not self._reports(health.get(name) or {}, beat)]

    def _reports(self, component: Mapping[str, Any], beat_field: str) -> bool:
        # A heartbeat of the previous start, seconds ago, does not count.
        beat = component.get(beat_field)
        return component.get("status") == "healthy" and bool(beat) and _at(str(beat)) >= self._started_at


def _at(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
