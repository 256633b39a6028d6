# SPDX-License-Identifier: Apache-2.0
"""Variables and connections through Airflow's CLI, as far as MWAA allows its commands.

It allows none that reads connections, and none for pools. ``connections add`` does not replace, and would leave the
password in Airflow's log of commands.

Source: the CLI of Airflow 2.8.1 to 3.3.1; the guide's table of commands; the facts known of Airflow 3's allow-list.
"""

from __future__ import annotations

from airflow_mwaa_provider.client.cli.call import CliCaller, positional
from airflow_mwaa_provider.client.models import Variable
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
        """List all variables, sorted by key, without values, which the command does not show."""
        rows = self._json(["variables", "list"], "key")
        return sorted((Variable(row["key"]) for row in rows), key=lambda variable: variable.key)

    def set_variable(self, variable: Variable, *, keep_description: bool = False, is_new: bool = False) -> None:
        """Create or replace a variable.

        :raises UnsupportedByTransport: ``keep_description``, because the command always replaces it.
        :raises UnsendableCommand: the value is ``--``, which argparse interprets itself.
        """
        if keep_description:
            raise self._unsupported("variables.set with keep_description")
        description = [f"--description={variable.description}"] if variable.description is not None else []
        self._endpoint.run(
            ["variables", "set", *description, *positional(variable.key, variable.value or "")], check=True
        )

    def create_variable(self, variable: Variable) -> None:
        """Create a variable, or replace an existing one: the command does not distinguish the two."""
        self.set_variable(variable)

    def delete_variable(self, key: str) -> None:
        """Delete a variable; two commands, because this one does not report a missing variable."""
        self._check_variable(key)
        self._endpoint.run(["variables", "delete", *positional(key)], check=True)

    def delete_connection(self, conn_id: str) -> None:
        """Delete a connection; Airflow 2 only."""
        self._endpoint.run(["connections", "delete", *positional(conn_id)], check=True)

    def _check_variable(self, key: str) -> None:
        if all(variable.key != key for variable in self.list_variables()):
            raise RemoteNotFound(
                f"Environment {self._env_name!r}: no variable {key!r}. Check the name.",
                env_name=self._env_name,
                status=404,
            )
