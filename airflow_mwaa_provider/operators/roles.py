# SPDX-License-Identifier: Apache-2.0
"""Restrict a role of an MWAA environment to some of its DAGs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_mwaa_provider.client.roles import DAG_ACTIONS, READ_ONLY_RESOURCES, shown
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.operators.base import MwaaEnvironmentOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mwaa_provider._compat import Context

__all__ = ["MwaaDagRoleOperator"]


class MwaaDagRoleOperator(MwaaEnvironmentOperator):
    """Create a role in an MWAA environment that sees only the given DAGs.

    The role can do what ``base_role`` can do, on these DAGs and no others. It is created, or changed as needed: a DAG
    that is no longer given is removed from it, and what is already correct is not written again. Users keep the role.
    An action that the base role does not have on DAGs is refused.

    The caller needs Airflow's role Admin there (``airflow:CreateCliToken`` or the like for role Admin). Permissions are
    removed through the CLI endpoint, which on Airflow 3 does everything.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.base.MwaaEnvironmentOperator`.

    :param env_name: name of the environment (templated).
    :param role_name: name of the role (templated); not one of the five that come with Airflow.
    :param dag_ids: ids of the DAGs (templated), or a dict of what the role may do with each:
        ``{"etl": ["read", "edit"], "report": ["read"]}``.
    :param actions: what the role may do with all DAGs, if ``dag_ids`` is a list: ``read``, ``edit`` (trigger, pause,
        clear, mark), ``delete``.
    :param base_role: the role that defines all other permissions (templated).
    :param read_only: resources that the role may only read: through events of assets, and through backfills, it could
        start DAGs of others.
    :param dry_run: change nothing, and return what would be changed.
    :return: ``{"role_name", "created", "added", "removed", "dry_run"}``. A permission is ``"can_read on DAG:etl"``.
    """

    template_fields: Sequence[str] = (
        *MwaaEnvironmentOperator.template_fields, "env_name", "role_name", "dag_ids", "base_role",
    )  # fmt: skip
    text_fields: ClassVar[Collection[str]] = (
        *MwaaEnvironmentOperator.text_fields, "env_name", "role_name", "base_role",
    )  # fmt: skip

    def __init__(
        self,
        *,
        env_name: str,
        role_name: str,
        dag_ids: Collection[str] | Mapping[str, Collection[str]],
        actions: Collection[str] = ("read", "edit"),
        base_role: str = "User",
        read_only: Collection[str] = READ_ONLY_RESOURCES,
        dry_run: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.env_name = env_name
        self.role_name = role_name
        self.dag_ids = dag_ids
        self.actions = actions
        self.base_role = base_role
        self.read_only = read_only
        # Not named dry_run, which is a method of every operator.
        self.is_dry_run = dry_run
        _check_actions(actions, "actions")

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Create or change the role.

        :raises MwaaInputError: a name or an action cannot be used. Nothing was changed.
        :raises DagNotFound: a DAG does not exist. Nothing was changed.
        :raises RemoteNotFound: the base role does not exist. Nothing was changed.
        :raises UnsupportedByTransport: the transport cannot do this. Nothing was changed.
        """
        self.read_rendered(required=("env_name", "role_name", "dag_ids", "base_role"))
        access = self._access()
        environment = self.hook_settings.environment(self.env_name)
        change = environment.roles.restrict(
            self.role_name,
            access,
            base_role=self.base_role,
            read_only=self.read_only,
            dry_run=self.is_dry_run,
        )
        added, removed = shown(change.added), shown(change.removed)
        self.log.info(
            "Environment %r: role %r %s: %d permissions %s, %d %s",
            self.env_name,
            self.role_name,
            "would be created" if change.created and self.is_dry_run else "was created" if change.created else "exists",
            len(added),
            "would be added" if self.is_dry_run else "added",
            len(removed),
            "would be removed" if self.is_dry_run else "removed",
        )
        for sign, permissions in (("-", removed), ("+", added)):
            for permission in permissions:
                self.log.info("%s %s", sign, permission)
        return {
            "role_name": self.role_name,
            "created": change.created,
            "added": added,
            "removed": removed,
            "dry_run": self.is_dry_run,
        }

    def _access(self) -> dict[str, Collection[str]]:
        given = self.dag_ids
        if isinstance(given, str) or not isinstance(given, Collection):
            raise MwaaInputError(f"dag_ids={given!r} must be a list. Give the ids of the DAGs, ['etl', 'report'].")
        if not given:
            raise MwaaInputError(f"dag_ids is empty, so role {self.role_name!r} would see no DAG. Give at least one.")
        if not isinstance(given, Mapping):
            return {str(dag_id): self.actions for dag_id in given}
        for dag_id, actions in given.items():
            _check_actions(actions, f"dag_ids[{dag_id!r}]")
        return {str(dag_id): actions for dag_id, actions in given.items()}


def _check_actions(actions: Collection[str], parameter: str) -> None:
    if isinstance(actions, str) or not isinstance(actions, Collection) or not actions:
        raise MwaaInputError(f"{parameter}={actions!r} must be a list of actions. Give some of {list(DAG_ACTIONS)}.")
    if unknown := [action for action in actions if action not in DAG_ACTIONS]:
        raise MwaaInputError(f"{parameter}: {unknown[0]!r} must be one of {', '.join(DAG_ACTIONS)}.")
