# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to the cache's files, no look-up is lost, and none gets a wrong value or another's."""

from __future__ import annotations

import os
import random
import shutil
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_mwaa_provider.secrets import store as entry_module
from tests import seeds
from tests.secrets.conftest import CANARY, OTHER_KEY, Clock, SecretsService, make


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.entry"))


def fill(service: SecretsService, folder: Path, count: int = 3) -> Any:
    backend = make(folder)
    for number in range(count):
        service.put(f"airflow/variables/v{number}", f"{CANARY}-{number}")
        assert backend.get_variable(f"v{number}") == f"{CANARY}-{number}"
    return backend


def check(service: SecretsService, backend: Any, reads: int, count: int = 3) -> None:
    """Check that all values are right, after a number of further reads, and then come from the cache."""
    service.calls.clear()
    assert [backend.get_variable(f"v{number}") for number in range(count)] == [f"{CANARY}-{n}" for n in range(count)]
    assert service.reads() == reads
    assert [backend.get_variable(f"v{number}") for number in range(count)] == [f"{CANARY}-{n}" for n in range(count)]
    assert service.reads() == reads


def test_nobody_else_can_read_them_and_nothing_is_in_clear(service: SecretsService, folder: Path) -> None:
    fill(service, folder)
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        assert CANARY.encode() not in (path.read_bytes() if path.is_file() else b"")
        assert "v0" not in path.name


def damage_nothing(path: Path) -> None:
    path.write_bytes(b"")


def damage_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def damage_flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def damage_random(path: Path) -> None:
    path.write_bytes(os.urandom(500))


def damage_readable(path: Path) -> None:
    path.chmod(0o644)


def damage_owner(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, 12345, -1)


def damage_link(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


def damage_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def damage_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def damage_huge(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" " * 10_000_000)


DAMAGES = [value for name, value in sorted(globals().items()) if name.startswith("damage_")]


@pytest.mark.parametrize("damage", [damage for damage in DAMAGES if damage is not damage_folder])
def test_a_damaged_file_is_replaced(service: SecretsService, folder: Path, damage: Any) -> None:
    backend = fill(service, folder)
    damage(files(folder)[0])
    check(service, backend, 1)


def test_a_folder_in_the_place_of_a_file_loses_nothing_but_the_cache(service: SecretsService, folder: Path) -> None:
    backend = fill(service, folder)
    damage_folder(files(folder)[0])
    assert [backend.get_variable(f"v{number}") for number in range(3)] == [f"{CANARY}-{n}" for n in range(3)]


def test_swapped_files_are_ignored(service: SecretsService, folder: Path) -> None:
    backend = fill(service, folder)
    first, second, _ = files(folder)
    first.rename(folder / "x")
    second.rename(first)
    (folder / "x").rename(second)
    check(service, backend, 2)


def test_a_file_that_is_put_back_is_no_younger_for_it(service: SecretsService, folder: Path, clock: Clock) -> None:
    backend = fill(service, folder, 1)
    [path] = files(folder)
    old = path.read_bytes()
    clock.pass_s(301)
    service.put("airflow/variables/v0", "new")
    assert backend.get_variable("v0") == "new"
    path.write_bytes(old)
    os.utime(path)
    assert backend.get_variable("v0") == "new"


def test_files_of_another_machine_are_ignored(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = fill(service, folder)
    monkeypatch.setattr(entry_module, "_boot_id", "another start")
    check(service, backend, 3)


def test_another_key_reads_nothing(service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(service, folder)
    [first] = folder.iterdir()
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", OTHER_KEY)
    check(service, make(folder), 3)
    # The same file name, as an attacker could choose it.
    [second] = set(folder.iterdir()) - {first}
    for path, other in zip(sorted(first.glob("*.entry")), sorted(second.glob("*.entry")), strict=True):
        shutil.copy(path, other)
    service.calls.clear()
    assert make(folder).get_variable("v0") == f"{CANARY}-0"
    assert service.reads() == 1


def test_a_rotated_key_goes_by_the_first_of_several(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = fill(service, folder)
    key = os.environ["AIRFLOW__CORE__FERNET_KEY"]
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", f"{key},{OTHER_KEY}")
    check(service, backend, 0)
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", f"{OTHER_KEY},{key}")
    check(service, backend, 3)


def test_a_key_that_is_none_of_fernet_s_serves_as_well(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "not base64 at all é")
    check(service, fill(service, folder), 0)


def read_only(folder: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    folder.mkdir(mode=0o500)


def link_elsewhere(folder: Path) -> None:
    (folder.parent / "etc").mkdir()
    folder.symlink_to(folder.parent / "etc")


def plain_file(folder: Path) -> None:
    folder.write_text("")


def open_to_all(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def of_another_user(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, -1)


def in_no_folder(folder: Path) -> None:
    folder.parent.rename(folder.parent.with_suffix(".away"))
    folder.parent.write_text("")


@pytest.mark.parametrize("prepare", [read_only, link_elsewhere, plain_file, open_to_all, of_another_user, in_no_folder])
def test_a_folder_that_cannot_be_trusted_is_not_used(
    service: SecretsService, tmp_path: Path, caplog: pytest.LogCaptureFixture, prepare: Any
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    folder = place / "cache"
    prepare(folder)
    service.put("airflow/variables/v", CANARY)
    for _ in range(3):
        assert make(folder).get_variable("v") == CANARY
    assert service.reads() == 1
    assert not list(tmp_path.rglob("*.entry"))
    [line] = [r.getMessage() for r in caplog.records if "Secrets cache" in r.getMessage()]
    assert str(folder) in line
    assert line.endswith("Name another folder with cache_dir.")


def test_a_full_disk_loses_the_cache_alone(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    backend = fill(service, folder)
    write = os.write

    def full(file: int, data: Any) -> int:
        if Path(f"/proc/self/fd/{file}").readlink().suffix == ".tmp":
            raise OSError(28, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(os, "write", full)
    service.put("airflow/variables/more", CANARY)
    assert [backend.get_variable("more") for _ in range(2)] == [CANARY] * 2
    assert sum("No space left" in record.getMessage() for record in caplog.records) == 1
    assert not list(folder.rglob("*.tmp"))


def test_what_killed_writers_have_left_is_swept_up(service: SecretsService, folder: Path) -> None:
    backend = fill(service, folder)
    left = files(folder)[0].with_suffix(".entry.1.abc.tmp")
    left.write_bytes(b"half")
    os.utime(left, (time.time() - 100, time.time() - 100))
    young = left.with_suffix(".young.tmp")
    young.write_bytes(b"half")
    left.with_name("swept").unlink()  # as after ten seconds
    backend.get_variable("another")
    assert not left.exists()
    assert young.exists()


def test_it_has_bounds(service: SecretsService, folder: Path) -> None:
    backend = make(folder, max_entries=20, max_bytes=30_000)
    for number in range(40):
        backend.get_variable(f"v{number}")
    assert len(files(folder)) == 20
    for number in range(10):
        service.put(f"airflow/variables/big{number}", "x" * 5000)
        assert backend.get_variable(f"big{number}") == "x" * 5000
    assert sum(path.stat().st_size for path in files(folder)) <= 30_000
    service.put("airflow/variables/huge", "x" * 60_000)
    assert backend.get_variable("huge") == "x" * 60_000
    assert files(folder)


ODD = ["", "../../../etc/passwd", "a/b", "a\0b", "\udc80", "é" * 300, "x" * 5000, "a b", ".", "*", "%2e%2e", "a\nb"]


@pytest.mark.parametrize("secret_id", ODD)
def test_no_id_leads_out_of_the_folder_or_to_another_s_value(
    service: SecretsService, folder: Path, tmp_path: Path, secret_id: str
) -> None:
    backend = fill(service, folder)
    before = set(tmp_path.rglob("*"))
    for _ in range(2):
        assert backend.get_variable(secret_id) is None
    assert {path.parent for path in set(tmp_path.rglob("*")) - before} <= {
        files(folder)[0].parent,
        files(folder)[0].parent / "locks",
    }
    check(service, backend, 0)


@pytest.mark.parametrize("value", ["", "\0", "x" * 65_536, "é\n\"'\\", "\u2028", " spaced "])
def test_any_text_comes_back_as_it_is(service: SecretsService, backend: Any, value: str) -> None:
    if value:
        service.put("airflow/variables/odd", value)
    else:  # the service takes no empty text: it may have been put there otherwise
        service.fault = lambda action, request: (
            (200, {"Name": "airflow/variables/odd", "SecretString": ""}) if action == "GetSecretValue" else None
        )
    for _ in range(2):
        assert backend.get_variable("odd") == value
    assert service.reads() == 1


@pytest.mark.parametrize("jump_s", [-1e9, -3600, 3600, 1e9])
def test_a_clock_that_jumps_does_not_matter(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    backend = fill(service, folder)
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + jump_s)
    check(service, backend, 0)
    service.put("airflow/variables/later", CANARY)
    assert backend.get_variable("later") == CANARY


def test_random_damage_never_gives_a_wrong_value(service: SecretsService, folder: Path) -> None:
    generator = random.Random(seeds.of_the_day())
    backend = fill(service, folder, 8)
    for _ in range(150):
        for path in generator.sample(files(folder), 3):
            action = generator.randrange(4)
            if action == 0:
                data = bytearray(path.read_bytes())
                if data:
                    data[generator.randrange(len(data))] = generator.randrange(256)
                path.write_bytes(bytes(data))
            elif action == 1:
                path.write_bytes(path.read_bytes()[: generator.randrange(400)])
            elif action == 2:
                path.write_bytes(generator.choice(files(folder)).read_bytes())
            else:
                path.unlink()
        number = generator.randrange(8)
        assert backend.get_variable(f"v{number}") == f"{CANARY}-{number}"
        for each in range(8):
            assert backend.get_variable(f"v{each}") == f"{CANARY}-{each}"


def test_a_damaged_count_begins_anew(service: SecretsService, folder: Path) -> None:
    backend = fill(service, folder, 1)
    [path] = folder.rglob("statistics")
    for damage in (b"\xff" * len(path.read_bytes()), b"\0", b""):
        path.write_bytes(damage)
        assert backend.get_variable("v0") == f"{CANARY}-0"
        assert backend.cache.statistics.read()["hits"] == 1


def test_a_folder_that_is_deleted_is_made_again(service: SecretsService, folder: Path) -> None:
    backend = fill(service, folder)
    shutil.rmtree(folder)
    check(service, backend, 3)


def test_a_process_that_may_write_no_files_empties_nothing(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = fill(service, folder)
    write = os.write

    def refuse(file: int, data: Any) -> int:
        if Path(f"/proc/self/fd/{file}").readlink().suffix == ".tmp":
            raise OSError(27, "File too large")
        return write(file, data)

    service.put("airflow/variables/more", CANARY)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", refuse)
        assert backend.get_variable("more") == CANARY
        assert backend.get_variable("nothing") is None
    check(service, backend, 0)


def test_a_umask_does_not_matter(service: SecretsService, folder: Path) -> None:
    before = os.umask(0o777)
    try:
        backend = fill(service, folder, 1)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    check(service, backend, 0, 1)


def test_a_folder_that_is_replaced_by_a_link_loses_no_look_up(
    service: SecretsService, folder: Path, tmp_path: Path
) -> None:
    backend = fill(service, folder)
    shutil.rmtree(folder)
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    assert [backend.get_variable(f"v{number}") for number in range(3)] == [f"{CANARY}-{n}" for n in range(3)]
    assert list((tmp_path / "elsewhere").iterdir()) == []
