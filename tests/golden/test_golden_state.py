# SPDX-License-Identifier: Apache-2.0
"""What an earlier release declared to Airflow, pip and DAG files, and what its local MWAA stored, is still valid."""

from __future__ import annotations

import json
import shutil
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from tests.golden import files, provider, rooms

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.once

PROVIDER = files.read("provider.json")


def find(path: str) -> Any:
    """Import an object by its path, which may be an older name."""
    module, _, name = path.rpartition(".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return getattr(import_module(module), name)


@pytest.mark.parametrize("path", PROVIDER["public"])
def test_what_the_reference_named_can_be_imported_from_there(path: str) -> None:
    assert find(path).__doc__


def test_entry_points_are_where_they_were() -> None:
    """Those of an editable install are used until it is reinstalled."""
    now = provider.described()["entry_points"]
    assert PROVIDER["entry_points"].items() <= now.items()
    for value in PROVIDER["entry_points"].values():
        assert callable(find(value.replace(":", ".")))


def test_what_airflow_was_told_is_still_so() -> None:
    """Connections, options and links in use keep their names; there may be more, and wording may change."""
    now, before = provider.described()["provider_info"], PROVIDER["provider_info"]
    assert (now["package-name"], now["name"]) == (before["package-name"], before["name"])
    for name in ("secrets-backends", "extra-links", "cli"):
        assert set(before[name]) <= set(now[name])
    types = {kind["connection-type"]: kind for kind in now["connection-types"]}
    for kind in before["connection-types"]:
        found = types[kind["connection-type"]]
        assert found["hook-class-name"] == kind["hook-class-name"]
        assert find(kind["hook-class-name"])
        for name, field in kind["conn-fields"].items():
            assert found["conn-fields"][name]["schema"] == field["schema"], name
    for section, told in before["config"].items():
        for name, option in told["options"].items():
            found = now["config"][section]["options"][name]
            assert (found["type"], found["default"]) == (option["type"], option["default"]), name


def test_a_kept_secret_is_found(tmp_path: Path) -> None:
    """A cache may be in a folder that survives an upgrade; if it were no longer read, calls would be wasted."""
    before = files.read("secrets.json")
    folder = tmp_path / "cache" / before["folder"]
    folder.mkdir(parents=True)
    for path in (folder, folder.parent):
        path.chmod(0o700)
    for name, content in before["files"].items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(content, encoding="ascii")
    store = provider.cache(folder.parent)
    assert store.folder == str(folder)
    found = [store.read(entry.identity) for entry in provider.cache_entries()]
    assert [json.loads(entry.to_bytes()) for entry in found if entry is not None] == before["entries"]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A local MWAA's folder as an earlier release left it; its daemon seems to be running."""
    folder = tmp_path / "state"
    shutil.copytree(files.FOLDER / "local", folder)
    with rooms.StateFolder(folder).lock() as lock:
        assert lock.acquire()
        yield folder


def test_a_running_local_mwaa_is_found(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command may be upgraded while the processes that it started run."""
    for name in ("AWS_DATA_PATH", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    status = files.read("local/status.json")
    found = rooms.lifecycle.status(state)
    assert {name: found[name] for name in status} == status
    assert found["running"]
    assert rooms.lifecycle.running(state, ["source"]) == found
    variables = rooms.lifecycle.client_variables(state, "source")
    secrets, address = files.read("local/secrets.json"), status["environments"]["source"]["database_url"]
    wanted = {
        "AWS_ENDPOINT_URL": status["endpoint_url"],
        "AWS_ACCESS_KEY_ID": secrets["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": secrets["secret_access_key"],
        "AWS_REGION": "us-east-1",
        "AIRFLOW_MWAA_LOCAL_ADMIN_URL": status["admin_url"],
        "AIRFLOW_MWAA_LOCAL_ADMIN_TOKEN": secrets["admin_token"],
        "AIRFLOW_MWAA_DATABASE_URL": address,
        "AIRFLOW_MWAA_DATABASE_URL_SOURCE": address,
        "PGPASSWORD": files.read("local/postgres/record.json")["airflow_password"],
    }
    assert {name: variables.get(name) for name in wanted} == wanted


def test_an_environment_keeps_its_keys(state: Path, tmp_path: Path) -> None:
    """Its database has values encrypted with the keys, and links and scripts contain the ports."""
    before = files.read("local/environments/source/record.json")
    found = rooms.load_record(state, "source")
    free = {"airflow_home", "web_port", "worker_log_port", "triggerer_log_port"}  # a port may be taken on this machine
    assert {name: found[name] for name in before.keys() - free} == {name: before[name] for name in before.keys() - free}
    # It has everything that a newly created one has.
    assert rooms.load_record(tmp_path / "new", "source").keys() <= found.keys()
    assert json.loads((state / "environments/source/record.json").read_text(encoding="utf-8")) == found


def test_a_folder_of_an_earlier_release_can_be_purged(state: Path) -> None:
    rooms.StateFolder(state).purge()
    assert not state.exists()
