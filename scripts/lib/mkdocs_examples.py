# SPDX-License-Identifier: Apache-2.0
"""For the docs build: puts parts of example DAGs where a page names them.

A line ``--8<-- "example_dags/FILE.py:NAME"`` becomes what stands between ``[START NAME]`` and ``[END NAME]`` in that
file, dedented; the name ``imports`` gives the lines that import this package. A missing part fails the build.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'(?m)^( *)--8<-- "(example_dags/[\w/]+\.py):(\w+)"$')


def part_of(path: str, name: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).is_file() else ""
    if name == "imports":
        found = re.findall(r"(?m)^from airflow_mwaa_provider\.\S+ import .*$", text)
        body = "\n".join(found)
    else:
        marked = re.search(rf"(?ms)^ *# \[START {name}\]\n(.*?)^ *# \[END {name}\]$", text)
        body = textwrap.dedent(marked[1]).strip() if marked else ""
    if not body:
        raise PluginError(f"there is no part {name!r} in {path}")
    return body


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for every page."""
    return INCLUDE.sub(lambda match: textwrap.indent(part_of(match[2], match[3]), match[1]), markdown)
