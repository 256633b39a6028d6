# SPDX-License-Identifier: Apache-2.0
"""Read what a migration has written as a task would: through the amazon provider's backend, bypassing any cache."""

from __future__ import annotations

from typing import Any

__all__ = ["ReadBack"]


class ReadBack:
    """The backend of tasks, with the client that the migration writes with.

    The cached backend returns the same answers as this one; here nothing may come from a cache.

    :param client: a boto3 client for Secrets Manager.
    """

    def __init__(self, client: Any, *, connections_prefix: str, variables_prefix: str, sep: str) -> None:
        from airflow.providers.amazon.aws.secrets.secrets_manager import SecretsManagerBackend

        self._backend = SecretsManagerBackend(
            connections_prefix=connections_prefix, variables_prefix=variables_prefix, sep=sep
        )
        # A cached property of the backend: a value that is already there is used.
        self._backend.__dict__["client"] = client

    def connection(self, conn_id: str) -> Any:
        """Return an Airflow connection; ``None`` if it does not exist."""
        return self._backend.get_connection(conn_id)

    def variable(self, key: str) -> str | None:
        """Return the value of a variable; ``None`` if it does not exist."""
        return self._backend.get_variable(key)
