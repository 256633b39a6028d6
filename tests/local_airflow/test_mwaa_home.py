# SPDX-License-Identifier: Apache-2.0
"""MWAA's AIRFLOW_HOME path, in real mount namespaces."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_mwaa_provider.local.machine import mwaa_home
from airflow_mwaa_provider.local.machine.mwaa_home import AirflowHome
from airflow_mwaa_provider.local.machine.mwaa_home_program import MWAA_HOME

pytestmark = [pytest.mark.once, pytest.mark.skipif(sys.platform != "linux", reason="only Linux has mount namespaces")]

REPORT = """
import json, os, sys
home = sys.argv[1]
print(json.dumps({
    "pid": os.getpid(),
    "cwd": os.getcwd(),
    "content": open(f"{home}/dags/data.txt").read(),
    "variables": dict(os.environ),
    "above": sorted(os.listdir(os.path.dirname(home))),
    "links": {name: os.readlink(f"/usr/local/{name}") for name in os.listdir("/usr/local")
              if os.path.islink(f"/usr/local/{name}")},
    "session": os.getsid(0),
}))
open(f"{home}/written.txt", "w").close()
"""


def names_in(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def dropped_capability() -> None:
    """As root in a container, without CAP_SYS_ADMIN and so without private mounts."""
    drop_from_bounding_set, sys_admin = 24, 21
    assert ctypes.CDLL(None).prctl(drop_from_bounding_set, sys_admin, 0, 0, 0) == 0


@pytest.fixture
def home(tmp_path: Path) -> AirflowHome:
    return made(tmp_path / "home", "one")


def made(folder: Path, content: str) -> AirflowHome:
    problem = mwaa_home.find_problem(folder.parent)
    if problem:
        pytest.skip(problem)
    (folder / "dags").mkdir(parents=True)
    (folder / "dags" / "data.txt").write_text(content)
    return AirflowHome(folder, is_at_mwaas_path=True)


def test_the_command_finds_its_folder_and_is_otherwise_as_anywhere(home: AirflowHome) -> None:
    variables = {"ONE": "1", "LINES": "a\nb=c", "EMPTY": "", "LC_ALL": "C"}
    with subprocess.Popen(
        home.command([sys.executable, "-Ic", REPORT, MWAA_HOME]),
        stdout=subprocess.PIPE,
        env=variables,
        start_new_session=True,
        text=True,
    ) as process:
        found = json.loads(process.communicate(timeout=60)[0])
    plain = subprocess.run(
        [sys.executable, "-Ic", REPORT, home.folder], stdout=subprocess.PIPE, env=variables, check=True, timeout=60
    )
    assert found["pid"] == found["session"] == process.pid
    assert (found["cwd"], found["content"]) == (MWAA_HOME, "one")
    assert found["variables"] == json.loads(plain.stdout)["variables"]
    here = {entry.name: entry for entry in Path("/usr/local").iterdir()}
    assert found["above"] == sorted({*here, "airflow"})
    assert found["links"] == {name: str(path.readlink()) for name, path in here.items() if path.is_symlink()}
    written = home.folder / "written.txt"
    assert (written.stat().st_uid, written.stat().st_gid) == (os.geteuid(), os.getegid())


def test_two_at_once_have_each_their_own_and_this_machine_has_none(tmp_path: Path) -> None:
    before = names_in("/usr/local")
    homes = [made(tmp_path / name, name) for name in ("one", "two")]
    # Each checks when both are inside, and so does a process that it starts.
    look = 'echo in; read line; sh -c "cat /usr/local/airflow/dags/data.txt"'
    running = [
        subprocess.Popen(
            home.command(["/bin/sh", "-c", look]), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for home in homes
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
    assert names_in("/usr/local") == before
    assert [process.communicate("\n", timeout=60)[0] for process in running] == ["one", "two"]
    assert names_in("/usr/local") == before
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_what_would_be_lost_is_refused(home: AirflowHome) -> None:
    done = subprocess.run(
        home.command(["/bin/sh", "-c", "echo 1 > /usr/local/new"]), capture_output=True, text=True, timeout=60
    )
    assert "Read-only file system" in done.stderr


def test_a_command_that_is_not_there(home: AirflowHome) -> None:
    done = subprocess.run(home.command(["/no/such/command"]), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (126, "/no/such/command: can't be started: No such file or directory\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else; everybody else is tried above")
def test_somebody_who_is_not_root_keeps_their_files(home: AirflowHome, tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    for path in (home.folder, home.folder / "dags"):
        os.chown(path, 4711, 4712)
    program = f"""
import ctypes, os, sys
sys.path.insert(0, {str(mwaa_home.PROGRAM.parent)!r})
import mwaa_home_program
os.setgroups([])
os.setgid(4712)
os.setuid(4711)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as after the exec that this user's interpreter begins with
mwaa_home_program.enter({str(home.folder)!r})
print(open("/usr/local/airflow/dags/data.txt").read(), os.getuid(), os.getgid())
open("/usr/local/airflow/dags/written.txt", "w").close()
"""
    done = subprocess.run([sys.executable, "-Ic", program], capture_output=True, text=True, timeout=60)
    if "Operation not permitted" in done.stderr or "No space left" in done.stderr:
        pytest.skip("this system has no user namespaces for users")
    assert done.stdout == "one 4711 4712\n", done.stderr
    written = (home.folder / "dags" / "written.txt").stat()
    assert (written.st_uid, written.st_gid) == (4711, 4712)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to drop")
def test_a_system_that_refuses_says_why(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from airflow_mwaa_provider.local.machine import mwaa_home
print(mwaa_home.find_problem(Path({str(tmp_path)!r})))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        preexec_fn=dropped_capability,
        timeout=60,
    )
    why = "this system denies a mount namespace (unshare: Operation not permitted)"
    assert done.stdout == f"{why}\n", done.stderr


def test_a_folder_of_this_machines_own_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tmp_path / "airflow"
    monkeypatch.setattr(mwaa_home, "MWAA_HOME", str(theirs))
    theirs.mkdir()
    (theirs / "dags").mkdir()
    assert mwaa_home.find_problem(tmp_path) == "this machine has its own files there"
    (theirs / "dags").rmdir()
    theirs.rmdir()
    theirs.symlink_to(tmp_path)
    assert mwaa_home.find_problem(tmp_path) == "this machine has its own files there"


def test_an_empty_folder_of_this_machine_is_covered(home: AirflowHome) -> None:
    # In a separate namespace, so that nothing is created on this machine: only one of ours has the folder already.
    inner = AirflowHome(home.folder / "dags", is_at_mwaas_path=True)
    done = subprocess.run(
        home.command([*inner.command(["/bin/cat", f"{MWAA_HOME}/data.txt"])]),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "one", done.stderr


def test_where_it_is_not_at_mwaas_path_a_command_stays_as_it_is(tmp_path: Path) -> None:
    assert AirflowHome(tmp_path).command(["/bin/true", "x"]) == ["/bin/true", "x"]
    assert AirflowHome(tmp_path).path == tmp_path
