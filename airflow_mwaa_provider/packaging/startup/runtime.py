# SPDX-License-Identifier: Apache-2.0
"""``startup runtime``: packages of the operating system and of Python, for the containers that need them."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.startup.script import Component, checked, render

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["runtime_script"]

_ADDRESS = re.compile(r"\w+://\S+")
_FILE = re.compile(r"(?:-[rce]|--(?:requirement|constraint|editable)\b)[\s=]*+(?![\"']?(?:[\w+.-]+://|/))")


def runtime_script(
    packages: Mapping[Component, Iterable[str]] | None = None,
    requirements: Mapping[Component, str] | None = None,
) -> str:
    """Return a startup script that installs packages by container.

    What cannot be installed is one line in the log, and the container starts without it. On a web server all waits for
    a minute at most, because a private one reaches no repository.

    :param packages: names of Amazon Linux packages, such as ``libaio``, by component.
    :param requirements: text of a requirements file by component. Nothing that the image has is replaced: pip is given
        all installed versions as constraints.
    :raises MwaaInputError: a name is not one that yum takes, or a line has a password or names another file, which is
        not there in the container.
    """
    lines = []
    for component, names in (packages or {}).items():
        known = [
            checked("package", name, r"[A-Za-z0-9][A-Za-z0-9._+:~-]*", "Give one of Amazon Linux, such as libaio.")
            for name in dict.fromkeys(names)
        ]
        if known:
            lines.append(_call(["airflow_mwaa_packages", component.value, *known], f"{' '.join(known)}: not installed"))
    for component, text in (requirements or {}).items():
        wanted = _lines(text, component)
        if wanted:
            lines.append("# shellcheck disable=SC2016 # pip expands ${NAME}")
            failure = f"requirements for the {component}: not installed"
            lines.append(_call(["airflow_mwaa_requirements", component.value, *wanted], failure))
    if not lines:
        raise MwaaInputError("runtime: there is nothing to install. Give packages or requirements.")
    return render("runtime.sh", text="\n".join(lines))


def _call(words: Iterable[str], failure: str) -> str:
    """Return a call that cannot end the start, which it would under ``set -e`` of the script's other lines."""
    warning = f"WARNING: {failure}, and the container starts without"
    return f"{shlex.join(words)} ||\n    airflow_mwaa_say {shlex.quote(warning)}"


def _lines(text: str, component: Component) -> list[str]:
    found = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        stripped = line.strip()
        where = f"requirements for the {component}, line {number}"
        if not stripped or stripped.startswith("#"):
            continue
        if _FILE.match(stripped):
            raise MwaaInputError(
                f"{where}: names another file, which the container does not have. Write its lines here instead."
            )
        if any(urlsplit(word).password for word in _ADDRESS.findall(stripped)):
            raise MwaaInputError(
                f"{where}: has a password, which everyone could read who can read the script. Use a private index by "
                "`startup codeartifact`, or a variable: ${NAME}."
            )
        found.append(stripped)
    return found
