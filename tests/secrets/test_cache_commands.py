# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa secrets stats`` and ``invalidate``: the cache that the backends of this shell's configuration use."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_mwaa_provider.cli.main import main
from airflow_mwaa_provider.secrets.kept_cache import KeptCache
from tests.cli.terminal import runner, without_logging_of_others
from tests.secrets.conftest import CANARY, OTHER_KEY, Clock, SecretsService, error, make
from tests.secrets.mistakes import Mistake
from tests.secrets.test_mistakes import configure

NOBODY = Mistake("", "", "")


def run(*arguments: str, status: int = 0) -> Any:
    with without_logging_of_others():
        result = runner().invoke(main, ["secrets", *arguments])
    assert result.exit_code == status, f"{result.exit_code}: {result.output}{result.exception!r}"
    assert CANARY not in result.stdout + result.stderr
    return result


def count_since(folder: Path, seconds: float) -> None:
    """Make the counting begin a given time ago."""
    [path] = folder.glob("*/statistics")
    data = bytearray(path.read_bytes())
    (since,) = struct.unpack_from("<d", data)
    struct.pack_into("<d", data, 0, since - seconds)
    path.write_bytes(data)


@pytest.fixture
def used(service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Look things up as a task would: 2 secrets, 11 look-ups, 3 calls."""
    configure(NOBODY, folder, monkeypatch)
    service.put("airflow/variables/a", CANARY)
    service.put("airflow/connections/a", f"http://u:{CANARY}@h")

    def use() -> None:
        for _ in range(3):
            backend = make(folder)
            backend.get_variable("a")
            backend.get_conn_value("a")
            backend.get_variable("nope")
        for _ in range(2):
            backend.get_variable("a")

    return use


def test_look_ups_and_calls_are_counted_and_priced(used: Callable[[], None], folder: Path) -> None:
    used()
    document = json.loads(run("stats", "--output", "json").stdout)
    assert {name: document[name] for name in ("look_ups", "hits", "negative_hits", "misses", "calls", "secrets")} == {
        "look_ups": 11, "hits": 6, "negative_hits": 2, "misses": 3, "calls": 3, "secrets": 2,
    }  # fmt: skip
    assert document["month"] is None
    assert run("stats").stdout.endswith("too short to estimate a month.\n")
    count_since(folder, 24 * 3600.0)
    month = json.loads(run("stats", "--output", "json").stdout)["month"]
    assert 320 <= month["without_cache"]["calls"] <= 330
    assert 88 <= month["with_cache"]["calls"] <= 90
    assert month["secrets_cost"] == 0.80
    dear = ("stats", "--price-per-10000-calls", "1000", "--price-per-secret", "0.5", "--output", "json")
    month = json.loads(run(*dear).stdout)["month"]
    assert 32 <= month["without_cache"]["calls_cost"] <= 33
    assert month["secrets_cost"] == 1.0
    text = run("stats").stdout
    assert re.search(r"\n  without +3\d\d +\$0\.00\n", text)
    assert all(len(line) <= 80 for line in text.splitlines() if "folder" not in line)


def test_stale_answers_and_errors_are_counted(
    used: Callable[[], None], service: SecretsService, folder: Path, clock: Clock
) -> None:
    used()
    clock.pass_s(400)
    service.fault = lambda action, request: error("InternalServiceError", status=500)
    make(folder).get_variable("a")
    document = json.loads(run("stats", "--output", "json").stdout)
    assert document["stale"] == 1
    assert document["errors"] >= 1


def test_what_is_invalidated_is_asked_for_again(
    used: Callable[[], None], service: SecretsService, folder: Path
) -> None:
    used()
    assert run("invalidate", "a").stdout.startswith("2 cached answers deleted in ")
    service.calls.clear()
    used()
    assert service.reads() == 2
    assert json.loads(run("invalidate", "a", "--variable", "--output", "json").stdout)["deleted"] == 1
    result = run("invalidate", "nope", "never", status=1)
    assert result.stdout.startswith("1 cached answer deleted in ")
    [line] = result.stderr.splitlines()
    assert line.startswith("airflow-mwaa: 'never' is not cached in ")
    used()
    assert json.loads(run("invalidate", "--all", "--output", "json").stdout)["deleted"] == 3
    assert list(KeptCache(str(folder)).entries()) == []
    service.calls.clear()
    used()
    assert service.reads() == 3


def test_answers_of_other_configurations_are_invalidated_too(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell has other variables than a task, and so another scope: the argument is the secret's name."""
    configure(NOBODY, folder, monkeypatch)
    service.put("airflow/variables/v", "old")
    make(folder, region_name="eu-west-1").get_variable("v")
    assert run("invalidate", "v").stdout.startswith("1 cached answer deleted")


@pytest.mark.parametrize("command", [("stats",), ("invalidate", "v")])
def test_a_cache_that_is_not_there_is_one_line(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    configure(NOBODY, folder, monkeypatch)
    [line] = run(*command, status=2).stderr.splitlines()
    assert f"{folder} has no cache of this environment" in line
    assert not folder.exists()
    make(folder).get_variable("v")
    assert run("stats").stdout
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", OTHER_KEY)
    [line] = run(*command, status=2).stderr.splitlines()
    assert "with their Fernet key" in line
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "")
    [line] = run(*command, status=2).stderr.splitlines()
    assert "no Fernet key" in line


def test_another_folder_can_be_named(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make(folder).get_variable("v")
    [line] = run("stats", status=2).stderr.splitlines()
    assert "not one of airflow-mwaa-provider's" in line
    assert "misses         1" in run("stats", "--cache-dir", str(folder)).stdout


@pytest.mark.parametrize("arguments", [(), ("a", "--all")])
def test_names_or_all(arguments: tuple[str, ...]) -> None:
    assert "Give either names or --all." in run("invalidate", *arguments, status=2).stderr
