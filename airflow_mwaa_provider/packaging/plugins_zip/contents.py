# SPDX-License-Identifier: Apache-2.0
"""What a plugins.zip will hold, put together from several sources that may not contradict each other."""

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
"""Of what links lead to: links to folders of links double them at each step."""


class Contents:
    """Entries by their path, each with the source that it is from.

    A context: archives that entries are read from stay open as long as it is.
    """

    def __init__(self) -> None:
        self.opened = ExitStack()
        self.left_out: Counter[str] = Counter()
        """How many files of a source were left out, by what they are."""
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
        """Add a file; the same one from two sources is fine, and may be executed if one of them says so.

        Lines of an ``.airflowignore`` at the top are merged.

        :raises MwaaInputError: another source has another file of that name, or a zip cannot have the name.
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
                    f"{source}: its {IGNORE_FILE} is not in UTF-8, which Airflow reads it in. Save it in UTF-8."
                ) from None
            self._sources.setdefault(path, source)
            return
        if path in self._folders:
            raise MwaaInputError(
                f"{path}: a file in {source}, a folder in {self._folders[path]}. Rename one of the two."
            )
        before = self._entries.get(path)
        if before is not None:
            if not _same(before, entry):
                raise MwaaInputError(
                    f"{path} is in {self._sources[path]} and, with other content, in {source}. Rename one of them, or "
                    "leave it out."
                )
            # Whichever came first: a mount that loses the permission to execute is no reason to lose it.
            self._entries[path] = replace(before, mode=before.mode | entry.mode)
            return
        above = path
        while above := posixpath.dirname(above):
            if above in self._entries:
                raise MwaaInputError(
                    f"{above}: a file in {self._sources[above]}, a folder in {source}. Rename one of the two."
                )
            self._folders.setdefault(above, source)
        self._entries[path] = entry
        self._sources[path] = source

    def ignore(self, lines: Iterable[str]) -> None:
        """Add lines to the ``.airflowignore`` at the top, of one source."""
        self._ignored.append([line for line in map(str.rstrip, lines) if line])

    def _ignore_file(self) -> str:
        """Return the ``.airflowignore`` at the top: each line once, and the same whatever order the sources have.

        If some lines begin with ``!``, their order counts, and stays as it is.
        """
        lines = [line for source in self._ignored for line in source]
        if not any(line.startswith("!") for line in lines):
            lines = list(dict.fromkeys(line for source in sorted(self._ignored) for line in source))
        return "".join(f"{line}\n" for line in lines)

    def entries(self, *, copies_links: bool = False) -> list[ZipEntry]:
        """Return all entries, the ``.airflowignore`` included.

        :param copies_links: in the place of a symbolic link there is a copy of what it leads to, and of what the links
            in that lead to.
        :raises MwaaInputError: a link has nothing that could be copied, or leads to a folder that it is in.
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
                    raise MwaaInputError(f"{where}, where no file is that could be copied. Remove it.")
                if target in (*above, "."):
                    raise MwaaInputError(
                        f"{where}, a folder that it is in itself: copies would have no end. Remove it."
                    )
                for path in below:
                    copy = at + path.removeprefix(str(target))
                    if path in links:
                        waiting.append((copy, path, (*above, str(target))))
                    else:
                        made.append(replace(self._entries[path], name=copy))
                if len(made) > _MAX_COPIES:
                    raise MwaaInputError(f"{where}: copies of links would be more than {_MAX_COPIES:,}. Remove it.")
        return [*(entry for entry in self._entries.values() if not entry.is_link), *made]

    def counts(self) -> dict[str, int]:
        """Return the number of files by source; one that two have counts for the first."""
        return dict(Counter(self._sources.values()))


def _below(paths: list[str], folder: str) -> list[str]:
    """Return the paths in a folder, and in those below it, out of sorted ones."""
    if folder == ".":
        return paths
    return paths[bisect_left(paths, f"{folder}/") : bisect_left(paths, f"{folder}0")]  # which follows the slash


def _same(one: ZipEntry, other: ZipEntry) -> bool:
    if (one.is_link, one.size_bytes) != (other.is_link, other.size_bytes):
        return False
    try:
        with one.open() as first, other.open() as second:
            while chunk := first.read(_CHUNK_BYTES):
                if chunk != second.read(len(chunk)):
                    return False
    except DAMAGED:  # so they differ; what is read of either to be written says which is damaged
        return False
    return True
