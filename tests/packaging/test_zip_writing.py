# SPDX-License-Identifier: Apache-2.0
"""Zips: the same contents produce the same bytes, streamed, and written completely or not at all."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import tracemalloc
import zipfile
from typing import TYPE_CHECKING

import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.zip_writing import Compression, OpenedLater, ZipEntry, write_entries, write_zip

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.once
COMMENT = b"a test"


def written(*entries: ZipEntry, compression: Compression = Compression.STORED) -> bytes:
    file = io.BytesIO()
    write_entries(file, entries, comment=COMMENT, compression=compression)
    return file.getvalue()


def test_order_time_and_umask_do_not_count(tmp_path: Path) -> None:
    for name, mode, time in (("one", 0o600, 1), ("other", 0o664, 1_700_000_000)):
        path = tmp_path / name
        path.write_bytes(b"x = 1\n")
        path.chmod(mode)
        os.utime(path, (time, time))
    one = written(ZipEntry.of_file("b.py", tmp_path / "one"), ZipEntry("a/ü.py", b"y"))
    other = written(ZipEntry("a/ü.py", b"y"), ZipEntry.of_file("b.py", tmp_path / "other"))
    assert one == other
    (tmp_path / "one").chmod(0o700)
    assert written(ZipEntry.of_file("b.py", tmp_path / "one"), ZipEntry("a/ü.py", b"y")) != one
    with zipfile.ZipFile(io.BytesIO(one)) as archive:
        assert archive.namelist() == ["a/ü.py", "b.py"]
        assert archive.comment == COMMENT


def test_every_kind_of_content_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"some")
    opened = OpenedLater(lambda: io.BytesIO(b"some"), 4)
    assert written(ZipEntry("x", path)) == written(ZipEntry("x", b"some")) == written(ZipEntry("x", opened))


def test_what_is_unpacked_has_its_links_and_may_be_executed(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\necho it runs\n")
    (tmp_path / "tool").chmod(0o755)
    (tmp_path / "link").symlink_to("tool")
    (tmp_path / "x.zip").write_bytes(
        written(ZipEntry.of_file("bin/tool", tmp_path / "tool"), ZipEntry.of_file("bin/link", tmp_path / "link"))
    )
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
        assert archive.read("bin/link") == b"tool"
    assert modes == {"bin/link": stat.S_IFLNK | 0o777, "bin/tool": stat.S_IFREG | 0o755}


def test_only_what_is_not_compressed_already_is_deflated() -> None:
    entries = [ZipEntry("a.WHL", b"a" * 1000), ZipEntry("a.py", b"a" * 1000)]
    with zipfile.ZipFile(io.BytesIO(written(*entries, compression=Compression.DEFLATED))) as archive:
        assert archive.testzip() is None
        assert [entry.compress_type for entry in archive.infolist()] == [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]
    with zipfile.ZipFile(io.BytesIO(written(*entries))) as archive:
        assert [entry.compress_type for entry in archive.infolist()] == [zipfile.ZIP_STORED] * 2


@pytest.mark.parametrize("compression", list(Compression))
def test_a_large_file_takes_little_memory(tmp_path: Path, compression: Compression) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(64 << 20)
    tracemalloc.start()
    try:
        entries = [ZipEntry("large", tmp_path / "large")]
        done = write_zip(tmp_path / "x.zip", entries, comment=COMMENT, compression=compression)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert done.unpacked_bytes == 64 << 20
    assert peak_bytes < 8 << 20


def test_a_zip_that_is_the_same_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    first = write_zip(path, [ZipEntry("a", b"1")], comment=COMMENT)
    assert (first.changed, first.size_bytes, first.names) == (True, path.stat().st_size, ("a",))
    inode = path.stat().st_ino
    again = write_zip(path, [ZipEntry("a", b"1")], comment=COMMENT)
    assert (again.changed, again.sha256, path.stat().st_ino) == (False, first.sha256, inode)
    other = write_zip(path, [ZipEntry("a", b"2")], comment=COMMENT)
    assert other.changed
    assert other.sha256 != first.sha256


def test_the_umask_says_who_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    for number, (umask, mode) in enumerate(((0o077, 0o600), (0o027, 0o640), (0o022, 0o644))):
        before = os.umask(umask)
        try:
            write_zip(path, [ZipEntry("a", bytes(number))], comment=COMMENT)
        finally:
            os.umask(before)
        assert path.stat().st_mode & 0o777 == mode


def test_what_is_no_such_zip_is_kept_and_nothing_half_written_is_left(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(b"precious")
    with pytest.raises(MwaaInputError, match=r"x\.zip exists and was not written by this command; choose another name"):
        write_zip(path, [ZipEntry("a", b"1")], comment=COMMENT)
    with pytest.raises(MwaaInputError, match=r"a changed while it was being read \(3 bytes, then 2\); try again"):
        write_zip(
            path,
            [ZipEntry("a", OpenedLater(lambda: io.BytesIO(b"12"), 3))],
            comment=COMMENT,
            replace_anything=True,
        )
    with pytest.raises(
        MwaaInputError, match=r"x\.zip cannot be written: .*absent: No such file or directory\. Fix this"
    ):
        write_zip(path, [ZipEntry("a", tmp_path / "absent")], comment=COMMENT, replace_anything=True)
    assert path.read_bytes() == b"precious"
    assert [found.name for found in tmp_path.iterdir()] == ["x.zip"]


@pytest.mark.parametrize("name", ["", "/a", "../a", "a/../b", "./a", "a//b", "a/", "a\\b", "a\0b"])
def test_a_name_that_unpacks_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(
        MwaaInputError, match="is not a valid name for a file in a zip: give a relative path with slashes"
    ):
        written(ZipEntry(name, b""))


def test_a_name_that_no_text_can_hold_is_refused() -> None:
    with pytest.raises(MwaaInputError, match=r"is not valid UTF-8; rename the file"):
        written(ZipEntry(os.fsdecode(b"tarif\xff.py"), b""))


def test_a_name_twice_is_refused() -> None:
    with pytest.raises(MwaaInputError, match="a occurs twice; a zip may contain each name only once"):
        written(ZipEntry("a", b"1"), ZipEntry("a", b"1"))


def test_it_imports_no_airflow() -> None:
    code = "import sys, airflow_mwaa_provider.packaging.zip_writing; sys.exit('airflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
