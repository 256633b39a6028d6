# SPDX-License-Identifier: Apache-2.0
"""The CLI endpoint of an environment: one line of text in, base64 out.

The body is a single line that the server splits like a shell, in an undocumented way. So a line is written for a POSIX
splitter (``shlex``), and nothing is sent that other splitters would read differently; see :func:`command_line`.

Source: guide "Creación de un token de la CLI de Apache Airflow"; FACTS on limits and answers.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json as jsonlib
import re
import shlex
import threading
import time
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.http.errors import mask_secrets, truncate, unended
from airflow_mwaa_provider.client.http.retrying import held, time_left_s
from airflow_mwaa_provider.client.http.web_server import WebServer, WebServerSettings
from airflow_mwaa_provider.client.models import CliResult
from airflow_mwaa_provider.exceptions import (
    CallTimeout,
    CliCommandFailed,
    CliCommandNotAllowed,
    Throttled,
    TokenExpired,
    UnexpectedAnswer,
    UnsendableCommand,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import requests

    from airflow_mwaa_provider.client.aws.control_plane import ControlPlane, WebServerToken

MAX_CONCURRENT_COMMANDS = 4
# A token is valid for 60 s. It is used for less, because the command also needs time to reach the server.
TOKEN_REUSE_S = 45.0
# How long a command waits for one of the slots, outside of a call that has its own deadline.
SLOT_WAIT_S = 60.0
_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)+[A-Z]\w*: |[A-Z]\w*(?:Error|Exception): ")
SEE_OUTPUT = "Correct the command."


def command_line(argv: Sequence[str]) -> str:
    """Quote an Airflow command so that the server's splitter returns exactly these arguments.

    :param argv: without the leading ``airflow``: ``["variables", "set", "key", "it's"]``.
    :raises UnsendableCommand: an argument cannot arrive unchanged: a NUL character, or half of a surrogate pair.
    """
    if not argv:
        raise UnsendableCommand("The command is empty. Write it as ['dags', 'list'].")
    for argument in argv:
        if not isinstance(argument, str):
            raise UnsendableCommand(f"An argument of the command is a {type(argument).__name__}. Give strings only.")
        if "\x00" in argument:
            raise UnsendableCommand(
                f"An argument of {' '.join(argv[:2])!r} contains a NUL character, which no command line can carry. "
                "Encode the value, as JSON for example."
            )
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise UnsendableCommand(
                f"An argument of {' '.join(argv[:2])!r} contains half a surrogate pair, which UTF-8 cannot encode."
            ) from None
    line = " ".join(shlex.quote(argument) for argument in argv)
    if shlex.split(line) != list(argv):
        raise UnsendableCommand(f"The arguments of {' '.join(argv[:2])!r} do not survive quoting.")
    return line


def json_argument(value: Any) -> str:
    r"""Write JSON in printable ASCII without space, ``'``, ``$`` and ``` ` ```.

    Inside JSON's strings these characters are written as ``\uXXXX``; between them JSON needs no space.
    :func:`command_line` puts it in single quotes. A POSIX splitter returns it unchanged, a non-POSIX one and
    ``str.split`` return it as one word.

    :raises UnsendableCommand: the value is not JSON.
    """
    try:
        text = jsonlib.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnsendableCommand(f"conf cannot be written as JSON: {error}.") from None
    return re.sub(r"[ '$`\x7f]", lambda match: f"\\u{ord(match[0]):04x}", text)


class CliEndpoint:
    """Runs Airflow CLI commands in an environment, at most four at once per instance; thread-safe.

    A command is sent once; only a command whose token was rejected is repeated here.

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
        :param check: raise an error for a command that failed.
        :raises UnsendableCommand: nothing was sent.
        :raises CliCommandNotAllowed: MWAA does not allow the command.
        :raises CliCommandFailed: the command ran and failed (with ``check``).
        """
        line = command_line(argv)
        if not self._slots.acquire(timeout=time_left_s(SLOT_WAIT_S)):
            raise CallTimeout(
                f"Environment {self._env_name!r}: `airflow {_shown(argv)}` was not sent, because "
                f"{MAX_CONCURRENT_COMMANDS} other commands are still running. Send fewer, or use the REST API.",
                env_name=self._env_name,
                transient=True,
            )
        try:
            response = self._post(line)
        finally:
            self._slots.release()
        result = self._result(response, argv)
        if check and result.exit_status:
            raise CliCommandFailed(
                f"Environment {self._env_name!r}: `airflow {_shown(argv)}` failed: {last_words(result, argv)}. "
                + SEE_OUTPUT,
                result=result,
                env_name=self._env_name,
            )
        return result

    def _post(self, line: str) -> requests.Response:
        refused: WebServerToken | None = None
        for _ in (1, 2):
            token = self._current_token(instead_of=refused)
            response = self._web_server.send(
                "POST",
                f"https://{token.host}/aws_mwaa/cli",
                is_mutating=True,
                headers={"Authorization": f"Bearer {token.value}", "Content-Type": "text/plain"},
                data=line.encode(),
            )
            if response.status_code not in (401, 403):
                return response
            refused = token
        raise TokenExpired(
            f"Environment {self._env_name!r}: the CLI endpoint rejected a new token "
            f"(HTTP {response.status_code}). Check the clock, and that {token.host} is this environment's web server.",
            env_name=self._env_name,
        )

    def _current_token(self, *, instead_of: WebServerToken | None) -> WebServerToken:
        with held(self._lock, self._env_name, "CreateCliToken"):
            now = self._clock()
            if self._token is None or self._token[0] is instead_of or now >= self._token[1]:
                self._token = (self._control_plane.create_cli_token(self._env_name), now + self._token_reuse_s)
            return self._token[0]

    def _result(self, response: requests.Response, argv: Sequence[str]) -> CliResult:
        status = response.status_code
        answer: Any = None
        try:
            answer = jsonlib.loads(response.content)
            stdout, stderr = (
                base64.b64decode(answer[name] or "", validate=False).decode("utf-8", "replace")
                for name in ("stdout", "stderr")
            )
        except (ValueError, KeyError, TypeError, binascii.Error):
            pass  # distinguished below by the status: rejected, busy, or not the CLI endpoint at all
        else:
            return CliResult(stdout, stderr, 0 if status == 200 else 1)
        where = f"Environment {self._env_name!r}: `airflow {_shown(argv)}`"
        asked = response.headers.get("Retry-After", "")
        fields: dict[str, Any] = {
            "env_name": self._env_name,
            "retry_after_s": float(asked) if asked.isdigit() else None,
        }
        if status == 429 or (status == 503 and isinstance(answer, dict)):
            raise Throttled(
                f"{where}: the CLI endpoint is busy (HTTP {status}). It runs {MAX_CONCURRENT_COMMANDS} commands at "
                "once. Send fewer, or use the REST API.",
                transient=True,
                # A server with a problem answers 503 as well, possibly after the command ran.
                ambiguous=status == 503,
                **fields,
            )
        if status == 413:
            raise UnsendableCommand(
                f"{where} is longer than the CLI endpoint accepts (HTTP 413). Send less, or use the REST API.", **fields
            )
        if status == 400 or (400 < status < 500 and isinstance(answer, dict) and status not in (404, 405)):
            raise CliCommandNotAllowed(
                f"{where} was not allowed (HTTP {status}). MWAA allows only some commands; see its list, or use "
                "the REST API.",
                **fields,
            )
        if status < 300 or status >= 500:
            raise UnexpectedAnswer(
                f"{where} answered HTTP {status} without the command's output. It may have taken effect. The web "
                "server may be restarting: try again later. Or MWAA does not allow this command: see its list.",
                status=status,
                transient=status >= 500,
                ambiguous=True,
                **fields,
            )
        raise UnexpectedAnswer(
            f"{where} was not answered by a CLI endpoint (HTTP {status}). Check that the host is the environment's web "
            "server, and that no proxy is in between.",
            status=status,
            **fields,
        )


def parse_json_output(result: CliResult, env_name: str, command: str) -> list[dict[str, Any]]:
    """Read the rows that a command printed with ``-o json``; log lines before and after them are skipped.

    :raises UnexpectedAnswer: the output has no list of objects that begins and ends with a line.
    """
    decoder = jsonlib.JSONDecoder()
    # From the end, because Airflow prints its rows last, and a log may be JSON itself.
    for match in reversed(list(re.finditer(r"^[ \t]*(\[)", result.stdout, flags=re.MULTILINE))):
        try:
            value, end = decoder.raw_decode(result.stdout, match.start(1))
        except ValueError:
            continue  # a log line that begins with a bracket, for example around its time
        rest_of_line = result.stdout[end:].partition("\n")[0]
        if not rest_of_line.strip() and all(isinstance(row, dict) for row in value):
            return list(value)
    if "No data found" in result.stdout:
        return []
    raise UnexpectedAnswer(
        f"Environment {env_name!r}: `airflow {command}` printed no JSON: {last_words(result)}. Make sure that nothing "
        "prints after its rows, or use transport rest_api or web_session.",
        env_name=env_name,
    )


def last_words(result: CliResult, argv: Sequence[str] = (), length: int = 300) -> str:
    """Return the last line that a command wrote, without a full stop: there Airflow prints why it failed.

    What SQLAlchemy adds after an error (the statement, its parameters, a link) is skipped.

    :param argv: the command; its possible secrets are masked, because argparse repeats what it rejects.
    """
    for text in (result.stderr, result.stdout):
        lines = [line for line in text.splitlines() if line.strip()]
        if lines:
            return unended(truncate(mask_secrets(_reason(lines), _secrets(argv)), length))
    return "it printed nothing"


def _reason(lines: Sequence[str]) -> str:
    if not lines[-1].startswith("(Background on this error at"):
        return lines[-1]
    return next((line for line in reversed(lines) if _EXCEPTION.match(line)), lines[-1])


def _shown(argv: Sequence[str]) -> str:
    return truncate(" ".join(argv[:2]), 60)


def _secrets(argv: Sequence[str]) -> list[str]:
    """Return the arguments that may be secret: values that are set, and a run's conf."""
    if list(argv[:2]) in (["variables", "set"], ["connections", "add"], ["users", "create"]):
        given = argv[2:]
    else:
        given = [value for name, value in itertools.pairwise(argv) if name in ("-c", "--conf")]
    return [part for value in given for part in (value, value.partition("=")[2])]
