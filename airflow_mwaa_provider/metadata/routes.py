# SPDX-License-Identifier: Apache-2.0
"""The ways to Airflow's metadata, by their names."""

from __future__ import annotations

from airflow_mwaa_provider.exceptions import MwaaInputError, NoMetadataRoute

__all__ = ["CLEANUP_ROUTES", "ROUTES", "check_route"]

ROUTES = ("database", "mwaa_environment", "api", "rest")
"""Ways to the metadata. ``auto`` takes the first that can be used, and the second only when it is named."""
CLEANUP_ROUTES = ("database", "mwaa_environment", "api", "cli")
"""Ways to clean it, likewise."""


def check_route(
    route: object, known: tuple[str, ...] = (*ROUTES, *CLEANUP_ROUTES), *, metadata_conn_id: object = None
) -> None:
    """Refuse a route that there isn't, and a connection to the database where it would not be used.

    :param known: routes that can be used for what is asked, beside ``auto``.
    """
    there_are = list(dict.fromkeys(("auto", *known)))
    if route not in there_are:
        if route in (*ROUTES, *CLEANUP_ROUTES):
            only = "export" if route in ROUTES else "clean"
            raise NoMetadataRoute(f"Route {route} can only {only}: there are {', '.join(there_are)}.")
        raise MwaaInputError(f"route={route!r} is unknown; there are {', '.join(there_are)}.")
    if metadata_conn_id and route not in {"auto", "database"}:
        raise MwaaInputError(f"route={route!r} uses no connection to the database: leave metadata_conn_id out.")
