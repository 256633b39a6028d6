# SPDX-License-Identifier: Apache-2.0
"""Many processes at once, some of them killed: few requests, no wrong value, and nothing to clean up after them."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_mwaa_provider.secrets.store import VALUE, CacheKeys, Entry, FileStore
from tests import seeds
from tests.secrets.conftest import FERNET_KEY, SecretsService, environment, error, make

ROOT = Path(__file__).resolve().parents[2]
FULL = bool(os.environ.get("AIRFLOW_MWAA_TEST_FULL"))
_FORK = multiprocessing.get_context("fork")


def fork(work: Callable[[], None]) -> int:
    """Start a process that does this, and ends with status 0 on success."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001 - the status says it
        traceback.print_exc()
    finally:
        os._exit(status)


def wait(children: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def in_fresh_process(code: str, service: SecretsService, **variables: str) -> str:
    """Run code in a process like a task's."""
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment(service), "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()[-1]


_LOOK_UP = """
import json, sys
import airflow.secrets, airflow.configuration
before = set(sys.modules)
from airflow_mwaa_provider.secrets.secrets_manager import CachedSecretsManagerBackend
backend = CachedSecretsManagerBackend(cache_dir={folder!r})
value = backend.get_variable("v")
print(json.dumps([value, sorted(set(sys.modules) - before)]))
"""


def test_a_warm_look_up_of_a_fresh_process_loads_nothing_heavy(service: SecretsService, folder: Path) -> None:
    service.put("airflow/variables/v", "1")
    make(folder).get_variable("v")
    value, loaded = json.loads(in_fresh_process(_LOOK_UP.format(folder=str(folder)), service))
    assert value == "1"
    assert service.reads() == 1
    assert "airflow_mwaa_provider.secrets.store" in loaded
    heavy = ("boto", "airflow.providers", "requests", "sqlite3", "airflow_mwaa_provider.secrets.misses")
    assert not [name for name in loaded if name.startswith(heavy)]
    assert "airflow_mwaa_provider.exceptions" not in loaded


def test_sixteen_processes_ask_once_for_each_secret(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A process that has waited long makes its own request. On a busy machine, the first request of a process, which
    # imports boto3, may take that long.
    monkeypatch.setattr("airflow_mwaa_provider.secrets.misses._WAIT_S", 240.0)
    for number in range(20):
        service.put(f"airflow/variables/v{number}", str(number))
    service.calls.clear()

    def look_up(seed: int) -> None:
        order = [*range(20)]
        random.Random(seed).shuffle(order)
        backend = make(folder)
        for number in order:
            assert backend.get_variable(f"v{number}") == str(number)

    for _ in range(3):
        assert wait([fork(lambda seed=seed: look_up(seed)) for seed in range(16)]) == [0] * 16  # type: ignore[misc]
    assert service.reads() == 20
    found = make(folder).cache.statistics.read()
    assert found["hits"] + found["misses"] == 3 * 16 * 20
    assert found["calls"] == 20


def test_a_process_that_hangs_while_it_asks_does_not_hold_up_the_others_for_long(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_mwaa_provider.secrets.misses._WAIT_S", 0.5)
    service.put("airflow/variables/v", "1")
    backend = make(folder)
    locked, let_go = _FORK.Event(), _FORK.Event()

    def hang() -> None:
        with backend.cache.store.lock(backend.cache.identity("variable", "v", None), 5) as had:
            assert had
            locked.set()
            let_go.wait(60)

    child = fork(hang)
    assert locked.wait(30)
    assert backend.get_variable("v") == "1"
    let_go.set()
    assert wait([child]) == [0]


def test_the_lock_of_a_killed_process_is_free(service: SecretsService, folder: Path) -> None:
    service.put("airflow/variables/v", "1")
    backend = make(folder)
    locked = _FORK.Event()

    def hang() -> None:
        with backend.cache.store.lock(backend.cache.identity("variable", "v", None), 5):
            locked.set()
            time.sleep(600)

    child = fork(hang)
    assert locked.wait(30)
    os.kill(child, signal.SIGKILL)
    assert wait([child]) == [-signal.SIGKILL]
    with backend.cache.store.lock(backend.cache.identity("variable", "v", None), 0) as had:
        assert had


@pytest.mark.timeout(900 if FULL else 300)
def test_writers_that_are_killed_never_leave_a_wrong_value(folder: Path) -> None:
    """Each entry says what it must be; writers rewrite them all the time, and are killed at any byte."""
    names = [f"v{number}" for number in range(6)]
    writers, readers, kills = (40, 60, 1000) if FULL else (4, 3, 40)
    identities = [("scope", "variable", name, "") for name in names]
    ended = _FORK.Event()
    read = _FORK.Value("q", 0)
    parent = os.getpid()

    def open_store() -> FileStore:
        return FileStore(str(folder), CacheKeys(FERNET_KEY), max_entries=100, max_bytes=10**7, max_age_s=1000)

    def write() -> None:
        os.nice(5)  # a hundred of them would starve the one that kills
        store, generator = open_store(), random.Random()
        while os.getppid() == parent:  # nothing else ends what remains of a killed test
            identity = generator.choice(identities)
            length = generator.randrange(20_000)
            store.write(Entry(identity, VALUE, f"{identity[2]}:{length}:" + identity[2] * length))

    def check() -> None:
        os.nice(5)
        store, count = open_store(), 0
        while not ended.is_set() and os.getppid() == parent:
            for identity in identities:
                found = store.read(identity)
                if found is not None:
                    assert found.value is not None
                    name, length, rest = found.value.split(":")
                    assert (name, rest) == (identity[2], name * int(length))
                    count += 1
        with read.get_lock():
            read.value += count

    generator = random.Random(seeds.of_the_day())
    checking = [fork(check) for _ in range(readers)]
    writing = [fork(write) for _ in range(writers)]
    killed: list[int] = []
    try:
        for _ in range(kills):
            time.sleep(generator.random() * 0.02)
            place = generator.randrange(writers)
            os.kill(writing[place], signal.SIGKILL)
            killed.append(writing[place])
            writing[place] = fork(write)
    finally:
        for child in writing:
            os.kill(child, signal.SIGKILL)
        ended.set()
    assert wait(killed + writing) == [-signal.SIGKILL] * (kills + writers)
    assert wait(checking) == [0] * readers
    assert read.value > 100
    if FULL:
        print(f"\n{writers} writers, {readers} readers, {kills} killed: {read.value} reads, none wrong")
    left = list(folder.rglob("*.tmp"))
    for path in left:
        os.utime(path, (time.time() - 100, time.time() - 100))
    for path in folder.rglob("swept"):
        path.unlink()
    open_store().write(Entry(identities[0], VALUE, "v0:0:"))
    assert not list(folder.rglob("*.tmp"))


def test_while_nobody_answers_one_process_in_half_a_minute_tries(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.put("airflow/variables/v", "1")
    make(folder, cache_ttl_s=300).get_variable("v")
    service.fault = lambda action, request: error("ThrottlingException")
    service.calls.clear()

    def look_up() -> None:
        # It has expired for all of them.
        assert make(folder, cache_ttl_s=300).get_variable("v") == "1"

    clock = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda which: clock(which) + 400)
    assert wait([fork(look_up) for _ in range(12)]) == [0] * 12
    assert service.reads() == 3  # one look-up, and what boto3 repeats


def test_locks_that_the_file_system_lacks_do_not_hold_up(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    service.put("airflow/variables/v", "1")
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    assert [make(folder).get_variable("v") for _ in range(3)] == ["1"] * 3
    assert service.reads() == 1
    assert slept == []  # as it does for a lock that another process holds


def test_a_process_that_is_stopped_while_it_counts_holds_up_nobody(service: SecretsService, folder: Path) -> None:
    backend = make(folder)
    service.put("airflow/variables/v", "1")
    backend.get_variable("v")
    [path] = folder.rglob("statistics")
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert backend.get_variable("v") == "1"
    assert backend.get_variable("v") == "1"
    assert backend.cache.statistics.read()["hits"] == 1


def test_a_child_that_was_forked_in_the_middle_keeps_no_lock(service: SecretsService, folder: Path) -> None:
    service.put("airflow/variables/v", "1")
    backend = make(folder)
    identity = backend.cache.identity("variable", "v", None)
    let_go = _FORK.Event()
    with backend.cache.store.lock(identity, 5) as had:
        assert had
        child = fork(lambda: let_go.wait(60) and None)
    with backend.cache.store.lock(identity, 0) as had:
        assert had
    let_go.set()
    assert wait([child]) == [0]
