# SPDX-License-Identifier: Apache-2.0
"""The files of a plugins folder that Airflow runs: all ``.py`` that no ``.airflowignore`` names, also through links.

Source: ``find_path_from_directory`` of Airflow 2.10.3 and 3.3.1; a test compares the two.
"""

from __future__ import annotations

import posixpath
import re
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from pathspec.patterns.gitwildmatch import GitWildMatchPattern

from airflow_mwaa_provider.packaging.plugins_zip.links import target_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["IGNORE_FILE", "Syntax", "Walk", "walk"]

IGNORE_FILE = ".airflowignore"
_MAX_REPEATS = 4
_REPEATED_CHOICE = re.compile(r"\((?:[^()\\]|\\.)*[*+{|](?:[^()\\]|\\.)*\)\s*[*+{]")
_INNER_GROUP = re.compile(r"\((?:[^()\\*+{|]|\\.)*\)")
_REPEAT = re.compile(r"(?<!\\)(?:[*+]|\{\d*,\d*\})")


class Syntax(StrEnum):
    """Values of the option ``core.dag_ignore_file_syntax``, which applies to plugins as well."""

    REGEXP = "regexp"
    """The default of Airflow 2."""
    GLOB = "glob"
    """The default of Airflow 3."""

    @classmethod
    def default_of(cls, airflow: str) -> Syntax:
        """Return the default of an Airflow version."""
        return cls.REGEXP if airflow.startswith("2.") else cls.GLOB

    @property
    def other(self) -> Syntax:
        """The other syntax."""
        return Syntax.GLOB if self is Syntax.REGEXP else Syntax.REGEXP


@dataclass(frozen=True)
class _Rule:
    """One line.

    :param folder: the folder below which a path is matched, relative to it; None if only its last part is matched.
    """

    pattern: re.Pattern[str] | GitWildMatchPattern
    folder: str | None = ""
    only_folders: bool = False

    def says(self, path: str, *, is_folder: bool) -> bool | None:
        """Return whether a path is ignored; None if this line does not match it."""
        if isinstance(self.pattern, re.Pattern):
            return True if self.pattern.search(path) else None
        if self.only_folders and not is_folder:
            return None
        name = posixpath.basename(path) if self.folder is None else posixpath.relpath(path, self.folder or ".")
        found = self.pattern.match_file(f"{name}/" if is_folder else name)
        return None if found is None else self.pattern.include


@dataclass
class Walk:
    """What Airflow finds.

    :param modules: the files that it runs, by the paths at which it finds them; with links, the two differ.
    :param repeated: paths of folders that it finds a second time through links, and stops with an error.
    :param invalid: globs at which Airflow stops with an error.
    :param unclear: regular expressions that could take hours to match; they are treated as matching nothing.
    """

    modules: dict[str, str] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)


def walk(files: Iterable[str], links: Mapping[str, str], texts: Mapping[str, str], syntax: Syntax) -> Walk:
    """Walk through a plugins folder as Airflow does.

    :param files: paths of everything that is not a link.
    :param links: the content of each symbolic link.
    :param texts: the content of each ``.airflowignore``.
    """
    folders, inside = _tree(files, links)
    found = Walk()
    seen: dict[str, str] = {}
    waiting: list[tuple[str, str, tuple[_Rule, ...]]] = [("", "", ())]
    while waiting:
        path, real, rules = waiting.pop()
        rules += tuple(_rules(texts.get(posixpath.join(real, IGNORE_FILE), ""), path, syntax, found))
        for name, target in folders[real].items():
            below = posixpath.join(path, name)
            if _is_ignored(below, rules, is_folder=True):
                continue
            if target in seen:
                found.repeated.append(seen[target] if below == target else below)
                continue
            seen[target] = below
            waiting.append((below, target, rules))
        for name, target in inside[real].items():
            below = posixpath.join(path, name)
            if name.endswith(".py") and not _is_ignored(below, rules, is_folder=False):
                found.modules[below] = target
    return found


def _tree(
    files: Iterable[str], links: Mapping[str, str]
) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
    """Return the folders and the files in each folder: their real paths, by name."""
    folders: dict[str, dict[str, str]] = defaultdict(dict)
    inside: dict[str, dict[str, str]] = defaultdict(dict)
    there, known = set(files), {""}
    for path in (*there, *links):
        above = path
        while above := posixpath.dirname(above).strip("/"):
            folders[posixpath.dirname(above)][posixpath.basename(above)] = above
            known.add(above)
        if path in there:
            inside[posixpath.dirname(path)][posixpath.basename(path)] = path
    for link, text in links.items():
        target = target_of(link, text, links)
        target = "" if target == "." else target
        kind = folders if target in known else inside if target in there else None
        if kind is not None and target is not None and target_of(link, text, links):
            kind[posixpath.dirname(link)][posixpath.basename(link)] = target
    return folders, inside


def _rules(text: str, folder: str, syntax: Syntax, found: Walk) -> Iterable[_Rule]:
    for written in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        line = re.sub(r"\s*#.*", "", written)
        if not line:
            continue
        if syntax is Syntax.GLOB:
            yield from _glob(line, folder, found)
        elif not _is_bounded(line):
            found.unclear.append(line)
        else:
            try:
                yield _Rule(re.compile(line))
            except (re.error, OverflowError, RecursionError):
                continue  # Airflow logs it, and continues


def _glob(line: str, folder: str, found: Walk) -> Iterable[_Rule]:
    if line.strip() == "/":
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the name that Airflow uses
            pattern = GitWildMatchPattern(line)
    except ValueError:
        found.invalid.append(line)
        return
    is_anchored = line.startswith("/") or "/" in line.rstrip("/")
    yield _Rule(pattern, folder if is_anchored else None, line.lstrip("!").rstrip().endswith("/"))


def _is_bounded(expression: str) -> bool:
    """Return whether Python matches a regular expression without exponential time in the length of a path.

    Airflow 2 uses re2, which always does.
    """
    if len(_REPEAT.findall(expression)) > _MAX_REPEATS:
        return False
    while True:
        if _REPEATED_CHOICE.search(expression):
            return False
        simpler = _INNER_GROUP.sub("x", expression)
        simpler = re.sub(r"\(((?:[^()\\]|\\.)*)\)(?![*+{])", r"\1", simpler)
        if simpler == expression:
            return True
        expression = simpler


def _is_ignored(path: str, rules: Iterable[_Rule], *, is_folder: bool) -> bool:
    is_ignored = False
    for rule in rules:
        said = rule.says(path, is_folder=is_folder)
        is_ignored = is_ignored if said is None else said
    return is_ignored
