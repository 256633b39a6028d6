# SPDX-License-Identifier: Apache-2.0
"""Which database the options of a command lead to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.routes import Way

if TYPE_CHECKING:
    from airflow_mwaa_provider.metadata.database import Database

__all__ = ["database_ways"]


def database_ways(url: str | None, route: str, env_name: str | None = None) -> list[Way[Database]]:
    """Return the routes to a database. One that is named comes before an environment that is, and then it is told."""
    from airflow_mwaa_provider.metadata.database import Database

    def named() -> Database:
        if not url:
            raise MwaaInputError(
                "No database was named: give --database-url, set AIRFLOW_MWAA_DATABASE_URL, or, in a container of "
                "MWAA, --route mwaa_environment; or --env ENV for its web server."
            )
        return Database.from_url(url)

    ways = [
        Way("database", named, (lambda database: database.label) if env_name else ""),
        Way("mwaa_environment", lambda: Database.from_mwaa_environment(os.environ)),
    ]
    return ways[1:] if route == "auto" and env_name and not url else ways
