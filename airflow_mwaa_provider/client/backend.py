# SPDX-License-Identifier: Apache-2.0
"""What the client asks of the Airflow behind a transport, whether REST calls or CLI commands carry it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from airflow_mwaa_provider.client.models import (
        Connection,
        Dag,
        DagFileError,
        DagRun,
        DagRunState,
        Pool,
        Role,
        TaskInstance,
        TaskState,
        Variable,
    )


class Backend(Protocol):
    """One environment's Airflow, by its REST API (``AirflowApi``) or by its CLI (``AirflowCli``).

    No method repeats anything. One that its way has no call for raises ``UnsupportedByTransport``, with nothing sent.
    """

    @property
    def major(self) -> int:
        """Airflow's major version, 2 or 3."""

    # -- DAGs and runs -----------------------------------------------------------------------------

    def is_paused(self, dag_id: str) -> bool | None:
        """Whether a DAG is paused; ``None`` where that cannot be told, ``DagNotFound`` where there is none."""

    def list_dags(self) -> list[Dag]:
        """List the DAGs that have a file there, sorted by id."""

    def list_dag_file_errors(self) -> list[DagFileError]:
        """List the DAG files that cannot be imported, sorted by name."""

    def last_runs(self, dag_ids: Sequence[str]) -> dict[str, DagRun]:
        """Read the latest run of each DAG by its date, in few calls; a DAG without runs is left out."""

    def missing_dags(self, dag_ids: Sequence[str]) -> list[str]:
        """Which of these DAGs aren't there, or may not be seen."""

    def create_run(
        self,
        dag_id: str,
        run_id: str,
        *,
        conf: Mapping[str, Any] | None = None,
        logical_date: datetime | None = None,
        data_interval: tuple[datetime, datetime] | None = None,
        note: str | None = None,
    ) -> DagRun:
        """Create a run; ``RemoteConflict`` where one of this id or logical date is there already."""

    def find_run(self, dag_id: str, run_id: str, *, recent: bool = False, with_conf: bool = False) -> DagRun | None:
        """Read one run; ``None`` when it isn't there.

        :param recent: the run is new or not there at all, so that it need not be looked for among old ones.
        :param with_conf: its conf and its logical date are wanted too, which may take another call.
        """

    def find_runs(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], DagRun]:
        """Read many runs by (dag_id, run_id) in few calls; those that aren't there are left out."""

    def ended_runs(self, dag_ids: Sequence[str], since: datetime) -> Iterator[DagRun]:
        """Read the runs of these DAGs that ended at that moment or later."""

    def recent_runs(
        self, dag_id: str, limit: int, *, states: Sequence[DagRunState] = (), until: datetime | None = None
    ) -> list[DagRun]:
        """Read the latest runs of a DAG by their dates, the latest first; ``DagNotFound`` where there is no DAG.

        :param until: leave out the runs that could begin only later.
        """

    def set_run_state(self, dag_id: str, run_id: str, state: DagRunState) -> DagRun:
        """Mark a run."""

    def clear_run(self, dag_id: str, run_id: str) -> None:
        """Clear all tasks of a run, so that it runs again under its id."""

    # -- tasks -------------------------------------------------------------------------------------

    def get_task_instances(
        self,
        dag_id: str,
        run_id: str,
        *,
        task_ids: Sequence[str] | None = None,
        states: Sequence[TaskState] = (),
    ) -> list[TaskInstance]:
        """List task instances of a run, mapped ones one by one; empty when the run isn't there."""

    def get_tasks_of_runs(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        task_ids: Sequence[str] | None = None,
        states: Sequence[TaskState] = (),
    ) -> list[TaskInstance]:
        """List task instances of many runs, by (dag_id, run_id), in few calls."""

    def clear_tasks(
        self,
        dag_id: str,
        run_id: str,
        *,
        task_ids: Sequence[str] | None = None,
        downstream: bool = False,
        only_failed: bool = False,
        dry_run: bool = False,
    ) -> list[tuple[str, str, int | None]]:
        """Clear task instances of a run, so that they run again.

        :return: run id, task id and map index of each that was cleared, or would be; no index where Airflow doesn't
            tell it.
        """

    def get_xcom(self, dag_id: str, run_id: str, task_id: str, key: str, *, map_index: int = -1) -> Any:
        """Read what a task left behind; ``TaskInstanceNotFound`` where it left nothing of that name."""

    def get_task_log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int, map_index: int = -1) -> str:
        """Read the whole log of one try of a task, as text."""

    # -- variables, connections, pools: set creates or replaces, is_new says which to try first; create raises
    # RemoteConflict for what is there, and changes nothing of it ---------------------------------

    def get_variable(self, key: str) -> Variable:
        """Read a variable."""

    def list_variables(self) -> list[Variable]:
        """List all variables, sorted by key; a value that isn't shown is ``None``."""

    def set_variable(self, variable: Variable, *, keep_description: bool = False, is_new: bool = False) -> None:
        """Create or replace a variable; its description stays as it is where that is asked for."""

    def create_variable(self, variable: Variable) -> None:
        """Create a variable."""

    def delete_variable(self, key: str) -> None:
        """Delete a variable."""

    def get_connection(self, conn_id: str) -> Connection:
        """Read a connection, without what Airflow masks."""

    def list_connections(self) -> list[Connection]:
        """List all connections, sorted by id."""

    def set_connection(self, connection: Connection, *, keep_password: bool = False, is_new: bool = False) -> None:
        """Create or replace a connection; its password stays as it is where that is asked for."""

    def create_connection(self, connection: Connection) -> None:
        """Create a connection."""

    def delete_connection(self, conn_id: str) -> None:
        """Delete a connection."""

    def get_pool(self, name: str) -> Pool:
        """Read a pool."""

    def list_pools(self) -> list[Pool]:
        """List all pools, sorted by name."""

    def set_pool(self, pool: Pool, *, is_new: bool = False) -> None:
        """Create or replace a pool."""

    def create_pool(self, pool: Pool) -> None:
        """Create a pool."""

    def delete_pool(self, name: str) -> None:
        """Delete a pool."""

    # -- roles -------------------------------------------------------------------------------------

    def list_roles(self) -> list[Role]:
        """List all roles with their permissions, sorted by name."""

    def get_role(self, name: str) -> Role | None:
        """Read a role; ``None`` when it isn't there."""

    def change_role(self, role: Role, *, was: Role | None) -> Role:
        """Take one call's step from a role as it is to one as it is wanted; what is to go goes first.

        :param was: the role as it has just been read, or left by the step before; ``None`` where there is none.
        :return: the role after this step.
        """

    def delete_role(self, name: str) -> None:
        """Delete a role; ``RemoteNotFound`` where there is none."""

    # -- anything else -----------------------------------------------------------------------------

    def request(self, method: str, path: str, *, params: Mapping[str, Any] | None = None, json: Any = None) -> Any:
        """Send any call of Airflow's REST API, and give its JSON."""
