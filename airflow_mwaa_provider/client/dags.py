# SPDX-License-Identifier: Apache-2.0
"""The calls of a remote environment that are about DAGs, and not about one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mwaa_provider.client.access import TransportSelector
    from airflow_mwaa_provider.client.models import Dag, DagFileError, DagRun


_DAGS_AT_ONCE = 25


class DagCalls:
    """List DAGs, import errors of their files, and their last runs."""

    name: str
    _access: TransportSelector

    def list_dags(self) -> list[Dag]:
        """List the DAGs that have a file and that the role may see, sorted by id; one call per hundred.

        The CLI shows no schedules, and on Airflow 2 it omits DAGs whose files the web server cannot import.
        """
        return self._access.call(lambda backend: backend.list_dags())

    def list_dag_file_errors(self) -> list[DagFileError]:
        """List the DAG files that the environment cannot import, sorted by name."""
        return self._access.call(lambda backend: backend.list_dag_file_errors())

    def get_last_dag_runs(self, dag_ids: Sequence[str]) -> dict[str, DagRun]:
        """Read the latest run of each of these DAGs, by its date; about one call per hundred DAGs.

        The CLI transport has no such call.

        :return: the runs by DAG id; a DAG without runs is left out.
        """
        return self._access.call(lambda backend: backend.last_runs(dag_ids)) if dag_ids else {}

    def is_dag_paused(self, dag_id: str) -> bool | None:
        """Return whether a DAG is paused.

        :return: ``None`` if it exists and no command shows it: over the CLI of Airflow 2, for a DAG whose file the web
            server cannot import, because its packages are installed only where tasks run.
        :raises DagNotFound: the DAG does not exist.
        """
        return self._access.call(lambda backend: backend.is_paused(dag_id))

    def missing_dags(self, dag_ids: Sequence[str]) -> list[str]:
        """Return which of these DAGs do not exist, or may not be seen."""
        return missing_dags(self._access, dag_ids)


def missing_dags(access: TransportSelector, dag_ids: Sequence[str]) -> list[str]:
    """Return which of these DAGs do not exist, or may not be seen; each batch has its own deadline."""
    missing: list[str] = []
    for start in range(0, len(dag_ids), _DAGS_AT_ONCE):
        some = dag_ids[start : start + _DAGS_AT_ONCE]
        missing += access.call(lambda backend, some=some: backend.missing_dags(some))  # type: ignore[misc]
    return missing
