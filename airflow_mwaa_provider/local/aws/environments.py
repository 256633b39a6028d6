# SPDX-License-Identifier: Apache-2.0
"""The environments of the local MWAA and the states they go through.

    CREATING -> AVAILABLE | CREATE_FAILED; with customer-managed endpoints -> PENDING -> CREATING
    UPDATING -> AVAILABLE | ROLLING_BACK -> UPDATE_FAILED (the old Airflow runs again) | UNAVAILABLE
    DELETING -> gone

Source: the documentation of ``Environment.Status`` in botocore's service model.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.local.aws.environment import (
    Environment,
    EnvironmentExists,
    EnvironmentNotFound,
    EnvironmentStatus,
    GatewayHandle,
    LastUpdate,
    UnsupportedVersion,
    WrongState,
)
from airflow_mwaa_provider.local.aws.request_checks import check_options
from airflow_mwaa_provider.local.runtime import EnvironmentSpec, RuntimeStartError, S3File

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from airflow_mwaa_provider.local.aws.limits import Limits
    from airflow_mwaa_provider.local.runtime import FileKind, Runtime, RuntimeFactory

_log = logging.getLogger(__name__)


class EnvironmentStore:
    """All environments of one local MWAA; changes run as tasks of the calling event loop."""

    def __init__(
        self,
        *,
        runtimes: RuntimeFactory,
        open_gateway: Callable[[Environment, int], GatewayHandle],
        forget: Callable[[str], None],
        wait_for_endpoints: Callable[[Environment], Awaitable[None]],
        limits: Limits,
        region: str,
        account_id: str,
    ) -> None:
        self._runtimes = runtimes
        self._open_gateway = open_gateway
        self._forget = forget
        self._wait_for_endpoints = wait_for_endpoints
        self._limits = limits
        self._arn_prefix = f"arn:aws:airflow:{region}:{account_id}:environment/"
        self._environments: dict[str, Environment] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def create(
        self,
        name: str,
        *,
        bucket: str,
        dag_s3_path: str = "dags",
        airflow_version: str | None = None,
        configuration: Mapping[str, str] | None = None,
        files: Mapping[FileKind, S3File] | None = None,
        execution_role_arn: str = "",
        settings: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        gateway_port: int = 0,
    ) -> Environment:
        """Begin to create an environment and return it in state CREATING; its gateway's address is known then.

        Requires a running event loop.

        :param airflow_version: by default the factory's.
        :param gateway_port: 0 for a free one.
        :raises EnvironmentExists: the name is in use.
        :raises UnsupportedVersion: the version cannot be started here.
        :raises EnvironmentProblem: a configuration option cannot be set.
        :raises OSError: the gateway's port is in use; the message names it.
        """
        if name in self._environments:
            raise EnvironmentExists(f"An environment with the name {name} already exists")
        check_options(configuration or {})
        spec = EnvironmentSpec(
            name=name,
            airflow_version=self._version(airflow_version),
            bucket=bucket,
            dag_s3_path=dag_s3_path.strip("/"),
            configuration=dict(configuration or {}),
            files=dict(files or {}),
            execution_role_arn=execution_role_arn,
        )
        now = datetime.now(UTC)
        environment = Environment(
            spec=spec,
            arn=self._arn_prefix + name,
            created_at=now,
            last_update=LastUpdate("PENDING", now),
            settings=dict(settings or {}),
            tags=dict(tags or {}),
        )
        environment.gateway = self._open_gateway(environment, gateway_port)
        environment.address = environment.gateway.address
        self._environments[name] = environment
        self._begin(name, self._create(environment))
        return environment

    def update(
        self,
        name: str,
        *,
        bucket: str | None = None,
        dag_s3_path: str | None = None,
        airflow_version: str | None = None,
        configuration: Mapping[str, str] | None = None,
        files: Mapping[FileKind, S3File] | None = None,
        execution_role_arn: str | None = None,
        settings: Mapping[str, Any] | None = None,
        lets_tasks_end: bool = False,
    ) -> Environment:
        """Begin to change an environment; everything else is kept. Airflow restarts if it is affected.

        :param files: the files to read again, even if only their contents may have changed.
        :param lets_tasks_end: wait for running tasks before Airflow is stopped; otherwise they are interrupted.
        :raises EnvironmentNotFound: no such environment.
        :raises WrongState: it is neither AVAILABLE nor UPDATE_FAILED.
        :raises UnsupportedVersion: the version cannot be started here.
        :raises EnvironmentProblem: a configuration option cannot be set.
        """
        environment = self.get(name)
        check_options(configuration or {})
        if environment.status not in (EnvironmentStatus.AVAILABLE, EnvironmentStatus.UPDATE_FAILED):
            raise WrongState(f"Environment {name} can not be updated in state {environment.status}")
        old = environment.spec
        spec = replace(
            old,
            bucket=old.bucket if bucket is None else bucket,
            dag_s3_path=old.dag_s3_path if dag_s3_path is None else dag_s3_path.strip("/"),
            airflow_version=old.airflow_version if airflow_version is None else self._version(airflow_version),
            configuration=old.configuration if configuration is None else dict(configuration),
            files={**_kept_files(old, bucket), **(files or {})},
            execution_role_arn=old.execution_role_arn if execution_role_arn is None else execution_role_arn,
        )
        concerned = bool(files) or spec != old
        environment.status = EnvironmentStatus.UPDATING
        environment.last_update = LastUpdate("PENDING", datetime.now(UTC))
        settings = {**environment.settings, **(settings or {})}
        change = self._update(environment, spec if concerned else None, settings, lets_tasks_end=lets_tasks_end)
        self._begin(name, change)
        return environment

    def delete(self, name: str) -> Environment:
        """Begin to delete an environment, whatever it is doing.

        :raises EnvironmentNotFound: no such environment.
        :raises WrongState: it is already being deleted.
        """
        environment = self.get(name)
        if environment.status is EnvironmentStatus.DELETING:
            raise WrongState(f"Environment {name} can not be deleted in state {environment.status}")
        environment.status = EnvironmentStatus.DELETING
        self._begin(name, self._delete(environment, self._tasks.get(name)))
        return environment

    def get(self, name: str) -> Environment:
        """Return an environment. :raises EnvironmentNotFound: (a KeyError) no such environment."""
        try:
            return self._environments[name]
        except KeyError:
            raise EnvironmentNotFound(f"No environment has the name {name}") from None

    def by_arn(self, arn: str) -> Environment:
        """Return an environment by its ARN. :raises EnvironmentNotFound: no such environment."""
        for environment in self._environments.values():
            if environment.arn == arn:
                return environment
        raise EnvironmentNotFound(f"No environment has the ARN {arn}")

    def all(self) -> list[Environment]:
        """Return all environments in the order of their names."""
        return [environment for _, environment in sorted(self._environments.items())]

    async def wait_until_settled(self, name: str, timeout_s: float | None = None) -> Environment | None:
        """Wait until no change of an environment is in progress.

        A failure is not raised: check ``.status``, ``.error`` and ``.error_log_tail``.

        :return: the environment; None if it was deleted or never existed.
        :raises TimeoutError: a change is still in progress; it is not canceled.
        """
        async with asyncio.timeout(timeout_s):
            while (task := self._tasks.get(name)) is not None and not task.done():
                await asyncio.wait({task})
        return self._environments.get(name)

    async def stop(self) -> None:
        """Stop all gateways and all Airflows, including those that are just starting."""
        tasks = [task for task in self._tasks.values() if not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(self._close(environment) for environment in self._environments.values()))
        self._environments.clear()
        self._tasks.clear()

    def _version(self, wanted: str | None) -> str:
        versions = list(self._runtimes.versions())
        if wanted is None:
            return versions[0]
        if wanted not in versions:
            raise UnsupportedVersion(f"Unsupported Airflow version: {wanted}. Supported here: {', '.join(versions)}")
        return wanted

    def _begin(self, name: str, change: Coroutine[Any, Any, None]) -> None:
        self._tasks[name] = asyncio.get_running_loop().create_task(change, name=f"environment {name}")

    async def _create(self, environment: Environment) -> None:
        error = None
        try:
            assert environment.gateway is not None
            await environment.gateway.start()
            environment.spec = await self._runtimes.read_files(environment.spec)
            await self._wait_for_endpoints(environment)
            environment.runtime = await self._started(environment.spec, environment)
        except Exception as failure:  # noqa: BLE001 - whatever stops an Airflow is this environment's state
            error = self._failed(environment, failure)
            await self._close(environment)
        environment.status = EnvironmentStatus.CREATE_FAILED if error else EnvironmentStatus.AVAILABLE
        self._ended(environment, error)

    async def _update(
        self, environment: Environment, spec: EnvironmentSpec | None, settings: dict[str, Any], *, lets_tasks_end: bool
    ) -> None:
        """Change an environment; without a spec, Airflow is not affected."""
        at_least = asyncio.create_task(asyncio.sleep(self._limits.update_min_s))
        error, status = None, EnvironmentStatus.AVAILABLE
        old = environment.spec
        try:
            if spec is not None:
                touched = False
                try:
                    spec = await self._runtimes.read_files(spec)
                    touched = True
                    if lets_tasks_end and environment.runtime is not None:
                        await environment.runtime.drain()
                    await self._stop_runtime(environment)
                    environment.runtime = await self._started(spec, environment)
                except Exception as failure:  # noqa: BLE001 - as above
                    error = self._failed(environment, failure)
                    # If the old Airflow is still running, there is nothing to roll back.
                    status = await self._roll_back(environment, old) if touched else EnvironmentStatus.UPDATE_FAILED
            await at_least
        finally:
            at_least.cancel()
        if error is None:
            environment.spec, environment.settings = spec or old, settings
        environment.status = status
        self._ended(environment, error)

    async def _roll_back(self, environment: Environment, spec: EnvironmentSpec) -> EnvironmentStatus:
        environment.status = EnvironmentStatus.ROLLING_BACK
        try:
            environment.runtime = await self._started(spec, environment)
        except Exception:  # noqa: BLE001 - as above
            _log.exception("environment %s: the previous Airflow does not start again, either", environment.name)
            return EnvironmentStatus.UNAVAILABLE
        return EnvironmentStatus.UPDATE_FAILED

    async def _delete(self, environment: Environment, running: asyncio.Task[None] | None) -> None:
        if running is not None and not running.done():
            running.cancel()
            await asyncio.wait({running})
            # The change may have ended before the cancellation reached it.
            environment.status = EnvironmentStatus.DELETING
        runtime = environment.runtime
        await self._close(environment)
        try:
            # An environment that is not running also has data, from an incomplete creation.
            await (runtime or self._runtimes.create(environment.spec)).delete()
        except Exception:  # noqa: BLE001 - what stays behind is disk space; the environment itself is gone
            _log.exception("environment %s: not all of its data were deleted", environment.name)
        self._forget(environment.name)
        del self._environments[environment.name]
        _log.info("environment %s is deleted", environment.name)

    async def _started(self, spec: EnvironmentSpec, environment: Environment) -> Runtime:
        runtime = self._runtimes.create(spec)
        try:
            await runtime.start(environment.public_url)
        except BaseException:
            # A canceled start (delete, stop) leaves nothing running, either.
            await runtime.stop()
            raise
        return runtime

    async def _close(self, environment: Environment) -> None:
        await self._stop_runtime(environment)
        if environment.gateway is not None:
            await environment.gateway.stop()

    async def _stop_runtime(self, environment: Environment) -> None:
        runtime, environment.runtime = environment.runtime, None
        if runtime is not None:
            try:
                await runtime.stop()
            except Exception:  # noqa: BLE001 - the other environments still have to be stopped
                _log.exception("environment %s: its Airflow did not stop cleanly", environment.name)

    @staticmethod
    def _failed(environment: Environment, failure: Exception) -> str:
        environment.error_log_tail = failure.log_tail if isinstance(failure, RuntimeStartError) else ""
        if not isinstance(failure, RuntimeStartError):
            _log.error("environment %s: unexpected failure", environment.name, exc_info=failure)
        return " ".join(str(failure).split()) or type(failure).__name__

    @staticmethod
    def _ended(environment: Environment, error: str | None) -> None:
        if error is None:
            environment.error_log_tail = ""
        result = "SUCCESS" if error is None else "FAILED"
        environment.last_update = replace(environment.last_update, status=result, error=error)
        _log.info("environment %s is %s%s", environment.name, environment.status, f": {error}" if error else "")


def _kept_files(spec: EnvironmentSpec, new_bucket: str | None) -> dict[FileKind, S3File]:
    """Return the files that are kept, in the versions in use; another bucket has none of these versions."""
    if new_bucket in (None, spec.bucket):
        return dict(spec.files)
    return {kind: S3File(file.path) for kind, file in spec.files.items()}
