# SPDX-License-Identifier: Apache-2.0
"""Caches of deleted environments are removed after a week; no other folder is, and no look-up is lost."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from airflow_mwaa_provider.secrets import abandoned, look_up_cache
from airflow_mwaa_provider.secrets.abandoned import remove_abandoned
from tests.secrets.conftest import OTHER_KEY, SecretsService, make
from tests.secrets.test_processes import fork, wait

DAY_S = 86_400.0


def grow_old(folder: Path, days: float) -> None:
    """Make a folder, and everything in it, look unused for a number of days."""
    then = time.time() - days * DAY_S
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (then, then), follow_symlinks=False)


def of_another_environment(service: SecretsService, folder: Path, days: float, key: str = OTHER_KEY) -> Path:
    """Return the folder of an environment with its last look-up a given time ago."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__FERNET_KEY", key)
        before = set(folder.iterdir()) if folder.exists() else set()
        service.put("airflow/variables/v", "1")
        assert make(folder).get_variable("v") == "1"
    [made] = set(folder.iterdir()) - before
    assert list(made.glob("*.entry"))
    grow_old(made, days)
    return made


def test_only_what_nobody_has_used_for_a_week_is_removed(service: SecretsService, folder: Path) -> None:
    gone = of_another_environment(service, folder, 8)
    lately = of_another_environment(service, folder, 6, Fernet.generate_key().decode())
    only_read = of_another_environment(service, folder, 8, Fernet.generate_key().decode())
    os.utime(only_read / "statistics")
    service.put("airflow/variables/mine", "2")
    assert make(folder).get_variable("mine") == "2"
    assert not gone.exists()
    assert lately.is_dir()
    assert only_read.is_dir()
    [own] = set(folder.iterdir()) - {lately, only_read}
    grow_old(own, 100)
    remove_abandoned(str(folder), own.name)
    assert make(folder).get_variable("mine") == "2"
    assert service.reads() == 4


def test_what_may_still_be_answered_with_is_kept(service: SecretsService, folder: Path) -> None:
    other = of_another_environment(service, folder, 8)
    service.put("airflow/variables/mine", "2")
    assert make(folder, serve_stale_s=30 * DAY_S).get_variable("mine") == "2"
    assert other.is_dir()


def test_what_a_killed_process_has_moved_away_is_removed(service: SecretsService, folder: Path) -> None:
    other = of_another_environment(service, folder, 0)
    other.rename(f"{other}.removed")
    remove_abandoned(str(folder), "own")
    assert list(folder.iterdir()) == []


def with_another_file(folder: Path) -> None:
    (folder / "thesis.txt").write_text("text")


def readable_by_others(folder: Path) -> None:
    folder.chmod(0o755)


def of_another_user(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(folder, 12345, -1)


def of_another_name(folder: Path) -> None:
    folder.rename(folder.with_name("backup"))


def a_link(folder: Path) -> None:
    elsewhere = folder.parents[1] / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)


@pytest.mark.parametrize("change", [with_another_file, readable_by_others, of_another_user, of_another_name, a_link])
def test_what_is_no_cache_of_this_user_is_left_alone(service: SecretsService, folder: Path, change: Any) -> None:
    other = of_another_environment(service, folder, 8)
    change(other)
    for path in folder.iterdir():
        grow_old(path, 8)
    files = sorted(folder.parent.rglob("*"))
    remove_abandoned(str(folder), "own")
    assert sorted(folder.parent.rglob("*")) == files


def test_no_look_up_is_lost_while_all_is_removed_all_the_time(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abandoned, "_UNUSED_S", -1.0)
    service.put("airflow/variables/v", "right")
    make(folder).get_variable("v")
    ended = multiprocessing.get_context("fork").Event()

    def look_up() -> None:
        for _ in range(30):
            look_up_cache._caches.clear()  # as a fresh process
            backend = make(folder)
            assert [backend.get_variable("v") for _ in range(5)] == ["right"] * 5

    def remove() -> None:
        while not ended.is_set():
            remove_abandoned(str(folder), "own")

    service.calls.clear()
    removing, using = [fork(remove) for _ in range(2)], [fork(look_up) for _ in range(3)]
    statuses = wait(using)
    ended.set()
    assert wait(removing) == [0] * 2
    assert statuses == [0] * 3
    assert service.reads() > 3  # something was removed
