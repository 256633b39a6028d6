# SPDX-License-Identifier: Apache-2.0
"""scripts/test: unit tests on the pins of two Airflow versions, and integration tests in real Airflows."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import canary
from environments import (
    DEFAULT_AIRFLOW,
    OTHER_AIRFLOW,
    add_constraints_option,
    ensure_env,
    known_versions,
    numbers,
)
from running import PARENT, ROOT, Ended, Failure, guarded, need_git

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NO_TESTS = 5
"""pytest's exit status if it collected no tests."""
AT_ONCE = 7
"""Number of suites that run at a time; each uses less than one core."""
_STATUS_EVERY_S = 60.0
_LOOK_EVERY_S = 1.0
"""Interval between searches of the processes for a secret; a search takes some milliseconds."""


@dataclass
class Suite:
    """One run of pytest, or of another command alongside it."""

    label: str
    command: Sequence[str | Path]
    niceness: int = 0
    takes_arguments: bool = True
    """Whether it is a pytest, which receives the arguments meant for pytest."""
    log: IO[bytes] | None = None
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    seconds: float = 0.0
    status: int | None = None

    def start(self, more: Sequence[str], *, shown: bool) -> None:
        """Start it, with output to the terminal, or to an unnamed file that disappears when this process ends."""
        command = [*map(str, self.command), *(more if self.takes_arguments else [])]
        if self.niceness:
            command = ["nice", "-n", str(self.niceness), *command]
        self.log = None if shown else tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=None if self.log is None else subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is forwarded, once
        )

    def output(self) -> bytes:
        """Return its current output."""
        return b"" if self.log is None else os.pread(self.log.fileno(), os.fstat(self.log.fileno()).st_size, 0)

    def has_ended(self) -> bool:
        """Return whether it has ended, and record its status."""
        if self.process is None:
            return False
        if self.status is None and self.process.poll() is not None:
            self.status, self.seconds = self.process.returncode, time.monotonic() - self.began
        return self.status is not None

    def progress(self) -> str:
        """Return its progress, as pytest prints it."""
        percent = re.findall(rb"\[ *(\d+%)\]", self.output())
        return f"{self.label} {percent[-1].decode() if percent else '0%'}"

    def end(self, which: signal.Signals) -> None:
        """Send a signal to it and to its process group."""
        if self.process is not None and self.status is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, which)


class Runner:
    """Run suites in parallel, because they spend most of their time waiting."""

    def __init__(self, suites: Sequence[Suite], more: Sequence[str], selection: str) -> None:
        self._suites = suites
        self._more = more
        self._selection = selection
        self._in_clear: set[str] = set()
        """Where a secret of the tests was found; each suite searches its own files."""

    def run(self) -> int:
        """Run all of them; return the exit status."""
        alone = len(self._suites) == 1
        waiting, running = list(self._suites), list[Suite]()
        shown_at = looked_at = time.monotonic()
        try:
            while waiting or running:
                while waiting and len(running) < AT_ONCE:
                    suite = waiting.pop(0)
                    print(f"== {suite.label}: begun{'' if alone else '; its output follows'}", flush=True)
                    suite.start(self._more, shown=alone)
                    running.append(suite)
                for suite in [suite for suite in running if suite.has_ended()]:
                    running.remove(suite)
                    if called := canary.form_in(suite.output()):
                        self._in_clear.add(f"{called} in the output of {suite.label}")
                    if not waiting and not running:
                        self._show_figures()
                    self._show(suite)
                if running and not alone and time.monotonic() - shown_at > _STATUS_EVERY_S:
                    print(f"   {', '.join(suite.progress() for suite in running)}", flush=True)
                    shown_at = time.monotonic()
                if time.monotonic() - looked_at > _LOOK_EVERY_S:
                    self._in_clear.update(canary.in_processes())
                    looked_at = time.monotonic()
                time.sleep(0.1)
        except Ended:  # what the suites started ends with them
            self._end_all(running, signal.SIGTERM, grace_s=2.0)
            raise
        except BaseException:
            self._end_all(running, signal.SIGINT, grace_s=20.0)
            for suite in running:
                self._show(suite)
            raise
        return self._exit_status()

    def _end_all(self, running: Sequence[Suite], first: signal.Signals, *, grace_s: float) -> None:
        """Let the suites tear down for some time, then kill them."""
        for which in (first, signal.SIGKILL):
            for suite in running:
                suite.end(which)
            deadline = time.monotonic() + grace_s
            with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C: at once
                while not all(suite.has_ended() for suite in running) and time.monotonic() < deadline:
                    time.sleep(0.1)

    def _show(self, suite: Suite) -> None:
        if suite.log is not None:
            print(f"\n== {suite.label}\n", flush=True)
            sys.stdout.buffer.write(suite.output())
            sys.stdout.flush()

    def _show_figures(self) -> None:
        """Print the times before the last suite's own summary, so that the output ends with it."""
        if len(self._suites) > 1:
            print("\n   seconds  suite")
            for suite in self._suites:
                print(f"   {suite.seconds:7.0f}  {suite.label}{f': failed, {suite.status}' * self._failed(suite)}")
            sys.stdout.flush()

    def _failed(self, suite: Suite) -> bool:
        # The selection may have no tests of a kind, but it is an error if all suites are empty.
        return suite.status != 0 and not (suite.status == NO_TESTS and suite.takes_arguments and self._selection)

    def _exit_status(self) -> int:
        if all(suite.status == NO_TESTS for suite in self._suites if suite.takes_arguments):
            raise Failure(f"no test matches: {self._selection}")
        failed = [suite.label for suite in self._suites if self._failed(suite)]
        if failed:
            print(f"test: failed: {', '.join(failed)}", file=sys.stderr)
        for where in sorted(self._in_clear):
            print(f"test: the value of a secret of this run is {where}", file=sys.stderr)
        return 1 if failed or self._in_clear else 0


def take_markers(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Remove ``-m EXPRESSION`` from pytest's arguments: each suite has its own, and only the last one counts."""
    found: str | None = None
    others = list(arguments)
    while "-m" in others[:-1]:
        at = others.index("-m")
        found = others[at + 1]
        del others[at : at + 2]
    return found, others


def planned(
    versions: Sequence[str],
    folders: Sequence[Path],
    more: Sequence[str],
    *,
    asked: str | None,
    full: bool,
    quick: bool,
) -> list[Suite]:
    """Return the suites for versions, oldest first, and their environments, with the longest suite first.

    Unit tests have a lower priority than integration tests, in which Airflow monitors the time of its processes.

    :param asked: a marker expression that narrows all of them.
    """
    # Collecting all files takes pytest some twenty seconds, so each suite collects only its own, or what was requested.
    everywhere = not any((ROOT / argument.partition("::")[0]).exists() for argument in more)

    def suite(label: str, folder: Path, niceness: int, marked: str, paths: Sequence[str], other: str) -> Suite:
        marked = marked if asked is None else f"({marked}) and ({asked})"
        # The second also applies to a requested path.
        arguments = ["-m", marked, f"--ignore={other}", f"--deselect={other}/", *(paths if everywhere else ())]
        return Suite(label, [folder / "bin" / "python", "-m", "pytest", *arguments], niceness)

    newest, folder = versions[-1], folders[-1]
    integration, local = "tests/integration", "tests/local_airflow"
    alone = [("newest", "airflow and not across and not older")]
    if len(versions) == 2 or numbers(versions[0])[0] != numbers(newest)[0]:  # tests/integration starts two
        alone.insert(0, ("older", "older and not across"))
    # Each with its own local MWAA.
    real = [
        suite(f"environments together, from Airflow {newest}", folder, 0, "across", [f"{integration}/across"], local),
        *(
            suite(f"{which} environment alone, from Airflow {newest}", folder, 0, marked, [integration], local)
            for which, marked in alone
        ),
        suite(f"local MWAA of Airflow {newest}", folder, 2, "airflow", [local], integration),
    ]
    marked = {
        version: "not airflow" if full or version == newest else "not airflow and not once" for version in versions
    }
    units = [
        suite(f"unit tests on Airflow {version}", folder, 5, marked[version], [], integration)
        for version, folder in zip(reversed(versions), reversed(folders), strict=True)
    ]
    if everywhere and not quick:
        # They would run alone on one core for minutes at the end; in two halves they end with the others.
        half = "tests/metadata"
        units[:1] = [
            suite(f"unit tests of the metadata on Airflow {newest}", folder, 5, marked[newest], [half], integration),
            suite(
                f"other unit tests on Airflow {newest}", folder, 5, marked[newest], [f"--ignore={half}"], integration
            ),
        ]
    return units if quick else [*real, *units]


def prepare_variables(pythons: str, *, full: bool) -> None:
    """Set the environment variables of the suites."""
    # A contributor's own Airflow settings must not reach the tests, nor the tests their home. The tests start
    # hundreds of interpreters, each of which would compile this project again without bytecode.
    for name in list(os.environ):
        if name.startswith("AIRFLOW__") or name in {"AIRFLOW_HOME", "PYTHONDONTWRITEBYTECODE"}:
            del os.environ[name]
    os.environ["AIRFLOW_MWAA_TEST_PYTHONS"] = pythons
    os.environ[PARENT] = str(os.getpid())
    # The same for all suites, which may run past midnight.
    os.environ.setdefault("AIRFLOW_MWAA_TEST_SEED", datetime.datetime.now(datetime.UTC).strftime("%Y%m%d"))
    canary.value()
    if full:
        os.environ["AIRFLOW_MWAA_TEST_FULL"] = "1"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/test",
        allow_abbrev=False,
        usage="%(prog)s [--airflow X]... [--full | --quick] [OPTIONS] [-- PYTEST-ARGUMENTS]",
        description=f"Unit tests on the pins of Airflow {OTHER_AIRFLOW} and of {DEFAULT_AIRFLOW}, and beside them the "
        "integration tests (marker `airflow`: real Airflows behind the local MWAA), with both interpreters at hand.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--airflow",
        metavar="X",
        action="append",
        default=[],
        help="test on this Airflow version instead; can be repeated",
    )
    which.add_argument(
        "--full",
        action="store_true",
        help="unit tests on every version that has constraints, each of them also as a running environment, and "
        "all tests with their large numbers; AIRFLOW_MWAA_TEST_FULL=1 does so for given versions",
    )
    which.add_argument("--quick", action="store_true", help=f"unit tests of {DEFAULT_AIRFLOW} only")
    parser.add_argument("--beside", metavar="COMMAND", help="another command to run at the same time")
    add_constraints_option(parser)
    end_of_own = arguments.index("--") if "--" in arguments else len(arguments)
    given, more = parser.parse_args(arguments[:end_of_own]), arguments[end_of_own + 1 :]
    try:
        beside = shlex.split(given.beside or "")
    except ValueError as error:
        parser.error(f"--beside {given.beside!r}: {error}")
    need_git()
    versions = given.airflow or [OTHER_AIRFLOW, DEFAULT_AIRFLOW]
    if given.full:
        versions = known_versions(given.constraints)
    elif given.quick:
        versions = [DEFAULT_AIRFLOW]
    versions = sorted(set(versions), key=numbers)
    folders = [ensure_env(version, constraints=given.constraints) for version in versions]
    pythons = (f"{version}={folder / 'bin' / 'python'}" for version, folder in zip(versions, folders, strict=True))
    prepare_variables(os.pathsep.join(pythons), full=given.full)
    full = os.environ.get("AIRFLOW_MWAA_TEST_FULL") == "1"
    selection = " ".join(more)
    asked, more = take_markers(more)
    suites = planned(versions, folders, more, asked=asked, full=full, quick=given.quick)
    if beside:
        suites.insert(0, Suite(given.beside, beside, takes_arguments=False))
    return Runner(suites, more, selection).run()


if __name__ == "__main__":
    sys.exit(guarded("test", main, sys.argv[1:]))
