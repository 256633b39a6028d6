# SPDX-License-Identifier: Apache-2.0
"""The options of a migration, checked; light enough to import when a DAG file is parsed."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_mwaa_provider.client.aws.secrets_manager import problem_of_name
from airflow_mwaa_provider.client.secrets_migration.items import Kind
from airflow_mwaa_provider.client.secrets_migration.secret_texts import SecretForm
from airflow_mwaa_provider.exceptions import MwaaInputError

__all__ = ["CONFLICTS", "MigrationOptions", "Names"]

CONFLICTS = ("fail", "skip", "overwrite")


@dataclass(frozen=True)
class Names:
    """How secrets are named, in the terms of the backend's options.

    :raises MwaaInputError: a prefix is invalid.
    """

    connections_prefix: str = "airflow/connections"
    variables_prefix: str = "airflow/variables"
    sep: str = "/"

    def __post_init__(self) -> None:
        for parameter in ("connections_prefix", "variables_prefix"):
            prefix = getattr(self, parameter)
            if prefix and (problem := problem_of_name(prefix)):
                raise MwaaInputError(f"{parameter}={prefix!r}: {problem}.")
        if self._prefix(Kind.CONNECTION) == self._prefix(Kind.VARIABLE):
            raise MwaaInputError(
                "connections_prefix and variables_prefix are the same, so a connection and a variable of the same name "
                "would be one secret. Give two different prefixes."
            )

    def of(self, kind: Kind, key: str) -> str:
        """Return the name of a secret."""
        return f"{self._prefix(kind)}{key}"

    def prefix(self, kind: Kind) -> str:
        """Return the prefix of the names of all secrets of a kind.

        :raises MwaaInputError: the prefix is empty, so it would select every secret of the account.
        """
        if not self._prefix(kind):
            raise MwaaInputError(f"{kind.nouns}_prefix is empty, which would select every secret. Give a prefix.")
        return self._prefix(kind)

    def _prefix(self, kind: Kind) -> str:
        prefix = self.connections_prefix if kind is Kind.CONNECTION else self.variables_prefix
        return f"{prefix.rstrip(self.sep)}{self.sep}" if prefix else ""


@dataclass(frozen=True)
class MigrationOptions:
    """What is to become of each connection and variable.

    :param on_conflict: what to do with a secret that already has another value: ``"fail"`` before anything is written,
        ``"skip"`` or ``"overwrite"`` it.
    :param form: the form in which connections are stored.
    :param restore_deleted: restore secrets that are scheduled for deletion, and overwrite them.
    :param leave_out_refused: skip what cannot be moved, instead of failing before anything is written.
    :param delete_source: delete each connection and variable from the source once its secret was read back.
    :raises MwaaInputError: a value is unknown.
    """

    on_conflict: str = "fail"
    form: SecretForm | str = SecretForm.JSON
    restore_deleted: bool = False
    leave_out_refused: bool = False
    delete_source: bool = False

    def __post_init__(self) -> None:
        if self.on_conflict not in CONFLICTS:
            raise MwaaInputError(f"on_conflict={self.on_conflict!r} must be one of {', '.join(map(repr, CONFLICTS))}.")
        if self.form not in tuple(SecretForm):
            raise MwaaInputError(
                f"form={self.form!r} must be one of {', '.join(repr(str(form)) for form in SecretForm)}."
            )
