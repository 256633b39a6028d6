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
    """Make a role of an MWAA environment that sees only the given DAGs.

    The role can do what ``base_role`` can, on these DAGs and no others. It is made, or changed until it is so: a DAG
    that is no longer given is taken away from it, and what is so already is not written again. Users keep the role. An
    action that the base does not have with DAGs is refused.

    Whoever runs it needs Airflow's role Admin there (``airflow:CreateCliToken`` or the like for role Admin). Taking
    permissions away, and all of it on Airflow 3, goes through the CLI endpoint.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.base.MwaaEnvironmentOperator`.

    :param env_name: name of the environment (templated).
    :param role_name: name of the role (templated); none of the five that come with Airflow.
    :param dag_ids: ids of the DAGs (templated), or a dict of them with what the role may do with each:
        ``{"etl": ["read", "edit"], "report": ["read"]}``.
    :param actions: what it may do with all of them, where ``dag_ids`` is a list: ``read``, ``edit`` (trigger, pause,
        clear, mark), ``delete``.
    :param base_role: the role that says what else it may do (templated).
    :param read_only: resources of which the role keeps nothing but reading: through events of assets, and through
        backfills, it would start DAGs of others.
    :param dry_run: change nothing; return what would be.
    :return: ``{"role_name", "created", "added", "removed", "dry_run"}``, permissions as in ``"can_read on DAG:etl"``.
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
        # Not dry_run: that is a method of every operator.
        self.is_dry_run = dry_run
        _check_actions(actions, "actions")

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Make it so.

        :raises MwaaInputError: a name or an action cannot be used; nothing was changed.
        :raises DagNotFound: a DAG isn't there; nothing was changed.
        :raises RemoteNotFound: the base role isn't there; nothing was changed.
        :raises UnsupportedByTransport: the transport cannot do it; nothing was changed.
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
            "would be made" if change.created and self.is_dry_run else "was made" if change.created else "was there",
            len(added),
            "would be added" if self.is_dry_run else "added",
            len(removed),
            "would be taken away" if self.is_dry_run else "taken away",
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
            raise MwaaInputError(f"dag_ids={given!r} is no list: give the ids of the DAGs, ['etl', 'report'].")
        if not given:
            raise MwaaInputError(f"dag_ids is empty, and role {self.role_name!r} would see no DAG: give some.")
        if not isinstance(given, Mapping):
            return {str(dag_id): self.actions for dag_id in given}
        for dag_id, actions in given.items():
            _check_actions(actions, f"dag_ids[{dag_id!r}]")
        return {str(dag_id): actions for dag_id, actions in given.items()}


def _check_actions(actions: Collection[str], parameter: str) -> None:
    if isinstance(actions, str) or not isinstance(actions, Collection) or not actions:
        raise MwaaInputError(f"{parameter}={actions!r} is no list of actions: give some of {list(DAG_ACTIONS)}.")
    if unknown := [action for action in actions if action not in DAG_ACTIONS]:
        raise MwaaInputError(f"{parameter}: {unknown[0]!r} is none of {', '.join(DAG_ACTIONS)}.")
