# SPDX-License-Identifier: Apache-2.0
"""The database that the options of a command name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.routes import Way

if TYPE_CHECKING:
    from airflow_mwaa_provider.metadata.database import Database

__all__ = ["database_ways"]


def database_ways(url: str | None, route: str, env_name: str | None = None) -> list[Way[Database]]:
    """Return the routes to a database. A named database precedes an environment, and is logged then."""
    from airflow_mwaa_provider.metadata.database import Database

    def named() -> Database:
        if not url:
            raise MwaaInputError(
                "No database was named. Use --database-url, AIRFLOW_MWAA_DATABASE_URL, in a container of MWAA --route "
                "mwaa_environment, or --env-name ENV for the web server of an environment."
            )
        return Database.from_url(url)

    ways = [
        Way("database", named, (lambda database: database.label) if env_name else ""),
        Way("mwaa_environment", lambda: Database.from_mwaa_environment(os.environ)),
    ]
    return ways[1:] if route == "auto" and env_name and not url else ways
