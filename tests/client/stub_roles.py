# SPDX-License-Identifier: Apache-2.0
"""The roles of the stub Airflow, as in the fab provider: PATCH only adds, the CLI also removes."""

from __future__ import annotations

import argparse
import json
from typing import Any


class StubRoles:
    def __init__(self, dag_ids: Any) -> None:
        self.dag_ids = dag_ids
        self.roles: dict[str, set[tuple[str, str]]] = {
            "Admin": {("can_edit", "Roles"), ("can_read", "DAGs")},
            "User": {
                ("can_read", "DAGs"),
                ("can_edit", "DAGs"),
                ("can_delete", "DAGs"),
                ("menu_access", "DAGs"),
                ("can_read", "DAG Runs"),
                ("can_create", "DAG Runs"),
                ("can_read", "Assets"),
                ("can_create", "Assets"),
                ("can_read", "DAG:theirs"),
                ("can_read", "Website"),
            },
            "Public": set(),
        }

    def answer(self, method: str, name: str | None, body: Any) -> tuple[int, Any]:
        if name is None:
            if body["name"] in self.roles:
                return 409, {"detail": "Role already exists; please update with the PATCH endpoint"}
            name, method = body["name"], "PATCH"
        elif name not in self.roles:
            return 404, {"detail": f"Role with name {name!r} was not found"}
        if method == "PATCH":
            pairs = {(row["action"]["name"], row["resource"]["name"]) for row in body["actions"]}
            for _, resource in sorted(pairs):
                if not self._is_there(resource):
                    return 400, {"detail": f"The specified resource: {resource!r} was not found"}
            self.roles.setdefault(name, set()).update(pairs)
        if method == "DELETE":
            del self.roles[name]
            return 204, None
        return 200, self._row(name)

    def rows(self) -> list[dict[str, Any]]:
        return [self._row(name) for name in sorted(self.roles)]

    def _row(self, name: str) -> dict[str, Any]:
        rows = [{"action": {"name": action}, "resource": {"name": of}} for action, of in sorted(self.roles[name])]
        return {"name": name, "actions": rows}

    def command(self, command: str, given: argparse.Namespace) -> str:
        if command == "list":
            if not given.permission:
                return json.dumps([{"name": name} for name in self.roles])
            return json.dumps(
                [
                    {
                        "name": name,
                        "resource": resource,
                        "action": ",".join(sorted(a for a, of in has if of == resource)),
                    }
                    for name, has in self.roles.items()
                    for resource in sorted({of for _, of in has})
                ]
            )
        if command == "create":
            for name in given.role:
                self.roles.setdefault(name, set())
            return f"Added {len(given.role)} role(s)"
        [name] = given.role
        if name not in self.roles:
            raise SystemExit(f"Role named '{name}' does not exist")
        for resource in given.resource:
            if not self._is_there(resource):
                raise SystemExit(f"Resource named '{resource}' does not exist")
        pairs = {(action, resource) for action in given.action for resource in given.resource}
        self.roles[name] = self.roles[name] | pairs if command == "add-perms" else self.roles[name] - pairs
        return f"{len(pairs)} permission(s)"

    def _is_there(self, resource: str) -> bool:
        return not resource.startswith("DAG:") or resource.removeprefix("DAG:") in self.dag_ids


def add_commands(subparsers: Any) -> None:
    """The options of Airflow's own parser that the client uses."""
    for command in ("list", "create", "add-perms", "del-perms"):
        leaf = subparsers.add_parser(command)
        leaf.add_argument("-o", "--output")
        if command == "list":
            leaf.add_argument("-p", "--permission", action="store_true")
            continue
        leaf.add_argument("role", nargs="*")
        if command != "create":
            leaf.add_argument("-a", "--action", nargs="+")
            leaf.add_argument("-r", "--resource", nargs="+", required=True)
