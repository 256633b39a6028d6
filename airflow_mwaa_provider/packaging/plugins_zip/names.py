# SPDX-License-Identifier: Apache-2.0
"""What the directory of a plugins.zip shows without its content: names, links, sizes."""

from __future__ import annotations

import posixpath
import re
import stat
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from airflow_mwaa_provider.packaging.image import PLUGINS_FOLDER
from airflow_mwaa_provider.packaging.problems import Problem, Severity
from airflow_mwaa_provider.packaging.zip_entries import (
    DEFLATED64,
    MAX_RATIO,
    UNIX,
    is_bomb,
    is_encrypted,
    is_folder,
    is_link,
    is_meant_as_link,
    name_of,
    path_of,
    utf_8_name_of,
)

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = [
    "MAX_UNPACKED_BYTES", "RECOMMENDED_BYTES", "is_junk", "is_wheel", "name_problems", "problem_of",
]  # fmt: skip

RECOMMENDED_BYTES = 1 << 30
"""MWAA's guide recommends at most 1 GB for plugins.zip."""
MAX_UNPACKED_BYTES = 10 << 30
"""Our limit, because each container unpacks it while it starts; MWAA's guide names none."""
_STORED, _DEFLATED, _BZIP2 = 0, 8, 12
_MAX_NAME_BYTES = 255
_MAX_PATH_BYTES = 4095
_SHOWN = 60
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_JUNK_FOLDERS = {
    "__pycache__", "__MACOSX", ".git", ".hg", ".svn", ".idea", ".vscode", ".pytest_cache", ".mypy_cache", ".ruff_cache",
}  # fmt: skip
_JUNK_FILES = {".DS_Store", "Thumbs.db", "desktop.ini"}
_SECRETS = re.compile(r"\.env(\.(?!example$|sample$|template$).+)?|id_(rsa|dsa|ecdsa|ed25519)|\.(netrc|pgpass|pypirc)")
_DRAFT = re.compile(r"\..+\.zip\.[a-z0-9_]{8}")
"""A draft that file_writing leaves behind if it is killed."""


def is_junk(path: str) -> bool:
    """Return whether a file was left behind by a tool, and is useless in an environment."""
    *folders, name = path.split("/")
    is_resource_fork = name.startswith("._")
    return bool(_JUNK_FOLDERS.intersection([*folders, name])) or (
        name in _JUNK_FILES or is_resource_fork or _DRAFT.fullmatch(name) is not None
    )


def name_problems(entries: Sequence[zipfile.ZipInfo], archive: str, size_bytes: int) -> Iterator[Problem]:
    """Return what is wrong with the names, links and sizes.

    :param archive: name of the zip in problems.
    :param size_bytes: of the zip itself.
    """
    files = [entry for entry in entries if not is_folder(entry)]
    if not files:
        yield Problem(
            "empty-zip", archive, "It contains no file.", "Remove plugins.zip from the environment, or add a file.",
            Severity.WARNING,
        )  # fmt: skip
        return
    yield from _each(archive, files)
    yield from _permissions(archive, entries)
    yield from _together(archive, entries, files)
    yield from _sizes(archive, files, size_bytes)
    top_folder = list(_top_folder(archive, files))
    yield from top_folder
    if not any(problem.severity is Severity.ERROR for problem in top_folder):
        yield from _wheel_folders(archive, files)


def _each(archive: str, files: Sequence[zipfile.ZipInfo]) -> Iterator[Problem]:
    def found(
        code: str, what: str, fix: str, is_so: Callable[[zipfile.ZipInfo], object], severity: Severity = Severity.ERROR
    ) -> Iterator[Problem]:
        yield from problem_of([name_of(entry) for entry in files if is_so(entry)], code, archive, what, fix, severity)

    yield from found(
        "absolute-path", "Its path is absolute.", "Zip from inside the folder: cd plugins && zip -r ../plugins.zip .",
        lambda entry: entry.filename.startswith(("/", "\\")) or _DRIVE.match(entry.filename),
    )  # fmt: skip
    yield from found(
        "path-leads-out", "Its path leads out of the plugins folder.", "Remove it from the zip.",
        lambda entry: ".." in entry.filename.replace("\\", "/").split("/"),
    )  # fmt: skip
    yield from found(
        "backslash", "Its path has backslashes, as old Windows tools write them: on Linux, they are part of a name.",
        "Create the zip with airflow-mwaa package plugins FOLDER, 7-Zip or tar -a -cf plugins.zip *.",
        lambda entry: "\\" in entry.orig_filename,
    )  # fmt: skip
    yield from found(
        "encrypted", "It is encrypted, but MWAA has no password.", "Create the zip without a password.",
        is_encrypted,
    )  # fmt: skip
    known = (_STORED, _DEFLATED, DEFLATED64, _BZIP2)
    yield from found(
        "compression-unknown", "It is compressed with a method that unzip does not support.",
        "Create the zip with Deflate: in 7-Zip, choose that method, not LZMA or Zstandard.",
        lambda entry: entry.compress_type not in known and not is_encrypted(entry),
    )  # fmt: skip
    yield from found(
        "compression-unusual", "It is compressed with Deflate64 or bzip2, which not every program supports.",
        "Create the zip with Deflate.", lambda entry: entry.compress_type in (DEFLATED64, _BZIP2), Severity.WARNING,
    )  # fmt: skip
    yield from found(
        "name-not-utf-8", "Its name is not in UTF-8, so it is unpacked under another name.",
        "Rename the file to ASCII, or create the zip with airflow-mwaa package plugins FOLDER.",
        lambda entry: utf_8_name_of(entry) is None,
    )  # fmt: skip
    yield from found(
        "name-too-long", f"Part of its path is longer than {_MAX_NAME_BYTES} bytes, Linux's limit.", "Rename it.",
        lambda entry: any(len(part.encode("utf-8", "replace")) > _MAX_NAME_BYTES for part in path_of(entry).split("/")),
    )  # fmt: skip
    yield from found(
        "path-too-long",
        f"Below {PLUGINS_FOLDER}, its path is longer than the {_MAX_PATH_BYTES:,} bytes that Linux allows.",
        "Use fewer folders, or shorter names.",
        lambda entry: len(f"{PLUGINS_FOLDER}/{path_of(entry)}".encode("utf-8", "replace")) > _MAX_PATH_BYTES,
    )  # fmt: skip
    yield from found(
        "name-with-control", "Its name contains a tab, a line end or another control character.", "Rename it.",
        lambda entry: _CONTROL.search(name_of(entry)), Severity.WARNING,
    )  # fmt: skip
    yield from found(
        "special-file", "It is a device, pipe or socket.", "Remove it from the zip.",
        lambda entry: stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK),
    )  # fmt: skip
    yield from found(
        "link-not-of-unix", "It is a symbolic link that was not made on Unix, so unzip creates a text file instead.",
        "Create the zip on Linux or macOS, or with airflow-mwaa package plugins FOLDER.",
        lambda entry: is_meant_as_link(entry) and not is_link(entry),
    )  # fmt: skip
    yield from found(
        "junk", "It was left behind by a tool, and no environment needs it.",
        "Remove it: airflow-mwaa package plugins FOLDER omits such files.",
        lambda entry: is_junk(path_of(entry)), Severity.WARNING,
    )  # fmt: skip
    yield from found(
        "secrets-inside", "Files of this name contain passwords or keys, which all who may read the bucket can read.",
        "Keep them in Secrets Manager, and remove the file from the zip.",
        lambda entry: _SECRETS.fullmatch(posixpath.basename(path_of(entry))), Severity.WARNING,
    )  # fmt: skip


def _permissions(archive: str, entries: Sequence[zipfile.ZipInfo]) -> Iterator[Problem]:
    """Return a problem for entries that Airflow, which runs as their owner, could not read once unzipped."""
    closed = []
    for entry in entries:
        needed = stat.S_IRUSR | (stat.S_IXUSR if is_folder(entry) else 0)
        if entry.create_system == UNIX and (entry.external_attr >> 16) & needed != needed and not is_link(entry):
            closed.append(name_of(entry))
    yield from problem_of(
        closed, "unreadable", archive, "Its permissions, which unzip keeps, do not allow its owner to read it.",
        "Create the zip after chmod -R u+rX, or with airflow-mwaa package plugins FOLDER.",
    )  # fmt: skip


def _together(archive: str, entries: Sequence[zipfile.ZipInfo], files: Sequence[zipfile.ZipInfo]) -> Iterator[Problem]:
    counted: dict[str, int] = defaultdict(int)
    alike: dict[str, set[str]] = defaultdict(set)
    folders = {path_of(entry) for entry in entries if is_folder(entry)}
    for entry in files:
        path = path_of(entry)
        counted[path] += 1
        alike[path.casefold()].add(path)
        while path := posixpath.dirname(path):
            if path == "/":
                break
            folders.add(path)
    yield from problem_of(
        [path for path, times in counted.items() if times > 1], "same-name-twice", archive,
        "It occurs more than once; only the last one is kept.", "Recreate the zip: zip -FS replaces its content.",
    )  # fmt: skip
    yield from problem_of(
        [path for path in counted if path in folders], "file-and-folder", archive,
        "It is both a file and a folder of other files.", "Rename one of the two.",
    )  # fmt: skip
    yield from problem_of(
        [" and ".join(sorted(paths)) for paths in alike.values() if len(paths) > 1], "differs-in-case", archive,
        "Their names differ only in case: on Windows and macOS, one replaces the other.",
        "Rename one of them.", Severity.WARNING,
    )  # fmt: skip


def _sizes(archive: str, files: Sequence[zipfile.ZipInfo], size_bytes: int) -> Iterator[Problem]:
    yield from problem_of(
        [name_of(entry) for entry in files if is_bomb(entry)], "zip-bomb", archive,
        f"It unpacks to more than {MAX_RATIO} times its size.", "Remove it from the zip.",
    )  # fmt: skip
    in_order = sorted(files, key=lambda entry: entry.header_offset)
    yield from problem_of(
        [
            name_of(entry)
            for entry, following in pairwise(in_order)
            if entry.header_offset + 30 + entry.compress_size > following.header_offset
        ],
        "overlapping-entries", archive, "It overlaps another entry: the zip is damaged, or a bomb.",
        "Recreate the zip.",
    )  # fmt: skip
    unpacked_bytes = sum(entry.file_size for entry in files)
    if unpacked_bytes > MAX_UNPACKED_BYTES:
        yield Problem(
            "too-large", archive,
            f"It unpacks to {unpacked_bytes / (1 << 30):,.1f} GiB, in every container of the environment.",
            f"Keep it below {MAX_UNPACKED_BYTES >> 30} GiB: let tasks fetch large files from S3.",
        )  # fmt: skip
    if size_bytes > RECOMMENDED_BYTES:
        yield Problem(
            "over-1-gb", archive, f"It has {size_bytes / (1 << 30):.1f} GiB; MWAA recommends at most 1 GB.",
            "Remove what no task needs: updates take longer, and may time out.", Severity.WARNING,
        )  # fmt: skip


def _top_folder(archive: str, files: Sequence[zipfile.ZipInfo]) -> Iterator[Problem]:
    """Return a problem for a zip of a folder instead of its content.

    A folder that is a package (``__init__.py``), or contains only folders or only wheels, may be intended, unless it is
    called ``plugins``.
    """
    paths = [path_of(entry) for entry in files if not is_junk(path_of(entry))]
    tops = {path.partition("/")[0] for path in paths}
    if len(tops) != 1 or any("/" not in path for path in paths):
        return
    [top] = tops
    inside = {path.partition("/")[2] for path in paths}
    direct = {name for name in inside if "/" not in name}
    stem = re.sub(r"\.zip$", "", posixpath.basename(archive)).lower()
    is_package = "__init__.py" in direct
    is_of_this_name = top.lower() == "plugins" or (top.lower() == stem and not is_package)
    if is_package and not is_of_this_name:
        return
    has_wheels = any(map(is_wheel, direct))
    has_plugins = any(name.endswith(".py") for name in direct) or ".airflowignore" in direct
    if is_of_this_name or has_plugins:
        # hooks/mine.py is imported as hooks.mine, also without an __init__.py.
        may_be_package = top.isidentifier() and not is_of_this_name and not has_wheels
        yield Problem(
            "top-folder", f"{archive}: {top}/",
            "Everything is in one folder, as when Windows or macOS zips a folder: imports and pip do not look for "
            f"modules and wheels in plugins/{top}.",
            "Zip the content of the folder, not the folder: airflow-mwaa package plugins FOLDER.",
            Severity.WARNING if may_be_package else Severity.ERROR,
        )  # fmt: skip


def is_wheel(path: str) -> bool:
    """Return whether a file is a wheel, judging by its name."""
    return path.lower().endswith(".whl")


def _wheel_folders(archive: str, files: Sequence[zipfile.ZipInfo]) -> Iterator[Problem]:
    wheels = [path_of(entry) for entry in files if is_wheel(path_of(entry)) and not is_link(entry)]
    for folder in sorted({posixpath.dirname(path) for path in wheels} - {""}):
        yield Problem(
            "wheels-in-folder", f"{archive}: {folder}/",
            f"It contains wheels, but pip does not look for them in subfolders of {PLUGINS_FOLDER}.",
            f"Write --find-links {PLUGINS_FOLDER}/{folder} in requirements.txt, or move them to the top.",
            Severity.WARNING,
        )  # fmt: skip


def problem_of(
    names: Iterable[str], code: str, archive: str, what: str, fix: str, severity: Severity = Severity.ERROR
) -> Iterator[Problem]:
    """Return one problem for all entries that have it; it names the first one, and the number of others."""
    listed = sorted(names)
    if listed:
        more = f" (and {len(listed) - 1:,} more)" if len(listed) > 1 else ""
        shown = listed[0] if len(listed[0]) <= _SHOWN else f"{listed[0][:_SHOWN]}…"
        yield Problem(code, f"{archive}: {shown}{more}", what, fix, severity)
