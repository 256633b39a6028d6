# SPDX-License-Identifier: Apache-2.0
"""Scripts out of the templates beside this file, and how one is written to a file.

Source: MWAA's guide, "Using a startup script", and the published images up to 3.3.1: bash sources the script in each
container but that of the migration, ends it after 295 seconds, and writes what it has exported to files in clear.
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
    """MWAA's kinds of container, as MWAA_AIRFLOW_COMPONENT names them."""

    WORKER = "worker"
    SCHEDULER = "scheduler"
    """It runs the DAG processor and the triggerer, too."""
    WEBSERVER = "webserver"
    """A private one reaches no package index."""


def render(template: str, *, text: str = "", **values: str | Iterable[str]) -> str:
    """Return the script of a template, with what all parts share before it.

    :param template: name of a file beside this one.
    :param text: what stands for ``@text@``, as it is.
    :param values: what stands for ``@name@``, quoted for bash: one word, or some.
    """
    quoted = {
        name: shlex.quote(value) if isinstance(value, str) else shlex.join(value) for name, value in values.items()
    }
    body = _PLACE.sub(lambda match: text if match[1] == "text" else quoted[match[1]], read(template))
    script = f"{_BEGINNING}{read('shared.sh')}\n{body}"
    # `set -a` of the user's own lines exports what is defined below it; the next part defines the same again.
    functions = dict.fromkeys(_FUNCTION.findall(script))
    return f"{script}\nexport -n airflow_mwaa_deadline airflow_mwaa_began\nunset -f {' '.join(functions)}\n"


def read(name: str) -> str:
    """Return a file beside this one, without its licence line."""
    text = (resources.files(__package__) / name).read_text(encoding="utf-8")
    return text.removeprefix("# SPDX-License-Identifier: Apache-2.0\n")


def checked(what: str, value: str, pattern: str, fix: str) -> str:
    """Return a value that matches a pattern as a whole.

    :raises MwaaInputError: it does not.
    """
    if re.fullmatch(pattern, value) is None:
        raise MwaaInputError(f"{what} {value[:80]!r}: not one that can be used here. {fix}")
    return value


def write_script(script: str, path: Path, *, replace: bool = False) -> bool:
    """Write a script whole or not at all.

    :param replace: also replaces a file that differs, which may hold other parts.
    :return: whether the file changed.
    :raises MwaaInputError: a file that differs exists, or it cannot be written.
    """
    if not replace:
        refuse_other_file(path, script, fix=_NOT_REPLACED)
    return write_text(path, script)
