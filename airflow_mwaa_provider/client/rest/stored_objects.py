# SPDX-License-Identifier: Apache-2.0
"""Variables, connections and pools through Airflow's REST API, v1 and v2.

Source: the OpenAPI documents of Airflow 2.10.3 and 3.3.1.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.masks import is_masked
from airflow_mwaa_provider.client.models import Connection, Pool, RestRequest, Variable
from airflow_mwaa_provider.client.rest.pages import LOOKS, PAGE_ROWS, Page, overlapping_pages
from airflow_mwaa_provider.client.rest.request import RestCaller, quoted
from airflow_mwaa_provider.client.rest.transports import INVOKE_REST_API_MAX_PATH
from airflow_mwaa_provider.exceptions import RemoteConflict, RemoteNotFound, UnexpectedAnswer, ValueMasked

if TYPE_CHECKING:
    from collections.abc import Mapping


class StoredObjectsApi(RestCaller):
    """The part of the REST API that reads and writes what Airflow stores for DAGs to use."""

    def get_variable(self, key: str) -> Variable:
        """Read a variable.

        Airflow 3 rewrites a value that is JSON when it returns it (spaces, ``1.10`` to ``1.1``) and masks a value whose
        name looks secret; the CLI transport returns the stored text. A value that is itself ``***`` cannot be
        distinguished from a masked one there.

        :raises ValueMasked: the environment masks this value.
        """
        what = f"variable {key!r}"
        answer = self.request_fields(RestRequest("GET", f"/variables/{quoted(key)}"), "key", what=what)
        if self._hides(answer):
            raise ValueMasked(
                f"Environment {self._env_name!r}: the REST API masks the value of {what}, because its name looks "
                "secret. Read it with transport cli, or keep it in Secrets Manager.",
                env_name=self._env_name,
            )
        return Variable(answer["key"], answer.get("value"), answer.get("description"))

    def list_variables(self) -> list[Variable]:
        variables = (
            Variable(row["key"], None if self._hides(row) else row.get("value"), row.get("description"))
            for row in self._rows_of("/variables", "variables", "key")
        )
        return sorted(variables, key=lambda variable: variable.key)

    def _hides(self, row: Mapping[str, Any]) -> bool:
        """Return whether a variable's value is masked; Airflow 2 masks none."""
        return self.major >= 3 and is_masked(row.get("value"))

    def set_variable(self, variable: Variable, *, keep_description: bool = False, is_new: bool = False) -> None:
        body = self._variable_body(variable)
        # v1 accepts no null there, and would keep an existing description if it were left out.
        change = {"description": "", **body}
        if keep_description:
            change.pop("description")
        self._upsert("/variables", variable.key, body, change, is_new=is_new, what=f"variable {variable.key!r}")

    def create_variable(self, variable: Variable) -> None:
        """Create a variable. On Airflow 2, one that is created between the check and the call is replaced."""
        what = f"variable {variable.key!r}"
        # v1's POST replaces an existing variable.
        body = self._variable_body(variable)
        self._create("/variables", variable.key, body, what=what, looks_first=self.major == 2)

    def _variable_body(self, variable: Variable) -> dict[str, Any]:
        body = {"key": variable.key, "value": variable.value, "description": variable.description}
        if self.major == 2 and variable.description is None:
            del body["description"]  # v1 accepts no null there, and stores one if the description is missing
        return body

    def delete_variable(self, key: str) -> None:
        self.request(RestRequest("DELETE", f"/variables/{quoted(key)}"), what=f"variable {key!r}")

    def get_connection(self, conn_id: str) -> Connection:
        path, what = f"/connections/{quoted(conn_id)}", f"connection {conn_id!r}"
        return _connection(self.request_fields(RestRequest("GET", path), "connection_id", what=what))

    def list_connections(self) -> list[Connection]:
        """List all connections, sorted by id; Airflow 2 omits ``extra`` from the list."""
        rows = map(_connection, self._rows_of("/connections", "connections", "connection_id"))
        return sorted(rows, key=lambda connection: connection.conn_id)

    def set_connection(self, connection: Connection, *, keep_password: bool = False, is_new: bool = False) -> None:
        body = self._connection_body(connection)
        change = {name: value for name, value in body.items() if name != "password" or not keep_password}
        self._upsert(
            "/connections", connection.conn_id, body, change, is_new=is_new, what=f"connection {connection.conn_id!r}"
        )

    def create_connection(self, connection: Connection) -> None:
        what = f"connection {connection.conn_id!r}"
        self._create("/connections", connection.conn_id, self._connection_body(connection), what=what)

    def _connection_body(self, connection: Connection) -> dict[str, Any]:
        body = {
            "connection_id": connection.conn_id,
            "conn_type": connection.conn_type,
            "host": connection.host,
            "login": connection.login,
            "schema": connection.schema,
            "port": connection.port,
            "password": connection.password,
            "extra": connection.extra,
            "description": connection.description,
        }
        if self.major == 2 and connection.password is None:
            del body["password"]  # v1 accepts no null there
        return body

    def delete_connection(self, conn_id: str) -> None:
        self.request(RestRequest("DELETE", f"/connections/{quoted(conn_id)}"), what=f"connection {conn_id!r}")

    def get_pool(self, name: str) -> Pool:
        return _pool(
            self.request_fields(RestRequest("GET", f"/pools/{quoted(name)}"), "name", "slots", what=f"pool {name!r}")
        )

    def list_pools(self) -> list[Pool]:
        return sorted(map(_pool, self._rows_of("/pools", "pools", "name", "slots")), key=lambda pool: pool.name)

    def set_pool(self, pool: Pool, *, is_new: bool = False) -> None:
        """Create or replace a pool. Airflow only allows changing the slots of ``default_pool``."""
        path, what = f"/pools/{quoted(pool.name)}", f"pool {pool.name!r}"
        name = {"name" if self.major == 2 else "pool": pool.name}
        body: dict[str, Any] = _pool_settings(pool)
        if pool.name == "default_pool":
            # Airflow requires the fields listed here, v1 with commas and v2 repeated: one at a time suits both.
            for field in body:
                self.request(
                    RestRequest("PATCH", path, params={"update_mask": field}, json={**name, **body}), what=what
                )
            return
        body["description"] = pool.description
        if is_new and len(path) <= INVOKE_REST_API_MAX_PATH:
            with contextlib.suppress(RemoteConflict):
                self.request(RestRequest("POST", "/pools", json={**body, "name": pool.name}), what=what)
                return
        try:
            self.request(RestRequest("PATCH", path, json={**name, **body}), what=what)
        except RemoteNotFound:
            self.request(RestRequest("POST", "/pools", json={**body, "name": pool.name}), what=what)

    def create_pool(self, pool: Pool) -> None:
        body = {**_pool_settings(pool), "description": pool.description, "name": pool.name}
        self._create("/pools", pool.name, body, what=f"pool {pool.name!r}")

    def delete_pool(self, name: str) -> None:
        self.request(RestRequest("DELETE", f"/pools/{quoted(name)}"), what=f"pool {name!r}")

    def _upsert(
        self, collection: str, key: str, body: dict[str, Any], change: dict[str, Any], *, is_new: bool, what: str
    ) -> None:
        """Change an object if it exists, else create it; fields that a change does not mention are kept."""
        path = f"{collection}/{quoted(key)}"

        def patch() -> None:
            self.request(RestRequest("PATCH", path, json=change), what=what)

        def post() -> None:
            self.request(RestRequest("POST", collection, json=body), what=what)

        # InvokeRestApi must not create what it could not delete again because the path is too long.
        if is_new and len(path) <= INVOKE_REST_API_MAX_PATH:
            with contextlib.suppress(RemoteConflict):
                return post()
        try:
            patch()
        except RemoteNotFound:
            try:
                post()
            except RemoteConflict:
                patch()  # somebody else created it between the two calls

    def _create(self, collection: str, key: str, body: dict[str, Any], *, what: str, looks_first: bool = False) -> None:
        path = f"{collection}/{quoted(key)}"
        # InvokeRestApi must not create what it could not delete again: reading it refuses the long path, so that
        # another transport is used.
        if looks_first or len(path) > INVOKE_REST_API_MAX_PATH:
            with contextlib.suppress(RemoteNotFound):
                self.request(RestRequest("GET", path), what=what)
                raise RemoteConflict(
                    f"Environment {self._env_name!r}: {what} already exists. Use another name, or set it.",
                    env_name=self._env_name,
                    status=409,
                )
        self.request(RestRequest("POST", collection, json=body), what=what)

    def _rows_of(self, path: str, name: str, key: str, *fields: str) -> list[dict[str, Any]]:
        """List all rows, each once by its key; read them again if rows were added or deleted meanwhile."""

        def ask(offset: int) -> Page[dict[str, Any]]:
            params = {"limit": PAGE_ROWS, "offset": offset, "order_by": "id"}
            answer = self.request_fields(RestRequest("GET", path, params=params), name, "total_entries")
            rows = [self.checked(row, f"a row of GET {path}", key, *fields) for row in self.list_in(answer, name)]
            return Page(rows, int(answer["total_entries"]))

        for _ in range(LOOKS):
            found: dict[str, dict[str, Any]] = {}
            total = -1
            for page in overlapping_pages(ask, lambda row: row[key]):
                found |= {row[key]: row for row in page.rows}
                total = page.total if page.total is not None and total in (-1, page.total) else -2
            if total == len(found):
                return list(found.values())
        raise UnexpectedAnswer(
            f"Environment {self._env_name!r}: GET {path} counts {page.total} {name} and listed {len(found)}, because "
            "they change while they are read. Try again later.",
            env_name=self._env_name,
            transient=True,
        )


def _connection(row: Mapping[str, Any]) -> Connection:
    return Connection(
        conn_id=row["connection_id"],
        conn_type=row.get("conn_type") or "",
        host=row.get("host"),
        login=row.get("login"),
        schema=row.get("schema"),
        port=row.get("port"),
        extra=row.get("extra"),
        description=row.get("description"),
        # Airflow 3 shows a mask instead of a password; Airflow 2 omits the field.
        has_password=bool(row["password"]) if "password" in row else None,
    )


def _pool(row: Mapping[str, Any]) -> Pool:
    return Pool(row["name"], row["slots"], row.get("description"), bool(row.get("include_deferred", False)))


def _pool_settings(pool: Pool) -> dict[str, Any]:
    return {"slots": pool.slots, "include_deferred": pool.include_deferred}
