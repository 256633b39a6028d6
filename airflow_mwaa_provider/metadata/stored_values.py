# SPDX-License-Identifier: Apache-2.0
"""Connections and variables from the metadata database, decrypted with the environment's Fernet key.

Source: the tables ``connection`` and ``variable`` of Airflow 2.8.1 to 3.3.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import DatabaseRefused, MwaaInputError
from airflow_mwaa_provider.metadata.database import database_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_mwaa_provider.metadata.database import Database

__all__ = ["StoredValues"]

_CONNECTION_FIELDS = ("conn_type", "description", "host", "login", "password", "schema", "port", "extra")
_UNCHANGED = ("conn_type", "host", "login", "password", "schema", "port", "extra")


class StoredValues:
    """All connections and variables, read in one snapshot.

    :param database: the metadata database.
    :param fernet_key: the environment's, or several separated by commas; empty if values are not encrypted.
    :raises MwaaInputError: a key is invalid.
    """

    def __init__(self, database: Database, fernet_key: str | None) -> None:
        self.database = database
        self.documents: dict[str, dict[str, Any]] = {"connection": {}, "variable": {}}
        """By kind: the fields of connections by id, and ``{"value": …, "description": …}`` of variables by key."""
        self.problems: dict[tuple[str, str], str] = {}
        """By kind and key, why a value cannot be read."""
        self._fernet = _fernet(fernet_key)
        self._rows: dict[tuple[str, str], Mapping[str, Any]] = {}

    def read(self) -> StoredValues:
        """Read and decrypt them.

        :raises DatabaseUnavailable: the database could not be opened.
        """
        columns = (*_CONNECTION_FIELDS, "is_encrypted", "is_extra_encrypted")
        with self.database.snapshot(statement_timeout_s=60.0) as connection:
            for row in _rows(connection, self.database.label, "connection", "conn_id", columns):
                self._add_connection(row)
            for row in _rows(
                connection, self.database.label, "variable", "key", ("val", "description", "is_encrypted")
            ):
                self._add_variable(row)
        return self

    def delete(self, kind: str, key: str) -> None:
        """Delete one, unless it has changed since it was read.

        :raises DatabaseRefused: it has changed.
        """
        table, id_column = ("connection", "conn_id") if kind == "connection" else ("variable", "key")
        row = self._rows[kind, key]
        columns = _UNCHANGED if kind == "connection" else ("val",)
        same = " AND ".join(f'"{column}" IS NOT DISTINCT FROM %s' for column in columns)
        label = self.database.label
        with (
            self.database.connection() as connection,
            database_errors(label, f"deleting {kind} {key!r}"),
            connection.cursor() as cursor,
        ):
            cursor.execute(
                f'DELETE FROM {table} WHERE "{id_column}" = %s AND {same}',
                (key, *(row[column] for column in columns)),
            )
            if cursor.rowcount:
                return
            cursor.execute(f'SELECT 1 FROM {table} WHERE "{id_column}" = %s', (key,))
            if cursor.fetchone() is None:
                return  # somebody else has deleted it
        raise DatabaseRefused(
            f"{label}: {kind} {key!r} has changed since it was read, and was not deleted. Run it again."
        )

    def _add_connection(self, row: Mapping[str, Any]) -> None:
        key = row["key"]
        self._rows["connection", key] = row
        fields = {name: row[name] for name in _CONNECTION_FIELDS}
        try:
            for name, flag in (("password", "is_encrypted"), ("extra", "is_extra_encrypted")):
                fields[name] = self._decrypted(row[name], is_encrypted=row[flag])
        except ValueError as error:
            self.problems["connection", key] = str(error)
            return
        # Airflow 2 treats an empty extra, and an empty object, as none.
        self.documents["connection"][key] = {**fields, "extra": fields["extra"] or None}

    def _add_variable(self, row: Mapping[str, Any]) -> None:
        key = row["key"]
        self._rows["variable", key] = row
        try:
            value = self._decrypted(row["val"], is_encrypted=row["is_encrypted"])
        except ValueError as error:
            self.problems["variable", key] = str(error)
            return
        self.documents["variable"][key] = {"value": value or "", "description": row["description"] or None}

    def _decrypted(self, text: str | None, *, is_encrypted: bool | None) -> str | None:
        from cryptography.fernet import InvalidToken

        if not text or not is_encrypted:
            return text
        if self._fernet is None:
            raise ValueError("it is encrypted, and no Fernet key (AIRFLOW__CORE__FERNET_KEY) is given")
        try:
            return str(self._fernet.decrypt(text.encode()).decode())
        except (InvalidToken, UnicodeDecodeError):
            raise ValueError("it is encrypted with another Fernet key than the one given") from None


def _fernet(keys: str | None) -> Any:
    from cryptography.fernet import Fernet, MultiFernet

    given = [key.strip() for key in (keys or "").split(",") if key.strip()]
    try:
        return MultiFernet([Fernet(key.encode()) for key in given]) if given else None
    except ValueError:
        raise MwaaInputError(
            "The Fernet key is invalid: it must be 32 bytes in URL-safe base64. Use the environment's own, "
            "AIRFLOW__CORE__FERNET_KEY."
        ) from None


def _rows(connection: Any, label: str, table: str, id_column: str, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    listed = ", ".join(f'"{column}"' for column in (id_column, *columns))
    with database_errors(label, f"reading table {table}"), connection.cursor() as cursor:
        cursor.execute(f'SELECT {listed} FROM {table} ORDER BY "{id_column}"')
        return [dict(zip(("key", *columns), row, strict=True)) for row in cursor.fetchall()]
