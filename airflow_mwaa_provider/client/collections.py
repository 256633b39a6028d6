# SPDX-License-Identifier: Apache-2.0
"""Variables, connections and pools of a remote environment: ``get``, ``list``, ``set``, ``delete``.

``set`` creates or replaces. ``create`` raises :class:`~airflow_mwaa_provider.exceptions.RemoteConflict` for an object
that exists, and ``delete`` raises :class:`~airflow_mwaa_provider.exceptions.RemoteNotFound` for one that does not. All
but ``delete`` may be repeated without harm, and are repeated after transient errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mwaa_provider.client.models import Connection, Pool, Variable
from airflow_mwaa_provider.exceptions import MwaaError, RemoteConflict

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable

    from airflow_mwaa_provider.client.access import TransportSelector
    from airflow_mwaa_provider.client.backend import Backend


class _Collection:
    def __init__(self, access: TransportSelector) -> None:
        self._call = access.call

    def _create(self, send: Callable[[Backend], None]) -> None:
        """Send a call that must not replace anything; a conflict after an attempt of unknown outcome is ambiguous."""
        may_be_ours = False

        def attempt(backend: Backend) -> None:
            nonlocal may_be_ours
            try:
                send(backend)
            except RemoteConflict as conflict:
                conflict.ambiguous = may_be_ours
                raise
            except MwaaError as error:
                may_be_ours = may_be_ours or error.ambiguous
                raise

        self._call(attempt)


class Variables(_Collection):
    """The Airflow variables of an environment."""

    def get(self, key: str) -> Variable:
        """Read one.

        The REST API of Airflow 3 returns a value that is JSON rewritten (spaces, ``1.10`` as ``1.1``).
        ``transport="cli"`` returns the stored text.

        :raises RemoteNotFound: it does not exist.
        :raises ValueMasked: the environment hides the value.
        """
        return self._call(lambda backend: backend.get_variable(key))

    def list(self) -> builtins.list[Variable]:
        """Read all, sorted by key; a value that is not shown (masked, or over the CLI) is ``None``."""
        return self._call(lambda backend: backend.list_variables())

    def set(
        self,
        key: str,
        value: str,
        description: str | None = None,
        *,
        keep_description: bool = False,
        is_new: bool = False,
    ) -> None:
        """Create or replace one; the value is stored to the byte.

        :param keep_description: an existing one keeps its description; not over the CLI.
        :param is_new: it probably does not exist, which saves a call.
        :raises UnsendableCommand: over the CLI, a control character in the value.
        """
        variable = Variable(key, value, description)
        self._call(lambda backend: backend.set_variable(variable, keep_description=keep_description, is_new=is_new))

    def create(self, key: str, value: str, description: str | None = None) -> None:
        """Create one that does not exist.

        The CLI's command always replaces an existing one. So does the REST API of Airflow 2, where the key is checked
        first: only one that is created between that check and the call is replaced.

        :raises RemoteConflict: it already exists and was not changed; ``ambiguous`` if an attempt before this one may
            have created it.
        """
        variable = Variable(key, value, description)
        self._create(lambda backend: backend.create_variable(variable))

    def delete(self, key: str) -> None:
        """Delete one."""
        self._call(lambda backend: backend.delete_variable(key), idempotent=False)


class Connections(_Collection):
    """The Airflow connections of an environment. Passwords can be set and are never returned."""

    def get(self, conn_id: str) -> Connection:
        """Read one, without its password; what looks secret in ``extra`` is masked by Airflow.

        :raises RemoteNotFound: it does not exist.
        """
        return self._call(lambda backend: backend.get_connection(conn_id))

    def list(self) -> builtins.list[Connection]:
        """Read all, sorted by id."""
        return self._call(lambda backend: backend.list_connections())

    def set(self, connection: Connection, *, keep_password: bool = False, is_new: bool = False) -> None:
        """Create or replace one.

        :param keep_password: an existing one keeps its password.
        :param is_new: it probably does not exist, which saves a call.
        """
        self._call(lambda backend: backend.set_connection(connection, keep_password=keep_password, is_new=is_new))

    def create(self, connection: Connection) -> None:
        """Create one that does not exist.

        :raises RemoteConflict: it already exists and was not changed; ``ambiguous`` if an attempt before this one may
            have created it.
        """
        self._create(lambda backend: backend.create_connection(connection))

    def delete(self, conn_id: str) -> None:
        """Delete one."""
        self._call(lambda backend: backend.delete_connection(conn_id), idempotent=False)


class Pools(_Collection):
    """The Airflow pools of an environment."""

    def get(self, name: str) -> Pool:
        """Read one.

        :raises RemoteNotFound: it does not exist.
        """
        return self._call(lambda backend: backend.get_pool(name))

    def list(self) -> builtins.list[Pool]:
        """Read all, sorted by name."""
        return self._call(lambda backend: backend.list_pools())

    def set(self, pool: Pool, *, is_new: bool = False) -> None:
        """Create or replace one.

        :param is_new: it probably does not exist, which saves a call.
        """
        self._call(lambda backend: backend.set_pool(pool, is_new=is_new))

    def create(self, pool: Pool) -> None:
        """Create one that does not exist.

        :raises RemoteConflict: it already exists and was not changed; ``ambiguous`` if an attempt before this one may
            have created it.
        """
        self._create(lambda backend: backend.create_pool(pool))

    def delete(self, name: str) -> None:
        """Delete one."""
        self._call(lambda backend: backend.delete_pool(name), idempotent=False)
