# SPDX-License-Identifier: Apache-2.0
"""Which route the options of a command lead to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.routes import Way, choose_route

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_mwaa_provider.metadata.database import Database
    from airflow_mwaa_provider.metadata.routes import Choice

__all__ = ["choose"]


def choose(
    url: str | None,
    route: str,
    notify: Callable[[str], None],
    env_name: str | None = None,
    by_environment: Sequence[Way[Any]] = (),
) -> Choice[Any]:
    """Choose a route: to the database that is named, or by the environment that is.

    A named database is preferred to a named environment. The plan is reported where there is an environment.
    """
    from airflow_mwaa_provider.metadata.database import Database

    def named() -> Database:
        if not url:
            raise MwaaInputError(
                "No database was named. Use --database-url, AIRFLOW_MWAA_DATABASE_URL, in a container of MWAA --route "
                "mwaa_environment, or --env-name ENV for the web server of an environment."
            )
        return Database.from_url(url)

    def label(database: Database) -> str:
        return database.label

    database = Way("database", named, label)
    settings = Way("mwaa_environment", lambda: Database.from_mwaa_environment(os.environ), label)
    if route == "auto" and env_name and not url:
        left_out = {"database": "no database is named (--database-url)"}
        return choose_route(route, [settings, *by_environment], notify, left_out=left_out)
    return choose_route(route, [database, settings, *by_environment], notify if env_name else _silent)


def _silent(_: str) -> None:
    """Report nothing: only one route was possible."""
