# SPDX-License-Identifier: Apache-2.0
"""Python files in a plugins.zip.

Airflow runs every one that no ``.airflowignore`` names, as a module with the file's name alone, whatever its folder.
"""

from __future__ import annotations

import ast
import io
import posixpath
import sys
import tokenize
import warnings
from collections import defaultdict
from typing import TYPE_CHECKING

from airflow_mwaa_provider.packaging.plugins_zip.ignoring import IGNORE_FILE
from airflow_mwaa_provider.packaging.problems import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from airflow_mwaa_provider.packaging.image import Image

__all__ = ["module_problems", "plugin_name_problems", "plugin_names", "syntax_problem"]

_LOCAL_SETTINGS = "airflow_local_settings.py"
_IMPORTED_AS = {
    "pyyaml": "yaml", "python-dateutil": "dateutil", "pyjwt": "jwt", "attrs": "attr", "psycopg2-binary": "psycopg2",
    "python-slugify": "slugify", "gitpython": "git", "markupsafe": "markupsafe",
    "pyopenssl": "OpenSSL", "protobuf": "google", "setproctitle": "setproctitle",
}  # fmt: skip
"""Distributions whose modules have other names."""
_STANDARD_UNTIL = {
    (3, 11): "asynchat asyncore distutils imp smtpd",
    (
        3,
        12,
    ): "aifc audioop cgi cgitb chunk crypt imghdr lib2to3 mailcap msilib nis nntplib ossaudiodev pipes sndhdr spwd "
    "sunau telnetlib uu xdrlib",
}
"""Modules of Python's library up to this version. Source: ``sys.stdlib_module_names`` of 3.11, 3.12 and 3.13."""
_STANDARD_SINCE = {(3, 14): "annotationlib compression"}
_OWN_PLUGINS = {"mwaa_metadata_api", "mwaa_task_resources", "mwaa_timezone", "mwaa_env_vars", "mwaa_virtualenv"}
"""Names of this package's plugins, which Airflow loads after those of plugins.zip."""
_ONLY_IN_3_12 = "f-string: only Python 3.12 and later allow in braces a quote of the f-string, a backslash, or #"


def _standard_modules(python: tuple[int, int]) -> set[str]:
    """Return the modules of a Python version's standard library, whichever version is running."""
    found = set(sys.stdlib_module_names)
    for last, names in _STANDARD_UNTIL.items():
        found = found | set(names.split()) if python <= last else found - set(names.split())
    for first, names in _STANDARD_SINCE.items():
        found -= set(names.split()) if python < first else set()
    return found


def module_problems(paths: Iterable[str], folders: Iterable[str], archive: str, image: Image) -> Iterator[Problem]:
    """Return what is wrong with the names of modules that Airflow runs.

    :param folders: folders at the top, which are imported as packages.
    """
    paths = sorted(paths)
    standard = _standard_modules(image.python)
    pinned = {name.replace("-", "_") for name in image.pinned}
    pinned |= {module for name, module in _IMPORTED_AS.items() if name in image.pinned}
    for path in paths:
        where, name = f"{archive}: {path}", posixpath.basename(path).removesuffix(".py")
        if path == _LOCAL_SETTINGS:
            yield Problem(
                "airflow-local-settings", where,
                "The image runs it at every import of Airflow: an exception in it stops every component.",
                "Keep it as small as possible, and try it in the local MWAA first.", Severity.WARNING,
            )  # fmt: skip
        elif name == "airflow":
            yield Problem(
                "shadows-airflow", where,
                "Airflow runs it as the module 'airflow', which replaces Airflow itself.",
                f"Rename it, or name its folder in {IGNORE_FILE}.",
            )  # fmt: skip
        elif name == "airflow_mwaa_provider":
            yield Problem(
                "shadows-this-package", where,
                "Airflow runs it as the module 'airflow_mwaa_provider', which replaces this package: its plugins "
                "are not loaded.",
                f"Rename it, or name its folder in {IGNORE_FILE}.",
            )  # fmt: skip
        elif name in standard:
            yield Problem(
                "shadows-standard-library", where,
                f"Airflow runs it as the module {name!r}, whatever its folder, which replaces Python's own.",
                f"Rename it, or name its folder in {IGNORE_FILE}.",
            )  # fmt: skip
        elif name in pinned:
            yield Problem(
                "shadows-dependency", where,
                f"Airflow runs it as the module {name!r}, which replaces the package of the image.",
                f"Rename it, or name its folder in {IGNORE_FILE}.", Severity.WARNING,
            )  # fmt: skip
    yield from _clashes(paths, folders, archive)


def _clashes(paths: Iterable[str], folders: Iterable[str], archive: str) -> Iterator[Problem]:
    by_name: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_name[posixpath.basename(path).removesuffix(".py")].append(path)
    packages = set(folders)
    for name, found in sorted(by_name.items()):
        others = [*found[1:], *([f"the folder {name}/"] if name in packages else [])]
        if others and not name.startswith("__"):
            yield Problem(
                "same-module-name", f"{archive}: {found[0]}",
                f"Airflow runs it as the module {name!r}, which is also the name of {' and of '.join(others[:3])}: one "
                "replaces the other.",
                f"Rename one of them, or name its folder in {IGNORE_FILE}.", Severity.WARNING,
            )  # fmt: skip


def plugin_names(content: bytes) -> list[str]:
    """Return the names of the plugins that a module defines, if they are literals in the classes."""
    if b"AirflowPlugin" not in content:
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # reported elsewhere
    return [
        node.value.value
        for plugin in ast.walk(tree)
        if isinstance(plugin, ast.ClassDef) and any(map(_is_airflow_plugin, plugin.bases))
        for node in plugin.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and any(isinstance(each, ast.Name) and each.id == "name" for each in _targets(node))
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]


def _is_airflow_plugin(base: ast.expr) -> bool:
    return (base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", None)) == "AirflowPlugin"


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def plugin_name_problems(names: Mapping[str, Sequence[str]], archive: str) -> Iterator[Problem]:
    """Return a problem for each name of several plugins, of which Airflow loads only one.

    :param names: names of plugins, by the path of their module.
    """
    defined: dict[str, list[str]] = defaultdict(list)
    for path, found in sorted(names.items()):
        for name in found:
            defined[name].append(path)
    for name, paths in sorted(defined.items()):
        others = [*paths[1:], *(["airflow-mwaa-provider"] if name in _OWN_PLUGINS else [])]
        if others:
            yield Problem(
                "same-plugin-name", f"{archive}: {paths[0]}",
                f"Its plugin is called {name!r}, as is that of {' and of '.join(others[:3])}: Airflow loads only one "
                "of them.",
                "Give each plugin its own name.", Severity.WARNING,
            )  # fmt: skip


def syntax_problem(path: str, content: bytes, archive: str, image: Image) -> Problem | None:
    """Return why the image's Python cannot compile a file, as far as the running Python can detect it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(content, feature_version=min(image.python, sys.version_info[:2]))
            compile(tree, path, "exec", dont_inherit=True)  # finds errors that the grammar does not show
            if image.python < (3, 12) <= sys.version_info[:2]:
                _check_f_strings(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:
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
            f"Correct it, or name it in {IGNORE_FILE} if it is not a plugin.",
        )  # fmt: skip
    return None


def _check_f_strings(content: bytes) -> None:
    """Raise SyntaxError for an f-string that Python 3.11 rejects: newer parsers accept all."""
    kinds = (getattr(tokenize, "FSTRING_START", -1), getattr(tokenize, "FSTRING_END", -1))
    middle = getattr(tokenize, "FSTRING_MIDDLE", -1)
    looked_at = (*kinds, middle, tokenize.STRING, tokenize.COMMENT, tokenize.NL)
    opened: list[list[str | int]] = []  # for each f-string: its quotes, and the number of open braces
    for token in tokenize.tokenize(io.BytesIO(content).readline):
        if token.type == kinds[1]:
            opened.pop()
        around = [str(quotes) for quotes, braces in opened if braces]
        if token.type == middle and opened and opened[-1][1]:
            around.pop()  # its own format
        if token.type in looked_at:
            is_new = any(quotes in token.string or "\\" in token.string for quotes in around)
            is_new = is_new or (token.type == tokenize.COMMENT and bool(around))
            is_new = is_new or (token.type == tokenize.NL and any(len(quotes) == 1 for quotes in around))
            if is_new:
                raise SyntaxError(_ONLY_IN_3_12, ("", token.start[0], 0, ""))
        if token.type == kinds[0]:
            opened.append([token.string.lstrip("fFrRbBuU"), 0])
        elif opened and token.type == tokenize.OP and token.string in "{}":
            opened[-1][1] = int(opened[-1][1]) + (1 if token.string == "{" else -1)
