# SPDX-License-Identifier: Apache-2.0
"""The ways by which a metadata database is cleaned: from here, by an environment's web server, by its own CLI."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from airflow_mwaa_provider.metadata.cleaning.options import check_wait_timeout
from airflow_mwaa_provider.metadata.cleanup import plan_cleanup, run_cleanup
from airflow_mwaa_provider.metadata.routes import Way, choose_route

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from airflow_mwaa_provider.metadata.cleaning.outcome import Progress
    from airflow_mwaa_provider.metadata.cleanup import CleanupOptions, Outcome, Plan
    from airflow_mwaa_provider.metadata.database import Database
    from airflow_mwaa_provider.metadata.storage.bucket import Storage

__all__ = ["Cleaner", "DatabaseCleaner", "EnvironmentCleaner"]

log = logging.getLogger(__name__)

# A step that was cut off goes on for some seconds, and others' steps come in between.
_LEAST_WAIT_S = 600.0


class Cleaner(Protocol):
    """What deletes, by some route."""

    def plan(self) -> Plan:
        """Say what would go."""

    def run(self, progress: Progress | None = None) -> Outcome:
        """Delete it."""


class DatabaseCleaner:
    """Deletes through a connection to the database.

    :param archive: opens what writes to S3, and the prefix there: only what was archived first is deleted.
    :param wait_timeout_s: how long another cleanup's end is waited for.
    :param counting: is told what a plan counts, while it is made.
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
        counting: Callable[[str], None] = log.debug,
    ) -> None:
        check_wait_timeout(wait_timeout_s)
        self._database = database
        self._options = options
        self._notify = notify
        self._route = route
        self._archive = archive
        self._wait_timeout_s = wait_timeout_s
        self._counting = counting

    def plan(self) -> Plan:
        """Say what would go."""
        return plan_cleanup(self._database, self._options, route=self._route, tell=self._counting)

    def run(self, progress: Progress | None = None) -> Outcome:
        """Delete it."""
        keywords: dict[str, Any] = {"progress": progress, "tell": self._notify, "wait_timeout_s": self._wait_timeout_s}
        if self._archive is None:
            return run_cleanup(self._database, self._options, route=self._route, **keywords)
        # It brings what exports, which most cleanups do without.
        from airflow_mwaa_provider.metadata.cleaning.archiving.cleanup import run_archived_cleanup

        storage, prefix = self._archive
        with storage as opened:
            return run_archived_cleanup(self._database, self._options, opened, prefix, route=self._route, **keywords)


class EnvironmentCleaner:
    """Deletes through an environment: by its web server's metadata API, or by Airflow's own ``db clean``.

    :param environment: a client of it.
    :param route: ``api``, ``cli``, or ``auto``: the first of them that can be used.
    :param wait_timeout_s: how long another cleanup's end is waited for; by route ``api`` ten minutes at least.
    """

    def __init__(
        self,
        environment: Any,
        route: str,
        options: CleanupOptions,
        notify: Callable[[str], None],
        *,
        wait_timeout_s: float = 0.0,
    ) -> None:
        check_wait_timeout(wait_timeout_s)
        self._wait_timeout_s = max(wait_timeout_s, _LEAST_WAIT_S)
        self._environment = environment
        self._route = route
        self._options = options
        self._notify = notify

    def plan(self) -> Plan:
        """Say what would go."""
        plan: Plan = self._first_that_works(lambda cleaner: cleaner.plan())
        return replace(plan, source=f"environment {self._environment.name!r}")

    def run(self, progress: Progress | None = None) -> Outcome:
        """Delete it."""
        outcome: Outcome = self._first_that_works(lambda cleaner: cleaner.run(progress))
        return outcome

    def _first_that_works(self, work: Callable[[Cleaner], Any]) -> Any:
        # That a route is not there is told by its first call of all: nothing has been done by then.
        ways = [Way("api", lambda: work(self._by_api())), Way("cli", lambda: work(self._by_cli()))]
        return choose_route(self._route, ways, self._notify).taken

    def _by_api(self) -> Cleaner:
        from airflow_mwaa_provider.metadata.cleaning.routes.api import ApiCleanup

        label = f"environment {self._environment.name!r}"
        wait_s = self._wait_timeout_s
        return ApiCleanup(
            self._environment.call_plugin, label, self._options, wait_timeout_s=wait_s, notify=self._notify
        )

    def _by_cli(self) -> Cleaner:
        from airflow_mwaa_provider.metadata.cleaning.routes.db_clean import CliCleanup

        self._notify(f"Route cli: airflow db clean of environment {self._environment.name!r}")
        return CliCleanup(self._environment, self._options, notify=self._notify)
