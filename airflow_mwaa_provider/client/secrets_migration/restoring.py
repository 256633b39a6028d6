# SPDX-License-Identifier: Apache-2.0
"""Restore secrets to the connections and variables of an environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.models import Variable
from airflow_mwaa_provider.client.secrets_migration.items import Kind
from airflow_mwaa_provider.client.secrets_migration.migration import importable, secrets_of
from airflow_mwaa_provider.client.stored.kinds import KINDS
from airflow_mwaa_provider.client.transactional_import import import_stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mwaa_provider.client.aws.secrets_manager import SecretsManager
    from airflow_mwaa_provider.client.environment import MwaaEnvironment
    from airflow_mwaa_provider.client.secrets_migration.items import Patterns
    from airflow_mwaa_provider.client.secrets_migration.options import Names

__all__ = ["restore"]


def restore(
    environment: MwaaEnvironment,
    wanted: Sequence[Patterns],
    secrets: SecretsManager,
    names: Names,
    *,
    on_conflict: str = "fail",
    leave_out_refused: bool = False,
    overwrite_hidden: bool = False,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Write secrets to an environment, all of a kind or none. The secrets are kept.

    :param on_conflict: what to do with those that already exist and differ: ``"fail"``, ``"skip"`` or ``"overwrite"``.
    :param overwrite_hidden: also overwrite values that Airflow hides, which a failed import could not put back.
    :return: by kind ``{"created": [...], "changed": [...], "same": [...], "skipped": [...], "refused": {key:
        reason}}``, only keys.
    :raises MigrationRefused: a secret cannot be restored; nothing was written.
    :raises RemoteConflict: something already exists and differs; nothing of its kind was written.
    :raises ImportFailed: writing failed; previous values are put back where possible.
    """
    taken = []
    for patterns in wanted:
        if patterns.patterns:
            found = secrets_of(patterns.kind, patterns, secrets, names)
            patterns.check_found(found)
            taken.append((patterns.kind, *importable(found, leave_out_refused=leave_out_refused)))
    done: dict[str, Any] = {"dry_run": dry_run}
    for kind, items, refused in taken:
        values: dict[str, Any] = {
            key: Variable(key, str(item.value), item.description) if kind is Kind.VARIABLE else item.value
            for key, item in items.items()
        }
        result = import_stored(
            KINDS[kind.nouns](environment),
            values,
            on_conflict=on_conflict,
            dry_run=dry_run,
            overwrite_hidden=overwrite_hidden,
        )
        done[kind.nouns] = {name: value for name, value in result.as_dict().items() if name != "dry_run"} | {
            "refused": refused
        }
    return done
