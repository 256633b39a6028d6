# SPDX-License-Identifier: Apache-2.0
"""Files on the disk; files in S3 are covered by the tests of imports and exports."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from airflow_mwaa_provider.client.stored.files import read_file, write_file
from airflow_mwaa_provider.exceptions import MwaaInputError

pytestmark = pytest.mark.once


def no_s3() -> NoReturn:
    raise AssertionError("S3 isn't needed for a path")


def test_a_file_is_replaced_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    path.chmod(0o644)
    write_file(str(path), b"new", no_s3)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)
    assert [found.name for found in tmp_path.iterdir()] == ["a.json"]


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_file(str(link), b"new", no_s3)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(read_file(str(pipe), no_s3, max_bytes=10)))
    reader.start()
    write_file(str(pipe), b"text", no_s3)
    reader.join(10)
    assert read == [b"text"]
    assert pipe.is_fifo()


@pytest.mark.parametrize("place", ["", "no/such/folder/file"])
def test_where_no_file_can_be(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MwaaInputError, match="cannot be written"):
        write_file(place, b"", no_s3)
    with pytest.raises(MwaaInputError, match="cannot be read"):
        read_file(place, no_s3, max_bytes=1)
