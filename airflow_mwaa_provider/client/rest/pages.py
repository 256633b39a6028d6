# SPDX-License-Identifier: Apache-2.0
"""Lists of the REST API, page by page.

A list ends with the total that Airflow counts, or with an empty page, and not with a page that is shorter than
requested: ``[api] maximum_page_limit`` limits every page to the environment's own size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LOOKS", "PAGE_ROWS", "Page", "overlapping_pages", "pages"]

PAGE_ROWS = 100
"""Rows that are requested: the most that Airflow returns by default."""

LOOKS = 3
"""How often a list that changes while it is read is read before that is an error."""

T = TypeVar("T")


class Page(NamedTuple, Generic[T]):
    """A part of a list."""

    rows: list[T]
    total: int | None
    """Rows of the whole list; ``None`` if Airflow does not count them."""


def pages(ask: Callable[[int], Page[T]]) -> Iterator[Page[T]]:
    """Read a list to its end.

    :param ask: reads the page that begins after this many rows.
    """
    offset = 0
    while True:
        page = ask(offset)
        yield page
        offset += len(page.rows)
        if not page.rows or (page.total is not None and offset >= page.total):
            return


def overlapping_pages(ask: Callable[[int], Page[T]], key_of: Callable[[T], object]) -> Iterator[Page[T]]:
    """Read a sorted list to its end while rows are added and deleted, each page from the last row of the previous one.

    If a row before a page is deleted, the others move up, and one of them out of sight; then the page does not begin
    with the expected row. The totals may agree nevertheless, if another row was added meanwhile.

    :return: pages without the repeated rows; the last one has no total if the list has changed.
    """
    offset, size, last = 0, 0, None
    while True:
        overlaps = 1 if size > 1 else 0  # pages of one row would never end
        page = ask(offset - overlaps)
        size = max(size, len(page.rows))
        if overlaps:
            if not page.rows or key_of(page.rows[0]) != last:
                yield Page([], None)
                return
            page = page._replace(rows=page.rows[1:])
        yield page
        offset += len(page.rows)
        if page.rows:
            last = key_of(page.rows[-1])
        if not page.rows or (page.total is not None and offset >= page.total):
            return
