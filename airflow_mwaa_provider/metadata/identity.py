# SPDX-License-Identifier: Apache-2.0
"""Which database it is: an archive may be brought back only into the one that it is of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["DatabaseIdentity", "identity_of"]


@dataclass(frozen=True)
class DatabaseIdentity:
    """A metadata database.

    :param system_identifier: PostgreSQL's number of the cluster, made by initdb; a copy of its files has the same.
        ``None`` where the user may not ask.
    :param database: its name.
    :param revision: head of Airflow's migrations.
    """

    system_identifier: str | None
    database: str
    revision: str

    def differences(self, other: DatabaseIdentity) -> list[str]:
        """Return what tells it from another, in words: ``database 'a' and not 'b'``."""
        found = []
        known = self.system_identifier is not None and other.system_identifier is not None
        if known and self.system_identifier != other.system_identifier:
            found.append(f"system identifier {self.system_identifier} and not {other.system_identifier}")
        if self.database != other.database:
            found.append(f"database {self.database!r} and not {other.database!r}")
        if self.revision != other.revision:
            found.append(f"schema {self.revision} and not {other.revision}")
        return found


def identity_of(connection: Any, revision: str) -> DatabaseIdentity:
    """Ask a database which it is.

    :param connection: psycopg2's.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), has_function_privilege('pg_control_system()', 'execute')")
        name, may_ask = cursor.fetchone()
        system: str | None = None
        if may_ask:
            cursor.execute("SELECT system_identifier::text FROM pg_control_system()")
            [system] = cursor.fetchone()
    return DatabaseIdentity(system, name, revision)
