# SPDX-License-Identifier: Apache-2.0
"""For the docs build: insert the code of example DAGs where a page names them.

A block with the single line ``--8<-- "example_dags/FILE.py:NAME"`` becomes the part between ``[START NAME]`` and
``[END NAME]`` in that file, or without ``:NAME`` the whole file. A missing one fails the build.
"""

from __future__ import annotations

from typing import Any

import doc_examples
from mkdocs.exceptions import PluginError


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for every page."""
    try:
        return doc_examples.shown(markdown)
    except doc_examples.NoSuchExample as error:
        raise PluginError(str(error)) from None
