# SPDX-License-Identifier: Apache-2.0
"""Where a migration reads connections and variables: whole, or with the reason why one cannot be read."""

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
    """Reads what is to be moved, and deletes what has been."""

    label: str
    can_delete: bool

    def read(self, patterns: Patterns) -> Sequence[Found]:
        """Read what is meant, sorted by key; all of it, with what is wrong with each."""

    def delete(self, found: Found) -> None:
        """Delete one that was read.

        :raises MwaaError: it cannot be, or has been changed meanwhile.
        """


class DocumentSource:
    """What a file holds, in the form of Airflow's own export, or a database, or a task was given.

    :param documents: by kind the document: of connections by id their fields or text, of variables by key the value,
        or a dict with ``value`` and ``description``.
    :param problems: by kind and key why one could not be read.
    :param delete: deletes one; ``None`` where that cannot be.
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
        """Read what is meant."""
        kind = patterns.kind
        document = self._documents.get(kind, {})
        keys = {*document, *(key for of_kind, key in self._problems if of_kind == kind)}
        return [self._found(kind, key, document.get(key)) for key in sorted(keys) if patterns.mean(key)]

    def delete(self, found: Found) -> None:
        """Delete one, where that can be."""
        if self._delete is None:
            raise MwaaInputError(
                f"{self.label}: nothing can be deleted from there.", advice="Leave out {}.", parameter="delete_source"
            )
        self._delete(found.kind.value, found.key)

    def _found(self, kind: Kind, key: str, item: Any) -> Found:
        if (kind, key) in self._problems:
            return Found(kind, key, problem=self._problems[kind, key])
        return connection_found(key, item) if kind is Kind.CONNECTION else variable_found(key, item)


class EnvironmentSource:
    """Another environment, as its REST API and its CLI show it.

    Airflow's REST API shows no passwords. Airflow 3 at least tells that there is one; of Airflow 2 no connection can
    be read for certain. The CLI shows the text of any variable, and no connection.
    """

    def __init__(self, environment: MwaaEnvironment) -> None:
        self.environment = environment
        self.label = f"Environment {environment.name!r}"
        self.can_delete = True

    def read(self, patterns: Patterns) -> list[Found]:
        """Read what is meant."""
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
            return  # an attempt before this one has, or somebody else

    def _connection(self, conn_id: str) -> Found:
        if self.environment.airflow_version.startswith("2."):
            return Found(
                Kind.CONNECTION,
                conn_id,
                problem=f"the REST API of Airflow 2 does not tell whether it has a password; {WAYS_OUT}",
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
    """Return whether the REST API may show a text so: with parts masked, or its JSON written anew."""
    if shown is None or MASK in shown:
        return True
    try:
        return bool(json.loads(shown) == json.loads(text))
    except (ValueError, RecursionError):
        return shown == text
