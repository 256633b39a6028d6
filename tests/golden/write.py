# SPDX-License-Identifier: Apache-2.0
"""Writes the golden files, which hold what this tree writes: triggers, events, exports, archives, messages, state.

Run by hand, in an environment of ``scripts/test``, by the tree whose forms are to be kept, before it is changed::

    python tests/golden/write.py            # all
    python tests/golden/write.py -k triggers

The tests beside it then read the files with whatever the tree has become. Writing them again hides that a form has
changed, so a form that changes on purpose gets new files beside the old ones, which are still read.

It is a pytest file, for the fixtures, whose name no test run collects. Clocks, ids and addresses are fixed where this
tree chooses them; what the database, S3 and the random numbers of the code choose differs from run to run. No secret,
no address and no path of a machine is in the files.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "-p", "no:randomly", *sys.argv[1:]]))

from tests.golden import cases, files

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.world import World


def test_triggers() -> None:
    files.write("triggers.json", cases.triggers())


def test_events() -> None:
    files.write("events.json", cases.events())


def test_deferred(world: World, connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    connection()
    files.write("deferred.json", cases.deferrals(world, monkeypatch))
