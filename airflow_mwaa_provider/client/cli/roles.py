# SPDX-License-Identifier: Apache-2.0
"""Roles through Airflow's CLI: it removes permissions, which the REST API does not. MWAA does not allow deleting one.

Source: the fab provider 1.1 to 3.8 and Airflow 2.8.1: ``roles``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mwaa_provider.client.cli.call import CliCaller, positional
from airflow_mwaa_provider.client.models import Role
from airflow_mwaa_provider.client.rest.roles import raise_if_permissions_are_missing

if TYPE_CHECKING:
    from collections.abc import Collection

# Resources of one command: some ten thousand characters of DAG ids.
_RESOURCES_AT_ONCE = 100


class RolesCli(CliCaller):
    """The commands that read and write roles."""

    def list_roles(self) -> list[Role]:
        """List all roles with their permissions, sorted by name: two commands; one omits roles without permissions."""
        permissions = self._permissions()
        names = sorted(str(row["name"]) for row in self._json(["roles", "list"], "name"))
        return [Role(name, frozenset(permissions.get(name, ()))) for name in names]

    def get_role(self, name: str) -> Role | None:
        """Read a role; ``None`` if it does not exist. A second command finds one without permissions."""
        pairs = frozenset(self._permissions().get(name, ()))
        if not pairs and all(row["name"] != name for row in self._json(["roles", "list"], "name")):
            return None
        return Role(name, pairs)

    def _permissions(self) -> dict[str, set[tuple[str, str]]]:
        found: dict[str, set[tuple[str, str]]] = {}
        for row in self._json(["roles", "list", "--permission"], "name", "resource", "action"):
            pairs = {(action, str(row["resource"])) for action in str(row["action"]).split(",")}
            found.setdefault(str(row["name"]), set()).update(pairs)
        return found

    def change_role(self, role: Role, *, was: Role | None) -> Role:
        """Create a role without permissions, or remove or add some of one action: one command."""
        if was is None:
            # If it exists after all, it is left unchanged.
            self._endpoint.run(["roles", "create", *positional(role.name)], check=True)
            return Role(role.name)
        gone, missing = was.permissions - role.permissions, role.permissions - was.permissions
        action, resources = _of_one_action(gone or missing)
        command = "del-perms" if gone else "add-perms"
        options = ["--action", action, "--resource", *resources]
        result = self._endpoint.run(["roles", command, *options, *positional(role.name)])
        if result.exit_status:
            raise_if_permissions_are_missing(result.stdout + result.stderr, self._env_name)
            raise self._failed(f"roles {command}", result)
        done = {(action, resource) for resource in resources}
        return Role(role.name, was.permissions - done if gone else was.permissions | done)


def _of_one_action(pairs: Collection[tuple[str, str]]) -> tuple[str, list[str]]:
    action = min(action for action, _ in pairs)
    return action, sorted(resource for of, resource in pairs if of == action)[:_RESOURCES_AT_ONCE]
