# SPDX-License-Identifier: Apache-2.0
"""One command through the CLI endpoint: its arguments, its rows, and what to say when it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

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


class CliCaller:
    """Sends commands to one environment's CLI endpoint.

    :param major: Airflow's major version, 2 or 3.
    """

    def __init__(self, endpoint: CliEndpoint, env_name: str, major: int) -> None:
        self._endpoint = endpoint
        self._env_name = env_name
        self.major = major

    def _json(self, argv: list[str], *columns: str) -> list[dict[str, Any]]:
        result = self._endpoint.run([*argv, "-o", "json"], check=True)
        return self._parse(result, " ".join(argv), *columns)

    def _parse(self, result: CliResult, command: str, *columns: str, ambiguous: bool = False) -> list[dict[str, Any]]:
        try:
            rows = parse_json_output(result, self._env_name, command)
        except UnexpectedAnswer as error:
            error.ambiguous = ambiguous
            raise
        missing = next((name for name in columns for row in rows if name not in row), None)
        if missing is not None:
            raise self._strange(f"the rows of `airflow {command}`", f"no {missing}")
        return rows

    def _failed(self, command: str, result: CliResult, of: str = "", words: str = "") -> CliCommandFailed:
        words = words or last_words(result)
        return CliCommandFailed(
            f"Environment {self._env_name!r}: `airflow {command}`{of} failed: {words}. {SEE_OUTPUT}",
            result=result,
            env_name=self._env_name,
        )

    def _strange(self, what: str, error: object, *, ambiguous: bool = False) -> UnexpectedAnswer:
        return UnexpectedAnswer(
            f"Environment {self._env_name!r}: its Airflow {self.major} described {what} in a way that this version "
            f"doesn't know ({type(error).__name__}: {error}). Upgrade airflow-mwaa-provider.",
            env_name=self._env_name,
            ambiguous=ambiguous,
        )

    def _unsupported(self, what: str) -> NoReturn:
        raise UnsupportedByTransport(
            f"Environment {self._env_name!r}: {what} cannot go through MWAA's CLI endpoint. Allow "
            "airflow:InvokeRestApi or airflow:CreateWebLoginToken, or leave it out.",
            env_name=self._env_name,
        )


def positional(*values: str) -> list[str]:
    """Positional arguments after ``--``, so that none is taken for an option.

    :raises UnsendableCommand: one is itself ``--``: argparse drops it, and would store something else.
    """
    if "--" in values:
        raise UnsendableCommand("The text '--' cannot go through Airflow's command line. Send it by the REST API.")
    return ["--", *values]
