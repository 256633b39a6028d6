# SPDX-License-Identifier: Apache-2.0
"""The CLI endpoint of an environment: one line of text in, base64 out.

The body is a single line that the server splits like a shell. How exactly is not documented, so a line is written
for a POSIX splitter (``shlex``) and nothing is sent that other splitters would read differently; see
:func:`command_line`.

Source: guide "Creación de un token de la CLI de Apache Airflow"; FACTS on limits and answers.
"""

from __future__ import annotations

import base64
import binascii
import json as jsonlib
import logging
import re
import shlex
import threading
import time
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.models import CliResult
from airflow_mwaa_provider.client.web_server import WebServer, WebServerSettings
from airflow_mwaa_provider.exceptions import (
    CliCommandFailed,
    CliCommandNotAllowed,
    TokenExpired,
    UnexpectedAnswer,
    UnsendableCommand,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import requests

    from airflow_mwaa_provider.client.control_plane import ControlPlane, WebServerToken

log = logging.getLogger(__name__)

MAX_CONCURRENT_COMMANDS = 4
# A token lives 60 s. It is used for less, because the command's way to the server takes time too.
TOKEN_REUSE_S = 45.0

_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def command_line(argv: Sequence[str]) -> str:
    """Quote an Airflow command so that the server's splitter gives back exactly these arguments.

    :param argv: without the leading ``airflow``: ``["variables", "set", "key", "it's"]``.
    :raises UnsendableCommand: an argument cannot arrive unchanged: a NUL or another control character besides tab,
        newline and carriage return, or half of a surrogate pair.
    """
    if not argv:
        raise UnsendableCommand("The command is empty; write it as ['dags', 'list'].")
    for argument in argv:
        if not isinstance(argument, str):
            raise UnsendableCommand(f"The argument {argument!r} is a {type(argument).__name__}, not a str.")
        found = _CONTROL_CHARACTER.search(argument)
        if found:
            raise UnsendableCommand(
                f"An argument of {' '.join(argv[:2])!r} holds the control character U+{ord(found[0]):04X}, which no "
                "command line carries. Encode the value, as JSON for example."
            )
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise UnsendableCommand(
                f"An argument of {' '.join(argv[:2])!r} holds half a surrogate pair, which UTF-8 cannot write."
            ) from error
    line = " ".join(shlex.quote(argument) for argument in argv)
    if shlex.split(line) != list(argv):
        raise UnsendableCommand(f"The arguments of {' '.join(argv[:2])!r} do not survive quoting.")
    return line


def json_argument(value: Any) -> str:
    r"""Write JSON that every splitter reads alike: printable ASCII, no space, no quote of the shell, no ``$``.

    Inside JSON's strings these characters are written as ``\uXXXX``; between them JSON needs no space.

    :raises UnsendableCommand: the value isn't JSON.
    """
    try:
        text = jsonlib.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UnsendableCommand(f"conf cannot be written as JSON: {error}.") from error
    return re.sub(r"[ '$`\x7f]", lambda match: f"\\u{ord(match[0]):04x}", text)


class CliEndpoint:
    """Runs Airflow CLI commands in an environment, at most four at once per instance; thread-safe.

    A command is sent once; nothing is repeated here but a command whose token was refused.

    :param token_reuse_s: seconds for which one token serves several commands.
    """

    def __init__(
        self,
        control_plane: ControlPlane,
        env_name: str,
        *,
        settings: WebServerSettings | None = None,
        token_reuse_s: float = TOKEN_REUSE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control_plane = control_plane
        self._env_name = env_name
        self._web_server = WebServer(env_name, settings or WebServerSettings())
        self._token_reuse_s = token_reuse_s
        self._clock = clock
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(MAX_CONCURRENT_COMMANDS)
        self._token: tuple[WebServerToken, float] | None = None

    def run(self, argv: Sequence[str], *, check: bool = False) -> CliResult:
        """Run one command.

        :param argv: the command without the leading ``airflow``.
        :param check: raise for a command that failed.
        :raises UnsendableCommand: nothing was sent.
        :raises CliCommandNotAllowed: MWAA does not let the command through.
        :raises CliCommandFailed: the command ran and failed (with ``check``).
        """
        line = command_line(argv)
        with self._slots:
            response = self._post(line)
        result = self._result(response, argv)
        if check and result.exit_status:
            raise CliCommandFailed(
                f"Environment {self._env_name!r}: `airflow {' '.join(argv[:2])}` failed: {last_words(result)}",
                result=result,
                env_name=self._env_name,
            )
        return result

    def _post(self, line: str) -> requests.Response:
        for attempt in (1, 2):
            token = self._current_token(renew=attempt == 2)
            response = self._web_server.send(
                "POST",
                f"https://{token.host}/aws_mwaa/cli",
                headers={"Authorization": f"Bearer {token.value}", "Content-Type": "text/plain"},
                data=line.encode(),
                secrets=(token.value,),
            )
            if response.status_code not in (401, 403):
                return response
        raise TokenExpired(
            f"Environment {self._env_name!r}: the CLI endpoint refused a fresh token "
            f"(HTTP {response.status_code}). Check the clock, and that {token.host} is this environment's web server.",
            env_name=self._env_name,
        )

    def _current_token(self, *, renew: bool) -> WebServerToken:
        with self._lock:
            now = self._clock()
            if self._token is None or renew or now >= self._token[1]:
                self._token = (
                    self._control_plane.create_cli_token(self._env_name),
                    now + self._token_reuse_s,
                )
            return self._token[0]

    def _result(self, response: requests.Response, argv: Sequence[str]) -> CliResult:
        status = response.status_code
        command = " ".join(argv[:2])
        try:
            answer = jsonlib.loads(response.content)
            stdout, stderr = (
                base64.b64decode(answer[name] or "", validate=False).decode("utf-8", "replace")
                for name in ("stdout", "stderr")
            )
        except (ValueError, KeyError, TypeError, binascii.Error):
            pass  # told apart below by the status: refused, busy, or not the CLI endpoint at all
        else:
            return CliResult(stdout, stderr, 0 if status == 200 else 1)
        if status in (429, 503):
            raise UnexpectedAnswer(
                f"Environment {self._env_name!r}: the CLI endpoint is busy (HTTP {status}); it takes "
                f"{MAX_CONCURRENT_COMMANDS} commands at once. Send fewer, or use the REST API.",
                status=status,
                env_name=self._env_name,
                transient=True,
                # A load balancer answers 503 as well, and it may do so after the command ran.
                ambiguous=True,
            )
        if status < 500:
            raise CliCommandNotAllowed(
                f"Environment {self._env_name!r}: `airflow {command}` was not let through (HTTP {status}). MWAA "
                "allows only some commands; see its list, or use the REST API.",
                env_name=self._env_name,
            )
        raise UnexpectedAnswer(
            f"Environment {self._env_name!r}: `airflow {command}` answered HTTP {status} without the command's output."
            " The web server is busy or restarting, or the command is none that MWAA allows.",
            status=status,
            env_name=self._env_name,
            transient=True,
            ambiguous=True,
        )


def parse_json_output(result: CliResult, env_name: str, command: str) -> Any:
    """Read what a command printed with ``-o json``; log lines before and after the document are passed over.

    :raises UnexpectedAnswer: there is no JSON document in it.
    """
    decoder = jsonlib.JSONDecoder()
    for match in re.finditer(r"^[ \t]*([\[{])", result.stdout, flags=re.MULTILINE):
        try:
            value, _ = decoder.raw_decode(result.stdout, match.start(1))
        except ValueError:
            continue  # a log line that begins with a bracket, such as its time
        if value == [] or isinstance(value, dict) or isinstance(value[0], dict):
            return value
    if "No data found" in result.stdout:
        return []
    raise UnexpectedAnswer(
        f"Environment {env_name!r}: `airflow {command}` printed no JSON: {last_words(result)}",
        env_name=env_name,
    )


def last_words(result: CliResult, length: int = 300) -> str:
    """The last line that a command wrote before it failed, which is where Airflow puts the reason."""
    lines = [line.strip() for line in (result.stderr + "\n" + result.stdout).splitlines() if line.strip()]
    text = lines[-1] if lines else "it printed nothing"
    if result.stderr.strip():
        text = [line.strip() for line in result.stderr.splitlines() if line.strip()][-1]
    return text if len(text) <= length else text[: length - 1] + "…"
