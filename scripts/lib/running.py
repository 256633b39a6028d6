# SPDX-License-Identifier: Apache-2.0
"""What the scripts share: paths, one-line errors, locks, and commands whose output is logged to a file.

Only the standard library: ``bootstrap.py`` uses it before anything is installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

LIB = Path(__file__).resolve().parent
ROOT = LIB.parents[1]
ENVS = ROOT / ".envs"
PARENT = "AIRFLOW_MWAA_TEST_PARENT"
"""Variable with the process ID of the ``scripts/test`` that started this pytest or script."""
LOCK_TIMEOUT_S = 15 * 60
NEEDED_MB = 2500
"""An environment takes 1.5 GB; in addition, uv caches the downloads."""
_TAIL_LINES = 60

# Only the words of an error depend on these, never the behavior.
_CAUSES = (
    (
        re.compile(r"no space left on device", re.IGNORECASE),
        "there is no space left for .envs/ or the installer's cache; free some and try again",
    ),
    (
        re.compile(r"certificate|CERTIFICATE_VERIFY_FAILED|invalid peer", re.IGNORECASE),
        "the package index is not trusted; name its CA bundle in PIP_CERT, as for pip",
    ),
    (
        re.compile(
            r"dns error|failed to lookup|name resolution|name or service not known|connection refused|tcp connect"
            r"|error sending request|max retries exceeded|cannot connect to proxy|network is unreachable|timed out"
            r"|client error \(connect\)|connection broken",
            re.IGNORECASE,
        ),
        "the package index cannot be reached; set PIP_INDEX_URL or a proxy, as for pip",
    ),
    (  # pip's message if an index is unreachable, and if it is the wrong one
        re.compile(r"from versions: none"),
        "the package index cannot be reached, or has no such package; set PIP_INDEX_URL or a proxy, as for pip",
    ),
)


class Failure(Exception):
    """What went wrong and what to do, in one line."""


class Ended(KeyboardInterrupt):
    """SIGTERM or SIGHUP: end now, without waiting for an orderly shutdown of everything that runs."""


def guarded(name: str, main: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Run a script's main function: print errors in one line, and shut down cleanly on Ctrl-C and SIGTERM."""

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
        raise Ended

    # Regardless of what was inherited: background processes of a shell ignore Ctrl-C, and so would the tests, which
    # send it to their own processes.
    _end_with(os.environ.get(PARENT, ""))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # set by nohup
        signal.signal(signal.SIGHUP, end)
    for stream in ("stdin", "stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed by the caller
            setattr(sys, stream, open(os.devnull, "r" if stream == "stdin" else "w"))  # noqa: SIM115, PTH123 - as long as we
    try:
        return main(arguments)
    except Failure as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, RuntimeError, UnicodeError) as error:  # no permission, no space, no home, a file that is not text
        print(f"{name}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130


def _end_with(parent: str) -> None:
    """End this script if the one that started it is killed and so cannot end it."""
    if parent != str(os.getppid()):
        return

    def watch() -> None:
        while str(os.getppid()) == parent:
            time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """Let one process at a time hold a name, also across runs of scripts.

    The system releases the lock when the process that holds it, and everything that it started, have ended: an
    installer that outlives a killed script continues to write, so others wait for it.
    """
    folder = ENVS / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a") as file:
        os.set_inheritable(file.fileno(), True)
        deadline, waited = time.monotonic() + LOCK_TIMEOUT_S, False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waited:
                    print(f"waiting for another run that prepares {name}", file=sys.stderr)
                waited = True
            if time.monotonic() > deadline:
                raise Failure(f"another run has been preparing {name} for {LOCK_TIMEOUT_S // 60} minutes; end it")
            time.sleep(0.2)
        yield


def logged(
    log: Path,
    command: Sequence[str | Path],
    *,
    variables: Mapping[str, str] | None = None,
    shown: Callable[[str], bool] | None = None,
) -> bool:
    """Run a command and log its output to a file; return whether it succeeded.

    :param shown: which of its lines also go to standard error.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=None if variables is None else dict(variables),
            text=True,
            errors="replace",
            cwd=ROOT,  # uv would use the project in the user's current directory
            close_fds=False,  # inherit the lock
            start_new_session=True,  # so that it can be ended with all that it started
        )
        assert process.stdout is not None
        try:
            for line in map(masked, process.stdout):
                file.write(line)
                if shown is not None and shown(line):
                    print(f"  {line}", end="", file=sys.stderr, flush=True)
            return process.wait() == 0
        finally:
            with contextlib.suppress(ProcessLookupError):  # it has ended, unless this script is interrupted
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def masked(text: str) -> str:
    """Return a string without the passwords in its URLs, which pip and uv may print."""
    return re.sub(r"(\w+://)[^\s'\"`]*@", r"\1****@", text)


def install_failure(log: Path, otherwise: str) -> Failure:
    """Return the error of a failed install: a known cause in one line, or else preceded by the end of its log."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    where = log.relative_to(ROOT)
    for pattern, what in _CAUSES:
        for line in reversed(lines):
            if pattern.search(line):
                return Failure(f"{what} ({' '.join(line.split())[:200]}; {where} has it all)")
    print("\n".join(lines[-_TAIL_LINES:]), file=sys.stderr)
    return Failure(f"{otherwise}; see the lines above")


def need_space() -> None:
    """Raise an error unless an environment fits on the disk."""
    free_mb = shutil.disk_usage(ENVS).free // 2**20
    if free_mb < NEEDED_MB:
        raise Failure(
            f"{free_mb} MB are free in {ENVS}, an environment takes {NEEDED_MB}; free some, or clone elsewhere"
        )


def need_git() -> None:
    """Raise an error unless git can list the project's files."""
    if shutil.which("git") is None:
        raise Failure("git is not on PATH; install it")
    asked = subprocess.run(
        ["git", "rev-parse", "--git-dir"],
        cwd=ROOT,
        env=without_git_variables(),
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode:
        raise Failure(
            f"{ROOT} is not a clone that git can read ({asked.stderr.strip().splitlines()[0]}); clone it again"
        )


def without_git_variables() -> dict[str, str]:
    """Return the shell's variables without those that direct git to another repository."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
