# SPDX-License-Identifier: Apache-2.0
"""What a task reads from a secret, in this package's own types and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.aws.calls import AnotherAnswered
from airflow_mwaa_provider.client.aws.secrets_manager import read_error
from airflow_mwaa_provider.client.models import Connection
from airflow_mwaa_provider.client.secrets_migration.items import Kind
from airflow_mwaa_provider.exceptions import SecretsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.client.secrets_migration.options import Names

__all__ = ["reader"]

_FIELDS = ("conn_type", "host", "login", "password", "schema", "port", "extra")


def reader(backend: Any, names: Names) -> Callable[[Kind, str], Connection | str | None]:
    """Return a function that reads a connection or a variable as a task would.

    :param backend: has ``connection`` and ``variable``, which return Airflow's own types.
    """

    def read(kind: Kind, key: str) -> Connection | str | None:
        from botocore.exceptions import BotoCoreError, ClientError

        name = names.of(kind, key)
        try:
            if kind is Kind.VARIABLE:
                text: str | None = backend.variable(key)
                return text
            found = backend.connection(key)
        except (AnotherAnswered, BotoCoreError, ClientError) as error:
            failure: Exception = read_error(name, error)
        except Exception as error:  # noqa: BLE001 - Airflow's own, whose words may repeat the secret
            failure = SecretsError(
                f"Secret {name!r}: Airflow cannot read the connection ({type(error).__name__}). Report it, with the "
                "names of the connection's fields.",
                secret=name,
            )
        else:
            if found is None:
                return None
            return Connection(conn_id=key, **{field: getattr(found, field) for field in _FIELDS})
        raise failure  # outside of the except block: the chained exception would repeat the secret

    return read
