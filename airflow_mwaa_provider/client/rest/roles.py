# SPDX-License-Identifier: Apache-2.0
"""Roles through Airflow's REST API.

They are the FAB auth manager's, whose API is part of Airflow 2's REST API, and beside that of Airflow 3. It never
removes a permission, because PATCH only adds (up to version 3.8 of the fab provider); the CLI does.

Source: the fab provider 1.1 to 3.8 and Airflow 2.8.1: ``/roles``.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.models import RestRequest, Role
from airflow_mwaa_provider.client.rest.request import RestCaller, quoted
from airflow_mwaa_provider.client.states import TransportName
from airflow_mwaa_provider.exceptions import (
    AirflowError,
    DagNotFound,
    RemoteConflict,
    RemoteNotFound,
    TokenExpired,
    UnsupportedByTransport,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# What Airflow prints of a resource that it does not have: the CLI in double or single quotes, the API in single ones.
_NO_RESOURCE = re.compile(r"[Rr]esource(?: named|:) ['\"]DAG:(.+?)['\"] (?:does not exist|was not found)")


class RolesApi(RestCaller):
    """The part of the REST API that reads and writes roles.

    :raises UnsupportedByTransport: InvokeRestApi does not reach the roles of Airflow 3.
    """

    def list_roles(self) -> list[Role]:
        path = self._roles()
        with self._expired_as_unsupported():
            rows = self.rows_of(path, "roles", "name", "actions", order_by="name")
        return sorted((self._role(row, path) for row in rows), key=lambda role: role.name)

    def get_role(self, name: str) -> Role | None:
        path = f"{self._roles()}/{quoted(name)}"
        try:
            answer = self.checked(self._ask("GET", path, name), f"GET {path}", "name", "actions")
        except RemoteNotFound:
            return None
        return self._role(answer, path)

    def delete_role(self, name: str) -> None:
        self._ask("DELETE", f"{self._roles()}/{quoted(name)}", name)

    def _role(self, answer: dict[str, Any], path: str) -> Role:
        try:
            pairs = frozenset((row["action"]["name"], row["resource"]["name"]) for row in answer["actions"])
        except (KeyError, TypeError):
            self.checked({}, f"GET {path}", "actions[].action.name", "actions[].resource.name")
            raise
        return Role(str(answer["name"]), pairs)

    def change_role(self, role: Role, *, was: Role | None) -> Role:
        """Create a role, or add permissions to it.

        :raises UnsupportedByTransport: permissions would have to be removed; nothing was sent.
        """
        path = self._roles()
        if was is not None and was.permissions - role.permissions:
            raise UnsupportedByTransport(
                f"Environment {self._env_name!r}: Airflow's REST API removes no permission from role "
                f"{role.name!r}. Allow airflow:CreateCliToken, which the CLI needs, or delete the role first.",
                env_name=self._env_name,
            )
        # All of them, because a fab provider later than 3.8 replaces the existing ones.
        actions = [{"action": {"name": action}, "resource": {"name": of}} for action, of in sorted(role.permissions)]
        body = {"name": role.name, "actions": actions}
        try:
            if was is None:
                with contextlib.suppress(RemoteConflict):  # created meanwhile, perhaps by a call whose answer was lost
                    self._ask("POST", path, role.name, body)
                    return role
            self._ask("PATCH", f"{path}/{quoted(role.name)}", role.name, body)
        except AirflowError as error:
            raise_if_permissions_are_missing(error.detail, self._env_name)
            raise
        return role

    def _ask(self, method: str, path: str, name: str, body: Any = None) -> Any:
        with self._expired_as_unsupported():
            return self.request(RestRequest(method, path, json=body), what=f"role {name!r}")

    @contextlib.contextmanager
    def _expired_as_unsupported(self) -> Iterator[None]:
        try:
            yield
        except TokenExpired as refused:
            if self.major == 2:
                raise
            raise UnsupportedByTransport(
                f"Environment {self._env_name!r}: the API of its auth manager accepts no web session (as in Airflow "
                "3.0). Use transport cli, or let it be chosen automatically.",
                env_name=self._env_name,
            ) from refused

    def _roles(self) -> str:
        if self.major == 2:
            return "/roles"
        if self._transport.name is TransportName.REST_API:
            raise UnsupportedByTransport(
                f"Environment {self._env_name!r}: InvokeRestApi does not reach the roles of Airflow 3. Use transport "
                "cli or web_session, or let it be chosen automatically.",
                env_name=self._env_name,
            )
        return "/auth/fab/v1/roles"


def raise_if_permissions_are_missing(answer: str, env_name: str) -> None:
    """Check whether Airflow answered that it has no permissions for a DAG.

    :raises DagNotFound: it did.
    """
    if found := _NO_RESOURCE.search(answer):
        raise DagNotFound(
            f"Environment {env_name!r}: its Airflow has no permissions for DAG {found[1]!r}; it creates them when "
            "it first parses the DAG. Check the id, wait until the DAG exists, and run this again.",
            env_name=env_name,
        )
