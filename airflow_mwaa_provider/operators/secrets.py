# SPDX-License-Identifier: Apache-2.0
"""Move connections and variables of an environment to Secrets Manager."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_mwaa_provider.client.parameters import flag
from airflow_mwaa_provider.client.secrets_migration.items import Kind, Patterns
from airflow_mwaa_provider.client.secrets_migration.options import MigrationOptions, Names
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.hooks.templating import is_rendered_later
from airflow_mwaa_provider.operators.base import MwaaEnvironmentOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mwaa_provider._compat import Context
    from airflow_mwaa_provider.client.secrets_migration.migration import Outcome

__all__ = ["MigrateToSecretsManagerOperator"]

_SOURCES = ("auto", "database", "task", "environment")


class MigrateToSecretsManagerOperator(MwaaEnvironmentOperator):
    """Move connections and variables of an environment to Secrets Manager, and verify each one.

    First everything is read and compared with the secrets in Secrets Manager. What cannot be moved is reported before
    anything is written: a name or size that Secrets Manager rejects, a value that cannot be read, a secret that exists
    with other content. Then the secrets are written one by one, and each is read back as a task reads it. A migration
    that was interrupted continues when it is run again.

    Values appear neither in the log, nor in XCom, nor in an error.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.base.MwaaEnvironmentOperator`.

    :param env_name: name of the environment (templated). The default is the one that the task runs in. From another
        environment, only what its REST API shows can be moved: no connection with a password.
    :param connections: ids of connections, or patterns with ``*`` (templated); an empty list for none.
        ``aws_default`` is moved only if its name is given.
    :param variables: the same for keys of variables (templated).
    :param connections_prefix: prefix of the names of connections' secrets, as in the backend's options (templated).
    :param variables_prefix: the same for variables (templated).
    :param sep: separator of the prefix and the id.
    :param on_conflict: what to do with a secret that exists with other content: ``"fail"`` before anything is written,
        ``"skip"`` or ``"overwrite"`` (templated).
    :param form: ``"json"`` or ``"uri"``: how a secret holds a connection.
    :param tags: tags of secrets that are created (templated).
    :param kms_key_id: KMS key of secrets that are created (templated). The default is the account's own key.
    :param restore_deleted: restore secrets that are scheduled for deletion, and overwrite them.
    :param leave_out_refused: skip what cannot be moved, instead of failing before anything is written.
    :param delete_source: delete connections and variables from the environment, each after its secret was read back.
    :param dry_run: write nothing, and return what would happen (templated).
    :param source: ``"database"``, ``"task"`` (what a task gets if it looks up each one by name), ``"environment"`` (its
        API), or ``"auto"``. That is the API for another environment. For the task's own environment it is the database
        on Airflow 2 or with ``metadata_conn_id``, and otherwise what the task gets.
    :param metadata_conn_id: a ``postgres`` connection to the metadata database of the task's own environment
        (templated).
    :param secrets_conn_id: connection for Secrets Manager (templated). ``None`` uses ``aws_conn_id``.
    :return: ``{"connections": {"created": [...], "overwritten": [...], "restored": [...], "same": [...],
        "skipped": [...], "conflict": [...], "refused": {key: reason}, "deleted": [...]}, "variables": {...},
        "dry_run": …}``, with keys only.
    """

    template_fields: Sequence[str] = (
        *MwaaEnvironmentOperator.template_fields,
        "env_name",
        "connections",
        "variables",
        "connections_prefix",
        "variables_prefix",
        "on_conflict",
        "tags",
        "kms_key_id",
        "is_dry_run",
        "metadata_conn_id",
        "secrets_conn_id",
    )
    text_fields: ClassVar[Collection[str]] = (
        *MwaaEnvironmentOperator.text_fields, "env_name", "connections_prefix", "variables_prefix", "on_conflict",
        "kms_key_id", "metadata_conn_id", "secrets_conn_id",
    )  # fmt: skip
    narrowing_fields: ClassVar[Collection[str]] = ("env_name", "connections", "variables", "is_dry_run")

    def __init__(
        self,
        *,
        env_name: str | None = None,
        connections: Collection[str] = ("*",),
        variables: Collection[str] = ("*",),
        connections_prefix: str = "airflow/connections",
        variables_prefix: str = "airflow/variables",
        sep: str = "/",
        on_conflict: str = "fail",
        form: str = "json",
        tags: Mapping[str, str] | None = None,
        kms_key_id: str | None = None,
        restore_deleted: bool = False,
        leave_out_refused: bool = False,
        delete_source: bool = False,
        dry_run: bool = False,
        source: str = "auto",
        metadata_conn_id: str | None = None,
        secrets_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.env_name = env_name
        self.connections = connections
        self.variables = variables
        self.connections_prefix = connections_prefix
        self.variables_prefix = variables_prefix
        self.sep = sep
        self.on_conflict = on_conflict
        self.form = form
        self.tags = tags
        self.kms_key_id = kms_key_id
        self.restore_deleted = restore_deleted
        self.leave_out_refused = leave_out_refused
        self.delete_source = delete_source
        # Not named dry_run, which is a method of every operator.
        self.is_dry_run = dry_run
        self.source = source
        self.metadata_conn_id = metadata_conn_id
        self.secrets_conn_id = secrets_conn_id
        self._stop: threading.Event | None = None
        self._check_literals()

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Move the connections and variables.

        :raises MigrationRefused: something cannot be moved, or exists and differs. Nothing was written.
        :raises AccessDenied: Secrets Manager, KMS or the environment denied access; names the action to allow.
        :raises SecretsError: the migration was interrupted. It continues when it is run again.
        """
        from airflow_mwaa_provider.client.aws.secrets_manager import SecretsManager
        from airflow_mwaa_provider.client.secrets_migration.migration import migrate
        from airflow_mwaa_provider.client.secrets_migration.reading_back import reader
        from airflow_mwaa_provider.hooks.secrets_migration import migration_source
        from airflow_mwaa_provider.secrets.read_back import ReadBack

        required = ("connections", "variables", "connections_prefix", "variables_prefix", "on_conflict")
        self.read_rendered(required=required)
        options, names = self._options(), self._names()
        wanted = [Patterns(Kind.CONNECTION, self.connections), Patterns(Kind.VARIABLE, self.variables)]
        self._stop = threading.Event()
        source = migration_source(
            self.hook_settings, source=self.source, env_name=self.env_name, metadata_conn_id=self.metadata_conn_id
        )
        settings = self.hook_settings
        if self.secrets_conn_id is not None:
            settings = replace(settings, aws_conn_id=self.secrets_conn_id)
        client = settings.aws_client("secretsmanager", attempts=1)
        backend = ReadBack(
            client,
            connections_prefix=names.connections_prefix,
            variables_prefix=names.variables_prefix,
            sep=names.sep,
        )
        outcome = migrate(
            source,
            wanted,
            SecretsManager(client, tags=_tags(self.tags), kms_key_id=self.kms_key_id),
            names,
            reader(backend, names),
            options,
            dry_run=flag(self.is_dry_run, "dry_run"),
            stop=self._stop,
            progress=lambda done, total: self.log.info("%d of %d secrets written and read back", done, total),
        )
        self._report(source.label, outcome)
        return outcome.as_dict()

    def on_kill(self) -> None:
        """End between two secrets. What was written is kept, and a retry continues."""
        if self._stop is not None:
            self._stop.set()

    def _report(self, label: str, outcome: Outcome) -> None:
        planned = " (planned; nothing was written)" if outcome.is_dry_run else ""
        self.log.info("%s: %s%s", label, outcome.counts(), planned)
        for (kind, key), reason in outcome.reasons.items():
            self.log.warning("%s %r: %s", kind.capitalize(), key, reason)

    def _options(self) -> MigrationOptions:
        return MigrationOptions(
            self.on_conflict, self.form, self.restore_deleted, self.leave_out_refused, self.delete_source
        )

    def _names(self) -> Names:
        return Names(self.connections_prefix, self.variables_prefix, self.sep)

    def _check_literals(self) -> None:
        """Check the values that are known when the DAG is parsed."""
        if self.source not in _SOURCES:
            raise MwaaInputError(f"source={self.source!r} must be one of {', '.join(map(repr, _SOURCES))}.")
        later = is_rendered_later
        MigrationOptions(
            "fail" if later(self.on_conflict) else self.on_conflict, self.form, delete_source=self.delete_source
        )
        if not later(self.connections_prefix) and not later(self.variables_prefix):
            self._names()
        for kind, patterns in ((Kind.CONNECTION, self.connections), (Kind.VARIABLE, self.variables)):
            if not later(patterns):
                Patterns(kind, patterns)
        if not later(self.tags):
            _tags(self.tags)


def _tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    if tags is not None and not isinstance(tags, Mapping):
        raise MwaaInputError(f"tags={tags!r} must be a dict, such as {{'team': 'sales'}}.")
    return {str(key): str(value) for key, value in (tags or {}).items()}
