# SPDX-License-Identifier: Apache-2.0
"""scripts/test and .ci/run: which suites run on what, how they report results, and how they are ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.conftest import chosen
from tests.scripts.clone import ROOT, Clone, executable

SUMMARY = "===== 3 passed in 0.01s ====="


def test_both_versions_and_real_airflows_are_tested(clone: Clone) -> None:
    done = clone.run("test")
    assert done.returncode == 0, done.stderr
    calls = clone.calls("python -m pytest")
    no_local = "--ignore=tests/local_airflow --deselect=tests/local_airflow/"
    no_integration = "--ignore=tests/integration --deselect=tests/integration/"
    assert {call.removeprefix("python -m pytest ") for call in calls} == {
        f"-m across {no_local} tests/integration/across",
        f"-m airflow and not across and not older {no_local} tests/integration",
        f"-m airflow {no_integration} tests/local_airflow",
        f"-m not airflow {no_integration} --ignore=tests/metadata",
        f"-m not airflow {no_integration} tests/metadata",
        f"-m not airflow and not once {no_integration}",
        f"-m older and not across {no_local} tests/integration",
    }
    assert len(calls) == 7
    assert done.stdout.count(SUMMARY) == 7
    assert done.stdout.splitlines()[-1] == SUMMARY
    assert [line for line in done.stderr.splitlines() if line.startswith("Airflow ")] == [
        "Airflow 2.10.3 [dev]: Python 3.11, pins of 2.10.3.txt",
        "Airflow 3.3.1 [dev]: Python 3.12, pins of 3.3.1.txt",
    ]


def test_full_leaves_nothing_out(clone: Clone) -> None:
    done = clone.run("test", "--full")
    assert done.returncode == 0, done.stderr
    calls = [call.removeprefix("python -m pytest ") for call in clone.calls("python -m pytest")]
    versions = re.findall(r"(?m)^Airflow ([\d.]+) ", done.stderr)
    assert versions == ["2.8.1", "2.9.2", "2.10.1", "2.10.3", "2.11.0", "2.11.2", "3.0.6", "3.2.1", "3.3.1"]
    units = [call for call in calls if call.startswith("-m not airflow --ignore=tests/integration ")]
    # The newest version has two suites.
    assert units.count("-m not airflow --ignore=tests/integration --deselect=tests/integration/") == len(versions) - 1
    assert len(units) == len(versions) + 1
    assert len(calls) == len(units) + 4


@pytest.mark.parametrize(
    ("versions", "count"),
    [(["3.3.1"], 1), (["3.2.1", "3.3.1"], 2), (["2.8.1", "2.10.3", "3.3.1"], 2), (["3.0.6", "3.2.1", "3.3.1"], 1)],
)
def test_each_environment_that_the_tests_choose_has_a_suite(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, versions: list[str], count: int
) -> None:
    """A suite without a path would fail, because it has no tests."""
    monkeypatch.setenv("AIRFLOW_MWAA_TEST_PYTHONS", os.pathsep.join(f"{version}=python" for version in versions))
    assert len(chosen()) == count
    given = (argument for version in versions for argument in ("--airflow", version))
    done = clone.run("test", *given)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" environment alone, from Airflow 3.3.1: begun") == count


def test_what_comes_after_the_dashes_is_for_pytest(clone: Clone) -> None:
    (clone.root / "tests").mkdir()
    (clone.root / "tests" / "a b.py").touch()
    done = clone.run("test", "--", "tests/a b.py::test_it", "-k", "x or y")
    assert done.returncode == 0, done.stderr
    calls = clone.calls("python -m pytest")
    assert len(calls) == 6
    for call in calls:
        assert re.fullmatch(
            r"python -m pytest -m [a-z ]+ --ignore=\S+ --deselect=\S+ tests/a b.py::test_it -k x or y", call
        )


def test_pins_are_the_given_ones_then_the_variables_then_the_packages(clone: Clone, tmp_path: Path) -> None:
    """With no folder beside the clone and no reachable host."""

    def used(*arguments: str, **variables: str) -> str:
        assert clone.run("test", "--quick", *arguments, **variables).returncode == 0
        [install] = clone.calls("uv pip install")
        return Path(re.findall(r"--constraints (.*/used-\S+\.txt)", install)[0]).read_text()

    named, given = tmp_path / "named", tmp_path / "given.txt"
    named.mkdir()
    (named / "3.3.1.txt").write_text("boto3==1.1\n")
    given.write_text("boto3==2.2\n")
    assert "boto3==1.43.56\n" in used()
    assert used(AIRFLOW_MWAA_CONSTRAINTS=str(named)) == "boto3==1.1\n"
    assert used("--constraints", str(given), AIRFLOW_MWAA_CONSTRAINTS=str(named)) == "boto3==2.2\n"


def test_markers_narrow_each_suite(clone: Clone) -> None:
    """Passed to pytest unchanged, they would replace the suite's own."""
    done = clone.run("test", "--quick", "--", "-x", "-m", "once or across", "-q")
    assert done.returncode == 0, done.stderr
    [call] = clone.calls("python -m pytest")
    assert call.startswith("python -m pytest -m (not airflow) and (once or across) --ignore=")
    assert call.endswith(" -x -q")


@pytest.mark.parametrize("suite", ["-m not airflow and not once", "--ignore=tests/integration"])
@pytest.mark.parametrize("status", ["1", "2", "5", "139"])
def test_one_suite_that_fails_fails_the_run(clone: Clone, suite: str, status: str) -> None:
    done = clone.run("test", STUB_FAILS=suite, STUB_STATUS=status)
    assert done.returncode == 1
    assert "this is what the tool said" in done.stdout
    assert f": failed, {status}" in done.stdout
    assert re.search(r"(?m)^test: failed: \w", done.stderr)


def test_a_selection_may_be_empty_in_one_suite_but_not_in_all(clone: Clone) -> None:
    done = clone.run("test", "--", "-k", "x", STUB_FAILS="--ignore=tests/integration", STUB_STATUS="5")
    assert done.returncode == 0, done.stderr
    done = clone.run("test", "--", "-k", "misspelt", STUB_FAILS="python -m pytest", STUB_STATUS="5")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "test: error: no test matches: -k misspelt"


@pytest.mark.parametrize("fails", ["no such call", "mypy"])
def test_ci_runs_the_checks_beside_the_tests(clone: Clone, fails: str) -> None:
    (clone.root / ".ci").mkdir()
    run = clone.root / ".ci" / "run"
    run.write_bytes((ROOT / ".ci" / "run").read_bytes())
    variables = {**clone.variables, "STUB_FAILS": fails}
    done = subprocess.run(["bash", run], env=variables, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == (0 if fails == "no such call" else 1), done.stderr
    assert len(clone.calls("python -m pytest -m")) == 7
    assert ("FAILED  types" in done.stdout) == (fails == "mypy")
    assert done.stdout.count(SUMMARY) == 7


def test_an_install_that_was_killed_is_made_anew(clone: Clone) -> None:
    clone.run("test", "--quick")
    [folder] = clone.envs.glob("airflow-3.3.1-dev-*")
    assert clone.run("test", "--quick").returncode == 0
    assert clone.calls("uv venv") == []
    (folder / ".complete").unlink()
    (folder / "bin" / "python").unlink()
    assert clone.run("test", "--quick").returncode == 0
    assert len(clone.calls("uv venv")) == 1


def test_an_install_that_fails_says_so_and_is_tried_again(clone: Clone) -> None:
    done = clone.run("test", "--quick", STUB_FAILS="uv pip install", STUB_SAYS="a \x1b[31mstrange\x1b[0m thing")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "test: error: the install for Airflow 3.3.1 failed; see the lines above"
    assert "strange" in done.stderr
    assert clone.run("test", "--quick").returncode == 0


def test_only_what_has_been_replaced_is_removed_after_a_week(clone: Clone) -> None:
    clone.run("test")
    current = set(clone.envs.glob("airflow-*"))
    replaced, kept_server = clone.envs / "airflow-3.3.1-dev-0123456789", clone.envs / "metadata-0123456789"
    for folder in (replaced, kept_server):
        folder.mkdir()
        (folder / ".used").touch()
    long_ago = time.time() - 8 * 24 * 3600
    for mark in clone.envs.glob("*/.used"):
        os.utime(mark, (long_ago, long_ago))
    assert clone.run("test").returncode == 0
    assert clone.calls("uv venv") == []
    assert set(clone.envs.glob("airflow-*")) == current
    assert not kept_server.exists()


def test_whoever_reads_the_output_may_go(clone: Clone) -> None:
    done = subprocess.run(
        ["bash", "-c", '"$0" --full | head -n 1', *clone.command("test")],
        env=clone.variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.startswith("== environments together")
    assert "Traceback" not in done.stderr
    assert "Broken pipe" not in done.stderr


def test_closed_streams_and_odd_variables(clone: Clone) -> None:
    variables = {**clone.variables, "CDPATH": ".:/", "PYTHONSAFEPATH": "1", "PYTHONHOME": "/nowhere"}
    command = ["sh", "-c", '"$0" --quick <&- >&- 2>&-', *clone.command("test")]
    assert subprocess.run(command, env=variables, timeout=120, check=False).returncode == 0
    assert len(clone.calls("python -m pytest")) == 1


def test_two_runs_at_once_install_once(clone: Clone) -> None:
    runs = [
        subprocess.Popen(
            clone.command("test", "--quick"), env=clone.variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(3)
    ]
    outputs = [run.communicate(timeout=120)[0].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], outputs
    assert len(clone.calls("uv venv")) == 1
    assert len(clone.calls("python -m pytest")) == 3


def test_a_lock_is_given_back_by_a_killed_run(clone: Clone, tmp_path: Path) -> None:
    (clone.envs / "locks").mkdir()
    code = f"import sys; sys.path.insert(0, {str(clone.root / 'scripts/lib')!r})\n"
    code += (
        "import time, running\nwith running.lock('airflow-3.3.1-dev'):\n    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(["python3", "-c", code], env=clone.variables, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    waiting = subprocess.Popen(
        clone.command("test", "--quick"), env=clone.variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert waiting.stderr is not None
    while "waiting for another run that prepares airflow-3.3.1-dev" not in (line := waiting.stderr.readline()):
        assert line, "it did not wait"
    holder.kill()
    holder.communicate()
    _, rest = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, rest


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_ends_its_suites(clone: Clone, tmp_path: Path, which: signal.Signals) -> None:
    pids = tmp_path / "pids"
    run = subprocess.Popen(
        clone.command("test"),
        env={**clone.variables, "STUB_WAITS": str(pids)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not pids.exists() or len(pids.read_text().split()) < 7:  # all that start at once
        assert time.monotonic() < deadline
        assert run.poll() is None
        time.sleep(0.05)
    os.kill(run.pid, which)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert errors.splitlines()[-1] == "test: interrupted"
    wait_for_the_end(pids)


def wait_for_the_end(pids: Path) -> None:
    deadline = time.monotonic() + 30
    while left := [pid for pid in map(int, pids.read_text().split()) if psutil.pid_exists(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_a_run_that_is_killed_ends_the_checks_beside_it(clone: Clone, tmp_path: Path) -> None:
    """The tests' own watcher is tested in test_leftovers.py."""
    pids = tmp_path / "pids"
    pids.touch()
    tool = next(clone.envs.glob("bootstrap-*/bin/tool"))
    wait = 'case "$call" in *check_files*) echo $$ >>"$STUB_PIDS"; exec sleep 60 ;; esac\n'
    executable(tool, tool.read_text().replace('case "$call" in', f'{wait}case "$call" in', 1))
    run = subprocess.Popen(
        clone.command("test", "--quick", "--beside", "scripts/check"),
        env={**clone.variables, "STUB_PIDS": str(pids)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not pids.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.kill()
    run.wait()
    wait_for_the_end(pids)
    while list(tmp_path.glob("airflow-mwaa-check.*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
