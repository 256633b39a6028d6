# SPDX-License-Identifier: Apache-2.0
"""Connections and variables with hostile characters in every field, different ones every day."""

from __future__ import annotations

import json
import random
from typing import Any

from airflow_mwaa_provider.client.models import Connection
from tests import seeds

_HOSTILE = "@/%:?#&+ \n\t\r\\'\"=;[]{}<>$`|~^*!,éßÀ🚀中%41%2F://***ABZaz09"
_ID = "abcXYZ019-_./"


class Generator:
    """Draws them."""

    def __init__(self, name: str) -> None:
        self._random = random.Random(f"{seeds.of_the_day()}-{name}")
        self._count = 0

    def connections(self, count: int) -> list[Connection]:
        return [self._connection() for _ in range(count)]

    def variables(self, count: int) -> dict[str, tuple[str, str | None]]:
        return {self._id("v"): (self._value(), self._maybe(self._text)) for _ in range(count)}

    def _connection(self) -> Connection:
        draw = self._random
        return Connection(
            conn_id=self._id("c"),
            conn_type=draw.choice(["postgres", "google_cloud_platform", "http", "aws", "snowflake"]),
            host=self._maybe(self._text),
            login=self._maybe(self._text),
            password=self._maybe(self._text),
            schema=self._maybe(self._text),
            port=draw.choice([None, draw.randint(1, 65535)]),
            extra=draw.choice([None, json.dumps({self._text(): self._json(2) for _ in range(draw.randint(0, 4))})]),
            description=self._maybe(self._text),
        )

    def _id(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}" + "".join(self._random.choices(_ID, k=self._random.randint(0, 12))) + "z"

    def _maybe(self, make: Any) -> Any:
        return make() if self._random.random() < 0.8 else self._random.choice(["", None])

    def _text(self) -> str:
        text = "".join(self._random.choices(_HOSTILE, k=self._random.randint(1, 24)))
        return text.replace("***", "* *")  # which alone is what Airflow shows for a secret

    def _value(self) -> str:
        return self._random.choice([self._text(), json.dumps(self._json(2)), f" {self._text()}\n", "1.10", "true"])

    def _json(self, depth: int) -> Any:
        draw = self._random
        kind = draw.randint(0, 6 if depth else 4)
        if kind == 5:
            return {self._text(): self._json(depth - 1) for _ in range(draw.randint(0, 3))}
        if kind == 6:
            return [self._json(depth - 1) for _ in range(draw.randint(0, 3))]
        return draw.choice([None, True, draw.randint(-9, 9), 1.5, "1", "null", self._text()])
