# SPDX-License-Identifier: Apache-2.0
"""``startup dbt``: dbt in its own virtual environment, so that its pins do not conflict with Airflow's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.startup.script import Component, checked, render

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["dbt_script"]

_NAME = r"[A-Za-z0-9]+([._-]+[A-Za-z0-9]+)*"
_VERSION = r"[0-9]+(\.[0-9]+){1,3}((a|b|rc|\.post)[0-9]+)?"


def dbt_script(
    dbt_version: str, adapters: Collection[str], *, components: Collection[Component] = (Component.WORKER,)
) -> str:
    """Return a startup script that installs dbt into ``/usr/local/airflow/python3-virtualenv/dbt-env``.

    It exports ``DBT_VENV``, the folder, and puts only the command ``dbt`` on ``PATH``. If dbt cannot be installed
    within four minutes, one line in the log reports it, and the container starts without it.

    :param dbt_version: of dbt-core, such as ``1.11.2``.
    :param adapters: names such as ``postgres``, ``redshift`` or ``snowflake``, each with optional extras and
        version: ``postgres==1.9.1``, ``spark[PyHive]``. Without a version, pip takes the newest that fits dbt-core.
    :param components: where tasks, or DAG files when they are parsed, run dbt.
    :raises MwaaInputError: a name or version is not valid, or an adapter is missing, given twice, or dbt-core.
    """
    checked("dbt version", dbt_version, _VERSION, "Give one such as 1.11.2.")
    if not adapters:
        raise MwaaInputError("dbt: no adapter is given. Give the one for your database, such as postgres.")
    packages = {"dbt-core": f"dbt-core=={dbt_version}"}
    for adapter in adapters:
        wanted, equals, version = adapter.partition("==")
        checked(
            "adapter", wanted, rf"{_NAME}(\[{_NAME}(,{_NAME})*\])?", "Give one such as postgres or postgres==1.9.1."
        )
        given, bracket, extras = wanted.partition("[")
        if equals:
            checked(f"version of adapter {given}", version, _VERSION, "Give one such as 1.9.1.")
        name = f"dbt-{re.sub('[._-]+', '-', given).lower().removeprefix('dbt-')}"
        if name == "dbt-core":
            raise MwaaInputError(
                f"adapter {given!r}: dbt-core is not an adapter. Give its version only as the dbt version."
            )
        package = f"{name}{bracket}{extras}{equals}{version}"
        if packages.setdefault(name, package) != package:
            raise MwaaInputError(f"adapter {given!r} is given twice, with different versions or extras. Remove one.")
    chosen = [str(component) for component in dict.fromkeys(components)]
    return render("dbt.sh", packages=packages.values(), components=chosen)
