# SPDX-License-Identifier: Apache-2.0
"""Clean a metadata database by a route: from this process, by an environment's web server, or by its CLI."""

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

    :param environment: a client of the environment.
    :param route: ``api``, ``cli``, or ``auto``: the first of them that is available.
    :param wait_timeout_s: how long to wait for another cleanup to end; at least ten minutes by route ``api``.
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
        """Count what would be deleted."""
        plan: Plan = self._by_first_available(lambda cleaner: cleaner.plan())
        return replace(plan, source=f"environment {self._environment.name!r}")

    def run(self, progress: Progress | None = None) -> Outcome:
        """Delete it, and return what happened."""
        outcome: Outcome = self._by_first_available(lambda cleaner: cleaner.run(progress))
        return outcome

    def _by_first_available(self, work: Callable[[Cleaner], Any]) -> Any:
        # The first call of a route shows whether it is available: nothing has been deleted by then.
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
