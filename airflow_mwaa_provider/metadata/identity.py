# SPDX-License-Identifier: Apache-2.0
"""Identify a database: an archive may only be restored into the database that it is from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.metadata.database import ask_if_it_can

if TYPE_CHECKING:
    from airflow_mwaa_provider.metadata.catalog.schema import Schema

__all__ = ["DatabaseIdentity", "identity_of"]


@dataclass(frozen=True)
class DatabaseIdentity:
    """A metadata database.

    :param system_identifier: PostgreSQL's number of the cluster, set by initdb; a copy of its files has the same one.
        ``None`` if the server, such as Aurora, does not report it, or not to this user.
    :param initialized: when Airflow first wrote its log templates, which is when it created its tables; a copy of the
        database has the same time. ``None`` if there are no templates.
    :param database: its name.
    :param revision: head of Airflow's migrations.
    """

    system_identifier: str | None
    initialized: str | None
    database: str
    revision: str

    def differences(self, other: DatabaseIdentity) -> list[str]:
        """Return the differences from another, as ``database 'a' and not 'b'``; what is unknown does not count."""
        pairs = {
            "system identifier {}": (self.system_identifier, other.system_identifier),
            "tables made at {}": (self.initialized, other.initialized),
            "database {!r}": (self.database, other.database),
            "schema {}": (self.revision, other.revision),
        }
        return [
            f"{words.format(ours)} and not {words.rpartition(' ')[2].format(theirs)}"
            for words, (ours, theirs) in pairs.items()
            if ours is not None and theirs is not None and ours != theirs
        ]


def identity_of(connection: Any, schema: Schema) -> DatabaseIdentity:
    """Read the identity of a database.

    :param connection: psycopg2's, in a transaction.
    """
    system = ask_if_it_can(connection, "SELECT system_identifier::text FROM pg_control_system()")
    made = None
    if "log_template" in schema.tables:
        made = ask_if_it_can(
            connection,
            "SELECT to_char(min(created_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') "
            f"FROM {schema.qualified('log_template')}",
        )
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        [name] = cursor.fetchone()
    return DatabaseIdentity(system and system[0], made and made[0], name, schema.revision)
