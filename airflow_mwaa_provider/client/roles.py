# SPDX-License-Identifier: Apache-2.0
"""Roles of a remote environment: read, set, and restricted to some DAGs.

Source: guide "Restricciones de acceso de los usuarios de Amazon MWAA a un subconjunto de DAG"; the fab provider's
``is_authorized_dag``.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mwaa_provider.client.models import Role
from airflow_mwaa_provider.client.states import TransportName
from airflow_mwaa_provider.exceptions import DagNotFound, MwaaInputError, RemoteNotFound, UnexpectedAnswer

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import TypeVar

    from airflow_mwaa_provider.client.access import TransportSelector
    from airflow_mwaa_provider.client.backend import Backend

    T = TypeVar("T")

DEFAULT_ROLES = ("Admin", "Op", "Public", "User", "Viewer")
DAG_ACTIONS = {"read": "can_read", "edit": "can_edit", "delete": "can_delete"}
READ_ONLY_RESOURCES = ("Asset Aliases", "Assets", "Backfills", "Datasets")
"""Creating events of assets, or backfills (Airflow 3.0), starts DAGs that the role does not have."""
_HARMLESS = ("can_read", "menu_access")
_MENUS_ARE_RIGHTS = ("2.8.0", "2.8.1", "2.8.2")
# Airflow adds it to every role, whenever its web server or some commands start.
_GIVEN_TO_ALL = frozenset({("can_read", "Website")})
_MAX_NAME = 64
_UNSENDABLE = re.compile(r"[/\x00-\x1f\x7f]")


@dataclass(frozen=True)
class RoleChange:
    """What was changed of a role, or would be.

    :param created: it did not exist before.
    """

    role: Role
    created: bool
    added: frozenset[tuple[str, str]]
    removed: frozenset[tuple[str, str]]


class Roles:
    """The roles of an environment whose auth manager is FAB's, as MWAA's is.

    They are reached through the transport in use. If none is chosen, those of Airflow 3 are reached through a web
    session, or if there is none, through the CLI. Permissions are removed through the CLI, whatever the transport,
    because nothing else can.

    :param missing_dags: returns which of some DAGs the environment does not have.
    """

    def __init__(self, access: TransportSelector, missing_dags: Callable[[Sequence[str]], builtins.list[str]]) -> None:
        self._access = access
        self._missing_dags = missing_dags

    def get(self, name: str) -> Role:
        """Read one.

        :raises RemoteNotFound: it does not exist.
        """
        role = self.find(name)
        if role is None:
            raise RemoteNotFound(
                f"Environment {self._access.name!r}: no role {name!r}. Check the name and its case.",
                env_name=self._access.name,
                status=404,
            )
        return role

    def find(self, name: str) -> Role | None:
        """Read one; ``None`` if it does not exist."""
        _check_name(name)
        return self._call(lambda backend: backend.get_role(name))

    def list(self) -> builtins.list[Role]:
        """List all of them, sorted by name."""
        return self._call(lambda backend: backend.list_roles())

    def delete(self, name: str) -> None:
        """Delete one; its users lose its permissions. The CLI has no such call.

        :raises RemoteNotFound: it does not exist.
        :raises MwaaInputError: it is one of Airflow's five own roles.
        """
        if name in DEFAULT_ROLES:
            raise MwaaInputError(
                f"Role {name!r} is one of Airflow's own, which it creates again at every start. Keep it."
            )
        self.get(name)

        def delete(backend: Backend) -> None:
            with contextlib.suppress(RemoteNotFound):  # it existed: an attempt whose answer was lost deleted it
                backend.delete_role(name)

        self._call(delete)

    def set(self, role: Role, *, dry_run: bool = False) -> RoleChange:
        """Create one, or set its permissions: they are removed before any are added.

        Users that have the role keep it. Repeated after an error, it completes the change.

        :param dry_run: change nothing.
        :return: what was changed, or would be.
        :raises DagNotFound: Airflow has no permissions for a DAG yet.
        :raises UnexpectedAnswer: it has other permissions afterward.
        """
        was = self.find(role.name)
        had = was.permissions if was is not None else frozenset()
        change = RoleChange(role, was is None, role.permissions - had, had - role.permissions - _GIVEN_TO_ALL)
        if dry_run or (was is not None and not change.added and not change.removed):
            return change

        wanted, now = Role(role.name, role.permissions | (had & _GIVEN_TO_ALL)), was
        while now is None or now.permissions != wanted.permissions:
            now = self._step(wanted, now)
        if other := (self.get(role.name).permissions ^ role.permissions) - _GIVEN_TO_ALL:
            differing = ", ".join(shown(other)[:5])
            raise UnexpectedAnswer(
                f"Environment {self._access.name!r}: role {role.name!r} has other permissions than were set "
                f"({differing}). If someone else changes it too, agree on who does, and run this again.",
                env_name=self._access.name,
            )
        return change

    def restrict(
        self,
        name: str,
        access: Mapping[str, Collection[str]],
        *,
        base_role: str = "User",
        read_only: Collection[str] = READ_ONLY_RESOURCES,
        dry_run: bool = False,
    ) -> RoleChange:
        """Create a role that sees only some DAGs, or change it accordingly; see :func:`restricted`.

        :param access: DAG id -> some of ``read``, ``edit``, ``delete``.
        :param base_role: the role whose other permissions it gets.
        :param read_only: resources on which only reading is kept.
        :param dry_run: change nothing.
        :raises MwaaInputError: a name or an action cannot be used; nothing was changed.
        :raises DagNotFound: a DAG does not exist; nothing was changed.
        :raises RemoteNotFound: the base role does not exist; nothing was changed.
        """
        if name in DEFAULT_ROLES:
            raise MwaaInputError(
                f"Role {name!r}: Airflow restores the permissions of this role at every start. Use another name, "
                "and assign that to the users."
            )
        if missing := self._missing_dags(sorted(access)):
            raise DagNotFound(
                f"Environment {self._access.name!r}: no DAG {', '.join(map(repr, missing[:5]))}, so role {name!r} was "
                "left as it is. Check the ids, and that the DAGs are deployed there.",
                env_name=self._access.name,
            )
        base = self.get(base_role)
        version = self._access.airflow_version()
        role = restricted(name, base, access, read_only=read_only, airflow_version=version)
        return self.set(role, dry_run=dry_run)

    def _step(self, wanted: Role, now: Role | None) -> Role:
        """Make one call, with its own deadline."""

        def send(backend: Backend) -> Role:
            return backend.change_role(wanted, was=now)

        if now is not None and now.permissions - wanted.permissions:
            return self._access.call_by([TransportName.CLI], send)
        return self._call(send)

    def _call(self, send: Callable[[Backend], T]) -> T:
        # All may be repeated, because what is already done is not done again.
        if self._access.forced is None and self._access.major() >= 3:
            return self._access.call_by([TransportName.WEB_SESSION, TransportName.CLI], send)
        return self._access.call(send)


def restricted(
    name: str,
    base: Role,
    access: Mapping[str, Collection[str]],
    *,
    read_only: Collection[str] = READ_ONLY_RESOURCES,
    airflow_version: str = "",
) -> Role:
    """Return a role that is restricted to some DAGs.

    :param name: name of the new role.
    :param base: the role with its permissions other than on DAGs, such as User.
    :param access: DAG id -> some of ``read``, ``edit`` (which includes trigger, pause and clear), ``delete``.
    :param read_only: resources on which only reading is kept.
    :param airflow_version: version of the environment. 2.8.0 to 2.8.2 treat a menu entry as the permission to read its
        page (CVE-2024-28746), so that a role there must not have those of DAGs.
    :raises MwaaInputError: the base may change roles or users, and so lift the restriction; or it lacks a permission on
        DAGs that the new role needs.
    """
    for action, resource in sorted(base.permissions):
        if resource in ("Roles", "Users") and action not in _HARMLESS:
            raise MwaaInputError(
                f"Base role {base.name!r} has {action} on {resource}, with which a user can lift any restriction. Use "
                "'User', 'Op' or 'Viewer'."
            )
    keeps_menus = airflow_version not in _MENUS_ARE_RIGHTS
    kept = {
        (action, resource)
        for action, resource in base.permissions
        if (action == "menu_access" and keeps_menus)
        or (not _is_about_dags(resource) and (resource not in read_only or action in _HARMLESS))
    }
    own = set()
    for dag_id, actions in access.items():
        for action in actions:
            granted = (DAG_ACTIONS[action], f"DAG:{dag_id}")
            if base.permissions.isdisjoint({granted, (DAG_ACTIONS[action], "DAGs")}):
                raise MwaaInputError(
                    f"Base role {base.name!r} has no {DAG_ACTIONS[action]} on DAGs, and a role restricted from "
                    f"it would exceed it with {action!r} of DAG {dag_id!r}. Leave that action out, or use another base."
                )
            own.add(granted)
    return Role(name, frozenset(kept | own))


def _is_about_dags(resource: str) -> bool:
    return resource == "DAGs" or resource.startswith(("DAG:", "DAG Run:"))


def shown(permissions: Collection[tuple[str, str]]) -> list[str]:
    """Write permissions as Airflow's roles page does: ``can_read on DAG:etl``."""
    return sorted(f"{action} on {resource}" for action, resource in permissions)


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > _MAX_NAME or _UNSENDABLE.search(name):
        raise MwaaInputError(
            f"{name!r} cannot be the name of a role. Use 1 to {_MAX_NAME} characters, without a slash or a line break."
        )
