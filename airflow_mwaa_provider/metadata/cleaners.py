# SPDX-License-Identifier: Apache-2.0
"""Clean a metadata database by a route: from this process, by an environment's web server, or by its CLI."""

from __future__ import annotations

import functools
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from airflow_mwaa_provider.metadata.cleaning.options import check_wait_timeout
from airflow_mwaa_provider.metadata.cleanup import plan_cleanup, run_cleanup
from airflow_mwaa_provider.metadata.routes import Way

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from airflow_mwaa_provider.metadata.cleaning.outcome import Progress
    from airflow_mwaa_provider.metadata.cleaning.routes.api import ApiCleanup
    from airflow_mwaa_provider.metadata.cleanup import CleanupOptions, Outcome, Plan
    from airflow_mwaa_provider.metadata.database import Database
    from airflow_mwaa_provider.metadata.storage.bucket import Storage

__all__ = ["Cleaner", "DatabaseCleaner", "EnvironmentCleaner", "environment_ways"]

log = logging.getLogger(__name__)

# An interrupted step continues for some seconds, and other cleanups' steps may come in between.
_LEAST_WAIT_S = 600.0


class Cleaner(Protocol):
    """Something that cleans a metadata database by one route."""

    def plan(self) -> Plan:
        """Count what would be deleted."""

    def run(self, progress: Progress | None = None) -> Outcome:
        """Delete it, and return what happened."""


class DatabaseCleaner:
    """Clean a database through a connection to it.

    :param archive: storage in S3, as a context, and a prefix in it: rows are archived there before they are deleted.
    :param wait_timeout_s: how long to wait for another cleanup to end.
    :param on_count: called with what a plan is about to count.
    """

    def __init__(
        self,
        database: Database,
        options: CleanupOptions,
        notify: Callable[[str], None],
        *,
        route: str = "database",
        archive: tuple[AbstractContextManager[Storage], str] | None = None,
        wait_timeout_s: float = 0.0,
        on_count: Callable[[str], None] = log.debug,
    ) -> None:
        check_wait_timeout(wait_timeout_s)
        self._database = database
        self._options = options
        self._notify = notify
        self._route = route
        self._archive = archive
        self._wait_timeout_s = wait_timeout_s
        self._on_count = on_count

    def plan(self) -> Plan:
        """Count what would be deleted."""
        return plan_cleanup(self._database, self._options, route=self._route, tell=self._on_count)

    def run(self, progress: Progress | None = None) -> Outcome:
        """Delete it, and return what happened."""
        keywords: dict[str, Any] = {"progress": progress, "tell": self._notify, "wait_timeout_s": self._wait_timeout_s}
        if self._archive is None:
            return run_cleanup(self._database, self._options, route=self._route, **keywords)
        # Imports the export, which most cleanups do not need.
        from airflow_mwaa_provider.metadata.cleaning.archiving.cleanup import run_archived_cleanup

        storage, prefix = self._archive
        with storage as opened:
            return run_archived_cleanup(self._database, self._options, opened, prefix, route=self._route, **keywords)


class EnvironmentCleaner:
    """Clean an environment's database by its web server's metadata API, or by Airflow's own ``db clean``.

    :param env_name: the environment.
    :param make: makes what cleans by one of these routes; called anew for a plan and for the cleanup after it, because
        what has changed since the plan must not be deleted.
    """

    def __init__(self, env_name: str, make: Callable[[], Cleaner]) -> None:
        self._env_name = env_name
        self._make = make

    def plan(self) -> Plan:
        """Count what would be deleted."""
        return replace(self._make().plan(), source=f"environment {self._env_name!r}")

    def run(self, progress: Progress | None = None) -> Outcome:
        """Delete it, and return what happened."""
        return self._make().run(progress)


def environment_ways(
    environment: Callable[[], Any],
    route: str,
    options: CleanupOptions,
    notify: Callable[[str], None],
    *,
    wait_timeout_s: float = 0.0,
) -> list[Way[EnvironmentCleaner]]:
    """Return routes ``api`` and ``cli``, which lead to a cleaner.

    :param environment: makes a client of the environment when it is needed.
    :param route: the requested one; only with ``auto`` route ``api`` asks the web server whether it cleans.
    :param wait_timeout_s: how long to wait for another cleanup to end; at least ten minutes by route ``api``.
    """
    check_wait_timeout(wait_timeout_s)
    remote = functools.cache(environment)

    def by_api() -> ApiCleanup:
        from airflow_mwaa_provider.metadata.cleaning.routes.api import ApiCleanup

        call, label = remote().call_plugin, f"environment {remote().name!r}"
        return ApiCleanup(call, label, options, wait_timeout_s=max(wait_timeout_s, _LEAST_WAIT_S), notify=notify)

    def by_cli() -> Cleaner:
        from airflow_mwaa_provider.metadata.cleaning.routes.db_clean import CliCleanup

        return CliCleanup(remote(), options, notify=notify)

    def api() -> EnvironmentCleaner:
        if route == "auto":
            by_api().check()
        return EnvironmentCleaner(remote().name, by_api)

    def cli() -> EnvironmentCleaner:
        return EnvironmentCleaner(remote().name, by_cli)

    return [
        Way("api", api, lambda _: f"the web server of environment {remote().name!r}"),
        Way("cli", cli, lambda _: f"airflow db clean of environment {remote().name!r}"),
    ]
