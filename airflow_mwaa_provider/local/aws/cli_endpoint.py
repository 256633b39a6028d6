# SPDX-License-Identifier: Apache-2.0
"""MWAA's CLI endpoint: it takes one line of text, and returns the command's output as base64.

What is known, with its sources: the request, its token and the answer's ``stdout`` and ``stderr`` from the user
guide ("Creating an Apache Airflow CLI token"); four commands at once and 503 beyond, and that a command which
isn't on the list answers HTTP 400 to 500, from FACTS.md (2026-11).
Unproven: the splitter (POSIX ``shlex`` here), that a failing command answers 400 with the same two members, and
the texts of the errors.
"""

from __future__ import annotations

import base64
import json
import shlex
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_mwaa_provider.local.aws.cli_allowlist import command_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mwaa_provider.local.aws.environment import Environment
    from airflow_mwaa_provider.local.aws.limits import Limits


class CliLine:
    """The line of one request, split and looked up in the list of allowed commands."""

    def __init__(self, body: bytes, airflow_version: str) -> None:
        self.argv: Sequence[str] = ()
        self.command: str | None = None
        """The allowed command's words, without arguments."""
        self.refusal: str | None = None
        """Why the line cannot be run, in one line."""
        try:
            self.argv = shlex.split(body.decode("utf-8"))
        except UnicodeDecodeError:
            self.refusal = "The command is not UTF-8 text"
        except ValueError as error:
            self.refusal = f"The command can not be split: {error}"
        else:
            self.command = command_of(self.argv, airflow_version)
            if self.command is None:
                self.refusal = "The command is not supported"


class CliEndpoint:
    """Runs the commands of one environment, a limited number at once."""

    def __init__(self, environment: Environment, limits: Limits) -> None:
        self._environment = environment
        self._limits = limits
        self._running = 0

    async def run(self, line: CliLine) -> web.Response:
        """Run a line whose token was accepted."""
        if line.refusal is not None:
            return json_error(400, line.refusal)
        runtime = self._environment.runtime
        if runtime is None:
            return json_error(503, "Service Unavailable")
        if self._running >= self._limits.cli_concurrency:
            return json_error(503, "Service Unavailable: too many CLI commands at once")
        self._running += 1
        try:
            outcome = await runtime.run_cli(line.argv, self._limits.cli_timeout_s)
        except TimeoutError:
            return json_error(504, "Gateway Timeout: the command took too long and was ended")
        finally:
            self._running -= 1
        body = {"stdout": _base64(outcome.stdout), "stderr": _base64(outcome.stderr)}
        return json_answer(200 if outcome.exit_status == 0 else 400, body)


def json_answer(status: int, body: object) -> web.Response:
    """Answer JSON."""
    return web.Response(status=status, text=json.dumps(body), content_type="application/json")


def json_error(status: int, message: str) -> web.Response:
    """Answer an error in the form of AWS's gateways: ``{"message": "Forbidden"}``."""
    return json_answer(status, {"message": message})


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
