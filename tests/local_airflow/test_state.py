# SPDX-License-Identifier: Apache-2.0
"""The folder that contains all state."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine import state

pytestmark = pytest.mark.once


@pytest.mark.parametrize("name", ["a", "Source", "my-env_2", "x" * 80])
def test_environment_names_that_mwaa_takes(name):
    assert state.check_environment_name(name) == name


@pytest.mark.parametrize("name", ["", "1a", "-a", "a b", "a/b", "..", "a.b", "x" * 81, "a\n", "ü"])
def test_environment_names_that_mwaa_refuses(name):
    with pytest.raises(LocalMwaaError, match="is not a valid environment name") as caught:
        state.check_environment_name(name)
    assert caught.value.misuse


def test_json_is_private_and_whole(tmp_path):
    path = tmp_path / "record.json"
    state.write_json(path, {"password": "a"})
    assert path.stat().st_mode & 0o777 == 0o600
    state.write_json(path, {"password": "b"})
    assert state.read_json(path) == {"password": "b"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]


def test_a_failed_write_leaves_the_old_content(tmp_path):
    path = tmp_path / "record.json"
    state.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        state.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}


def test_no_file_is_no_content(tmp_path):
    assert state.read_json(tmp_path / "none.json") == {}


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_damaged_file_is_named(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(LocalMwaaError, match=r"record\.json is damaged"):
        state.read_json(path)


def test_create_and_purge(tmp_path):
    folder = state.StateFolder(tmp_path / "a" / "local")
    folder.create()
    folder.environment("source").create()
    assert folder.environment("source").dags.is_dir()
    assert folder.path.stat().st_mode & 0o066 == 0  # no other user can list or write it
    folder.purge()
    assert not folder.path.exists()
    folder.purge()


def test_purge_leaves_what_is_not_ours(tmp_path):
    folder = state.StateFolder(tmp_path)
    folder.create()
    (tmp_path / "mine.txt").write_text("mine")
    folder.purge()
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "project.py").write_text("")
    with pytest.raises(LocalMwaaError, match=r"isn't a local MWAA's folder .*project\.py") as caught:
        state.StateFolder(tmp_path).create()
    assert caught.value.misuse


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalMwaaError, match="can't keep state in"):
        state.StateFolder(tmp_path / "file").create()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for root")
def test_an_unwritable_folder_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(LocalMwaaError, match=r"can't keep state in .*Permission denied"):
        state.StateFolder(tmp_path / "local").create()


def test_a_full_disk_is_explained():
    error = OSError(errno.ENOSPC, "No space left on device", "/x/y")
    assert state.describe_os_error(error) == (
        "No space left on device: /x/y; free some space, or choose another disk with --folder"
    )


def test_the_lock_is_seen_by_others(tmp_path):
    folder = state.StateFolder(tmp_path)
    assert not folder.lock().is_held()
    with folder.lock() as lock:
        assert lock.acquire()
        assert folder.lock().is_held()
        assert not folder.lock().acquire()
    assert not folder.lock().is_held()


def test_home_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state.StateFolder(Path("~/x")).path == tmp_path / "x"
