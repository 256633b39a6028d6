# SPDX-License-Identifier: Apache-2.0
"""Process an environment's files before its Airflow starts, in the order of MWAA's containers."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.airflow import (
    environment_files,
    interpreter,
    overlay,
    plugins_zip,
    requirements,
    startup_script,
)
from airflow_mwaa_provider.local.airflow.startup_script import Component
from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine.logged_command import MaskedLog
from airflow_mwaa_provider.local.machine.threads import run_whole
from airflow_mwaa_provider.local.runtime import FileKind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from airflow_mwaa_provider.local.airflow.interpreter import Interpreter
    from airflow_mwaa_provider.local.machine.mwaa_home import AirflowHome
    from airflow_mwaa_provider.local.machine.state import EnvironmentFolder
    from airflow_mwaa_provider.local.runtime import S3File


@dataclass(frozen=True)
class Prepared:
    """What Airflow starts with."""

    interpreter: Interpreter
    variables: Mapping[Component, dict[str, str]] = field(repr=False)
    requirements_error: str | None = None
    """Why the requirements are not installed, and where the log is."""

    def changes(self, begin: Component, end: Component) -> dict[str, str | None]:
        """Return the changes from one component's environment to another's; None for a variable to remove."""
        old, new = self.variables[begin], self.variables[end]
        changed: dict[str, str | None] = {name: value for name, value in new.items() if old.get(name) != value}
        return {**dict.fromkeys(old.keys() - new.keys()), **changed}


@dataclass(frozen=True)
class Preparation:
    """Prepares an environment's start.

    :param variables: the variables of all components before the startup script.
    :param overridable: the names that the startup script may change.
    :param secrets: values that no log may show.
    """

    files: Mapping[FileKind, S3File]
    folder: EnvironmentFolder
    home: AirflowHome
    interpreter: Interpreter
    variables: Mapping[str, str] = field(repr=False)
    overridable: Collection[str]
    secrets: Collection[str] = field(repr=False)

    async def carry_out(self, say: Callable[[str], None]) -> Prepared:
        """Unpack plugins, run the startup script, install requirements.

        :param say: called with what it is doing, for people who wait.
        :raises LocalMwaaError: Airflow cannot start with these files.
        :raises OSError: a file cannot be written.
        """
        if FileKind.PLUGINS in self.files:
            say("unpacking plugins")
        await run_whole(plugins_zip.unpack, self._copy(FileKind.PLUGINS), self.folder.plugins)
        script = await run_whole(self._startup_script)
        text = await run_whole(self._requirements)
        if script is None and text is None:
            await run_whole(overlay.remove, self.folder.overlay)
            return Prepared(self.interpreter, self._of_components({}))
        say("creating a virtual environment")
        base = await run_whole(overlay.look_at, self.interpreter)
        # Also for a script's `pip install`, so that the user's interpreter is not changed.
        log = self._log(self.folder.components / "overlay.log")
        await overlay.create(self.folder.overlay, self.interpreter, base, variables=self.variables, log=log)
        exported = {}
        if script is not None:
            for component in Component:
                say(f"running the startup script for the {component}")
                exported[component] = await self._run(script, component)
        variables = self._of_components(exported, self.folder.overlay / "bin")
        error = None
        if text is not None:
            say("installing requirements")
            error = await self._install(text, base, variables[Component.SCHEDULER])
        if error is None or script is not None:
            try:
                return Prepared(await run_whole(self._overlay_interpreter), variables, error)
            except LocalMwaaError as unusable:
                if text is None:
                    raise
                error = error or f"{unusable}; the log is {self._requirements_log}"
        # A half-finished installation may prevent Airflow from starting.
        await run_whole(overlay.remove, self.folder.overlay)
        return Prepared(self.interpreter, self._of_components(exported), error)

    @property
    def _requirements_log(self) -> Path:
        return self.folder.components / "requirements_install.log"

    def _copy(self, kind: FileKind) -> Path | None:
        return environment_files.copy_of(self.folder, self.files, kind)

    def _startup_script(self) -> Path | None:
        """Write the script to MWAA's location, with its paths mapped."""
        copy, place = self._copy(FileKind.STARTUP_SCRIPT), self.home.folder / "startup"
        shutil.rmtree(place, ignore_errors=True)
        if copy is None:
            return None
        place.mkdir(mode=0o700)
        script = place / "startup.sh"
        script.write_bytes(startup_script.map_paths(copy.read_bytes(), self.home.path))
        return script

    def _requirements(self) -> str | None:
        copy = self._copy(FileKind.REQUIREMENTS)
        shutil.rmtree(self.home.folder / "requirements", ignore_errors=True)
        text = requirements.decode(copy.read_bytes()) if copy is not None else ""
        return text if requirements.asks_for_something(text) else None

    def _of_components(
        self, exported: Mapping[Component, Mapping[str, str]], first_on_path: Path | None = None
    ) -> dict[Component, dict[str, str]]:
        """Return the environment of each component."""
        variables = {}
        for component in Component:
            own = {**self.variables, **exported.get(component, {})}
            if first_on_path is not None and str(first_on_path) not in own["PATH"].split(os.pathsep):
                own["PATH"] = os.pathsep.join((str(first_on_path), own["PATH"]))
            variables[component] = {**own, "MWAA_AIRFLOW_COMPONENT": component, "MWAA_COMMAND": component}
        return variables

    async def _run(self, script: Path, component: Component) -> dict[str, str]:
        log = self._log(self.folder.components / f"startup_script.{component}.log")
        given = self._of_components({}, self.folder.overlay / "bin")[component]
        exported = await startup_script.run(script, component, variables=given, home=self.home, log=log)
        protected = self.variables.keys() - set(self.overridable)
        return startup_script.allowed(exported, protected, log)

    async def _install(self, text: str, base: overlay.Base, variables: Mapping[str, str]) -> str | None:
        log = self._log(self._requirements_log, variables)
        error = await requirements.install(
            text,
            base,
            folder=self.folder.overlay,
            home=self.home,
            variables=variables,
            log=log,
        )
        if error is None:
            return None
        return f"{self.files[FileKind.REQUIREMENTS].path} was not installed: {error}; the log is {log.path}"

    def _overlay_interpreter(self) -> Interpreter:
        found = interpreter.inspect(overlay.python_of(self.folder.overlay))
        if found.airflow_version != self.interpreter.airflow_version:
            raise LocalMwaaError(f"requirements would change it to Airflow {found.airflow_version}")
        return found

    def _log(self, path: Path, *variables: Mapping[str, str]) -> MaskedLog:
        return MaskedLog(path, requirements.all_secrets(self.secrets, os.environ, *variables))
