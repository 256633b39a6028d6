# SPDX-License-Identifier: Apache-2.0
"""Airflow CLI commands that MWAA's CLI endpoint runs, per Airflow version."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Command -> first Airflow version, as (major, minor).
# Source: the user guide, "Apache Airflow CLI command reference", table of Apache Airflow v2 (mid-2024), whose
# machine translation is undone here ("añadir roles permanentes" is "roles add-perms").
_AIRFLOW_2: dict[str, tuple[int, int]] = {
    "cheat-sheet": (2, 0),
    "connections add": (2, 0),
    "connections delete": (2, 0),
    "dags backfill": (2, 2),
    "dags delete": (2, 0),
    "dags list": (2, 2),
    "dags list-import-errors": (2, 6),
    "dags list-jobs": (2, 0),
    "dags list-runs": (2, 2),
    "dags next-execution": (2, 2),
    "dags pause": (2, 0),
    "dags report": (2, 0),
    "dags reserialize": (2, 4),
    "dags show": (2, 0),
    "dags state": (2, 0),
    "dags test": (2, 0),
    "dags trigger": (2, 0),
    "dags unpause": (2, 0),
    "db clean": (2, 4),
    "providers behaviours": (2, 0),
    "providers get": (2, 0),
    "providers hooks": (2, 0),
    "providers links": (2, 0),
    "providers list": (2, 0),
    "providers notifications": (2, 8),
    "providers secrets": (2, 6),
    "providers triggerer": (2, 7),
    "providers widgets": (2, 0),
    "roles add-perms": (2, 6),
    "roles create": (2, 6),
    "roles del-perms": (2, 6),
    "roles list": (2, 0),
    "tasks clear": (2, 0),
    "tasks failed-deps": (2, 0),
    "tasks list": (2, 0),
    "tasks render": (2, 0),
    "tasks state": (2, 0),
    "tasks states-for-dag-run": (2, 0),
    "tasks test": (2, 0),
    "variables delete": (2, 0),
    "variables get": (2, 0),
    "variables list": (2, 0),
    "variables set": (2, 0),
    "version": (2, 0),
}
# Source: FACTS.md (2026-11): Airflow 3 has "db clean, variables get/set/list/delete, dags …, tasks …" and lacks
# "variables import, connections list/export, pools, db export-archived, db drop-archived". Unproven: the rest,
# taken from version 2, without what Airflow 3 itself no longer has.
_GONE_IN_3 = {"dags backfill"}


def command_of(argv: Sequence[str], airflow_version: str) -> str | None:
    """Return the allowed command at the beginning of a line: ``dags trigger``; None if MWAA rejects it."""
    major, minor = (int(part) for part in airflow_version.split(".")[:2])
    for words in (2, 1):
        command = " ".join(argv[:words])
        since = _AIRFLOW_2.get(command) if len(argv) >= words else None
        if since is not None and (major, minor) >= since and not (major >= 3 and command in _GONE_IN_3):
            return command
    return None
