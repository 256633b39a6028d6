# SPDX-License-Identifier: Apache-2.0
"""Run an Airflow CLI command in another MWAA environment."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_mwaa_provider.client.cli.endpoint import last_words
from airflow_mwaa_provider.client.texts import storable
from airflow_mwaa_provider.exceptions import CliCommandFailed, MwaaInputError
from airflow_mwaa_provider.operators.base import MwaaOperator

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_mwaa_provider._compat import Context

__all__ = ["MwaaCliOperator"]

# Commands that may print secrets: their output is returned, but not logged.
_SILENT = (["variables", "get"], ["variables", "export"], ["connections"], ["config"])


class MwaaCliOperator(MwaaOperator):
    """Run an Airflow CLI command through the CLI endpoint of an MWAA environment.

    Every argument arrives unchanged, quotes and line breaks included. An argument that cannot arrive unchanged is
    refused before anything is sent. A command that may have run is not sent again, unless it is ``idempotent``. A retry
    of the task runs it again.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.base.MwaaOperator`.

    :param env_name: name of the environment (templated).
    :param command: the command without the leading ``airflow`` (templated): a list of its arguments, or a string that
        is split as a shell does. A list is safer if an argument is rendered from a template.
    :param check: fail if the command failed. ``False`` returns its exit status instead.
    :param idempotent: running the command twice does no harm, so repeat it after any transient error, such as an
        endpoint that is busy with four other commands.
    :param log_output: write the command's output to the task's log, unless the command prints secrets.
    :param airflow_version: major version of Airflow in the environment, 2 or 3 (templated). Used only where the role
        may not call GetEnvironment.
    :return: ``{"stdout", "stderr", "exit_status"}``; MWAA reports only the status 0 or 1.
    """

    template_fields: Sequence[str] = (*MwaaOperator.template_fields, "env_name", "command", "airflow_version")
    text_fields: ClassVar[Collection[str]] = (*MwaaOperator.text_fields, "env_name")

    def __init__(
        self,
        *,
        env_name: str,
        command: list[str] | str,
        check: bool = True,
        idempotent: bool = False,
        log_output: bool = True,
        airflow_version: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.env_name = env_name
        self.command = command
        self.check = check
        self.idempotent = idempotent
        self.log_output = log_output
        self.airflow_version = airflow_version

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Run the command.

        :raises CliCommandFailed: the command ran and failed (with ``check``).
        :raises CliCommandNotAllowed: MWAA does not allow the command.
        :raises UnsendableCommand: an argument cannot arrive unchanged. Nothing was sent.
        """
        self.read_rendered(required=("env_name", "command"))
        argv = _argv(self.command)
        result = self.hook_settings.environment(self.env_name).run_cli(argv, idempotent=self.idempotent)
        silent = any(argv[: len(start)] == start for start in _SILENT)
        if self.log_output and not silent:
            for name, text in (("stdout", result.stdout), ("stderr", result.stderr)):
                for line in text.splitlines():
                    self.log.info("%s: %s", name, line)
        if self.check and result.exit_status:
            words = "" if silent else f": {last_words(result, argv)}"
            raise CliCommandFailed(
                f"Environment {self.env_name!r}: `airflow {' '.join(argv[:2])}` failed{words}. Its output is in the "
                "error's .result.",
                result=result,
                env_name=self.env_name,
            )
        return storable({"stdout": result.stdout, "stderr": result.stderr, "exit_status": result.exit_status})


def _argv(command: Any) -> list[str]:
    if not isinstance(command, Sequence) or isinstance(command, bytes):
        raise MwaaInputError(
            f"command is a {type(command).__name__}. Give a list of its arguments, ['dags', 'list'], or a string."
        )
    try:
        argv = shlex.split(command) if isinstance(command, str) else [str(argument) for argument in command]
    except ValueError as error:
        # The command itself may hold a secret.
        raise MwaaInputError(f"command cannot be split as a shell does: {error}. Give a list of arguments.") from None
    if argv[:1] == ["airflow"]:
        argv = argv[1:]
    if not argv:
        raise MwaaInputError("command is empty. Give an Airflow command, ['dags', 'list'].")
    return argv
