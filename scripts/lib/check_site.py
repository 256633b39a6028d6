# SPDX-License-Identifier: Apache-2.0
"""Check that the built site loads nothing from another host: it is also read offline and in private networks."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path


class _Assets(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.remote: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        loads = tag in {"script", "img", "iframe", "source", "video"}
        loads = loads or (tag == "link" and given.get("rel") not in {"canonical", "prev", "next"})
        url = given.get("src") or given.get("href") or ""
        if loads and url.startswith(("http:", "https:", "//")):
            self.remote.append(f"<{tag}> loads {url}")


def main(folder: str) -> int:
    pages = sorted(Path(folder).rglob("*.html"))
    bad = 0
    for page in pages:
        assets = _Assets()
        assets.feed(page.read_text(encoding="utf-8"))
        for found in assets.remote:
            print(f"{page.relative_to(folder)}: {found}")
            bad += 1
    print(f"summary: {len(pages)} pages")
    return 1 if bad or not pages else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
