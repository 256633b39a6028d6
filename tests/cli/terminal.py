# SPDX-License-Identifier: Apache-2.0
"""Run commands against the local MWAA of the client tests, over real HTTP, with the variables of a terminal."""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from airflow_mwaa_provider.cli.main import main
from tests.client.failure import HUSH
from tests.client.world import KEY, REGION, SECRET, TRANSPORTS, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

WAYS = [(env_name, transport) for env_name in ("env3", "env2") for transport in TRANSPORTS]
REST_WAYS = [(env_name, transport) for env_name, transport in WAYS if transport != "cli"]
AWKWARD = 'it\'s "quoted" $HOME `date` \\ %41 ünïcödé 🚀\n second line\ttab'


def runner() -> CliRunner:
    """Return a runner that separates stdout and stderr, which is an option before click 8.2."""
    old = "mix_stderr" in inspect.signature(CliRunner).parameters
    return CliRunner(mix_stderr=False) if old else CliRunner()


@contextlib.contextmanager
def without_logging_of_others() -> Iterator[None]:
    """Remove the log handlers of Airflow, which log to stdout, and which a terminal does not have."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        yield
    finally:
        root.handlers = handlers


class Terminal:
    """A terminal with the variables of ``local env``."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.variables: dict[str, str | None] = {
            "AWS_ENDPOINT_URL": world.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_CA_BUNDLE": world.ca,
            "REQUESTS_CA_BUNDLE": world.ca,
            # The tests must not use the machine's own settings.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            **dict.fromkeys(("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN")),
        }

    def run(self, *arguments: str, stdin: str | bytes | None = None, status: int = 0) -> Result:
        """Run a command in this process; check what applies to all commands."""
        with without_logging_of_others():
            result = runner().invoke(main, list(arguments), input=stdin, env=self.variables)
        assert result.exit_code == status, f"{result.exit_code}: {result.stdout}{result.stderr}{result.exception!r}"
        if result.exception is not None:
            assert isinstance(result.exception, SystemExit)
        for secret in (HUSH, SECRET, "secret-session", *self.world.issued):
            assert secret not in result.stderr
        return result

    def json(self, *arguments: str, stdin: str | bytes | None = None, status: int = 0) -> Any:
        """Run a command with ``--output json``, and return its document."""
        return json.loads(self.run(*arguments, "--output", "json", stdin=stdin, status=status).stdout)

    def error(self, *arguments: str, status: int, stdin: str | bytes | None = None) -> str:
        """Run a command that fails, and return its line on stderr."""
        result = self.run(*arguments, status=status, stdin=stdin)
        [line] = result.stderr.splitlines()
        assert line.startswith("airflow-mwaa: ")
        for word in ("aws_conn_id", "botocore_config", "region_name", "=True", "transport=", ".result", "this task"):
            assert word not in line, line
        return line.removeprefix("airflow-mwaa: ")

    def start(
        self,
        *arguments: str,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        """Start a command as a separate process."""
        given = {name: value for name, value in self.variables.items() if value is not None}
        outer = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return subprocess.Popen(
            [sys.executable, "-m", "airflow_mwaa_provider.cli.main", *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env={**outer, **given, "TERM": "xterm"},
        )
