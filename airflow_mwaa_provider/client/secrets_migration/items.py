# SPDX-License-Identifier: Apache-2.0
"""What is moved: connections and variables, which of them are selected, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.stored.documents import connections_of, shown_key, stored_text, variables_of
from airflow_mwaa_provider.exceptions import MwaaInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mwaa_provider.client.models import Connection

__all__ = ["Found", "Kind", "Patterns", "connection_found", "variable_found"]


class Kind(StrEnum):
    """What is moved."""

    CONNECTION = "connection"
    VARIABLE = "variable"

    @property
    def nouns(self) -> str:
        """The plural."""
        return f"{self.value}s"


@dataclass(frozen=True)
class Found:
    """A connection or a variable of the source.

    :param value: a :class:`Connection`, or the value of a variable; ``None`` if it cannot be read.
    :param problem: why not; never contains a value.
    :param description: the description of a variable; a connection has its own.
    """

    kind: Kind
    key: str
    value: Connection | str | None = field(default=None, repr=False)
    problem: str = ""
    description: str | None = field(default=None, repr=False)


class Patterns:
    """Which keys are selected: names, or patterns with ``*`` and ``?``.

    ``aws_default`` is selected only by its name: MWAA sets it, and never looks it up in a secret.

    :raises MwaaInputError: the patterns are not a list.
    """

    def __init__(self, kind: Kind, patterns: Collection[str]) -> None:
        if isinstance(patterns, str) or not isinstance(patterns, Collection):
            raise MwaaInputError(f"{kind.nouns}={patterns!r} is not a list of names or patterns. Give ['sales_*'].")
        self.kind = kind
        self.patterns = [str(pattern) for pattern in patterns]

    def mean(self, key: str) -> bool:
        """Return whether a key is selected."""
        if key == "aws_default" and self.kind is Kind.CONNECTION:
            return key in self.patterns
        return any(key == pattern or fnmatchcase(key, pattern) for pattern in self.patterns)

    @property
    def names(self) -> list[str]:
        """The patterns that are names."""
        return [pattern for pattern in self.patterns if not set(pattern) & set("*?[")]

    def check_found(self, found: Sequence[Found]) -> None:
        """Check that every name was found.

        :raises MwaaInputError: one was not found; the message names it.
        """
        if missing := sorted(set(self.names) - {item.key for item in found}):
            raise MwaaInputError(
                f"{self.kind.nouns}: the source has no {', '.join(map(repr, missing[:5]))}. Check the names."
            )


def connection_found(key: str, fields: Any) -> Found:
    """Check the fields or the URI of a connection like an import into Airflow; a mask is refused."""
    try:
        return Found(Kind.CONNECTION, key, connections_of({key: fields})[key])
    except MwaaInputError as error:
        return Found(Kind.CONNECTION, key, problem=_reason(error, f"Connection {shown_key(key)}"))


def variable_found(key: str, item: Any, description: str | None = None) -> Found:
    """Check the value of a variable, or ``{"value": …, "description": …}``, like an import into Airflow."""
    if isinstance(item, dict) and "value" in item and set(item) <= {"value", "description"}:
        item, description = item["value"], item.get("description") or description
    try:
        text = variables_of({key: {"value": stored_text(item)}})[key].value or ""
    except MwaaInputError as error:
        return Found(Kind.VARIABLE, key, problem=_reason(error, f"Variable {shown_key(key)}"))
    return Found(Kind.VARIABLE, key, text, description=description)


def _reason(error: MwaaInputError, subject: str) -> str:
    """Return what is wrong, without the subject at its beginning, in which an error has single spaces."""
    return str(error).removeprefix(" ".join(subject.split())).removeprefix(":").strip().rstrip(".")
