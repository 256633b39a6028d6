# SPDX-License-Identifier: Apache-2.0
"""Who may use the metadata API: callers that Airflow's own auth manager lets read, or delete, what it would."""

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
"""What a table shows, as Airflow names it where it asks for permission; all tables want that of the configuration."""


class Caller:
    """A user of Airflow, as its auth manager knows him.

    :param manager: Airflow's auth manager.
    :param user: one of its users, who is logged in.
    """

    def __init__(self, manager: Any, user: Any) -> None:
        self._manager = manager
        self._user = user
        self.name = str(user.get_name())

    def check(self, table: str | None = None) -> None:
        """Check that he may read everything that a table holds; without one, that he may use this API at all.

        Rows of all DAGs leave together, and so he must see all DAGs; and the environment's configuration, which by
        default only the roles Admin and Op may see.

        :raises AccessDenied: he may not.
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
        """Check that he may do a part of a cleanup; without one, that he may clean at all.

        Whatever the part, he must be one who may use this API, and who may delete runs and task instances of all DAGs:
        by default the roles Op and Admin. That is enough for what only tells of what has happened, sessions, revoked
        tokens and jobs of schedulers among it. For the audit log he must be allowed to read it too, as by default
        Admin is alone; for tests of connections to delete connections; and for old versions of DAGs to delete DAGs.

        :param unit: the table that it is about.
        :raises AccessDenied: he may not.
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
        """Say why he may not do a part of a cleanup; ``None`` if he may."""
        try:
            self.check_cleanup(unit)
        except AccessDenied as error:
            return str(error)
        return None

    def _may_of_all_dags(self, entity: Any, method: str = "GET") -> bool:
        """Ask about a DAG that nobody can have been allowed by its name.

        Asked about none, newer auth managers of FAB say whether the user may see any DAG at all.
        """
        details = dag_details(f"no-dag-{uuid.uuid4()}")
        allowed = self._manager.is_authorized_dag(method=method, access_entity=entity, details=details, user=self._user)
        return bool(allowed)

    def refusal(self, table: str) -> str | None:
        """Say why he may not have a table; ``None`` if he may."""
        try:
            self.check(table)
        except AccessDenied as error:
            return str(error)
        return None

    def _require(self, allowed: bool, what: str) -> None:
        if not allowed:
            raise AccessDenied(f"{self.name} may not {what}")
