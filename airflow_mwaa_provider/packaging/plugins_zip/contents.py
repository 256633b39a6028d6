# SPDX-License-Identifier: Apache-2.0
"""The content of a plugins.zip, assembled from several sources that must not contradict each other."""

from __future__ import annotations

import os
import posixpath
from bisect import bisect_left
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.plugins_zip.ignoring import IGNORE_FILE
from airflow_mwaa_provider.packaging.plugins_zip.links import target_of
from airflow_mwaa_provider.packaging.zip_writing import DAMAGED, ZipEntry, check_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

__all__ = ["Contents"]

_CHUNK_BYTES = 1 << 20
_MAX_COPIES = 50_000
"""The most copies of targets of links: links to folders of links double them at each step."""


class Contents:
    """Entries by their path, each with its source.

    A context: archives from which entries are read remain open until its end.
    """

    def __init__(self) -> None:
        self.opened = ExitStack()
        self.left_out: Counter[str] = Counter()
        """The number of files that were left out, by what they are."""
        self._entries: dict[str, ZipEntry] = {}
        self._sources: dict[str, str] = {}
        self._folders: dict[str, str] = {}
        self._ignored: list[list[str]] = []

    def __enter__(self) -> Contents:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.opened.close()

    def add(self, entry: ZipEntry, source: str) -> None:
        """Add a file. Two sources may have the same one; it is executable if it is in either of them.

        Lines of an ``.airflowignore`` at the top are merged.

        :raises MwaaInputError: another source has another file of that name, or the name is not valid in a zip.
        """
        path = entry.name
        try:
            check_name(path)
        except MwaaInputError as error:
            raise MwaaInputError(f"{source}: {error}") from None
        if path == IGNORE_FILE and not entry.is_link:
            with entry.open() as file:
                content = file.read()
            try:
                self.ignore(content.decode("utf-8-sig").splitlines())
            except UnicodeDecodeError:
                raise MwaaInputError(
                    f"{source}: its {IGNORE_FILE} is not in UTF-8, as Airflow requires. Save it as UTF-8."
                ) from None
            self._sources.setdefault(path, source)
            return
        if path in self._folders:
            raise MwaaInputError(
                f"{path} is a file in {source}, but a folder in {self._folders[path]}. Rename one of the two."
            )
        before = self._entries.get(path)
        if before is not None:
            if not _same(before, entry):
                raise MwaaInputError(
                    f"{path} is in {self._sources[path]} and, with other content, in {source}. Rename one of them, or "
                    "leave it out."
                )
            # In any order: a mount without the permission to execute must not remove it.
            self._entries[path] = replace(before, mode=before.mode | entry.mode)
            return
        above = path
        while above := posixpath.dirname(above):
            if above in self._entries:
                raise MwaaInputError(
                    f"{above} is a file in {self._sources[above]}, but a folder in {source}. Rename one of the two."
                )
            self._folders.setdefault(above, source)
        self._entries[path] = entry
        self._sources[path] = source

    def ignore(self, lines: Iterable[str]) -> None:
        """Add one source's lines to the ``.airflowignore`` at the top."""
        self._ignored.append([line for line in map(str.rstrip, lines) if line])

    def _ignore_file(self) -> str:
        """Return the ``.airflowignore`` at the top: each line once, whatever the order of the sources.

        If some lines begin with ``!``, their order matters, and is kept.
        """
        lines = [line for source in self._ignored for line in source]
        if not any(line.startswith("!") for line in lines):
            lines = list(dict.fromkeys(line for source in sorted(self._ignored) for line in source))
        return "".join(f"{line}\n" for line in lines)

    def entries(self, *, copies_links: bool = False) -> list[ZipEntry]:
        """Return all entries, the ``.airflowignore`` included.

        :param copies_links: replace each symbolic link by a copy of its target, links in that included.
        :raises MwaaInputError: a link's target cannot be copied, or is a folder that contains the link.
        """
        text = self._ignore_file()
        found = self._copied() if copies_links else list(self._entries.values())
        return [*found, *([ZipEntry(IGNORE_FILE, text.encode())] if text else [])]

    def _copied(self) -> list[ZipEntry]:
        links = {}
        for path, entry in self._entries.items():
            if entry.is_link:
                with entry.open() as file:
                    links[path] = os.fsdecode(file.read())
        targets = {link: target_of(link, text, links) for link, text in links.items()}
        paths = sorted(self._entries)
        made: list[ZipEntry] = []
        for each in links:
            waiting: list[tuple[str, str, tuple[str, ...]]] = [(each, each, ())]  # with the folders that lead to it
            while waiting:
                at, link, above = waiting.pop()
                target = targets[link]
                where = f"{link} in {self._sources[link]} is a symbolic link to {links[link]}"
                below = [target] if target in self._entries else _below(paths, target) if target else []
                if not below:
                    raise MwaaInputError(f"{where}, which has no file to copy. Remove it.")
                if target in (*above, "."):
                    raise MwaaInputError(f"{where}, a folder that contains it: copying would never end. Remove it.")
                for path in below:
                    copy = at + path.removeprefix(str(target))
                    if path in links:
                        waiting.append((copy, path, (*above, str(target))))
                    else:
                        made.append(replace(self._entries[path], name=copy))
                if len(made) > _MAX_COPIES:
                    raise MwaaInputError(
                        f"{where}: replacing links would make more than {_MAX_COPIES:,} copies. Remove it."
                    )
        return [*(entry for entry in self._entries.values() if not entry.is_link), *made]

    def counts(self) -> dict[str, int]:
        """Return the number of files by source; a file of two sources is counted for the first."""
        return dict(Counter(self._sources.values()))


def _below(paths: list[str], folder: str) -> list[str]:
    """Return the paths below a folder, from a sorted list."""
    if folder == ".":
        return paths
    return paths[bisect_left(paths, f"{folder}/") : bisect_left(paths, f"{folder}0")]  # "0" follows the slash


def _same(one: ZipEntry, other: ZipEntry) -> bool:
    if (one.is_link, one.size_bytes) != (other.is_link, other.size_bytes):
        return False
    try:
        with one.open() as first, other.open() as second:
            while chunk := first.read(_CHUNK_BYTES):
                if chunk != second.read(len(chunk)):
                    return False
    except DAMAGED:  # they differ; writing them shows which one is damaged
        return False
    return True
