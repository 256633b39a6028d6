# SPDX-License-Identifier: Apache-2.0
"""One command through the CLI endpoint: its arguments, its rows, and the error if it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.backend import Backend
from airflow_mwaa_provider.client.cli.endpoint import SEE_OUTPUT, last_words, parse_json_output
from airflow_mwaa_provider.exceptions import (
    CliCommandFailed,
    UnexpectedAnswer,
    UnsendableCommand,
    UnsupportedByTransport,
)

if TYPE_CHECKING:
    from airflow_mwaa_provider.client.cli.endpoint import CliEndpoint
    from airflow_mwaa_provider.client.models import CliResult


class CliCaller(Backend):
    """Sends commands to one environment's CLI endpoint."""

    def __init__(self, endpoint: CliEndpoint, env_name: str, major: int) -> None:
        super().__init__(env_name, major)
        self._endpoint = endpoint

    def _json(self, argv: list[str], *columns: str) -> list[dict[str, Any]]:
        result = self._endpoint.run([*argv, "-o", "json"], check=True)
        return self._parse(result, " ".join(argv), *columns)

    def _parse(self, result: CliResult, command: str, *columns: str, ambiguous: bool = False) -> list[dict[str, Any]]:
        try:
            rows = parse_json_output(result, self._env_name, command)
        except UnexpectedAnswer as error:
            error.ambiguous = ambiguous
            raise
        for row in rows:
            missing = next((name for name in columns if name not in row), None)
            if missing is not None:
                raise self._unrecognized(f"the rows of `airflow {command}`", KeyError(missing), came=row)
        return rows

    def _failed(self, command: str, result: CliResult, of: str = "", words: str = "") -> CliCommandFailed:
        words = words or last_words(result)
        return CliCommandFailed(
            f"Environment {self._env_name!r}: `airflow {command}`{of} failed: {words}. {SEE_OUTPUT}",
            result=result,
            env_name=self._env_name,
        )

    def _unsupported(self, what: str) -> UnsupportedByTransport:
        return UnsupportedByTransport(
            f"Environment {self._env_name!r}: {what} cannot go through MWAA's CLI endpoint. Allow "
            "airflow:InvokeRestApi or airflow:CreateWebLoginToken, or leave it out.",
            env_name=self._env_name,
        )


def positional(*values: str) -> list[str]:
    """Return positional arguments after ``--``, so that none is taken for an option.

    :raises UnsendableCommand: one is itself ``--``: argparse drops it, so that something else would be stored.
    """
    if "--" in values:
        raise UnsendableCommand("The string '--' cannot go through Airflow's command line. Send it by the REST API.")
    return ["--", *values]
