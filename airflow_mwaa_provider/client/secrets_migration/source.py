# SPDX-License-Identifier: Apache-2.0
"""Where a migration reads connections and variables, each with its value or the reason why it cannot be read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from airflow_mwaa_provider.client.cli.call import positional
from airflow_mwaa_provider.client.in_parallel import call_all
from airflow_mwaa_provider.client.masks import MASK
from airflow_mwaa_provider.client.rest.request import quoted
from airflow_mwaa_provider.client.secrets_migration.items import (
    Found,
    Kind,
    Patterns,
    connection_found,
    variable_found,
)
from airflow_mwaa_provider.exceptions import MwaaError, MwaaInputError, RemoteNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_mwaa_provider.client.environment import MwaaEnvironment
    from airflow_mwaa_provider.client.models import Variable

__all__ = ["DocumentSource", "EnvironmentSource", "Source"]

WAYS_OUT = (
    "run MigrateToSecretsManagerOperator in that environment, or read its database with the Fernet key "
    "(--from-database)"
)


class Source(Protocol):
    """Reads what is to be moved, and deletes what was moved."""

    label: str
    can_delete: bool

    def read(self, patterns: Patterns) -> Sequence[Found]:
        """Read everything that is selected, sorted by key, with what is wrong with each."""

    def delete(self, found: Found) -> None:
        """Delete one that was read.

        :raises MwaaError: it cannot be deleted, or was changed meanwhile.
        """


class DocumentSource:
    """Connections and variables from a file in the form of Airflow's own export, from a database, or from a task.

    :param documents: a document by kind: connections as their fields or URI by id, variables as their value, or a dict
        with ``value`` and ``description``, by key.
    :param problems: why one could not be read, by kind and key.
    :param delete: deletes one; ``None`` if that is impossible.
    """

    def __init__(
        self,
        label: str,
        documents: Mapping[Any, Mapping[str, Any]],
        problems: Mapping[tuple[Any, str], str] | None = None,
        delete: Callable[[str, str], None] | None = None,
    ) -> None:
        self.label = label
        self._documents = documents
        self._problems = problems or {}
        self._delete = delete
        self.can_delete = delete is not None

    def read(self, patterns: Patterns) -> list[Found]:
        """Read what is selected."""
        kind = patterns.kind
        document = self._documents.get(kind, {})
        keys = {*document, *(key for of_kind, key in self._problems if of_kind == kind)}
        return [self._found(kind, key, document.get(key)) for key in sorted(keys) if patterns.mean(key)]

    def delete(self, found: Found) -> None:
        """Delete one, if that is possible."""
        if self._delete is None:
            raise MwaaInputError(
                f"{self.label}: nothing can be deleted from it.", advice="Leave out {}.", parameter="delete_source"
            )
        self._delete(found.kind.value, found.key)

    def _found(self, kind: Kind, key: str, item: Any) -> Found:
        if (kind, key) in self._problems:
            return Found(kind, key, problem=self._problems[kind, key])
        return connection_found(key, item) if kind is Kind.CONNECTION else variable_found(key, item)


class EnvironmentSource:
    """Another environment, as its REST API and its CLI show it.

    Airflow's REST API shows no passwords. Airflow 3 at least shows that there is one; with Airflow 2, no connection can
    be read reliably. The CLI shows the value of any variable, but no connections.
    """

    def __init__(self, environment: MwaaEnvironment) -> None:
        self.environment = environment
        self.label = f"Environment {environment.name!r}"
        self.can_delete = True

    def read(self, patterns: Patterns) -> list[Found]:
        """Read what is selected."""
        if not patterns.patterns:
            return []
        if patterns.kind is Kind.VARIABLE:
            variables = [item for item in self.environment.variables.list() if patterns.mean(item.key)]
            return call_all(self._variable, variables) if variables else []
        ids = [item.conn_id for item in self.environment.connections.list() if patterns.mean(item.conn_id)]
        return call_all(self._connection, ids) if ids else []

    def delete(self, found: Found) -> None:
        """Delete one."""
        collection: Any = getattr(self.environment, found.kind.nouns)
        try:
            collection.delete(found.key)
        except RemoteNotFound:
            return  # already deleted, by an earlier attempt or somebody else

    def _connection(self, conn_id: str) -> Found:
        if self.environment.airflow_version.startswith("2."):
            return Found(
                Kind.CONNECTION,
                conn_id,
                problem=f"the REST API of Airflow 2 does not show whether it has a password; {WAYS_OUT}",
            )
        row = self.environment.request("GET", f"/connections/{quoted(conn_id)}")
        hidden = "password" if row.get("password") else "extra" if MASK in (row.get("extra") or "") else ""
        if hidden:
            return Found(Kind.CONNECTION, conn_id, problem=f"the REST API masks its {hidden}; {WAYS_OUT}")
        names = ("conn_type", "host", "login", "schema", "port", "extra", "description")
        return connection_found(conn_id, {name: row.get(name) for name in names})

    def _variable(self, seen: Variable) -> Found:
        from airflow_mwaa_provider.client.stored.kinds import StoredVariables

        kind = StoredVariables(self.environment)
        text = seen.value
        if kind.is_hidden(seen) or kind.may_be_rewritten(seen):
            try:
                result = self.environment.run_cli(["variables", "get", *positional(seen.key)], idempotent=True)
            except MwaaError as error:
                return self._hidden(seen, f"the CLI cannot be asked ({type(error).__name__})")
            text = result.stdout.removesuffix("\n")
            if result.exit_status or not _is_shown_as(seen.value, text):
                return self._hidden(seen, "the CLI shows another value")
        return variable_found(seen.key, {"value": text, "description": seen.description})

    def _hidden(self, seen: Variable, why: str) -> Found:
        shown = "masks it" if seen.value is None or MASK in seen.value else "shows its JSON rewritten"
        return Found(Kind.VARIABLE, seen.key, problem=f"the REST API {shown}, and {why}; {WAYS_OUT}")


def _is_shown_as(shown: str | None, text: str) -> bool:
    """Return whether the REST API may show a value this way: with parts masked, or its JSON rewritten."""
    if shown is None or MASK in shown:
        return True
    try:
        return bool(json.loads(shown) == json.loads(text))
    except (ValueError, RecursionError):
        return shown == text
