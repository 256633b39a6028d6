# SPDX-License-Identifier: Apache-2.0
"""``startup runtime``: packages of the operating system and of Python, for the containers that need them."""

from __future__ import annotations

import posixpath
import re
import shlex
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.image import HOME
from airflow_mwaa_provider.packaging.masking import names_a_secret
from airflow_mwaa_provider.packaging.requirements.parsing import VARIABLE, Kind, parse
from airflow_mwaa_provider.packaging.startup.script import Component, checked, render

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_mwaa_provider.packaging.requirements.parsing import Line

__all__ = ["requirement_lines", "runtime_script"]

_FILES = ("requirement", "constraint", "editable", "find-links", "index-url", "extra-index-url")
_AUTHORITY = re.compile(r"://([^\s/?#\"']*)")
_SETTING = re.compile(r"([\w.-]+)=(?!=)(?=([^?&#\s\"';,]*))")
"""A name and a value in an address's query or fragment, or in an option."""


def runtime_script(
    packages: Mapping[Component, Iterable[str]] | None = None,
    requirements: Mapping[Component, str] | None = None,
) -> str:
    """Return a startup script that installs packages by container.

    Whatever cannot be installed is one line in the log, and the container starts without it. On a web server,
    everything takes a minute at most, because a private one reaches no repository.

    :param packages: names of Amazon Linux packages, such as ``libaio``, by component.
    :param requirements: text of a requirements file by component. Nothing in the image is replaced: pip gets all
        installed versions as constraints.
    :raises MwaaInputError: a name is not valid for yum, or a line contains a password, names a file that the container
        does not have, or is refused by pip.
    """
    lines = []
    for component, names in (packages or {}).items():
        known = [
            checked("package", name, r"[A-Za-z0-9][A-Za-z0-9._+:~-]*", "Give one of Amazon Linux, such as libaio.")
            for name in dict.fromkeys(names)
        ]
        if known:
            warning = f"{' '.join(known)}: not installed, and the container starts without it"
            lines.append(_call(["airflow_mwaa_packages", component.value, *known], warning))
    for component, text in (requirements or {}).items():
        wanted = requirement_lines(text, f"requirements for the {component}")
        if wanted:
            lines.append("# shellcheck disable=SC2016 # pip expands ${NAME}")
            warning = f"requirements for the {component}: not installed, and the container starts without them"
            lines.append(_call(["airflow_mwaa_requirements", component.value, *wanted], warning))
    if not lines:
        raise MwaaInputError("runtime: nothing to install. Give packages or requirements.")
    return render("runtime.sh", text="\n".join(lines))


def _call(words: Iterable[str], warning: str) -> str:
    """Return a call that cannot stop the start, even under ``set -e`` in the script's other lines."""
    return f"{shlex.join(words)} ||\n    airflow_mwaa_say {shlex.quote(f'WARNING: {warning}')}"


def requirement_lines(text: str, where: str) -> list[str]:
    """Return the lines of a requirements file as pip reads them: without comments, and joined.

    :param where: name of the file in errors.
    :raises MwaaInputError: a line cannot be used in a script; see :func:`runtime_script`.
    """
    found = []
    for line in parse(text.removeprefix("\ufeff")):
        if problem := _problem(line):
            raise MwaaInputError(f"{where}, line {line.number}: {problem}")
        found.append(line.text)
    return found


def _problem(line: Line) -> str | None:
    if not all(map(_is_open, _AUTHORITY.findall(line.text))) or any(
        names_a_secret(name) and not _is_variable(value) for name, value in _SETTING.findall(line.text)
    ):
        return (
            "has a user, password or token, and everyone who can read the script could read it. Use a private index "
            "with `startup codeartifact`, or a variable: ${NAME}."
        )
    files = [value for option in _FILES for value in line.values(option)]
    if line.kind is Kind.PATH:
        files.append(line.address)
    if not all(_is_in_container(file) for file in files):
        return (
            "names a file that the container does not have. Write the lines of a requirements file here instead; "
            f"name other files by an address, or by their path below {HOME}."
        )
    if line.kind is Kind.INVALID and not VARIABLE.search(line.text):
        return "pip cannot parse it. Correct it: `airflow-mwaa package requirements` reports what is wrong."
    return None


def _is_open(authority: str) -> bool:
    """Return whether the authority of an address contains no secret, or only as a variable."""
    userinfo, _, host = authority.rpartition("@")
    if re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(:[0-9]*)?", VARIABLE.sub("0", host)) is None:
        return False  # a password with a slash, which would end the authority
    user, _, password = userinfo.partition(":")
    if password:
        return _is_variable(password)
    return user in {"", "git", "aws"} or _is_variable(user)


def _is_variable(text: str) -> bool:
    return not VARIABLE.sub("", text)


def _is_in_container(place: str) -> bool:
    """Return whether pip finds a place in the container: an address, or a path below MWAA's home."""
    path = re.sub(r"(?i)^file:(//(localhost)?(?=/|\$))?", "", place)
    if path == place and "://" in place:
        return True
    return bool(VARIABLE.match(path)) or posixpath.normpath(path).startswith(f"{HOME}/")
