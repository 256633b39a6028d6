# SPDX-License-Identifier: Apache-2.0
"""Processes are found and ended, regardless of what they do."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine import processes

# Ignores SIGTERM, and starts a process in another session that also ignores it.
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
print("up", flush=True)
time.sleep(600)
"""


def wait_for(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it didn't happen"
        time.sleep(0.02)


def start_marked(folder, code, environment=None):
    variables = {**os.environ, **processes.marked(folder, environment)}
    return subprocess.Popen([sys.executable, "-c", code], env=variables, start_new_session=True, stdout=subprocess.PIPE)


def end(process):
    process.stdout.close()
    process.wait(10)


def test_a_group_that_left_its_parent_is_found_and_ended(tmp_path):
    process = start_marked(tmp_path, STUBBORN)
    wait_for(lambda: len(processes.find(tmp_path)) == 2)
    assert processes.find(tmp_path / "other") == []
    assert processes.end_all(tmp_path, grace_s=0.3) == 2
    assert processes.find(tmp_path) == []
    end(process)
    assert processes.end_all(tmp_path) == 0


def test_orphans_are_found(tmp_path):
    process = start_marked(tmp_path, STUBBORN)
    wait_for(lambda: len(processes.find(tmp_path)) == 2)
    process.kill()
    process.wait()
    wait_for(lambda: len(processes.find(tmp_path)) == 1)
    processes.end_all(tmp_path, grace_s=0)
    assert processes.find(tmp_path) == []
    end(process)


def test_one_environment_of_several(tmp_path):
    one, two = (start_marked(tmp_path, "import time; time.sleep(600)", name) for name in ("one", "two"))
    wait_for(lambda: len(processes.find(tmp_path)) == 2)
    processes.end_all(tmp_path, "one")
    assert [process.pid for process in processes.find(tmp_path)] == [two.pid]
    processes.end_all(tmp_path)
    end(one)
    end(two)


def test_ourselves_and_our_parents_are_spared(tmp_path, monkeypatch):
    code = f"""
import sys; sys.path[:] = {sys.path!r}
from pathlib import Path
from airflow_mwaa_provider.local.machine import processes
print(len(processes.find(Path({str(tmp_path)!r}))))
"""
    process = start_marked(tmp_path, code)
    assert process.communicate(timeout=60)[0] == b"0\n"


def test_stop_kills_what_does_not_listen(tmp_path):
    async def scenario():
        process = await processes.ManagedProcess.start(
            "stubborn",
            [sys.executable, "-u", "-c", STUBBORN.replace("os.setsid()", "pass")],
            environment={**os.environ, **processes.marked(tmp_path)},
            log_path=tmp_path / "log",
            cwd=tmp_path,
        )
        while process.log_tail().count("up") < 2:
            await asyncio.sleep(0.02)
        assert process.is_running
        await process.stop(grace_s=0.2)
        return process

    process = asyncio.run(scenario())
    assert process.exit_status == -signal.SIGKILL
    wait_for(lambda: processes.find(tmp_path) == [])
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_what_can_not_be_started_is_named(tmp_path):
    async def scenario():
        await processes.ManagedProcess.start(
            "the thing", ["/no/such"], environment={}, log_path=tmp_path / "log", cwd=tmp_path
        )

    with pytest.raises(LocalMwaaError, match="can't start the thing: No such file or directory: /no/such"):
        asyncio.run(scenario())


def test_ports_are_free_and_given_once():
    ports = processes.PortAllocator()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        assert not processes.port_is_free(number)
        assert ports.take(number) != number
    given = [ports.take() for _ in range(20)]
    assert len(set(given)) == 20
    assert ports.take(given[0]) != given[0]


def test_who_seeds_chance_gets_other_ports_all_the_same():
    taken = []
    for _ in range(2):
        random.seed(20261122)
        ports = processes.PortAllocator()
        taken.append([ports.take() for _ in range(10)])
    assert taken[0] != taken[1]


def test_tail(tmp_path):
    log = tmp_path / "log"
    assert processes.tail(log) == ""
    log.write_bytes(b"\xff\n" + b"".join(b"line %d\n" % number for number in range(100_000)))
    assert processes.tail(log, 2) == "line 99998\nline 99999"


def test_a_renamed_process_keeps_its_marker(tmp_path):
    pytest.importorskip("setproctitle")
    code = "import setproctitle, time; setproctitle.setproctitle('x' * 4000); print('up', flush=True); time.sleep(600)"
    process = start_marked(tmp_path, code)
    assert process.stdout.readline() == b"up\n"
    assert psutil.Process(process.pid).cmdline()[0].startswith("xxx")
    assert [found.pid for found in processes.find(tmp_path)] == [process.pid]
    processes.end_all(tmp_path)
    end(process)
