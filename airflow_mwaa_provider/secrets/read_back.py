# SPDX-License-Identifier: Apache-2.0
"""Reads what a migration has written as a task would: through the amazon provider's backend, past any cache."""

from __future__ import annotations

from typing import Any

__all__ = ["ReadBack"]


class ReadBack:
    """The backend that tasks have, with the client that the migration writes with.

    The cached backend answers with what this one does; here nothing may come from a cache.

    :param client: boto3's client of Secrets Manager.
    """

    def __init__(self, client: Any, *, connections_prefix: str, variables_prefix: str, sep: str) -> None:
        from airflow.providers.amazon.aws.secrets.secrets_manager import SecretsManagerBackend

        self._backend = SecretsManagerBackend(
            connections_prefix=connections_prefix, variables_prefix=variables_prefix, sep=sep
        )
        # A cached property there: what it finds in its place it takes.
        self._backend.__dict__["client"] = client

    def connection(self, conn_id: str) -> Any:
        """Return a connection of Airflow's; ``None`` if there is none."""
        return self._backend.get_connection(conn_id)

    def variable(self, key: str) -> str | None:
        """Return the text of a variable; ``None`` if there is none."""
        return self._backend.get_variable(key)
