# SPDX-License-Identifier: Apache-2.0
"""Where a task reads the connections and variables of an environment: the database, the task itself, or the API."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider._compat import (
    AIRFLOW_V_3,
    BaseHook,
    connection_not_found,
    fernet_key,
    variable_or_none,
)
from airflow_mwaa_provider.client.secrets_migration.items import Kind
from airflow_mwaa_provider.client.secrets_migration.source import DocumentSource, EnvironmentSource
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.hooks.metadata import MetadataHook
from airflow_mwaa_provider.metadata.stored_values import StoredValues

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mwaa_provider.client.environment import MwaaEnvironment
    from airflow_mwaa_provider.client.secrets_migration.items import Found, Patterns
    from airflow_mwaa_provider.client.secrets_migration.source import Source
    from airflow_mwaa_provider.hooks.settings import HookSettings

__all__ = ["SOURCES", "migration_source"]

SOURCES = ("auto", "database", "task", "environment")
_FIELDS = ("conn_type", "description", "host", "login", "password", "schema", "port", "extra")


def migration_source(
    settings: HookSettings, *, source: str, env_name: str | None, metadata_conn_id: str | None
) -> Source:
    """Return the source to read connections and variables from.

    :param source: ``"database"``, ``"task"``, ``"environment"``, or ``"auto"``. That is the API for another
        environment. For the task's own environment it is the database on Airflow 2 or with ``metadata_conn_id``, and
        otherwise what the task gets.
    :param env_name: the environment; ``None`` is the task's own.
    """
    own = os.environ.get("AIRFLOW_ENV_NAME") or None
    is_own = env_name in (None, own)
    if source == "auto":
        by_task = "database" if metadata_conn_id or not AIRFLOW_V_3 else "task"
        source = by_task if is_own else "environment"
    if source == "environment":
        name = env_name or own
        if name is None:
            raise MwaaInputError("env_name is missing, and AIRFLOW_ENV_NAME is not set here. Give env_name.")
        return EnvironmentSource(settings.environment(name))
    if not is_own:
        raise MwaaInputError(
            f"source={source!r} reads the environment that the task runs in, and env_name={env_name!r} is another one. "
            "Omit one of them."
        )
    if source == "task":
        return _TaskSource(settings.environment(own) if own else None)
    hook = MetadataHook(
        metadata_conn_id, "database", None, settings.aws_conn_id, settings.region_name, settings.verify,
        settings.botocore_config,
    )  # fmt: skip
    database, _ = hook.database()
    stored = StoredValues(database, fernet_key()).read()
    return DocumentSource(database.label, stored.documents, stored.problems, stored.delete)


class _TaskSource:
    """Connections and variables as a task gets them. On Airflow 3 it has no database, and looks up each one by name.

    Airflow looks in environment variables and in the secrets backend first, and so does this class.

    :param environment: lists the names for patterns, and deletes what was moved.
    """

    def __init__(self, environment: MwaaEnvironment | None) -> None:
        self.label = "This environment"
        self.can_delete = environment is not None
        self._environment = environment

    def read(self, patterns: Patterns) -> Sequence[Found]:
        """Read what the patterns match."""
        if patterns.kind is Kind.CONNECTION:
            documents: dict[str, Any] = {key: self._connection(key) for key in self._keys(patterns)}
        else:
            documents = {key: variable_or_none(key) for key in self._keys(patterns)}
        there = {key: item for key, item in documents.items() if item is not None}
        return DocumentSource(self.label, {patterns.kind: there}).read(patterns)

    def delete(self, found: Found) -> None:
        """Delete a connection or variable through the API."""
        if self._environment is not None:
            EnvironmentSource(self._environment).delete(found)

    def _keys(self, patterns: Patterns) -> list[str]:
        if len(patterns.names) == len(patterns.patterns):
            return patterns.names
        if self._environment is None:
            raise MwaaInputError(
                f"{patterns.kind.nouns}: patterns need a list of all names, and AIRFLOW_ENV_NAME is not set here. Give "
                "names, or env_name."
            )
        if patterns.kind is Kind.CONNECTION:
            listed = [item.conn_id for item in self._environment.connections.list()]
        else:
            listed = [item.key for item in self._environment.variables.list()]
        return [key for key in dict.fromkeys([*listed, *patterns.names]) if patterns.mean(key)]

    def _connection(self, conn_id: str) -> dict[str, Any] | None:
        try:
            found: Any = BaseHook.get_connection(conn_id)
        except connection_not_found():
            return None
        return {name: getattr(found, name, None) for name in _FIELDS}
