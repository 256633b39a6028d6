# SPDX-License-Identifier: Apache-2.0
"""Environment variables from configuration options, and preloaded shared libraries.

Off until an option ``mwaa_env.NAME`` or ``mwaa_provider.preload_libraries`` is set.

Every process of Airflow imports this module, so it imports what it needs only where it is used.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_mwaa_provider._compat import AIRFLOW_V_3
from airflow_mwaa_provider.plugins.options import SECTION, is_web_server, never_fails, option

__all__ = ["EnvironmentVariablesPlugin"]

_VARIABLES = "mwaa_env"
_PREFIX = "AIRFLOW__MWAA_ENV__"
_LIBRARIES = f"{SECTION}.preload_libraries"
_applied: tuple[int, dict[str, str]] = (0, {})
"""The process that has set variables, and its options: a forked process sets them again."""


class EnvironmentVariablesPlugin(AirflowPlugin):
    """Sets the variables in the process that loads this plugin, then loads the libraries."""

    name = "mwaa_env_vars"

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:  # noqa: ARG003 - Airflow's signature
        """Apply the options; Airflow calls this once per process, or twice on Airflow 3."""
        global _applied
        with never_fails(_VARIABLES):
            options = _options()
            if options and _applied != (os.getpid(), options):
                from airflow_mwaa_provider.plugins.env_values import needs_secrets, set_variables

                set_variables(options, os.environ)
                _applied = (os.getpid(), options)
                if AIRFLOW_V_3 and needs_secrets(options):
                    from airflow_mwaa_provider.plugins.env_secrets import masking_listener

                    cls.listeners = [masking_listener]
        with never_fails(_LIBRARIES):
            libraries = option("preload_libraries")
            if libraries and not is_web_server():
                from airflow_mwaa_provider.plugins.libraries import preload

                preload(libraries)


def _options() -> dict[str, str]:
    """Return the value of each option, by the name of its variable.

    Airflow's own ``getsection`` would convert strings to numbers, and ignores a section that is in no file.
    """
    from airflow.configuration import conf

    found = {}
    if conf.has_section(_VARIABLES):
        # As in the whole file, %% is a percent sign.
        found = {key.upper(): text.replace("%%", "%") for key, text in conf.items(_VARIABLES, raw=True)}
    for name, text in os.environ.items():
        if name.startswith(_PREFIX):
            found[name.removeprefix(_PREFIX).upper()] = text
    return found
