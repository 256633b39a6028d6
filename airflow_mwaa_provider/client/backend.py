# SPDX-License-Identifier: Apache-2.0
"""What the client calls in the Airflow behind a transport, whether REST calls or CLI commands carry it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.http.errors import truncate
from airflow_mwaa_provider.exceptions import UnexpectedAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from airflow_mwaa_provider.client.models import (
        Connection,
        Dag,
        DagFileError,
        DagRun,
        Pool,
        RestRequest,
        Role,
        RunRequest,
        TaskInstance,
        TasksToClear,
        Variable,
    )
    from airflow_mwaa_provider.client.states import DagRunState, TaskState
    from airflow_mwaa_provider.exceptions import UnsupportedByTransport


class Backend(ABC):
    """One environment's Airflow, by its REST API (``AirflowApi``) or by its CLI (``AirflowCli``).

    A subclass overrides what its transport can do; any other call raises ``UnsupportedByTransport``, with nothing sent.
    No method repeats anything. The docstrings here hold for both subclasses, which document only where they differ.

    :param major: Airflow's major version, 2 or 3.
    """

    def __init__(self, env_name: str, major: int) -> None:
        self._env_name = env_name
        self.major = major

    @abstractmethod
    def _unsupported(self, what: str) -> UnsupportedByTransport:
        """Return the error of a call that this transport cannot carry.

        :param what: the call, as the subject of a sentence.
        """

    def _unrecognized(
        self, what: str, error: Exception, *, came: object = ..., ambiguous: bool = False
    ) -> UnexpectedAnswer:
        """Return the error of something that Airflow describes in an unknown form.

        :param error: what reading it has raised; a ``KeyError`` names a field that was expected.
        :param came: what was read, if it should have been an object with fields.
        """
        return UnexpectedAnswer(
            f"Environment {self._env_name!r}: its Airflow {self.major} described {what} in a form unknown to this "
            f"version: {_in_words(error, came)}. Upgrade airflow-mwaa-provider.",
            env_name=self._env_name,
            ambiguous=ambiguous,
        )

    # -- DAGs and runs -----------------------------------------------------------------------------

    def is_paused(self, dag_id: str) -> bool | None:
        """Return whether a DAG is paused; ``None`` if that cannot be determined.

        :raises DagNotFound: the DAG does not exist.
        """
        raise self._unsupported("whether a DAG is paused")

    def list_dags(self) -> list[Dag]:
        """List the DAGs that have a file, sorted by id."""
        raise self._unsupported("the list of DAGs")

    def list_dag_file_errors(self) -> list[DagFileError]:
        """List the DAG files that cannot be imported, sorted by name."""
        raise self._unsupported("the list of DAG files that cannot be imported")

    def last_runs(self, dag_ids: Sequence[str]) -> dict[str, DagRun]:
        """Read the latest run of each DAG by its date, in few calls; a DAG without runs is left out."""
        raise self._unsupported("the last run of each DAG")

    def missing_dags(self, dag_ids: Sequence[str]) -> list[str]:
        """Return which of these DAGs do not exist, or may not be seen."""
        raise self._unsupported("which DAGs exist")

    def create_run(self, dag_id: str, run_id: str, request: RunRequest) -> DagRun:
        """Create a run.

        :raises DagNotFound: the DAG does not exist.
        :raises RemoteConflict: a run with this id or logical date already exists.
        """
        raise self._unsupported("a new DAG run")

    def find_run(self, dag_id: str, run_id: str, *, recent: bool = False, with_conf: bool = False) -> DagRun | None:
        """Read one run; ``None`` if it does not exist.

        :param recent: the run is new or does not exist, so that old runs need not be searched.
        :param with_conf: also read its conf and its logical date, which may take another call.
        """
        raise self._unsupported("a DAG run")

    def find_runs(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], DagRun]:
        """Read many runs by (dag_id, run_id) in few calls; those that do not exist are left out."""
        raise self._unsupported("many DAG runs")

    def ended_runs(self, dag_ids: Sequence[str], since: datetime) -> Iterator[DagRun]:
        """Read the runs of these DAGs that ended at that time or after it."""
        raise self._unsupported("the DAG runs that have ended")

    def recent_runs(
        self, dag_id: str, limit: int, *, states: Sequence[DagRunState] = (), until: datetime | None = None
    ) -> list[DagRun]:
        """Read the latest runs of a DAG by their dates, the latest first.

        :param until: leave out the runs that could only begin after it.
        :raises DagNotFound: the DAG does not exist.
        """
        raise self._unsupported("the latest runs of a DAG")

    def set_run_state(self, dag_id: str, run_id: str, state: DagRunState) -> DagRun:
        """Mark a run; Airflow ends its unfinished tasks accordingly."""
        raise self._unsupported("marking a run")

    def clear_run(self, dag_id: str, run_id: str) -> None:
        """Clear all tasks of a run, so that it runs again under its id."""
        raise self._unsupported("clearing a run")

    # -- tasks -------------------------------------------------------------------------------------

    def get_tasks_of_runs(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        task_ids: Sequence[str] | None = None,
        states: Sequence[TaskState] = (),
    ) -> list[TaskInstance]:
        """List task instances of runs, by (dag_id, run_id), in few calls; mapped ones one by one.

        A run that does not exist has none.
        """
        raise self._unsupported("the task instances of runs")

    def clear_tasks(
        self, dag_id: str, run_id: str, selection: TasksToClear, *, dry_run: bool
    ) -> list[tuple[str, str, int | None]]:
        """Clear task instances of a run, so that they run again; the run is queued again.

        :return: run id, task id and map index of each that was cleared, or would be; the index is ``None`` where
            Airflow does not return it.
        """
        raise self._unsupported("clearing tasks")

    def get_xcom(self, dag_id: str, run_id: str, task_id: str, key: str, *, map_index: int = -1) -> Any:
        """Read an XCom. Airflow before 2.10 returns anything but a string as Python writes it.

        :raises TaskInstanceNotFound: the task has no XCom of that name.
        """
        raise self._unsupported("get_xcom")

    def get_task_log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int, map_index: int = -1) -> str:
        """Read the whole log of one try of a task.

        :raises TaskInstanceNotFound: the task instance does not exist.
        """
        raise self._unsupported("the log of a task")

    # -- variables, connections, pools -------------------------------------------------------------
    # set creates or replaces, and is_new says which to try first; create raises RemoteConflict for one that exists,
    # and changes nothing of it.

    def get_variable(self, key: str) -> Variable:
        """Read a variable."""
        raise self._unsupported("variables.get")

    def list_variables(self) -> list[Variable]:
        """List all variables, sorted by key; a hidden value is ``None``."""
        raise self._unsupported("variables.list")

    def set_variable(self, variable: Variable, *, keep_description: bool = False, is_new: bool = False) -> None:
        """Create or replace a variable.

        :param keep_description: an existing variable keeps its description, whatever the given one has.
        """
        raise self._unsupported("variables.set")

    def create_variable(self, variable: Variable) -> None:
        """Create a variable."""
        raise self._unsupported("variables.create")

    def delete_variable(self, key: str) -> None:
        """Delete a variable."""
        raise self._unsupported("variables.delete")

    def get_connection(self, conn_id: str) -> Connection:
        """Read a connection, without what Airflow masks."""
        raise self._unsupported("connections.get")

    def list_connections(self) -> list[Connection]:
        """List all connections, sorted by id."""
        raise self._unsupported("connections.list")

    def set_connection(self, connection: Connection, *, keep_password: bool = False, is_new: bool = False) -> None:
        """Create or replace a connection.

        :param keep_password: an existing connection keeps its password, whatever the given one has.
        """
        raise self._unsupported("connections.set")

    def create_connection(self, connection: Connection) -> None:
        """Create a connection."""
        raise self._unsupported("connections.create")

    def delete_connection(self, conn_id: str) -> None:
        """Delete a connection."""
        raise self._unsupported("connections.delete")

    def get_pool(self, name: str) -> Pool:
        """Read a pool."""
        raise self._unsupported("pools.get")

    def list_pools(self) -> list[Pool]:
        """List all pools, sorted by name."""
        raise self._unsupported("pools.list")

    def set_pool(self, pool: Pool, *, is_new: bool = False) -> None:
        """Create or replace a pool."""
        raise self._unsupported("pools.set")

    def create_pool(self, pool: Pool) -> None:
        """Create a pool."""
        raise self._unsupported("pools.create")

    def delete_pool(self, name: str) -> None:
        """Delete a pool."""
        raise self._unsupported("pools.delete")

    # -- roles -------------------------------------------------------------------------------------

    def list_roles(self) -> list[Role]:
        """List all roles with their permissions, sorted by name."""
        raise self._unsupported("the list of roles")

    def get_role(self, name: str) -> Role | None:
        """Read a role; ``None`` if it does not exist."""
        raise self._unsupported("a role")

    def change_role(self, role: Role, *, was: Role | None) -> Role:
        """Take the step of one call from a role as it is to one as it is wanted; permissions are removed first.

        :param was: the role as just read, or as the previous step left it; ``None`` if it does not exist.
        :return: the role after this step.
        :raises DagNotFound: Airflow has no permissions for a DAG yet.
        """
        raise self._unsupported("changing a role")

    def delete_role(self, name: str) -> None:
        """Delete a role.

        :raises RemoteNotFound: it does not exist.
        """
        raise self._unsupported("deleting a role")

    # -- anything else -----------------------------------------------------------------------------

    def request(self, request: RestRequest) -> Any:
        """Send any call of Airflow's REST API, and return its JSON."""
        raise self._unsupported(f"the REST call {request}")


def _in_words(error: Exception, came: object) -> str:
    """Return what was expected, and what came; fields are named without their values."""
    if came is not ... and not isinstance(came, dict):
        return f"expected an object, got {kind_of(came)}"
    if isinstance(error, KeyError) and isinstance(came, dict):
        return f"expected {error.args[0]}, got {truncate(', '.join(came)) or 'no fields'}"
    return str(error)


def kind_of(value: object) -> str:
    """Return the kind of a JSON value, for messages."""
    return "null" if value is None else type(value).__name__
