# SPDX-License-Identifier: Apache-2.0
"""Checks that apply to every error of the client, made wherever one is expected."""

from __future__ import annotations

import pickle
import re
import traceback
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import MwaaError
from tests.client.world import SECRET

if TYPE_CHECKING:
    from tests.client.world import World

HUSH = "hush-hush-value"


class Failure:
    """Catch an error and check what applies to all errors."""

    def __init__(self, world: World, expected: type[MwaaError], *words: str, env_name: str | None = "env3") -> None:
        self.world, self.expected, self.words, self.env_name = world, expected, words, env_name

    def __enter__(self) -> Failure:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> bool:
        assert error is not None, f"no {self.expected.__name__} was raised"
        if not isinstance(error, MwaaError):
            return False
        self.error: Any = error
        assert type(error) is self.expected, f"{type(error).__name__}: {error}"
        text = str(error)
        for word in (*self.words, *([self.env_name] if self.env_name else [])):
            assert word in text, f"{word!r} isn't in: {text}"
        assert text == " ".join(text.split())
        assert text.endswith("."), text
        stutter = re.search(r"\b(\w{2,})\W{1,3}\1\b|\.\.|0x[0-9a-f]{4}|_ssl\.c|Errno", text)
        assert stutter is None, f"{stutter[0]!r} in: {text}"
        assert text.count("Environment '") <= 1, text
        assert text.isprintable()
        assert len(text) < 900
        shown = "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))
        for secret in (HUSH, SECRET, "secret-session", *self.world.issued):
            assert secret not in shown
        assert "<html" not in text
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy)) == (type(error), text)
        assert {name: str(value) for name, value in vars(copy).items()} == {
            name: str(value) for name, value in vars(error).items()
        }
        return True
