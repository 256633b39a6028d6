# SPDX-License-Identifier: Apache-2.0
"""A plugins.zip from folders, files, wheels, other zips and the archives of Oracle and Apache."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import shlex
import stat
import subprocess
import sys
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from airflow_mwaa_provider.cli.main import main
from airflow_mwaa_provider.exceptions import MwaaInputError, PluginsRefused
from airflow_mwaa_provider.local.airflow import plugins_zip as local_plugins_zip
from airflow_mwaa_provider.packaging.plugins_zip.building import Binaries, build_plugins
from airflow_mwaa_provider.packaging.plugins_zip.environment import configuration_options, merged
from airflow_mwaa_provider.packaging.plugins_zip.inspection import inspect_file
from airflow_mwaa_provider.packaging.zip_writing import Compression
from tests.packaging import oracle_client
from tests.packaging.apache import hadoop_tar, hive_tar, tar_gz
from tests.packaging.zips import AIRFLOW, elf, entry, link, wheel, zipped

pytestmark = pytest.mark.once
EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"
X86_64, ARM = 62, 183


def oracle_zip(path: Path, machine: int = X86_64) -> Path:
    """An Instant Client as Oracle lays it out: libraries, and links to the newest of them."""
    folder = "instantclient_21_12"
    path.write_bytes(
        zipped(
            ("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\n"),
            (f"{folder}/", b""),
            (f"{folder}/BASIC_README", b"Basic Package Information\n"),
            (f"{folder}/libclntsh.so.21.1", elf(machine)),
            (link(f"{folder}/libclntsh.so"), b"libclntsh.so.21.1"),
            (f"{folder}/libnnz21.so", elf(machine)),
        )
    )
    return path


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    folder = tmp_path / "plugins"
    (folder / "hooks" / "__pycache__").mkdir(parents=True)
    (folder / "plugin.py").write_text("import os\n")
    (folder / "hooks" / "mine.py").write_text("import sys\n")
    (folder / "hooks" / "__pycache__" / "mine.cpython-312.pyc").write_bytes(b"x")
    (folder / ".DS_Store").write_bytes(b"x")
    return folder


def content(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_content_of_a_folder_is_at_the_top_without_what_tools_leave(plugins: Path, tmp_path: Path) -> None:
    built = build_plugins([plugins], tmp_path / "plugins.zip")
    assert content(built.zip.path) == {"hooks/mine.py": b"import sys\n", "plugin.py": b"import os\n"}
    assert (built.counts, built.left_out) == ({str(plugins): 2}, {"files of tools": 2})
    assert (built.zip.unpacked_bytes, built.problems, built.options, built.startup_script) == (21, [], {}, "")


def test_every_kind_of_source_in_any_order_gives_the_same_bytes(plugins: Path, tmp_path: Path) -> None:
    single = tmp_path / "single.py"
    single.write_text("import re\n")
    of_somebody = tmp_path / "mylib-1.0-py3-none-any.whl"
    of_somebody.write_bytes(wheel("mylib", "1.0"))
    other = tmp_path / "other.zip"
    other.write_bytes(zipped(("./operators/other.py", b"import io\n"), ("operators/", b""), ("__MACOSX/._a", b"")))
    sources = [plugins, single, of_somebody, other]
    first = build_plugins(sources, tmp_path / "plugins.zip").zip
    for path in plugins.rglob("*.py"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o600)
    again = build_plugins(sources[::-1], tmp_path / "plugins.zip").zip
    assert (again.changed, again.sha256) == (False, first.sha256)
    assert first.names == ("hooks/mine.py", of_somebody.name, "operators/other.py", "plugin.py", "single.py")
    stored = build_plugins(sources, tmp_path / "stored.zip", compression=Compression.STORED).zip
    assert content(stored.path) == content(first.path)
    assert hashlib.sha256(stored.path.read_bytes()).hexdigest() == stored.sha256 != first.sha256


def test_what_two_sources_share_is_the_same_in_any_order(tmp_path: Path) -> None:
    sources = []
    for name, mode, lines in (("a", 0o755, "# of b\nb\nshared\n"), ("b", 0o644, "# of a\na\nshared\n")):
        sources.append(tmp_path / name)
        sources[-1].mkdir()
        (sources[-1] / "run").write_text("#!/bin/sh\n")
        (sources[-1] / "run").chmod(mode)
        (sources[-1] / ".airflowignore").write_text(lines)
    first = build_plugins(sources, tmp_path / "x.zip").zip
    assert not build_plugins(sources[::-1], tmp_path / "x.zip").zip.changed
    assert content(first.path)[".airflowignore"] == b"# of a\na\nshared\n# of b\nb\n"
    with zipfile.ZipFile(first.path) as archive:
        assert archive.getinfo("run").external_attr >> 16 == stat.S_IFREG | 0o755


def test_names_of_other_zips_are_read_as_unzip_reads_them(tmp_path: Path) -> None:
    """Info-ZIP writes UTF-8 without declaring it; others write an old code page, and UTF-8 in addition."""
    other = tmp_path / "other.zip"
    without_flag = zipped(("tarifEE.py", b"")).replace(b"tarifEE.py", "tarifé.py".encode())
    other.write_bytes(without_flag)
    assert build_plugins([other], tmp_path / "x.zip").zip.names == ("tarifé.py",)
    beside = entry("tarifE.py")
    beside.extra = b"\x75\x70" + (15).to_bytes(2, "little") + b"\x01" + bytes(4) + "tarifé.py".encode()
    other.write_bytes(zipped((beside, b"")).replace(b"tarifE.py", b"tarif\x82.py"))
    assert build_plugins([other], tmp_path / "x.zip").zip.names == ("tarifé.py",)


def test_two_sources_may_share_a_file_and_not_contradict_each_other(plugins: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "plugin.py").write_text("import os\n")
    (plugins / ".airflowignore").write_text("data\n")
    (other / ".airflowignore").write_text("data\nmore\n")
    built = build_plugins([plugins, other], tmp_path / "x.zip")
    assert content(built.zip.path)[".airflowignore"] == b"data\nmore\n"
    (other / "plugin.py").write_text("import re\n")
    with pytest.raises(MwaaInputError) as caught:
        build_plugins([plugins, other], tmp_path / "x.zip")
    assert str(caught.value) == (
        f"plugin.py is in {plugins} and, with other content, in {other}. Rename one of them, or leave it out."
    )
    (other / "plugin.py").unlink()
    (other / "hooks").write_text("")
    for sources in ([plugins, other], [other, plugins]):
        with pytest.raises(MwaaInputError, match=r"^hooks is a file in .*, but a folder in .*\. Rename one of the two"):
            build_plugins(sources, tmp_path / "x.zip")


def test_what_has_errors_is_not_written(plugins: Path, tmp_path: Path) -> None:
    (plugins / "hooks" / "time.py").write_text("")
    (plugins / "broken.py").write_text("print 'x'")
    output = tmp_path / "plugins.zip"
    with pytest.raises(PluginsRefused, match=r"time\.py: Airflow runs it .* Errors in all: 2") as caught:
        build_plugins([plugins], output, airflow_version=AIRFLOW)
    assert [problem.code for problem in caught.value.problems] == ["shadows-standard-library", "syntax-error"]
    assert not output.exists()
    done = run(plugins, "--output", output, "--airflow-version", AIRFLOW)
    assert done.exit_code == 1
    assert [line.partition(":")[0] for line in done.output.splitlines()] == ["error", "error"]


def test_links_and_permissions_of_a_folder_are_kept_and_lead_nowhere_else(plugins: Path, tmp_path: Path) -> None:
    (plugins / "bin").mkdir()
    (plugins / "bin" / "run").write_text("#!/bin/sh\n")
    (plugins / "bin" / "run").chmod(0o755)
    (plugins / "bin" / "link").symlink_to("run")
    (plugins / "tools").symlink_to("bin")
    with pytest.raises(
        PluginsRefused, match="tools: It is a symbolic link through which Airflow finds a folder a second time"
    ):
        build_plugins([plugins], tmp_path / "x.zip")
    (plugins / ".airflowignore").write_text("tools\n")
    built = build_plugins([plugins], tmp_path / "x.zip")
    with zipfile.ZipFile(built.zip.path) as archive:
        modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
    assert modes["bin/run"] == stat.S_IFREG | 0o755
    assert stat.S_ISLNK(modes["bin/link"])
    assert stat.S_ISLNK(modes["tools"])
    (plugins / "out").symlink_to("/etc/passwd")
    with pytest.raises(MwaaInputError, match=r"out is a symbolic link that leads out of .*plugins\. Put its target"):
        build_plugins([plugins], tmp_path / "x.zip")


def test_the_zip_may_be_in_the_folder_that_goes_into_it(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(plugins)
    first = build_plugins([Path()], Path("plugins.zip")).zip
    assert first.names == ("hooks/mine.py", "plugin.py")
    assert not build_plugins([Path()], Path("plugins.zip")).zip.changed


def test_the_startup_script_may_be_in_the_folder_that_goes_into_the_zip(
    plugins: Path, archives: Binaries, tmp_path: Path
) -> None:
    arguments = (plugins, "--hive", archives.hive, "--output", tmp_path / "x.zip")
    for done in ("Wrote", "Unchanged:"):
        assert run(*arguments, "--startup-script", plugins / "startup.sh").output.startswith(f"{done} ")
    assert "startup.sh" not in content(tmp_path / "x.zip")


def test_what_is_left_out_is_only_what_tools_leave(plugins: Path, tmp_path: Path) -> None:
    (plugins / ".plugins.zip.x1_y2z3w").write_bytes(b"a build that was killed")
    (plugins / "vendor.pyc").write_bytes(b"a module without its source")
    built = build_plugins([plugins], tmp_path / "x.zip")
    assert built.zip.names == ("hooks/mine.py", "plugin.py", "vendor.pyc")
    assert built.left_out == {"files of tools": 3}


def test_a_loop_of_links_is_told(plugins: Path, tmp_path: Path) -> None:
    (plugins / "one").symlink_to("two")
    (plugins / "two").symlink_to("one")
    with pytest.raises(PluginsRefused, match=r"one \(and 1 more\): .* link"):
        build_plugins([plugins], tmp_path / "x.zip")
    with pytest.raises(MwaaInputError, match="which has no file to copy"):
        build_plugins([plugins], tmp_path / "x.zip", copies_links=True)


def test_lines_of_airflowignore_keep_their_order_and_are_read_as_utf_8(plugins: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()

    def merged_lines(one: bytes, two: bytes) -> bytes:
        (plugins / ".airflowignore").write_bytes(one)
        (other / ".airflowignore").write_bytes(two)
        return content(build_plugins([plugins, other], tmp_path / "x.zip").zip.path)[".airflowignore"]

    assert merged_lines(b"\xef\xbb\xbfa\r\nb\n", b"b\nc") == b"a\nb\nc\n"
    assert merged_lines(b"*.py\n!plugin.py\n", b"*.py\n!mine.py\n") == b"*.py\n!plugin.py\n*.py\n!mine.py\n"
    with pytest.raises(MwaaInputError, match=r"other: its \.airflowignore is not in UTF-8.* Save it as UTF-8\.$"):
        merged_lines(b"", b"tarif\xe9\n")


def test_an_archive_that_is_damaged_inside_leaves_nothing(tmp_path: Path) -> None:
    archive = oracle_zip(tmp_path / "client.zip")
    damaged = bytearray(archive.read_bytes())
    at = damaged.index(b"BASIC_README") + len("BASIC_README") + 4
    damaged[at : at + 4] = b"\xff\xff\xff\xff"
    archive.write_bytes(damaged)
    with pytest.raises(
        MwaaInputError, match=r"BASIC_README: the archive that contains it is damaged; copy or download"
    ):
        build_plugins([], tmp_path / "x.zip", binaries=Binaries(oracle=archive))
    assert [path.name for path in tmp_path.iterdir()] == ["client.zip"]


def test_no_damage_of_an_archive_is_too_much(archives: Binaries, tmp_path: Path) -> None:
    """Whatever bytes are wrong, it is used unchanged, or refused in one line."""
    assert archives.oracle is not None
    assert archives.hadoop is not None
    chance = random.Random(7)
    refused = 0
    for number in range(200):
        source = archives.oracle if number % 2 else archives.hadoop
        content = bytearray(source.read_bytes())
        if number % 4 == 0:
            content = bytearray(gzip.decompress(content))
        for _ in range(chance.randrange(1, 4)):
            content[chance.randrange(min(len(content), 6000))] = chance.randrange(256)
        broken = tmp_path / source.name
        broken.write_bytes(content)
        with suppress(MwaaInputError):
            binaries = Binaries(oracle=broken) if number % 2 else Binaries(hadoop=broken)
            build_plugins([], tmp_path / "x.zip", binaries=binaries)
            continue
        refused += 1
    assert refused > 50


def test_links_can_be_copied(plugins: Path, tmp_path: Path) -> None:
    (plugins / "lib").mkdir()
    (plugins / "lib" / "libx.so.1").write_bytes(b"x")
    (plugins / "lib" / "libx.so").symlink_to("libx.so.1")
    (plugins / "lib" / "linked.so").symlink_to("libx.so")
    (plugins / "current").symlink_to("lib")
    built = build_plugins([plugins], tmp_path / "x.zip", copies_links=True)
    with zipfile.ZipFile(built.zip.path) as archive:
        assert not any(stat.S_ISLNK(found.external_attr >> 16) for found in archive.infolist())
    libraries = {name: text for name, text in content(built.zip.path).items() if not name.endswith(".py")}
    names = ("libx.so", "libx.so.1", "linked.so")
    assert libraries == dict.fromkeys((f"{folder}/{name}" for folder in ("lib", "current") for name in names), b"x")
    (plugins / "broken").symlink_to("absent")
    with pytest.raises(MwaaInputError, match=r"^broken in .* is a symbolic link to absent, which has no file"):
        build_plugins([plugins], tmp_path / "x.zip", copies_links=True)


def test_links_below_linked_folders_are_copied_as_long_as_that_has_an_end(tmp_path: Path) -> None:
    folder = tmp_path / "plugins"
    (folder / "v1").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "data" / "x.txt").write_text("x")
    (folder / "v1" / "files").symlink_to("../data")
    (folder / "cur").symlink_to("v1")
    (folder / "again").symlink_to("cur/files/../data")

    def build() -> tuple[str, ...]:
        return build_plugins([folder], tmp_path / "x.zip", copies_links=True).zip.names

    assert build() == ("again/x.txt", "cur/files/x.txt", "data/x.txt", "v1/files/x.txt")
    for name, target in (("self", "."), ("up", ".."), ("back", "../cur")):
        (folder / "data" / name).symlink_to(target)
        with pytest.raises(MwaaInputError, match=r"is a symbolic link to .*, a folder that contains it: copying"):
            build()
        (folder / "data" / name).unlink()
    for number in range(20):
        (folder / f"f{number}").mkdir()
        for name in ("one", "two"):
            (folder / f"f{number}" / name).symlink_to(f"../f{number + 1}" if number < 19 else "../data")
    with pytest.raises(MwaaInputError, match=r": replacing links would make more than 50,000 copies\. Remove it\.$"):
        build()


def test_sources_that_cannot_be_used_are_named(plugins: Path, tmp_path: Path) -> None:
    def refused(*sources: Path, **keywords: Any) -> str:
        with pytest.raises(MwaaInputError) as caught:
            build_plugins(sources, tmp_path / "x.zip", airflow_version=AIRFLOW, **keywords)
        return str(caught.value)

    absent = tmp_path / "absent"
    assert refused(absent).startswith(f"{absent} does not exist. Give a folder of plugins, a .py file, a wheel")
    broken = tmp_path / "broken.zip"
    broken.write_bytes(zipped(("plugins/a.py", b""), ("plugins/b.py", b"print 'x'")))
    assert "broken.zip: plugins/: Everything is in one folder" in refused(broken)
    assert refused(broken).endswith(f"Errors in all: 2; --check {broken} lists them.")
    for name, why in (
        ("back\\slash.txt", "a valid name "),
        (os.fsdecode(b"bad\xe9.txt"), "valid UTF-8; rename the file"),
    ):
        (plugins / name).write_bytes(b"")
        assert refused(plugins).startswith(f"{plugins}: {name!r} is not {why}")
        (plugins / name).unlink()
    hadoop = hadoop_tar(tmp_path / "hadoop-3.3.6.tar.gz")
    assert "is an archive, which MWAA does not unpack. Give Hadoop or Hive as --hadoop or --hive" in refused(hadoop)
    assert refused(hadoop).endswith("build a wheel of a source distribution: pip wheel hadoop-3.3.6.tar.gz.")
    assert refused(binaries=Binaries(hive=hadoop)).endswith(
        "Download the binary release of Apache Hive, not its sources."
    )
    assert refused(plugins, binaries=Binaries(libaio=hadoop)).startswith("--libaio is only for Oracle's")
    assert refused(plugins, with_environment_plugin=True).startswith("--environment-plugin sets variables for binaries")
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(hadoop.read_bytes()[:200])
    assert refused(binaries=Binaries(hadoop=cut)) == (
        f"{cut} is not a .tar.gz archive, or is damaged: download it again."
    )
    evil = tar_gz(tmp_path / "evil.tar.gz", {"hadoop-3/bin/hadoop": b"", "hadoop-3/../../x": b""})
    assert "leads out of the archive" in refused(binaries=Binaries(hadoop=evil))
    evil = tar_gz(tmp_path / "evil.tar.gz", {"hadoop-3/bin/hadoop": b"", "hadoop-3/x": "/etc/passwd"})
    assert "hadoop-3/x is a symbolic link that leads out" in refused(binaries=Binaries(hadoop=evil))
    for folder in ("hadoop $(touch PWN)", "hadoop`id`", 'hadoop"', "hadoop;id", "hädoop", os.fsdecode(b"hadoop\xff")):
        evil = tar_gz(tmp_path / "evil.tar.gz", {f"{folder}/bin/hadoop": b""})
        assert refused(binaries=Binaries(hadoop=evil)).endswith("Download the archive again, from its publisher."), (
            folder
        )
    arm = oracle_zip(tmp_path / "arm.zip", ARM)
    assert refused(binaries=Binaries(oracle=arm)).endswith("Download the one for Linux x86-64.")
    other = tmp_path / "client.zip"
    other.write_bytes(zipped(("instantclient_21_12/oci.dll", b"MZ")))
    assert "is not Oracle's Instant Client for Linux" in refused(binaries=Binaries(oracle=other))
    good = oracle_zip(tmp_path / "client.zip")
    assert "Give the libaio.so.1 of Amazon Linux 2023" in refused(binaries=Binaries(oracle=good, libaio=other))


# -- binaries --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Binaries:
    folder = tmp_path_factory.mktemp("archives")
    libaio = folder / "libaio.so.1.0.1"
    libaio.write_bytes(elf(X86_64))
    return Binaries(
        oracle_zip(folder / "instantclient-basic-linux.x64-21.12.0.0.0dbru.zip"),
        libaio,
        hadoop_tar(folder / "hadoop-3.3.6.tar.gz"),
        hive_tar(folder / "apache-hive-3.1.3-bin.tar.gz"),
    )


def test_binaries_keep_their_folders_links_and_permissions(archives: Binaries, tmp_path: Path) -> None:
    built = build_plugins([], tmp_path / "x.zip", binaries=archives, with_environment_plugin=True)
    with zipfile.ZipFile(built.zip.path) as archive:
        modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
        texts = {name: archive.read(name) for name in modes}
    oracle = "instantclient_21_12"
    assert {name.partition("/")[0] for name in modes} == {
        ".airflowignore", "apache-hive-3.1.3-bin", "hadoop-3.3.6", oracle, "mwaa_binaries_environment.py",
    }  # fmt: skip
    assert stat.S_ISLNK(modes[f"{oracle}/libclntsh.so"])
    assert texts[f"{oracle}/libclntsh.so"] == b"libclntsh.so.21.1"
    assert texts[f"{oracle}/libaio.so.1"] == elf(X86_64)
    assert modes["apache-hive-3.1.3-bin/bin/hive"] == stat.S_IFREG | 0o755
    assert texts["hadoop-3.3.6/lib/native/libhadoop.so"] == b"libhadoop.so.1.0.0"
    assert texts[".airflowignore"].decode().split() == ["apache-hive-3.1.3-bin", "hadoop-3.3.6", oracle]
    assert not any("/share/doc/" in name for name in modes)
    assert built.left_out == {"hadoop-3.3.6/share/doc/": 1}
    assert built.problems == inspect_file(built.zip.path) == []
    assert built.oracle is not None
    assert (built.oracle.folder, built.oracle.needed) == (oracle, (f"{oracle}/libaio.so.1", f"{oracle}/libnnz21.so"))
    assert set(built.options) == {
        "mwaa_provider.preload_libraries", "mwaa_env.java_home", "mwaa_env.hadoop_home", "mwaa_env.hadoop_conf_dir",
        "mwaa_env.hive_home", "mwaa_env.path", "mwaa_env.classpath",
    }  # fmt: skip


def test_archives_of_another_day_give_the_same_bytes(archives: Binaries, tmp_path: Path) -> None:
    assert archives.hadoop is not None
    first = build_plugins([], tmp_path / "x.zip", binaries=Binaries(hadoop=archives.hadoop)).zip
    later = hadoop_tar(tmp_path / archives.hadoop.name, time=1_700_000_000)
    assert later.read_bytes() != archives.hadoop.read_bytes()
    assert build_plugins([], tmp_path / "x.zip", binaries=Binaries(hadoop=later)).zip.sha256 == first.sha256


def test_a_second_name_of_a_file_is_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "hadoop.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("hadoop-3/bin/hadoop")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"text"))
        member = tarfile.TarInfo("hadoop-3/bin/hdfs")
        member.type, member.linkname = tarfile.LNKTYPE, "hadoop-3/bin/hadoop"
        archive.addfile(member)
    built = build_plugins([], tmp_path / "x.zip", binaries=Binaries(hadoop=path))
    assert content(built.zip.path)["hadoop-3/bin/hdfs"] == b"text"


def test_libaio_out_of_a_package_of_debian(archives: Binaries, tmp_path: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for name, text in (("./usr/share/doc/x", b"x"), ("./usr/lib/x86_64-linux-gnu/libaio.so.1.0.2", elf(X86_64))):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    package = b"!<arch>\n"
    for name, text in (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", data.getvalue())):
        package += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(text):<10}`\n".encode() + text + b"\n" * (len(text) % 2)
        )
    path = tmp_path / "libaio1.deb"
    path.write_bytes(package)
    built = build_plugins([], tmp_path / "x.zip", binaries=Binaries(oracle=archives.oracle, libaio=path))
    assert content(built.zip.path)["instantclient_21_12/libaio.so.1"] == elf(X86_64)
    for broken in (package[:-300], b"!<arch>\n" + b"x" * 99, b"!<arch>\n"):
        path.write_bytes(broken)
        with pytest.raises(MwaaInputError, match=r"this package has no readable libaio\.so\.1"):
            build_plugins([], tmp_path / "y.zip", binaries=Binaries(oracle=archives.oracle, libaio=path))
    path.write_bytes(b"\xed\xab\xee\xdb" + bytes(99))
    with pytest.raises(MwaaInputError, match="is an RPM package, which only rpm can unpack"):
        build_plugins([], tmp_path / "y.zip", binaries=Binaries(oracle=archives.oracle, libaio=path))


def test_the_plugin_and_the_startup_script_set_the_same_variables(archives: Binaries, tmp_path: Path) -> None:
    built = build_plugins([], tmp_path / "x.zip", binaries=archives, with_environment_plugin=True)
    home = tmp_path / "a home"
    plugins = home / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "plugin.py").write_bytes(content(built.zip.path)["mwaa_binaries_environment.py"])
    (plugins / "airflow").mkdir()
    (plugins / "airflow" / "__init__.py").write_text("")
    (plugins / "airflow" / "plugins_manager.py").write_text("class AirflowPlugin: pass\n")
    names = [variable.name for variable in built.variables]
    show = f"import json, os; print(json.dumps({{name: os.environ.get(name) for name in {names!r}}}))"
    # Twice, as Airflow does in a process and in its forks.
    program = f"import importlib, plugin; importlib.reload(plugin); {show}"
    environ = {"PATH": "/usr/bin:/bin", "CLASSPATH": "/dags/classpath/*", "AIRFLOW_HOME": str(home)}
    by_plugin = subprocess.run(
        [sys.executable, "-c", program],
        cwd=plugins,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    script = f"{built.startup_script}{shlex.quote(sys.executable)} -c {shlex.quote(show)}\n"
    by_script = subprocess.run(
        ["bash", "-euc", script], env=environ, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    found = json.loads(by_plugin)
    assert found == json.loads(by_script)
    assert found == {
        "LD_LIBRARY_PATH": f"{plugins}/instantclient_21_12",
        "JAVA_HOME": "/usr/lib/jvm/jre",
        "HADOOP_HOME": f"{plugins}/hadoop-3.3.6",
        "HADOOP_CONF_DIR": f"{plugins}/hadoop-3.3.6/etc/hadoop",
        "PATH": f"/usr/bin:/bin:{plugins}/hadoop-3.3.6/bin:{plugins}/apache-hive-3.1.3-bin/bin",
        "HIVE_HOME": f"{plugins}/apache-hive-3.1.3-bin",
        "CLASSPATH": f"/dags/classpath/*:{plugins}/apache-hive-3.1.3-bin/lib/*",
    }
    options = configuration_options(merged(built.variables))
    del found["LD_LIBRARY_PATH"]  # which an option sets too late
    expanded = {
        name.removeprefix("mwaa_env.").upper(): value.replace("${PATH}", environ["PATH"]).replace(
            "/usr/local/airflow/plugins", str(plugins)
        )
        for name, value in options.items()
    }
    assert expanded == {**found, "CLASSPATH": f"{plugins}/apache-hive-3.1.3-bin/lib/*"}


# -- the command -----------------------------------------------------------------------------------------


def run(*arguments: object) -> Any:
    return CliRunner().invoke(main, ["package", "plugins", *map(str, arguments)])


def test_the_command_tells_what_it_did_and_what_is_to_be_set(plugins: Path, archives: Binaries, tmp_path: Path) -> None:
    path, script = tmp_path / "plugins.zip", tmp_path / "startup.sh"
    arguments = [plugins, "--oracle", archives.oracle, "--libaio", archives.libaio, "--output", path]
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"Wrote {path}: 8 files, ")
    client = "/usr/local/airflow/plugins/instantclient_21_12"
    assert f"mwaa_provider.preload_libraries: {client}/libaio.so.1,{client}/libnnz21.so\n" in done.output
    assert f'In the task: oracledb.init_oracle_client(lib_dir="{client}")\n' in done.output
    assert 'export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+${LD_LIBRARY_PATH}:}${MWAA_PLUGINS}/instantclient' in done.output
    assert "Airflow 3 forks its tasks" in done.output
    done = run(*arguments, "--startup-script", script, "--environment-plugin")
    assert f"Wrote {script}: the exports" in done.output
    assert "export LD_LIBRARY_PATH" in script.read_text()
    told = json.loads(run(*arguments, "--output", "json", "--startup-script", script).output)
    assert told["startup_script"] == script.read_text()
    assert (told["files"], told["bytes"], told["left_out"]) == (8, path.stat().st_size, {"files of tools": 2})


def test_a_startup_script_that_got_other_parts_is_kept_and_nothing_is_written(
    archives: Binaries, tmp_path: Path
) -> None:
    path, script = tmp_path / "plugins.zip", tmp_path / "startup.sh"
    arguments = ["--hadoop", archives.hadoop, "--output", path, "--startup-script", script]
    assert run(*arguments).exit_code == 0
    own, before = script.read_text(), path.stat().st_mtime_ns
    assert run(*arguments).output.startswith("Unchanged: ")
    for text in (f"{own}export MORE=1\n", "#!/bin/sh\nprecious\n"):
        script.write_text(text)
        done = run(*arguments, "--hive", archives.hive)
        assert (done.exit_code, len(done.output.splitlines())) == (2, 1)
        assert f"{script} exists and differs from what would be written. Choose another name" in done.output
        assert (script.read_text(), path.stat().st_mtime_ns) == (text, before)
    assert run(*arguments, "--force").exit_code == 0
    assert script.read_text() == own


def test_what_cannot_be_written_is_told_before_anything_is(plugins: Path, archives: Binaries, tmp_path: Path) -> None:
    path = tmp_path / "out" / "plugins.zip"
    done = run(plugins, "--output", path)
    assert done.output.endswith("plugins.zip cannot be written: No such file or directory. Choose another place.\n")
    path.parent.mkdir()
    done = run(plugins, "--output", path, "--startup-script", tmp_path / "startup.sh")
    assert done.exit_code == 2
    assert "--startup-script: no binary needs environment variables. Give --oracle" in done.output
    done = run("--hive", archives.hive, "--output", path, "--startup-script", tmp_path / "absent" / "startup.sh")
    assert "startup.sh cannot be written: No such file or directory. Choose another place." in done.output
    assert not list(path.parent.iterdir())
    assert run("--check", path, "--output", path).exit_code == 2, "it writes nothing"


def test_one_file_is_not_one_files(tmp_path: Path) -> None:
    source = tmp_path / "plugin.py"
    source.write_text("import os\n")
    assert ": 1 file, " in run(source, "--output", tmp_path / "plugins.zip").output


def test_an_empty_path_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plugin.py").write_text("import os\n")
    options = ("--oracle", "--libaio", "--hadoop", "--hive", "--startup-script", "--check", "--output")
    for arguments in ((".", ""), *((".", option, "") for option in options)):
        done = run(*arguments)
        assert (done.exit_code, [path.name for path in tmp_path.iterdir()]) == (2, ["plugin.py"]), arguments
        assert "It is empty. Write a path" in done.output or arguments[1] == "--output"


def test_another_file_is_replaced_only_by_force(plugins: Path, tmp_path: Path) -> None:
    path = tmp_path / "plugins.zip"
    path.write_bytes(zipped(("a.py", b"")))
    done = run(plugins, "--output", path)
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1)
    assert "replace it with --force" in done.output
    assert run(plugins, "--output", path, "--force").exit_code == 0
    assert run(plugins, "--output", path).output.startswith("Unchanged: ")


@pytest.mark.skipif(not oracle_client.CAN_BE_MADE, reason="there is no C compiler (cc) to make the client with")
def test_a_client_is_loaded_out_of_the_zip_whatever_the_process_was_started_with(tmp_path: Path) -> None:
    """By python-oracledb itself, from what the local MWAA unpacks, the way that the example DAG loads it."""
    archive, libaio = oracle_client.make(tmp_path)
    built = build_plugins([], tmp_path / "plugins.zip", binaries=Binaries(oracle=archive, libaio=libaio))
    local_plugins_zip.check(built.zip.path, "plugins.zip")
    local_plugins_zip.unpack(built.zip.path, tmp_path / "plugins")
    folder = tmp_path / "plugins" / oracle_client.FOLDER
    assert (folder / "libclntsh.so").readlink() == Path("libclntsh.so.21.1")
    source = (EXAMPLES / "oracle_client.py").read_text(encoding="utf-8")
    load = source.partition("# [START client]")[2].partition("@task")[0]
    program = (
        "import ctypes, os, oracledb\nfrom pathlib import Path\n{}\noracledb.init_oracle_client(lib_dir={})\n"
        "print('.'.join(map(str, oracledb.clientversion())))"
    )

    def run_with(lib_dir: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program.format(load, lib_dir)], env={"AIRFLOW_HOME": str(tmp_path), **environ},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    assert built.oracle is not None
    folder = tmp_path / "plugins" / built.oracle.folder
    ahead = [str(tmp_path / "plugins" / path) for path in built.oracle.needed]
    preloaded = f"[ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL) for path in {ahead}] and {str(folder)!r}"
    assert run_with(preloaded).stdout == f"{oracle_client.VERSION}\n"
    assert run_with("load_client()").stdout == f"{oracle_client.VERSION}\n"
    assert run_with("None", LD_LIBRARY_PATH=str(folder)).stdout == f"{oracle_client.VERSION}\n"
    alone = run_with(repr(str(folder)))
    assert "libnnz21.so: cannot open shared object file" in alone.stderr, "lib_dir alone is not enough on Linux"
