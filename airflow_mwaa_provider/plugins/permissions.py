# SPDX-License-Identifier: Apache-2.0
"""Check who may use the metadata API: callers whom Airflow's own auth manager allows to read, or delete, the same."""

from __future__ import annotations

import uuid
from typing import Any

from airflow_mwaa_provider._compat import dag_access_entity, dag_details
from airflow_mwaa_provider.exceptions import AccessDenied
from airflow_mwaa_provider.metadata.catalog import registry

__all__ = ["Caller"]

_ENTITIES = {
    "dag_code": "CODE",
    "dag_run": "RUN",
    "log": "AUDIT_LOG",
    "rendered_task_instance_fields": "TASK_INSTANCE",
    "serialized_dag": "CODE",
    "task_instance": "TASK_INSTANCE",
    "task_instance_history": "TASK_INSTANCE",
    "xcom": "XCOM",
}
"""What a table contains, as Airflow names it for permissions; every table also needs that for the configuration."""


class Caller:
    """A user of Airflow, and what the auth manager allows them.

    :param manager: Airflow's auth manager.
    :param user: one of its users, who is logged in.
    """

    def __init__(self, manager: Any, user: Any) -> None:
        self._manager = manager
        self._user = user
        self.name = str(user.get_name())

    def check(self, table: str | None = None) -> None:
        """Check that the user may read everything in a table; without a table, that they may use this API at all.

        Rows of all DAGs are exported together, so the user must be allowed to see all DAGs, and the environment's
        configuration, which by default only the roles Admin and Op may see.

        :raises AccessDenied: they may not.
        """
        manager, user = self._manager, self._user
        self._require(manager.is_authorized_configuration(method="GET", user=user), "read the configuration")
        self._require(self._may_of_all_dags(None), "read all DAGs")
        if table is None:
            return
        if table == "connection":
            self._require(manager.is_authorized_connection(method="GET", user=user), "read connections")
        elif table == "variable":
            self._require(manager.is_authorized_variable(method="GET", user=user), "read variables")
        elif registry.facts_of(table).is_private or registry.is_bookkeeping(table):
            raise AccessDenied(f"table {table} never leaves by this API")
        elif table in _ENTITIES:
            allowed = self._may_of_all_dags(dag_access_entity(_ENTITIES[table]))
            self._require(allowed, f"read {_ENTITIES[table].lower().replace('_', ' ')}s of all DAGs")

    def check_cleanup(self, unit: str | None = None) -> None:
        """Check that the user may do a part of a cleanup; without a part, that they may clean at all.

        Every part requires permission to use this API, and to delete runs and task instances of all DAGs, as the roles
        Op and Admin have by default. That is enough for records of past events, which include sessions, revoked
        tokens and scheduler jobs. The audit log also requires permission to read it, which by default only
        Admin has; tests of connections, to delete connections; and old versions of DAGs, to delete DAGs.

        :param unit: the table of the part.
        :raises AccessDenied: they may not.
        """
        manager, user = self._manager, self._user
        self.check()
        for entity, words in (("RUN", "runs"), ("TASK_INSTANCE", "task instances")):
            allowed = self._may_of_all_dags(dag_access_entity(entity), "DELETE")
            self._require(allowed, f"delete {words} of all DAGs")
        if unit == "log":
            self.check(unit)
        elif unit == "connection_test_request":
            self._require(manager.is_authorized_connection(method="DELETE", user=user), "delete connections")
        elif unit == "dag_version":
            self._require(self._may_of_all_dags(None, "DELETE"), "delete all DAGs")

    def cleanup_refusal(self, unit: str) -> str | None:
        """Return why the user may not do a part of a cleanup; ``None`` if they may."""
        try:
            self.check_cleanup(unit)
        except AccessDenied as error:
            return str(error)
        return None

    def _may_of_all_dags(self, entity: Any, method: str = "GET") -> bool:
        """Return whether the user may access a DAG for which no permission by name can exist.

        Without a DAG, newer FAB auth managers return whether the user may see any DAG at all.
        """
        details = dag_details(f"no-dag-{uuid.uuid4()}")
        allowed = self._manager.is_authorized_dag(method=method, access_entity=entity, details=details, user=self._user)
        return bool(allowed)

    def refusal(self, table: str) -> str | None:
        """Return why the user may not read a table; ``None`` if they may."""
        try:
            self.check(table)
        except AccessDenied as error:
            return str(error)
        return None

    def _require(self, allowed: bool, what: str) -> None:
        if not allowed:
            raise AccessDenied(f"{self.name} may not {what}")
