# SPDX-License-Identifier: Apache-2.0
"""Scripts from the templates beside this file.

Source: MWAA's guide, "Using a startup script", and the published images up to 3.3.1: bash sources the script in each
container except that of the migration, ends it after 295 seconds, and writes the exported variables to files in clear
text.
"""

from __future__ import annotations

import re
import shlex
from enum import StrEnum
from importlib import resources
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.file_writing import refuse_other_file, write_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Component", "checked", "render", "write_script"]

_BEGINNING = "#!/bin/bash\n# shellcheck disable=SC2218,SC2317,SC2329 # a second part defines the same again\n"
_FUNCTION = re.compile(r"^(airflow_mwaa_[a-z_]+)\(\) \{$", re.MULTILINE)
_PLACE = re.compile(r"@([a-z_]+)@")
_NOT_REPLACED = (
    "Choose another name, replace it with --force, or append to it: leave --output out, and redirect with '>>'."
)


class Component(StrEnum):
    """Kinds of containers of MWAA, as MWAA_AIRFLOW_COMPONENT names them."""

    WORKER = "worker"
    SCHEDULER = "scheduler"
    """Also runs the DAG processor and the triggerer."""
    WEBSERVER = "webserver"
    """If private, it reaches no package index."""


def render(template: str, *, text: str = "", **values: str | Iterable[str]) -> str:
    """Return the script of a template, preceded by what all parts share.

    :param template: name of a file beside this one.
    :param text: replaces ``@text@`` literally.
    :param values: replace ``@name@``, quoted for bash: one word, or several.
    """
    quoted = {
        name: shlex.quote(value) if isinstance(value, str) else shlex.join(value) for name, value in values.items()
    }
    body = _PLACE.sub(lambda match: text if match[1] == "text" else quoted[match[1]], read(template))
    script = f"{_BEGINNING}{read('shared.sh')}\n{body}"
    # `set -a` in the user's own lines exports what is defined after it; the next part defines the same again.
    functions = dict.fromkeys(_FUNCTION.findall(script))
    return f"{script}\nexport -n airflow_mwaa_deadline airflow_mwaa_began\nunset -f {' '.join(functions)}\n"


def read(name: str) -> str:
    """Return a file beside this one, without its license line."""
    text = (resources.files(__package__) / name).read_text(encoding="utf-8")
    return text.removeprefix("# SPDX-License-Identifier: Apache-2.0\n")


def checked(what: str, value: str, pattern: str, fix: str) -> str:
    """Return a value that fully matches a pattern.

    :raises MwaaInputError: it does not match.
    """
    if re.fullmatch(pattern, value) is None:
        raise MwaaInputError(f"{what} {value[:80]!r}: not valid. {fix}")
    return value


def write_script(script: str, path: Path, *, replace: bool = False) -> bool:
    """Write a script as a whole or not at all.

    :param replace: also replaces a file that differs, which may contain other parts.
    :return: whether the file has changed.
    :raises MwaaInputError: a file that differs exists, or it cannot be written.
    """
    if not replace:
        refuse_other_file(path, script, fix=_NOT_REPLACED)
    return write_text(path, script)
