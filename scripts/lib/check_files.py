# SPDX-License-Identifier: Apache-2.0
"""Check that no tracked file contains a path of a particular machine or the host of a package registry.

A path breaks on every other machine, and a registry's host wherever another index is set.
The patterns are written so that this file does not match itself.
"""

from __future__ import annotations

import re
import subprocess
import sys

from running import ROOT, without_git_variables

PATTERNS = {
    "a folder beside the clone": re.compile(r"\.\./share[d]\b"),
    "a path of a machine": re.compile(
        r"(?<![\w.$}/-])/(?:roo[t]|wor[k])/[\w.]"
        r"|(?<![\w.$}/-])/hom[e]/(?!airflow\b|ec2-user\b|USER\b|<)[\w.]"
        r"|(?<![\w.$}/-])/User[s]/(?!<)[\w.]"
        r"|(?<![\w.$}/-])/op[t]/(?:pypi|wheels)"
        r"|(?<![\w.$}/-])/tm[p]/(?!\$|\{|<)[\w.]"
    ),
    "the host of a package registry": re.compile(
        r"pypi\.or[g]|pythonhosted\.or[g]|npmjs\.(?:co[m]|or[g])|deb\.debian\.or[g]|conda\.anaconda\.or[g]"
        r"|proxy\.golang\.or[g]|(?<![\w.])crates\.i[o]"
    ),
}


def findings(text: str) -> list[tuple[int, str, str]]:
    """Return the line number, the kind, and the text of each finding."""
    return [
        (number, what, match[0])
        for number, line in enumerate(text.splitlines(), 1)
        for what, pattern in PATTERNS.items()
        for match in pattern.finditer(line)
    ]


def main() -> int:
    """Check every file that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        env=without_git_variables(),
        capture_output=True,
        check=True,
    )
    bad = read = 0
    for name in sorted(set(listed.stdout.decode().split("\0")) - {""}):
        path = ROOT / name
        if not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        read += 1
        for number, what, match in findings(text):
            print(f"{name}:{number}: {what}: {match}")
            bad += 1
    print(f"summary: {read} files")
    return 1 if bad or not read else 0


if __name__ == "__main__":
    sys.exit(main())
