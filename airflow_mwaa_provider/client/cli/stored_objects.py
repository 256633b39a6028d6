# SPDX-License-Identifier: Apache-2.0
"""Variables, connections and pools through Airflow's CLI, as far as MWAA lets its commands through.

Source: the CLI of Airflow 2.8.1 to 3.3.1; the guide's table of commands; the facts known of Airflow 3's allow-list.
"""

from __future__ import annotations

from airflow_mwaa_provider.client.cli.call import CliCaller, positional
from airflow_mwaa_provider.client.models import Connection, Pool, Variable
from airflow_mwaa_provider.exceptions import RemoteNotFound


class StoredObjectsCli(CliCaller):
    """The commands that read and write what Airflow stores for DAGs to use."""

    def get_variable(self, key: str) -> Variable:
        """Read a variable: its stored text, to the byte."""
        result = self._endpoint.run(["variables", "get", *positional(key)])
        if result.exit_status:
            self._check_variable(key)
            raise self._failed("variables get", result)
        return Variable(key, result.stdout.removesuffix("\n"))

    def list_variables(self) -> list[Variable]:
        """List all variables, sorted by key, without values: the command shows none."""
        rows = self._json(["variables", "list"], "key")
        return sorted((Variable(row["key"]) for row in rows), key=lambda variable: variable.key)

    def set_variable(self, variable: Variable, *, keep_description: bool = False, is_new: bool = False) -> None:
        """Create or replace a variable.

        :raises UnsupportedByTransport: the description shall stay as it is: the command always replaces it.
        :raises UnsendableCommand: the value is ``--``, which argparse takes for its own.
        """
        if keep_description:
            self._unsupported("variables.set with keep_description")
        description = [f"--description={variable.description}"] if variable.description is not None else []
        self._endpoint.run(
            ["variables", "set", *description, *positional(variable.key, variable.value or "")], check=True
        )

    def create_variable(self, variable: Variable) -> None:
        """Create a variable, or replace one that is there: the command does not tell the two apart."""
        self.set_variable(variable)

    def delete_variable(self, key: str) -> None:
        """Delete a variable; two commands, because this one says nothing about what isn't there."""
        self._check_variable(key)
        self._endpoint.run(["variables", "delete", *positional(key)], check=True)

    def get_connection(self, conn_id: str) -> Connection:
        """Refused: MWAA lets no command through that reads connections."""
        self._unsupported("connections.get")

    def list_connections(self) -> list[Connection]:
        """Refused: MWAA lets no command through that reads connections."""
        self._unsupported("connections.list")

    def set_connection(self, connection: Connection, *, keep_password: bool = False, is_new: bool = False) -> None:
        """Refused: adding is not replacing, and the password would stand in Airflow's log of commands."""
        self._unsupported("connections.set")

    def create_connection(self, connection: Connection) -> None:
        """Refused: the password would stand in Airflow's log of commands."""
        self._unsupported("connections.create")

    def delete_connection(self, conn_id: str) -> None:
        """Delete a connection; Airflow 2 only."""
        self._endpoint.run(["connections", "delete", *positional(conn_id)], check=True)

    def get_pool(self, name: str) -> Pool:
        """Refused: MWAA lets no command through for pools."""
        self._unsupported("pools.get")

    def list_pools(self) -> list[Pool]:
        """Refused: MWAA lets no command through for pools."""
        self._unsupported("pools.list")

    def set_pool(self, pool: Pool, *, is_new: bool = False) -> None:
        """Refused: MWAA lets no command through for pools."""
        self._unsupported("pools.set")

    def create_pool(self, pool: Pool) -> None:
        """Refused: MWAA lets no command through for pools."""
        self._unsupported("pools.create")

    def delete_pool(self, name: str) -> None:
        """Refused: MWAA lets no command through for pools."""
        self._unsupported("pools.delete")

    def _check_variable(self, key: str) -> None:
        if all(variable.key != key for variable in self.list_variables()):
            raise RemoteNotFound(
                f"Environment {self._env_name!r}: there is no variable {key!r}. Check the name.",
                env_name=self._env_name,
                status=404,
            )
