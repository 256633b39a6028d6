# SPDX-License-Identifier: Apache-2.0
"""Python files in a plugins.zip: Airflow runs every one of them that no ``.airflowignore`` names, as a module called by
the file's name alone, whatever folder it is in.
"""

from __future__ import annotations

import ast
import fnmatch
import posixpath
import re
import sys
import warnings
from typing import TYPE_CHECKING

from airflow_mwaa_provider.packaging.problems import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow_mwaa_provider.packaging.plugins_zip.image import Image

__all__ = ["IGNORE_FILE", "Ignored", "module_problems", "syntax_problem"]

IGNORE_FILE = ".airflowignore"
_LOCAL_SETTINGS = "airflow_local_settings.py"
_IMPORTED_AS = {
    "pyyaml": "yaml", "python-dateutil": "dateutil", "pyjwt": "jwt", "attrs": "attr", "psycopg2-binary": "psycopg2",
    "python-slugify": "slugify", "gitpython": "git", "markupsafe": "markupsafe", "apache-airflow": "airflow",
    "pyopenssl": "OpenSSL", "protobuf": "google", "setproctitle": "setproctitle",
}  # fmt: skip
"""Distributions whose module has another name."""


class Ignored:
    """Which files Airflow does not run.

    A line counts by either syntax, since which one is in use depends on the environment: a regular expression (the
    default of Airflow 2) or a glob (that of Airflow 3).

    :param files: text of each ``.airflowignore``, by its path.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self._rules: list[tuple[str, str]] = []
        for path, text in files.items():
            folder = posixpath.dirname(path)
            lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
            self._rules += [(f"{folder}/" if folder else "", line) for line in lines if line]

    def has(self, path: str) -> bool:
        """Whether a file is ignored."""
        return any(
            path.startswith(folder) and _matches(line, path.removeprefix(folder)) for folder, line in self._rules
        )


def _matches(line: str, path: str) -> bool:
    parts = path.split("/")
    above = ["/".join(parts[: length + 1]) for length in range(len(parts))]
    glob = line.strip("/")
    tried = above if "/" in glob else [*parts, *above]
    if any(fnmatch.fnmatchcase(name, glob.replace("**/", "*")) for name in tried):
        return True
    try:
        return any(re.search(line, name) for name in above)
    except re.error:
        return False


def module_problems(paths: Iterable[str], archive: str, image: Image) -> Iterator[Problem]:
    """Say what is wrong with the names of modules that Airflow runs."""
    pinned = {name.replace("-", "_") for name in image.pinned}
    pinned |= {module for name, module in _IMPORTED_AS.items() if name in image.pinned}
    for path in sorted(paths):
        where, name = f"{archive}: {path}", posixpath.basename(path).removesuffix(".py")
        if path == _LOCAL_SETTINGS:
            yield Problem(
                "airflow-local-settings", where,
                "The image runs it at every import of Airflow: an exception in it ends every component.",
                "Keep it as small as can be, and try it in the local MWAA first.", Severity.WARNING,
            )  # fmt: skip
        elif name in sys.stdlib_module_names:
            yield Problem(
                "shadows-standard-library", where,
                f"Airflow runs it as the module {name!r}, in whatever folder it is, and takes the place of Python's.",
                f"Rename it, or name its folder in {IGNORE_FILE}.",
            )  # fmt: skip
        elif name in pinned:
            yield Problem(
                "shadows-dependency", where,
                f"Airflow runs it as the module {name!r}, and so takes the place of the package that the image has.",
                f"Rename it, or name its folder in {IGNORE_FILE}.", Severity.WARNING,
            )  # fmt: skip


def syntax_problem(path: str, content: bytes, archive: str, image: Image) -> Problem | None:
    """Say whether the image's Python can compile a file, as far as the running Python knows."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(content, feature_version=min(image.python, sys.version_info[:2]))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        at = f" (line {line})" if line else ""
        reason = getattr(error, "msg", None) or str(error) or "it is nested too deeply"
        running = f"{sys.version_info[0]}.{sys.version_info[1]}"
        if image.is_newer_than_here:
            return Problem(
                "syntax-unknown", f"{archive}: {path}",
                f"Python {running} cannot compile it: {reason}{at}. The image has Python {image.python_text}.",
                f"Check it with Python {image.python_text}.", Severity.WARNING,
            )  # fmt: skip
        return Problem(
            "syntax-error", f"{archive}: {path}",
            f"Python {image.python_text} cannot compile it: {reason}{at}.",
            f"Correct it, or name it in {IGNORE_FILE} if it is no plugin.",
        )  # fmt: skip
    return None
