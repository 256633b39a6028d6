# SPDX-License-Identifier: Apache-2.0
"""No branch depends on the wording of our own messages, and the check is tested on sources with such a branch."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.lib.imports import PACKAGE, read_tree
from tests.repo.wording import found_in

pytestmark = pytest.mark.once

OF_OTHERS = {
    ("client/http/errors.py", "never_connected"): "http.client has no class for a proxy that refuses CONNECT",
    ("client/http/errors.py", "handshake_failed"): "OpenSSL's reason is in the words of ssl.SSLError alone",
    ("client/stored/documents.py", "_one_reason"): "json raises a plain ValueError for NaN",
    ("local/lifecycle.py", "_explained"): "PostgreSQL, pip and others report a full disk in words alone",
    ("local/machine/postgres.py", "PostgresServer._execute"): "the first line of what psycopg2 reports is the message",
    ("metadata/database.py", "_translated"): "libpq has no code for a password that the server rejects",
    ("packaging/requirements/resolving.py", "_Uv._compile"): "uv names in words alone what pip takes without asking",
}
"""Places that may match words, by path and function: words of other programs, if nothing else identifies a case."""


def test_no_branch_depends_on_the_wording_of_an_error() -> None:
    sources = read_tree(Path(__file__).resolve().parents[2] / PACKAGE)
    found = found_in(sources)
    assert [place for place in found if place[:2] not in OF_OTHERS] == []
    assert {place[:2] for place in found} == set(OF_OTHERS), "no place is allowed that does not need it"


@pytest.mark.parametrize(
    "source",
    [
        "try: work()\n    except ValueError as e:\n        if 'lost' in str(e): pass",
        "try: work()\n    except OSError as e:\n        words = next(iter([str(e)]))\n        return 'lost' in words",
        "return str(error).startswith('max_duration of')",
        "return re.match('(.*): ', error.detail)",
        "return _PATTERN.search(f'{error}')",
        "return error.args[0] == 'lost'",
        "return any('EOF' in str(inner) for inner in causes(error))",
    ],
)
def test_a_place_that_looks_at_words_is_found(source: str) -> None:
    assert found_in({"a.py": f"def work(error):\n    {source}"})


@pytest.mark.parametrize(
    "source",
    [
        "return isinstance(error, ValueError) and error.status == 404",
        "raise MwaaError(str(error).rstrip('.')) from error",
        "return str(error).split()",
        "return 'x' in str(path)",
    ],
)
def test_what_shows_words_is_no_such_place(source: str) -> None:
    assert found_in({"a.py": f"def work(error, path):\n    {source}"}) == []
