# SPDX-License-Identifier: Apache-2.0
"""What plugins.zip may contain, and how it is unpacked."""

from __future__ import annotations

import stat
import zipfile

import pytest

from airflow_mwaa_provider.local.airflow import plugins_zip
from airflow_mwaa_provider.local.errors import LocalMwaaError

pytestmark = pytest.mark.once


@pytest.fixture
def archive(tmp_path):
    """Create an archive of ``(name or ZipInfo, text)`` entries."""

    def make(*entries):
        path = tmp_path / "plugins.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, text in entries:
                opened.writestr(name, text)
        return path

    return make


def entry(name, mode):
    made = zipfile.ZipInfo(name)
    made.external_attr = mode << 16
    return made


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_its_content_replaces_the_folders(archive, tmp_path):
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "old.py").write_text("old")
    made = archive(("plugin.py", "1"), ("hooks/", ""), ("hooks/mine.py", "2"), ("ünï code.py", "3"))
    plugins_zip.check(made, "plugins.zip")
    plugins_zip.unpack(made, folder)
    assert content(folder) == {"plugin.py": "1", "hooks/mine.py": "2", "ünï code.py": "3"}
    plugins_zip.unpack(None, folder)
    assert list(folder.iterdir()) == []


def test_a_top_folder_and_backslashes_of_windows_are_kept_as_folders(archive, tmp_path):
    made = archive(("plugins/plugin.py", "1"), ("plugins\\hooks\\mine.py", "2"))
    plugins_zip.check(made, "plugins.zip")
    plugins_zip.unpack(made, tmp_path / "plugins")
    assert content(tmp_path / "plugins") == {"plugins/plugin.py": "1", "plugins/hooks/mine.py": "2"}


def test_programs_stay_executable(archive, tmp_path):
    plugins_zip.unpack(archive((entry("bin/run", 0o100755), "x"), (entry("data", 0o100644), "x")), tmp_path / "plugins")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "plugins").rglob("*")}
    assert modes["run"] & stat.S_IXUSR
    assert not modes["data"] & stat.S_IXUSR


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../evil.py", "leads out"),
        ("a/../../evil.py", "leads out"),
        ("a\\..\\..\\evil.py", "leads out"),
        ("/etc/evil.py", "absolute path"),
        ("\\evil.py", "absolute path"),
        ("C:\\evil.py", "absolute path"),
        ("c:/evil.py", "absolute path"),
        (entry("link", stat.S_IFLNK | 0o777), "symbolic link that leads out"),
        (entry("pipe", stat.S_IFIFO | 0o666), "neither a file nor a folder"),
    ],
)
def test_what_could_reach_out_is_refused(archive, name, problem):
    with pytest.raises(LocalMwaaError, match=problem) as caught:
        plugins_zip.check(archive(("good.py", "1"), (name, "/etc/passwd")), "sub/plugins.zip")
    assert str(caught.value).startswith("sub/plugins.zip contains")


def link(name):
    return entry(name, stat.S_IFLNK | 0o777)


def test_links_that_stay_inside_are_made(archive, tmp_path):
    made = archive(
        (link("client/libx.so"), "libx.so.1"),
        ("client/libx.so.1", "1"),
        (link("a/b/x"), "../../client"),
        (link("z"), "."),
    )
    plugins_zip.check(made, "plugins.zip")
    folder = tmp_path / "plugins"
    plugins_zip.unpack(made, folder)
    assert (folder / "client" / "libx.so").readlink().name == "libx.so.1"
    assert (folder / "a" / "b" / "x" / "libx.so").read_text() == "1"
    assert (folder / "z").resolve() == folder.resolve()
    plugins_zip.unpack(None, folder)
    assert list(folder.iterdir()) == []


def test_a_link_of_another_system_than_unix_is_a_text_file(archive, tmp_path):
    """As Info-ZIP's unzip makes it."""
    windows = link("libx.so")
    windows.create_system = 0
    made = archive((windows, "libx.so.1"), ("libx.so.1", "1"))
    plugins_zip.check(made, "plugins.zip")
    plugins_zip.unpack(made, tmp_path / "plugins")
    assert not (tmp_path / "plugins" / "libx.so").is_symlink()
    assert content(tmp_path / "plugins") == {"libx.so": "libx.so.1", "libx.so.1": "1"}


@pytest.mark.parametrize(
    "links",
    [
        {"x": ""},
        {"x": "/etc"},
        {"x": ".."},
        {"a/x": "../.."},
        {"a/x": "b/../../../y"},
        {"d/up": "..", "x": "d/up/.."},
        {"x": "y", "y": "/etc"},
    ],
)
def test_links_that_lead_out_are_refused(archive, links):
    with pytest.raises(LocalMwaaError, match="a symbolic link that leads out of the plugins folder"):
        plugins_zip.check(archive(("good.py", "1"), *((link(name), target) for name, target in links.items())), "p.zip")


def test_nothing_is_written_through_a_link(archive, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    made = archive((link("x"), str(outside)), ("x/evil.py", "1"))
    with pytest.raises(LocalMwaaError, match="can't be unpacked"):
        plugins_zip.unpack(made, tmp_path / "plugins")
    assert list(outside.iterdir()) == []


def test_what_is_no_zip_file_is_refused(tmp_path):
    for text in (b"", b"import airflow\n", b"PK\x03\x04 and then nothing"):
        path = tmp_path / "plugins.zip"
        path.write_bytes(text)
        with pytest.raises(LocalMwaaError, match=r"plugins.zip can't be read as a zip file"):
            plugins_zip.check(path, "plugins.zip")


def test_a_damaged_one_is_refused(archive):
    path = archive(("plugin.py", "print('a rather long text')" * 20))
    damaged = bytearray(path.read_bytes())
    damaged[45] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(LocalMwaaError, match=r"is damaged|can't be read"):
        plugins_zip.check(path, "plugins.zip")


def test_a_file_that_is_a_folder_as_well(archive, tmp_path):
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "old.py").write_text("old")
    with pytest.raises(LocalMwaaError, match="can't be unpacked"):
        plugins_zip.unpack(archive(("a", "1"), ("a/b", "2")), folder)
    assert content(folder) == {"old.py": "old"}


def test_an_empty_one_is_how_to_have_none(archive, tmp_path):
    plugins_zip.check(archive(), "plugins.zip")
    plugins_zip.unpack(archive(), tmp_path / "plugins")
    assert list((tmp_path / "plugins").iterdir()) == []
