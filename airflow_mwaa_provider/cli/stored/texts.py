# SPDX-License-Identifier: Apache-2.0
"""Variables, connections and pools in a terminal: the words and fields of each kind."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.cli.support.errors import warn
from airflow_mwaa_provider.exceptions import RemoteNotFound, UnsupportedByTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.client.environment import MwaaEnvironment


@dataclass(frozen=True)
class Words:
    """What distinguishes one kind from the others.

    :param key: the name of its key in ``list`` and ``get``.
    :param columns: what ``list`` shows; never a value or a secret.
    :param value_help: what ``set`` accepts.
    :param set_example: a key and a value.
    :param store: creates or replaces one, from its key, the string of its value and a description.
    """

    noun: str
    key: str
    columns: tuple[str, ...]
    value_help: str
    set_example: str
    store: Callable[[MwaaEnvironment, str, str, str | None], None]

    @property
    def nouns(self) -> str:
        """The plural, which is the name of the command group."""
        return f"{self.noun}s"

    @property
    def metavar(self) -> str:
        """The key, as the help names it."""
        return self.key.upper()


def fields_of(item: Any) -> dict[str, Any]:
    """Return the fields that Airflow shows of an item, without those about its password."""
    return {name: value for name, value in asdict(item).items() if name not in ("password", "has_password")}


def read(environment: MwaaEnvironment, words: Words, key: str) -> Any:
    """Read an item; a variable with its stored value, which Airflow 3's REST API does not always show."""
    item = getattr(environment, words.nouns).get(key)
    if words.noun != "variable":
        return item
    from airflow_mwaa_provider.client.stored.kinds import StoredVariables

    kind = StoredVariables(environment)
    if not kind.may_be_rewritten(item):
        return item
    found = kind.exact(item)
    if found.hidden:
        warn(f"variable {key!r} may be stored in another spelling than this: {found.hidden}.")
    return found.item


def _store_variable(environment: MwaaEnvironment, key: str, text: str, description: str | None) -> None:
    from airflow_mwaa_provider.client.stored.documents import variables_of

    variable = variables_of({key: {"value": text, "description": description}})[key]
    value = variable.value or ""
    if description is not None:
        environment.variables.set(key, value, description)
        return
    try:
        environment.variables.set(key, value, keep_description=True)
    except UnsupportedByTransport:
        environment.variables.set(key, value)
        warn(f"if variable {key!r} had a description, it was removed: the CLI cannot keep one.")


def _store_connection(environment: MwaaEnvironment, key: str, text: str, description: str | None) -> None:
    from airflow_mwaa_provider.client.stored.documents import connections_of

    connection = connections_of({key: text})[key]
    if description is not None:
        connection = replace(connection, description=description)
    environment.connections.set(connection, keep_password=connection.password is None)


def _store_pool(environment: MwaaEnvironment, key: str, text: str, description: str | None) -> None:
    from airflow_mwaa_provider.client.stored.documents import pools_of, read_document
    from airflow_mwaa_provider.client.stored.kinds import StoredPools

    is_json = text.lstrip().startswith("{")
    slots: Any = int(text) if re.fullmatch(r"\s*-?\d{1,10}\s*", text, re.ASCII) else text
    item = read_document(text, f"value for pool {key!r}") if is_json else {"slots": slots}
    pool = pools_of({key: item})[key]
    try:
        there = environment.pools.get(key)
    except RemoteNotFound:
        there = None
    if there is not None and not is_json:
        pool = replace(there, slots=pool.slots)
    if description is not None:
        pool = replace(pool, description=description)
    environment.pools.set(StoredPools(environment).completed(pool, there), is_new=there is None)


WORDS = {
    words.nouns: words
    for words in (
        Words(
            "variable",
            "key",
            ("key", "description"),
            "any string, stored byte for byte",
            "greeting 'hello'",
            _store_variable,
        ),
        Words(
            "connection",
            "conn_id",
            ("conn_id", "conn_type", "host", "port", "schema", "login", "description"),
            "a URI, or a JSON object of the fields; without a password, the stored one is kept",
            "warehouse --from-file warehouse.json",
            _store_connection,
        ),
        Words(
            "pool",
            "name",
            ("name", "slots", "include_deferred", "description"),
            "the number of slots, or a JSON object of the fields",
            "etl 8",
            _store_pool,
        ),
    )
}
