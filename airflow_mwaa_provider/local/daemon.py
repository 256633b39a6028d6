# SPDX-License-Identifier: Apache-2.0
"""The long-running process of the local MWAA: database server, moto, AWS side and environments.

Started by :func:`airflow_mwaa_provider.local.lifecycle.up` in its own session::

    python -m airflow_mwaa_provider.local.daemon < REQUEST > EVENTS 2>> daemon.log

REQUEST is the JSON of :class:`~airflow_mwaa_provider.local.up_request.UpRequest`. EVENTS are JSON objects, one per
line, until it is ready or has failed:
``{"event": "progress" | "ready" | "failed", …}``. On SIGTERM it ends, with everything that it has started.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import secrets
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore

from airflow_mwaa_provider.local.airflow import aws_models, interpreter
from airflow_mwaa_provider.local.airflow.factory import AirflowRuntimeFactory
from airflow_mwaa_provider.local.airflow.metadata_databases import MetadataDatabases
from airflow_mwaa_provider.local.airflow.runtime import RuntimeContext
from airflow_mwaa_provider.local.airflow.settings import AwsWorld
from airflow_mwaa_provider.local.aws import logging_configuration
from airflow_mwaa_provider.local.aws.admin import ADMIN_PREFIX
from airflow_mwaa_provider.local.aws.descriptions import EXECUTION_ROLE
from airflow_mwaa_provider.local.aws.endpoint import LocalMwaa
from airflow_mwaa_provider.local.aws.environment import EnvironmentStatus
from airflow_mwaa_provider.local.aws.loopback import HTTPS_PORT
from airflow_mwaa_provider.local.aws.tls import CertificateAuthority
from airflow_mwaa_provider.local.bucket_contents import DAGS_PREFIX, BucketContents
from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine import mwaa_home, postgres, processes, state
from airflow_mwaa_provider.local.machine.bucket_files import BucketFiles
from airflow_mwaa_provider.local.machine.bucket_sync import BucketSync, Mirror
from airflow_mwaa_provider.local.machine.execution_role import make_execution_role
from airflow_mwaa_provider.local.machine.log_shipping import LogShipping
from airflow_mwaa_provider.local.machine.metric_publishing import MetricPublishing
from airflow_mwaa_provider.local.machine.moto_server import MotoServer
from airflow_mwaa_provider.local.machine.threads import run_whole
from airflow_mwaa_provider.local.up_request import UpRequest

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from airflow_mwaa_provider.local.airflow.airflow_logs import AirflowLogs
    from airflow_mwaa_provider.local.airflow.environment_metrics import EnvironmentMetrics
    from airflow_mwaa_provider.local.aws.environment import Environment
    from airflow_mwaa_provider.local.runtime import EnvironmentSpec

log = logging.getLogger(__name__)

ACCOUNT_ID = "123456789012"
_STATUS_INTERVAL_S = 0.5


class Daemon:
    """Everything that a local MWAA runs."""

    def __init__(self, request: UpRequest) -> None:
        self._request = request
        self._folder = state.StateFolder(Path(request.folder))
        self._ports = processes.PortAllocator()
        marker = processes.marked(self._folder.path)
        self._postgres = postgres.PostgresServer(self._folder.postgres, marker, self._ports)
        self._moto = MotoServer(self._folder.moto, marker, self._ports, request.region)
        self._secrets: dict[str, Any] = {}
        self._mwaa: LocalMwaa | None = None
        self._factory: AirflowRuntimeFactory | None = None
        self._endpoint_url = ""
        self._last_status: dict[str, Any] = {}
        self._no_mwaa_paths: str | None = None
        self._logs = LogShipping(self._moto.url, request.region)
        self._log_shipping: asyncio.Task[None] | None = None
        self._metrics = MetricPublishing(self._moto.url, request.region, request.metrics_interval_s)
        self._metric_publishing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Start everything, report, and serve until canceled; in any case leave nothing running."""
        try:
            sync = await self._start()
            self.report({"event": "ready", "status": self._status()})
            _close_events()
            await asyncio.gather(sync.run(self._mirrors), self._keep_status())
        finally:
            await self._stop()

    async def _start(self) -> BucketSync:
        self._progress("", "starting PostgreSQL and moto")
        self._secrets = self._load_secrets()
        certificates = CertificateAuthority.load_or_create(self._folder.tls)
        certificates.write_bundle(self._folder.ca_bundle)
        _add_users_authorities(self._folder.ca_bundle)
        # Clients may have another botocore, which may not support AWS_DISABLE_HOST_PREFIX_INJECTION.
        aws_models.write_without_host_prefix(Path(botocore.__file__).parent, self._folder.aws_models)
        pythons = list(dict.fromkeys(request.python for request in self._request.environments))
        # moto starts at the same time as Airflow: it is not needed before the buckets are created.
        moto = asyncio.create_task(self._moto.start())
        try:
            inspected, self._no_mwaa_paths, _ = await asyncio.gather(
                asyncio.gather(*(asyncio.to_thread(interpreter.inspect, python) for python in pythons)),
                asyncio.to_thread(self._find_why_no_mwaa_paths),
                self._postgres.start(),
            )
            return await self._start_environments(pythons, inspected, certificates, moto)
        finally:
            moto.cancel()
            await asyncio.gather(moto, return_exceptions=True)

    def _find_why_no_mwaa_paths(self) -> str | None:
        if not self._request.mwaa_paths:
            return "--no-mwaa-paths"
        return mwaa_home.find_problem(self._folder.environments)

    async def _start_environments(
        self,
        pythons: list[str],
        inspected: list[interpreter.Interpreter],
        certificates: CertificateAuthority,
        moto: asyncio.Task[None],
    ) -> BucketSync:
        by_python = dict(zip(pythons, inspected, strict=True))
        self._databases = MetadataDatabases(self._postgres)
        context = RuntimeContext(self._folder, self._databases, self._ports, mwaa_paths=not self._no_mwaa_paths)
        self._factory = AirflowRuntimeFactory(
            context, inspected, {request.name: by_python[request.python] for request in self._request.environments}
        )
        self._mwaa = LocalMwaa(
            runtimes=self._factory,
            moto_url=self._moto.url,
            certificates=certificates,
            admin_token=self._secrets["admin_token"],
            region=self._request.region,
            account_id=ACCOUNT_ID,
            wants_https_port=True,
        )
        self._mwaa.add_identity(self._secrets["access_key_id"], self._secrets["secret_access_key"])
        self._endpoint_url = await self._mwaa.start("127.0.0.1", self._endpoint_port())
        self._secrets["region"] = self._request.region
        self._secrets["endpoint_port"] = int(self._endpoint_url.rpartition(":")[2])
        context.aws = self._aws_world
        await run_whole(self._logs.mark, self._folder.environments)
        contents = self._create_environments(by_python)
        # From here on, what prevents an environment from starting is also in its logs.
        self._log_shipping = asyncio.create_task(self._logs.run(self._log_sources))
        context.bucket_sync = sync = await asyncio.to_thread(BucketSync, self._moto.url, self._request.region)
        context.bucket_files = await asyncio.to_thread(BucketFiles, self._moto.url, self._request.region)
        await self._wait_for_environments(self._fill_buckets(context, contents, moto))
        self._metric_publishing = asyncio.create_task(self._metrics.run(self._metric_sources))
        return sync

    def _aws_world(self, spec: EnvironmentSpec) -> AwsWorld:
        """Give an environment the credentials of its execution role, which its containers have on MWAA."""
        assert self._mwaa is not None
        keys = self._secrets.setdefault("environment_keys", {})
        if spec.name not in keys:
            keys[spec.name] = {"id": _make_access_key_id(), "secret": secrets.token_urlsafe(30)}
            state.write_json(self._folder.secrets_path, self._secrets)
        key = keys[spec.name]
        role = spec.execution_role_arn or f"arn:aws:iam::{ACCOUNT_ID}:role/{EXECUTION_ROLE}"
        account, name = role.split(":")[4], role.rpartition("/")[2]
        self._mwaa.add_identity(
            key["id"], key["secret"], f"arn:aws:sts::{account}:assumed-role/{name}/AmazonMWAA-airflow"
        )
        return AwsWorld(self._endpoint_url, key["id"], key["secret"], self._request.region, self._folder.ca_bundle)

    def _create_environments(self, by_python: dict[str, interpreter.Interpreter]) -> list[BucketContents]:
        """Begin to create all environments; return the contents of their buckets."""
        assert self._mwaa is not None
        contents = []
        gateway_ports = self._secrets.setdefault("gateway_ports", {})
        for request in self._request.environments:
            planned = BucketContents.plan(request, self._folder.environment(request.name))
            contents.append(planned)
            version = by_python[request.python].airflow_version
            environment = self._create_environment(planned, version, gateway_ports.get(request.name, 0))
            gateway_ports[request.name] = int(environment.address.partition(":")[2] or HTTPS_PORT)
        state.write_json(self._folder.secrets_path, self._secrets)
        return contents

    def _create_environment(self, contents: BucketContents, version: str, gateway_port: int) -> Environment:
        assert self._mwaa is not None
        create = functools.partial(
            self._mwaa.environments.create,
            contents.request.name,
            bucket=contents.bucket,
            dag_s3_path=DAGS_PREFIX,
            airflow_version=version,
            files=contents.files,
            configuration=contents.request.options,
            settings={logging_configuration.MEMBER: logging_configuration.EVERYTHING},
        )
        if gateway_port:
            # The same address at every start, so that bookmarks remain valid.
            with contextlib.suppress(OSError):
                return create(gateway_port=gateway_port)
        return create()

    async def _fill_buckets(
        self, context: RuntimeContext, contents: list[BucketContents], moto: asyncio.Task[None]
    ) -> None:
        assert context.bucket_sync is not None
        assert context.bucket_files is not None
        await moto
        await asyncio.to_thread(make_execution_role, self._moto.url, self._request.region, EXECUTION_ROLE)
        for planned in contents:
            await asyncio.to_thread(planned.upload, context.bucket_sync, context.bucket_files)
        context.buckets_filled.set()

    async def _wait_for_environments(self, filling: Coroutine[Any, Any, None]) -> None:
        assert self._mwaa is not None
        watcher = asyncio.create_task(self._keep_status())
        try:
            await filling
            names = [request.name for request in self._request.environments]
            for settled in asyncio.as_completed([self._mwaa.environments.wait_until_settled(name) for name in names]):
                environment_or_none = await settled
                if environment_or_none is None or environment_or_none.status is not EnvironmentStatus.AVAILABLE:
                    raise _creation_error(environment_or_none)
        finally:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher

    def _mirrors(self) -> list[Mirror]:
        assert self._mwaa is not None
        mirrors = []
        for environment in self._mwaa.environments.all():
            folder = self._folder.environment(environment.name)
            if folder.dags.is_dir():
                mirrors.append(
                    Mirror(environment.name, environment.spec.bucket, environment.spec.dag_s3_path, folder.dags)
                )
        return mirrors

    def _log_sources(self) -> list[AirflowLogs]:
        assert self._mwaa is not None
        assert self._factory is not None
        sources = []
        for environment in self._mwaa.environments.all():
            runtime = self._factory.runtime(environment.name)
            if runtime is not None:
                sources.append(runtime.logs(logging_configuration.levels(environment)))
        return sources

    def _metric_sources(self) -> list[EnvironmentMetrics]:
        assert self._mwaa is not None
        assert self._factory is not None
        runtimes = (self._factory.runtime(environment.name) for environment in self._mwaa.environments.all())
        measured = (runtime.metrics() for runtime in runtimes if runtime is not None)
        return [metrics for metrics in measured if metrics is not None]

    def _endpoint_port(self) -> int:
        if self._request.port:
            return self._request.port
        last = self._secrets.get("endpoint_port")
        return self._ports.take(last)

    def _load_secrets(self) -> dict[str, Any]:
        content = state.read_json(self._folder.secrets_path)
        if not content:
            content = {
                "access_key_id": _make_access_key_id(),
                "secret_access_key": secrets.token_urlsafe(30),
                "admin_token": secrets.token_urlsafe(30),
            }
            state.write_json(self._folder.secrets_path, content)
        return content

    async def _keep_status(self) -> None:
        """Write what is running to the status file whenever it changes, and report the progress of the start."""
        while True:
            status = self._status()
            if status != self._last_status:
                self._last_status = status
                try:
                    state.write_json(self._folder.status_path, status)
                except OSError as error:
                    log.warning("can't write the status: %s", state.describe_os_error(error))
                for name, environment in status["environments"].items():
                    self._progress(name, environment["phase"])
            await asyncio.sleep(_STATUS_INTERVAL_S)

    def _status(self) -> dict[str, Any]:
        assert self._mwaa is not None
        assert self._factory is not None
        environments = {}
        for environment in self._mwaa.environments.all():
            runtime = self._factory.runtime(environment.name)
            environments[environment.name] = {
                "status": str(environment.status),
                "phase": runtime.phase if runtime else str(environment.status),
                "airflow_version": environment.spec.airflow_version,
                "url": environment.public_url,
                "bucket": environment.spec.bucket,
                "database_url": self._databases.url_without_password(environment.name),
                "python": str(runtime.interpreter.path) if runtime else None,
                "pids": runtime.pids if runtime else {},
                "restarts": dict(runtime.restarts) if runtime else {},
                "files": {
                    kind: {"path": file.path, "version": file.version} for kind, file in environment.spec.files.items()
                },
                "requirements_error": runtime.requirements_error if runtime else None,
                "error": environment.error,
            }
        return {
            "pid": os.getpid(),
            "endpoint_url": self._endpoint_url,
            "admin_url": self._endpoint_url + ADMIN_PREFIX.rstrip("/"),
            "region": self._request.region,
            "mwaa_paths": not self._no_mwaa_paths,
            "mwaa_paths_error": self._no_mwaa_paths,
            "pids": {"daemon": os.getpid(), "postgres": self._postgres.pid, "moto": self._moto.pid},
            "environments": environments,
        }

    async def _stop(self) -> None:
        log.info("stopping")
        for work in (self._log_shipping, self._metric_publishing):
            if work is not None:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
        if self._mwaa is not None:
            await self._mwaa.stop()
        await asyncio.gather(self._moto.stop(), self._postgres.stop())
        self._folder.status_path.unlink(missing_ok=True)
        await asyncio.to_thread(processes.end_all, self._folder.path, None, 1.0)
        log.info("stopped")

    def _progress(self, environment: str, message: str) -> None:
        self.report({"event": "progress", "environment": environment, "message": message})

    def report(self, event: dict[str, Any]) -> None:
        """Report an event to the process that started this one."""
        with contextlib.suppress(OSError, ValueError):  # no client listens any more
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()


def _make_access_key_id() -> str:
    # The form of an access key; moto and AWS's tools accept nothing else.
    return "AKIA" + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16))


def _add_users_authorities(bundle: Path) -> None:
    """Also trust the authorities that the user's shell trusts: its network may need a special one."""
    for variable in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"):
        theirs = os.environ.get(variable)
        if not theirs or not Path(theirs).is_file() or Path(theirs).samefile(bundle):
            continue
        text, added = bundle.read_text(encoding="utf-8"), Path(theirs).read_text(encoding="utf-8", errors="replace")
        if added.strip() not in text:
            bundle.write_text(f"{text}\n{added}", encoding="utf-8")


def _creation_error(environment: Environment | None) -> LocalMwaaError:
    if environment is None:
        return LocalMwaaError("an environment was deleted while it was being created")
    return LocalMwaaError(f"environment {environment.name}: {environment.error}", environment.error_log_tail)


def _close_events() -> None:
    """Close the pipe to the process that started this one, which waits for its end."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


async def _serve(request: UpRequest) -> int:
    daemon = Daemon(request)
    work = asyncio.create_task(daemon.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        return 0
    except (LocalMwaaError, OSError, ValueError) as error:
        message = state.describe_os_error(error) if isinstance(error, OSError) else str(error)
        log.error("%s", message)
        daemon.report(
            {
                "event": "failed",
                "error": " ".join(message.split()),
                "log_tail": getattr(error, "log_tail", ""),
                "misuse": getattr(error, "misuse", False),
                "names_full_disk": state.names_full_disk(error),
            }
        )
        return 1
    return 0


def main() -> None:
    """Run the daemon."""
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    request = UpRequest.from_json(sys.stdin.read())
    os.chdir(request.folder)  # the caller's folder may be deleted, or its disk unmounted
    with state.StateFolder(Path(request.folder)).lock() as lock:
        if not lock.acquire():
            sys.exit("another daemon works in this folder")
        sys.exit(asyncio.run(_serve(request)))


if __name__ == "__main__":
    main()
