# SPDX-License-Identifier: Apache-2.0
"""Zips as tools and people create them, most of them broken, and the table in the docs with the report for each.

``python -m tests.packaging.zips`` prints the table.
"""

from __future__ import annotations

import io
import stat
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from airflow_mwaa_provider.packaging.plugins_zip.inspection import inspect_file

AIRFLOW = "2.10.3"  # its Python is not newer than any that runs this
PLUGIN = b"import os\n"
CP311 = "mylib-1.0-cp311-cp311"
MYLIB_1_0 = "mylib-1.0-py3-none-any.whl"
MYLIB_1_1 = "mylib-1.1-py3-none-any.whl"
Entry = tuple[str | zipfile.ZipInfo, bytes]


@dataclass(frozen=True)
class Broken:
    """A broken zip.

    :param code: of the problem that the table shows.
    :param title: what is wrong with it, for people.
    :param write: writes it to a path.
    """

    code: str
    title: str
    write: Callable[[Path], None]


def entry(name: str, *, mode: int = 0o100644, system: int = 3) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
    made.create_system = system
    made.external_attr = mode << 16
    return made


def link(name: str) -> zipfile.ZipInfo:
    return entry(name, mode=stat.S_IFLNK | 0o777)


def zipped(*entries: Entry, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(content, "w", compression) as archive:
        warnings.simplefilter("ignore")  # about duplicate names
        for name, text in entries:
            archive.writestr(name, text, compression)
    return content.getvalue()


def wheel(distribution: str, version: str, *more: Entry, about: str = "", sign: str = "Wheel-Version: 1.0\n") -> bytes:
    metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n{about}".encode()
    folder = f"{distribution}-{version}.dist-info"
    return zipped(
        (f"{distribution}/__init__.py", b""),
        *more,
        (f"{folder}/METADATA", metadata),
        (f"{folder}/WHEEL", sign.encode()),
        (f"{folder}/RECORD", b""),
    )


def plugin(name: str) -> bytes:
    imports = "from airflow.plugins_manager import AirflowPlugin\n\n\n"
    return f"{imports}class Mine(AirflowPlugin):\n    name = {name!r}\n".encode()


def elf(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00" + machine.to_bytes(2, "little") + bytes(44)


def patched(content: bytes, local: int, central: int, value: bytes) -> bytes:
    """Write a value into each local header and each entry of the directory, at these offsets."""
    made = bytearray(content)
    for signature, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        at = made.find(signature)
        while at >= 0:
            made[at + offset : at + offset + len(value)] = value
            at = made.find(signature, at + 4)
    return bytes(made)


def of(*entries: Entry, compression: int = zipfile.ZIP_DEFLATED) -> Callable[[Path], None]:
    return lambda path: (path.write_bytes(zipped(*entries, compression=compression)), None)[1]


def raw(make: Callable[[], bytes]) -> Callable[[Path], None]:
    return lambda path: (path.write_bytes(make()), None)[1]


def _damaged() -> bytes:
    content = bytearray(zipped(("plugin.py", b"x = 'a text'\n"), compression=zipfile.ZIP_STORED))
    content[content.index(b"a text")] ^= 1
    return bytes(content)


def _overlapping() -> bytes:
    content = bytearray(zipped(("a.txt", b"a"), ("b.txt", b"b"), compression=zipfile.ZIP_STORED))
    second = content.rindex(b"PK\x01\x02")
    content[second + 42 : second + 46] = bytes(4)  # the second begins where the first does
    return bytes(content)


def _too_large() -> bytes:
    content = zipped(*((f"{number}.bin", bytes(1000)) for number in range(3)))
    return patched(content, 22, 24, b"\xf0\xff\xff\xff")


def _over_1_gb(path: Path) -> None:
    content = zipped(("plugin.py", PLUGIN))
    with path.open("wb") as file:
        file.seek((1 << 30) + (1 << 20))  # a hole; a zip may have anything before its first entry
        file.write(content)


def _wheel(name: str) -> Callable[[Path], None]:
    distribution, version, *_ = name.split("-")
    return of((name, wheel(distribution, version)))


BROKEN = [
    Broken("not-a-zip", "a `.tar.gz` with another name", raw(lambda: b"\x1f\x8b\x08" + bytes(50))),
    Broken("truncated", "an interrupted upload", raw(lambda: zipped(("plugin.py", PLUGIN * 99))[:60])),
    Broken("damaged", "a byte of an entry changed", raw(_damaged)),
    Broken(
        "top-folder", "the folder zipped, not its content (Windows Explorer, Finder)",
        of(("plugins/plugin.py", PLUGIN), ("plugins/hooks/mine.py", PLUGIN)),
    ),
    Broken(
        "wheels-in-folder", "wheels in a folder of their own",
        of(("wheels/mylib-1.0-py3-none-any.whl", wheel("mylib", "1.0"))),
    ),
    Broken(
        "backslash", "`Compress-Archive` of PowerShell 5",
        of(("plugin.py", PLUGIN), (entry("hooks\\mine.py", system=0), PLUGIN), (entry("hooks\\two.py", system=0), b"")),
    ),
    Broken("absolute-path", "absolute paths", of(("/usr/local/airflow/plugins/plugin.py", PLUGIN))),
    Broken("path-leads-out", "path traversal", of(("plugin.py", PLUGIN), ("../dags/evil.py", PLUGIN))),
    Broken("link-leads-out", "a link to a system file", of(("plugin.py", PLUGIN), (link("x"), b"../../../etc/shadow"))),
    Broken("link-to-nothing", "a link without its target", of(("plugin.py", PLUGIN), (link("libx.so"), b"libx.so.1"))),
    Broken("link-loop", "a link to itself", of(("plugin.py", PLUGIN), (link("libx.so"), b"libx.so"))),
    Broken(
        "link-not-of-unix", "a link zipped by Python on Windows",
        of(("libx.so.1", elf(62)), (entry("libx.so", mode=stat.S_IFLNK | 0o777, system=0), b"libx.so.1")),
    ),
    Broken("special-file", "a pipe", of(("plugin.py", PLUGIN), (entry("fifo", mode=stat.S_IFIFO | 0o644), b""))),
    Broken("zip-bomb", "65 MiB of zeros in 64 KiB", of(("plugin.py", PLUGIN), ("zeros.bin", bytes(65 << 20)))),
    Broken("overlapping-entries", "entries that share bytes, as a bomb does", raw(_overlapping)),
    Broken("too-large", "entries of 12 GiB in all", raw(_too_large)),
    Broken("over-1-gb", "a zip of more than 1 GB", _over_1_gb),
    Broken("empty-zip", "no file", of()),
    Broken("encrypted", "a password", raw(lambda: patched(zipped(("plugin.py", PLUGIN)), 6, 8, b"\x01\x00"))),
    Broken("compression-unknown", "7-Zip with LZMA", of(("plugin.py", PLUGIN), compression=zipfile.ZIP_LZMA)),
    Broken("compression-unusual", "7-Zip with bzip2", of(("plugin.py", PLUGIN), compression=zipfile.ZIP_BZIP2)),
    Broken(
        "unreadable", "files that only root could read", of((entry("plugin.py", mode=0o100000), PLUGIN)),
    ),
    Broken("name-too-long", "a name of 300 letters", of(("plugin.py", PLUGIN), (300 * "x", b""))),
    Broken("path-too-long", "20 folders of 205 letters", of(("plugin.py", PLUGIN), (20 * f"{205 * 'x'}/" + "a", b""))),
    Broken("name-with-control", "a name with a tab", of(("plugin.py", PLUGIN), ("a\tb.txt", b""))),
    Broken(
        "name-not-utf-8", "a name in an old code page of Windows",
        raw(lambda: zipped(("plugin.py", PLUGIN), ("tarifE.py", PLUGIN)).replace(b"tarifE.py", b"tarif\x82.py")),
    ),
    Broken("same-name-twice", "a file added twice", of(("plugin.py", PLUGIN), ("plugin.py", b"import sys\n"))),
    Broken("file-and-folder", "a file that is also a folder", of(("hooks", b""), ("hooks/mine.py", PLUGIN))),
    Broken("differs-in-case", "names that differ in case", of(("Hooks.py", PLUGIN), ("hooks.py", PLUGIN))),
    Broken("junk", "files of tools", of(("plugin.py", PLUGIN), ("__MACOSX/._plugin.py", b""), (".DS_Store", b""))),
    Broken("secrets-inside", "passwords", of(("plugin.py", PLUGIN), (".env", b"PASSWORD=x"))),
    Broken("archive-inside", "a zip in the zip", of(("plugin.py", PLUGIN), ("client.zip", zipped(("a", b""))))),
    Broken("wheel-name", "a wheel that was renamed", of(("mylib.whl", wheel("mylib", "1.0")))),
    Broken("wheel-damaged", "a wheel that is an error page", of(("mylib-1.0-py3-none-any.whl", b"<html>404</html>"))),
    Broken("wheel-renamed", "a wheel with another version's name", of((MYLIB_1_1, wheel("mylib", "1.0")))),
    Broken(
        "wheel-requires-another-python", "a wheel for older Pythons, as only its metadata says",
        of((MYLIB_1_0, wheel("mylib", "1.0", about="Requires-Python: <3.10\n"))),
    ),
    Broken(
        "wheel-of-another-format", "a wheel of a future format",
        of((MYLIB_1_0, wheel("mylib", "1.0", sign="Wheel-Version: 2.0\n"))),
    ),
    Broken(
        "wheel-leads-out", "a wheel with path traversal",
        of((MYLIB_1_0, wheel("mylib", "1.0", ("../evil.py", PLUGIN)))),
    ),
    Broken("wheel-name-unusual", "a wheel of an old build", _wheel("my__lib-1.0-py3-none-any.whl")),
    Broken("wheel-for-another-python", "a wheel of Python 3.9", _wheel("mylib-1.0-cp39-cp39-manylinux2014_x86_64.whl")),
    Broken("wheel-for-another-processor", "a wheel of a Mac's Docker", _wheel(f"{CP311}-manylinux2014_aarch64.whl")),
    Broken("wheel-for-another-system", "a wheel of Windows", _wheel(f"{CP311}-win_amd64.whl")),
    Broken("wheel-for-another-libc", "a wheel of a newer Linux", _wheel(f"{CP311}-manylinux_2_39_x86_64.whl")),
    Broken(
        "two-versions", "two versions of one distribution",
        of(
            ("my_lib-1.0-py3-none-any.whl", wheel("my_lib", "1.0")),
            ("my_lib-1.1-py3-none-any.whl", wheel("my_lib", "1.1")),
        ),
    ),
    Broken("binary-for-another-processor", "a library for ARM", of(("plugin.py", PLUGIN), ("lib/libx.so", elf(183)))),
    Broken(
        "script-with-crlf", "a script checked out by Git with `autocrlf`",
        of(("plugin.py", PLUGIN), (entry("bin/run", mode=0o100755), b"#!/bin/sh\r\necho\r\n")),
    ),
    Broken(
        "not-executable", "a program zipped on Windows",
        of(("a.py", b""), (entry("bin/a", mode=0, system=0), b"#!/bin/sh")),
    ),
    Broken("shadows-standard-library", "a hook called `time.py`", of(("plugin.py", PLUGIN), ("hooks/time.py", PLUGIN))),
    Broken("shadows-dependency", "a hook called `redis.py`", of(("plugin.py", PLUGIN), ("hooks/redis.py", PLUGIN))),
    Broken("shadows-airflow", "a plugin called `airflow.py`", of(("airflow.py", PLUGIN))),
    Broken(
        "shadows-this-package", "a plugin with the name of this package",
        of(("plugin.py", PLUGIN), ("mine/airflow_mwaa_provider.py", PLUGIN)),
    ),
    Broken("same-module-name", "a module named as a folder", of(("my/hooks.py", PLUGIN), ("hooks/a.py", PLUGIN))),
    Broken(
        "same-plugin-name", "two plugins with one name", of(("one.py", plugin("same")), ("two.py", plugin("same"))),
    ),
    Broken(
        "folder-twice", "a link to a folder of modules",
        of(("lib/mine.py", PLUGIN), ("plugin.py", PLUGIN), (link("current"), b"lib")),
    ),
    Broken(
        "ignored-by-other-syntax", "a glob, for Airflow 2", of(("a/mine.py", PLUGIN), (".airflowignore", b"/a/*.py\n")),
    ),
    Broken(
        "ignore-file-not-utf-8", "an `.airflowignore` in Latin-1",
        of(("plugin.py", PLUGIN), (".airflowignore", "tarifé\n".encode("latin-1"))),
    ),
    Broken(
        "ignore-file-with-bom", "an `.airflowignore` of Windows' editor",
        of(("plugin.py", PLUGIN), (".airflowignore", b"\xef\xbb\xbfhooks\n")),
    ),
    Broken("ignore-line-unclear", "`(a+)+$`", of(("plugin.py", PLUGIN), (".airflowignore", b"(a+)+$\n"))),
    Broken("airflow-local-settings", "`airflow_local_settings.py`", of(("airflow_local_settings.py", PLUGIN))),
    Broken("syntax-error", "a plugin of Python 2", of(("plugin.py", b"import os\nprint 'x'\n"))),
]  # fmt: skip


def table(folder: Path) -> str:
    """Return the table of the docs."""
    lines = ["| The zip | The report | |", "|---|---|---|"]
    for broken in BROKEN:
        path = folder / "plugins.zip"
        broken.write(path)
        [problem] = [each for each in inspect_file(path, airflow_version=AIRFLOW) if each.code == broken.code]
        path.unlink()
        words = (
            str(problem)
            .replace("|", "\\|")
            .replace("<", "&lt;")
            .replace("*", "\\*")
            .replace("__", "\\_\\_")
            .replace("\t", "\\t")
        )
        lines.append(f"| {broken.title} | {words} | `{broken.code}`, {problem.severity.value} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as _name:
        print(table(Path(_name)))
