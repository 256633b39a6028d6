# SPDX-License-Identifier: Apache-2.0
"""Environment variables for the binaries in plugins.zip, and the ways to set them: options, plugin, startup script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mwaa_provider.packaging.image import PLUGINS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["ENVIRONMENT_PLUGIN", "Variable", "configuration_options", "plugin_source", "startup_script"]

ENVIRONMENT_PLUGIN = "mwaa_binaries_environment.py"
"""Name of the plugin that sets them."""


@dataclass(frozen=True)
class Variable:
    """One environment variable.

    :param paths: its paths: below the plugins folder, or absolute.
    :param is_list: they are appended to its value, separated by colons.
    """

    name: str
    paths: tuple[str, ...]
    is_list: bool = False


def merged(variables: Iterable[Variable]) -> list[Variable]:
    """Join the paths of a variable that several binaries need."""
    found: dict[str, Variable] = {}
    for variable in variables:
        before = found.get(variable.name)
        if before is None:
            found[variable.name] = variable
        elif variable.is_list:
            paths = tuple(dict.fromkeys(before.paths + variable.paths))
            found[variable.name] = Variable(variable.name, paths, is_list=True)
    return list(found.values())


def configuration_options(variables: Sequence[Variable], libraries: Sequence[str] = ()) -> dict[str, str]:
    """Return the configuration options with which this package's plugin sets them.

    :param libraries: paths below the plugins folder, to be preloaded: Linux reads LD_LIBRARY_PATH when a process
        starts, so a plugin sets it too late.
    """
    found = {}
    if libraries:
        found["mwaa_provider.preload_libraries"] = ",".join(_under(path, PLUGINS_FOLDER) for path in libraries)
    for variable in variables:
        if variable.name == "LD_LIBRARY_PATH":
            continue
        value = ":".join(_under(path, PLUGINS_FOLDER) for path in variable.paths)
        # Only PATH is certain to be set.
        found[f"mwaa_env.{variable.name.lower()}"] = f"${{PATH}}:{value}" if variable.name == "PATH" else value
    return found


def plugin_source(variables: Sequence[Variable]) -> str:
    """Return the source of a plugin that sets them, for any location of the plugins folder."""
    lines = []
    for variable in variables:
        joined = ", ".join(f'"{path}"' if path.startswith("/") else f'f"{{PLUGINS}}/{path}"' for path in variable.paths)
        lines.append(f'    "{variable.name}": ({joined}{"," if len(variable.paths) == 1 else ""}),')
    lists = ", ".join(f'"{variable.name}"' for variable in variables if variable.is_list)
    return f'''"""Environment variables for the binaries beside this file; written by airflow-mwaa package plugins."""

import os

from airflow.plugins_manager import AirflowPlugin

PLUGINS = os.path.dirname(os.path.abspath(__file__))
VARIABLES = {{
{chr(10).join(lines)}
}}
LISTS = {{{lists}}}


def set_variables():
    for name, paths in VARIABLES.items():
        before = os.environ.get(name, "").split(os.pathsep) if name in LISTS else []
        # Airflow also runs this file in processes that have inherited the variables.
        added = [path for path in paths if path not in before]
        os.environ[name] = os.pathsep.join([path for path in before if path] + added)


set_variables()


class BinariesEnvironmentPlugin(AirflowPlugin):
    name = "mwaa_binaries_environment"
'''


def startup_script(variables: Sequence[Variable]) -> str:
    """Return the lines of a startup script that set them before any process starts."""
    lines = ["# Binaries in plugins.zip; written by airflow-mwaa package plugins."]
    lines.append(f'MWAA_PLUGINS="${{AIRFLOW_HOME:-{PLUGINS_FOLDER.removesuffix("/plugins")}}}/plugins"')
    for variable in variables:
        value = ":".join(_under(path, "${MWAA_PLUGINS}") for path in variable.paths)
        before = f"${{{variable.name}:+${{{variable.name}}}:}}" if variable.is_list else ""
        lines.append(f'export {variable.name}="{before}{value}"')
    return "\n".join([*lines, ""])


def _under(path: str, folder: str) -> str:
    return path if path.startswith("/") else f"{folder}/{path}"
