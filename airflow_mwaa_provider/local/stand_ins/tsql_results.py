# SPDX-License-Identifier: Apache-2.0
"""What the statements of a batch return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_mwaa_provider.local.stand_ins.tds_types import SqlType, Value

__all__ = ["Affected", "DatabaseChanged", "Finished", "Result", "Rows", "TransactionChanged"]


@dataclass(frozen=True)
class Rows:
    """The rows of a query."""

    columns: list[tuple[str, SqlType]]
    rows: list[tuple[Value, ...]]


@dataclass(frozen=True)
class Affected:
    """A statement that has changed so many rows."""

    count: int


@dataclass(frozen=True)
class Finished:
    """A statement that returns nothing."""


@dataclass(frozen=True)
class DatabaseChanged:
    """The session uses another database."""

    name: str
    before: str


@dataclass(frozen=True)
class TransactionChanged:
    """A transaction has begun, was committed, or was rolled back."""

    what: str
    number: int


Result = Rows | Affected | Finished | DatabaseChanged | TransactionChanged
