# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a plugins.zip, whatever made it, before it is uploaded.

It is read once, in constant memory, and never unpacked; what looks like a zip bomb is not read at all.
"""

from __future__ import annotations

import codecs
import os
import posixpath
import struct
import tempfile
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.image import image_of
from airflow_mwaa_provider.packaging.plugins_zip.elf import is_elf, is_x86_64
from airflow_mwaa_provider.packaging.plugins_zip.ignoring import IGNORE_FILE, Syntax, Walk, walk
from airflow_mwaa_provider.packaging.plugins_zip.links import LEADS_OUT, LOOPS, target_of
from airflow_mwaa_provider.packaging.plugins_zip.modules import (
    module_problems,
    plugin_name_problems,
    plugin_names,
    syntax_problem,
)
from airflow_mwaa_provider.packaging.plugins_zip.names import is_junk, is_wheel, name_problems, problem_of
from airflow_mwaa_provider.packaging.problems import Problem, Severity
from airflow_mwaa_provider.packaging.wheels import (
    version_problems,
    wheel_content_problem,
    wheel_name_problem,
)
from airflow_mwaa_provider.packaging.zip_entries import (
    is_bomb,
    is_encrypted,
    is_folder,
    is_link,
    is_uncheckable,
    name_of,
    path_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_mwaa_provider.packaging.image import Image

__all__ = ["inspect", "inspect_file", "worst_first"]

_CHUNK_BYTES = 1 << 20
_MAX_SOURCE_BYTES = 8 << 20
"""A larger Python file is not compiled here."""
_IN_MEMORY_BYTES = 16 << 20
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error)
"""Errors of :mod:`zipfile` for a damaged entry."""
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".rpm", ".deb", ".7z", ".rar")


def inspect_file(path: Path, *, airflow_version: str | None = None) -> list[Problem]:
    """Inspect a zip file.

    :param airflow_version: of the image that it is for; by default the newest, and what depends on the Python version
        is only a warning.
    :return: problems, errors first.
    :raises MwaaInputError: the file cannot be read, or no image has that version.
    """
    try:
        with path.open("rb") as file:
            return inspect(file, path.name, airflow_version=airflow_version)
    except OSError as error:
        raise MwaaInputError(f"{path} cannot be read: {error.strerror or error}. Give a plugins.zip.") from error


def inspect(file: BinaryIO, name: str, *, airflow_version: str | None = None) -> list[Problem]:
    """Inspect an open zip, as :func:`inspect_file` does.

    :param name: name of the zip in problems.
    """
    image = image_of(airflow_version)
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(4)
    try:
        with zipfile.ZipFile(file) as archive:
            return worst_first(_Inspection(archive, name, size_bytes, image).problems())
    except UnicodeDecodeError:
        return [
            Problem(
                "name-not-utf-8", name, "A name in it is marked as UTF-8, but is not.",
                "Rename the file to ASCII, or create the zip with airflow-mwaa package plugins FOLDER.",
            )
        ]  # fmt: skip
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OverflowError):
        return [_no_zip(start, name)]


def worst_first(problems: Iterator[Problem]) -> list[Problem]:
    """Sort problems: errors first, otherwise in the order in which they were found."""
    return sorted(problems, key=lambda problem: problem.severity is not Severity.ERROR)


def _no_zip(start: bytes, name: str) -> Problem:
    if start == b"PK\x03\x04":
        return Problem(
            "truncated", name, "It begins like a zip, but its end is missing or damaged.", "Copy or download it again."
        )
    kind = "a .tar.gz archive" if start.startswith(b"\x1f\x8b") else "not a zip file"
    return Problem("not-a-zip", name, f"It is {kind}.", "Create one: airflow-mwaa package plugins FOLDER.")


@dataclass
class _Read:
    """What was found while reading the content."""

    damaged: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    walk: Walk = field(default_factory=Walk)
    ignored_by_other_syntax: list[str] = field(default_factory=list)
    ignore_files_not_utf_8: list[str] = field(default_factory=list)
    ignore_files_with_bom: list[str] = field(default_factory=list)
    other_processors: list[str] = field(default_factory=list)
    crlf_scripts: list[str] = field(default_factory=list)
    not_executable: list[str] = field(default_factory=list)
    wheel_problems: list[Problem] = field(default_factory=list)
    syntax_problems: list[Problem] = field(default_factory=list)
    plugin_names: dict[str, list[str]] = field(default_factory=dict)


class _Inspection:
    def __init__(self, archive: zipfile.ZipFile, name: str, size_bytes: int, image: Image) -> None:
        self._archive = archive
        self._name = name
        self._size_bytes = size_bytes
        self._image = image
        self._files = [entry for entry in archive.infolist() if not is_folder(entry)]

    def problems(self) -> Iterator[Problem]:
        found = list(name_problems(self._archive.infolist(), self._name, self._size_bytes))
        yield from found
        codes = {problem.code for problem in found}
        # A zip whose sizes cannot be trusted is not read.
        read = self._read() if not codes & {"too-large", "overlapping-entries"} else _Read()
        yield from self._content_problems(read)
        wheels = [path_of(entry) for entry in self._files if is_wheel(path_of(entry)) and not is_link(entry)]
        yield from version_problems(wheels, self._name)
        folders = {path_of(entry).partition("/")[0] for entry in self._files if "/" in path_of(entry)}
        yield from module_problems(read.walk.modules, folders, self._name, self._image)
        yield from plugin_name_problems(read.plugin_names, self._name)
        yield from read.syntax_problems

    def _read(self) -> _Read:
        read = _Read()
        readable = [
            entry for entry in self._files if not (is_bomb(entry) or is_encrypted(entry) or is_uncheckable(entry))
        ]
        self._walk(readable, read)
        run = set(read.walk.modules.values())
        for entry in readable:
            try:
                self._read_entry(entry, read, is_module=path_of(entry) in run)
            except _UNREADABLE:
                read.damaged.append(name_of(entry))
        return read

    def _walk(self, readable: list[zipfile.ZipInfo], read: _Read) -> None:
        """Find what Airflow runs; without a version, what either syntax ignores is ignored."""
        texts: dict[str, str] = {}
        files = []
        for entry in readable:
            path = path_of(entry)
            if is_link(entry) or posixpath.basename(path) == IGNORE_FILE:
                if entry.file_size > _MAX_SOURCE_BYTES:
                    continue
                with suppress(*_UNREADABLE):
                    content = self._archive.read(entry)
                    if is_link(entry):
                        read.links[path] = os.fsdecode(content)
                    else:
                        texts[path] = self._ignore_file(path, content, read)
            elif not is_junk(path):
                files.append(path)
        syntax = Syntax.default_of(self._image.airflow)
        read.walk = walk(files, read.links, texts, syntax)
        other = walk(files, read.links, texts, syntax.other)
        only_other = [path for path in read.walk.modules if path not in other.modules]
        if self._image.is_assumed:
            for path in only_other:
                del read.walk.modules[path]
            read.walk.unclear = []
            read.walk.repeated = [path for path in read.walk.repeated if path in other.repeated]
        else:
            read.ignored_by_other_syntax = only_other

    def _ignore_file(self, path: str, content: bytes, read: _Read) -> str:
        if content.startswith(codecs.BOM_UTF8):
            read.ignore_files_with_bom.append(path)
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            read.ignore_files_not_utf_8.append(path)
            return content.decode("utf-8", "replace")

    def _read_entry(self, entry: zipfile.ZipInfo, read: _Read, *, is_module: bool) -> None:
        path = path_of(entry)
        mode = entry.external_attr >> 16
        is_wheel_file = is_wheel(path) and not is_link(entry)
        is_whole = is_module and entry.file_size <= _MAX_SOURCE_BYTES
        kept = bytearray()
        with (
            self._archive.open(entry) as content,
            tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES if is_wheel_file else 0) as copy,
        ):
            start = chunk = content.read(_CHUNK_BYTES)
            while chunk:
                if is_wheel_file:
                    copy.write(chunk)
                if is_whole:
                    kept += chunk
                chunk = content.read(_CHUNK_BYTES)
            if is_wheel_file:
                copy.seek(0)
                problem = wheel_name_problem(path, self._name, self._image)
                read.wheel_problems += [problem] if problem else []
                if problem is None or problem.severity is Severity.WARNING:
                    problem = wheel_content_problem(path, self._name, copy, self._image)
                    read.wheel_problems += [problem] if problem else []
        if is_link(entry):
            return
        if is_whole:
            read.plugin_names[path] = plugin_names(bytes(kept))
            syntax = syntax_problem(path, bytes(kept), self._name, self._image)
            read.syntax_problems += [syntax] if syntax else []
        if is_elf(start) and not is_x86_64(start):
            read.other_processors.append(path)
        if start[:2] == b"#!":
            first_line = start.partition(b"\n")[0]
            if first_line.endswith(b"\r"):
                read.crlf_scripts.append(path)
            if not mode & 0o111 and posixpath.basename(posixpath.dirname(path)) in ("bin", "sbin"):
                read.not_executable.append(path)

    def _content_problems(self, read: _Read) -> Iterator[Problem]:
        yield from problem_of(
            read.damaged, "damaged", self._name, "Its content is damaged: its checksum differs after unpacking.",
            "Recreate the zip, or copy it again.",
        )  # fmt: skip
        there = {path_of(entry) for entry in self._archive.infolist()}
        there |= {".", *(above for path in there for above in _above(path))}
        targets = {link: target_of(link, text, read.links) for link, text in read.links.items()}
        yield from problem_of(
            [link for link, target in targets.items() if target is LEADS_OUT], "link-leads-out", self._name,
            "It is a symbolic link that leads out of the plugins folder.",
            "Put its target into the zip, and make the link relative.",
        )  # fmt: skip
        yield from problem_of(
            [link for link, target in targets.items() if target == LOOPS], "link-loop", self._name,
            "It is a symbolic link that leads back to itself.", "Remove it from the zip.",
        )  # fmt: skip
        yield from problem_of(
            [link for link, target in targets.items() if target and target not in there],
            "link-to-nothing", self._name, "It is a symbolic link whose target is not in the zip.",
            "Put its target into the zip, or remove the link.", Severity.WARNING,
        )  # fmt: skip
        yield from problem_of(
            read.other_processors, "binary-for-another-processor", self._name,
            "It is a program or library for another processor than x86_64.", "Use the one for Linux x86-64.",
        )  # fmt: skip
        yield from problem_of(
            read.crlf_scripts, "script-with-crlf", self._name,
            "Its first line has a Windows line end, so Linux looks for a program whose name ends in \\r.",
            "Save it with LF line ends: git config core.autocrlf input, or dos2unix.",
        )  # fmt: skip
        yield from problem_of(
            read.not_executable, "not-executable", self._name,
            "It is a program without permission to execute: zips made on Windows lose it.",
            "Create the zip on Linux or macOS after chmod +x, or run the program with sh.", Severity.WARNING,
        )  # fmt: skip
        yield from self._walk_problems(read)
        yield from read.wheel_problems
        yield from problem_of(
            [name_of(entry) for entry in self._files if entry.filename.lower().endswith(_ARCHIVES)], "archive-inside",
            self._name, "MWAA unpacks no archive inside plugins.zip. pip may not be able to build a source "
            "distribution, least of all with --no-index.", "Replace it by its content, or by a wheel built from it.",
            Severity.WARNING,
        )  # fmt: skip

    def _walk_problems(self, read: _Read) -> Iterator[Problem]:
        syntax = Syntax.default_of(self._image.airflow)
        yield from problem_of(
            read.walk.repeated, "folder-twice", self._name,
            "It is a symbolic link through which Airflow finds a folder a second time: it stops with an error.",
            f"Name the link in {IGNORE_FILE}, or create the zip with airflow-mwaa package plugins --copy-links.",
        )  # fmt: skip
        yield from problem_of(
            read.ignore_files_not_utf_8, "ignore-file-not-utf-8", self._name,
            "It is not in UTF-8: Airflow stops with an error.", "Save it as UTF-8.",
        )  # fmt: skip
        yield from problem_of(
            read.ignore_files_with_bom, "ignore-file-with-bom", self._name,
            "It begins with a byte order mark, which Airflow takes for part of the first line.",
            "Save it as UTF-8 without one.", Severity.WARNING,
        )  # fmt: skip
        yield from problem_of(
            read.ignored_by_other_syntax, "ignored-by-other-syntax", self._name,
            f"A line of {IGNORE_FILE} matches it only as a {syntax.other}, but Airflow {self._image.airflow} reads a "
            f"{syntax}, so it runs the file.",
            f"Write the line as a {syntax}, or set core.dag_ignore_file_syntax to {syntax.other}.", Severity.WARNING,
        )  # fmt: skip
        yield from problem_of(
            read.walk.invalid, "ignore-line-invalid", f"{self._name}: {IGNORE_FILE}",
            "It is not a valid glob: Airflow stops with an error.", "Correct the line.",
            Severity.WARNING if self._image.is_assumed else Severity.ERROR,
        )  # fmt: skip
        yield from problem_of(
            read.walk.unclear, "ignore-line-unclear", f"{self._name}: {IGNORE_FILE}",
            "The regular expression may take hours to match; this check treats it as matching nothing.",
            "Write it without nested repetition.", Severity.WARNING,
        )  # fmt: skip


def _above(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        if path == "/":
            return
        yield path
