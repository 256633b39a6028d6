# SPDX-License-Identifier: Apache-2.0
"""Create the Airflows of all environments of one local MWAA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.airflow import environment_files
from airflow_mwaa_provider.local.airflow.runtime import AirflowRuntime
from airflow_mwaa_provider.local.machine.bucket_sync import Mirror
from airflow_mwaa_provider.local.machine.threads import run_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_mwaa_provider.local.airflow.interpreter import Interpreter
    from airflow_mwaa_provider.local.airflow.runtime import RuntimeContext
    from airflow_mwaa_provider.local.runtime import EnvironmentSpec


class AirflowRuntimeFactory:
    """Creates runtimes from the interpreters of this machine.

    :param interpreters: the Airflow of the first one is the default.
    :param by_environment: the interpreter of an environment, if one was selected.
    """

    def __init__(
        self,
        context: RuntimeContext,
        interpreters: Sequence[Interpreter],
        by_environment: Mapping[str, Interpreter] | None = None,
    ) -> None:
        self._context = context
        self._interpreters = list(interpreters)
        self._by_environment = dict(by_environment or {})
        self._runtimes: dict[str, AirflowRuntime] = {}

    def runtime(self, env_name: str) -> AirflowRuntime | None:
        """Return the runtime that was last created for an environment."""
        return self._runtimes.get(env_name)

    async def read_files(self, spec: EnvironmentSpec) -> EnvironmentSpec:
        """Store copies of the files that a spec names; return the spec with what was read.

        :raises RuntimeStartError: a file cannot be read, or is invalid.
        """
        if not spec.files:
            return spec
        context = self._context
        await context.buckets_filled.wait()
        assert context.bucket_files is not None
        assert context.bucket_sync is not None
        folder = context.folder.environment(spec.name)
        read = await environment_files.read(spec, folder, context.bucket_files)
        # The files may refer to others among the DAGs, which must exist when these are used.
        mirror = Mirror(spec.name, spec.bucket, spec.dag_s3_path, folder.dags)
        await run_whole(context.bucket_sync.sync, mirror)
        return read

    def versions(self) -> list[str]:
        """Return the Airflow versions that can be started here, the default first."""
        every = [*self._interpreters, *self._by_environment.values()]
        return list(dict.fromkeys(interpreter.airflow_version for interpreter in every))

    def create(self, spec: EnvironmentSpec) -> AirflowRuntime:
        """Return a runtime that has not been started.

        :raises ValueError: there is no interpreter with that version.
        """
        own = self._by_environment.get(spec.name)
        candidates = [*([own] if own else []), *self._interpreters, *self._by_environment.values()]
        for interpreter in candidates:
            if interpreter.airflow_version == spec.airflow_version:
                runtime = AirflowRuntime(spec, interpreter, self._context)
                self._runtimes[spec.name] = runtime
                return runtime
        raise ValueError(
            f"Airflow {spec.airflow_version} is not installed here. Available: {', '.join(self.versions())}."
        )
