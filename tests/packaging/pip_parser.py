# SPDX-License-Identifier: Apache-2.0
"""Parse requirements files as pip does: run by path in a separate interpreter, with a pip's folder or wheel.

It reads files as JSON strings, one per line, and answers each with a line of JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

sys.path.insert(0, sys.argv[1])

from pip._internal.req.req_file import OptionParsingError, get_line_parser, preprocess

LISTS = {
    "extra_index_urls": "extra-index-url",
    "constraints": "constraint",
    "requirements": "requirement",
    "editables": "editable",
    "find_links": "find-links",
    "trusted_hosts": "trusted-host",
}
FLAGS = {"no_index": "no-index", "pre": "pre", "require_hashes": "require-hashes"}


def line_of(number: int, line: str) -> list[Any]:
    try:
        asked, options = get_line_parser(None)(line)
    except OptionParsingError:
        return [number, None, {}]
    found: dict[str, Any] = {"index-url": [options.index_url]} if options.index_url else {}
    found |= {name: getattr(options, dest) for dest, name in LISTS.items() if getattr(options, dest, None)}
    found |= {name: [""] for dest, name in FLAGS.items() if getattr(options, dest, None)}
    hashes = getattr(options, "hashes", None) or {}
    if hashes:
        found["hash"] = sorted(f"{algorithm}:{digest}" for algorithm, each in hashes.items() for digest in each)
    return [number, asked.strip(), found]


for text in sys.stdin:
    print(json.dumps([line_of(*line) for line in preprocess(json.loads(text))]), flush=True)
