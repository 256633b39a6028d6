# SPDX-License-Identifier: Apache-2.0
"""Read every row of a list of the REST API exactly once, in pages of a hundred, while rows come and go.

A list is divided by time until a piece fits one page, because deep offsets are slow, and in a live environment they
return some rows twice and others never. Only rows of the same microsecond are read by offsets, repeatedly, until their
number is the one that the API counts.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from airflow_mwaa_provider.exceptions import AnswerTooLarge, UnexpectedAnswer
from airflow_mwaa_provider.metadata.rest.values import EARLIEST_US, LATEST_US, micros, parse_datetime, written_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from airflow_mwaa_provider.metadata.rest.tables import Listing, TimeFilter

__all__ = ["LONG_AGO_US", "PAGE_ROWS", "Paginator", "Request", "field_of"]

PAGE_ROWS = 100
"""Airflow's maximum, unless it is configured otherwise."""

LONG_AGO_US = -(10**9) * 2_000_000
"""1906, in microseconds since 1970: before any row of Airflow's."""

_YEAR_US = 365 * 86_400 * 1_000_000
_ERA_US = (40 * _YEAR_US, 70 * _YEAR_US)  # 2009 and 2039: Airflow's rows are in between
_PARTS = 10
_ROWS_A_PART = 70
# Up to this many rows are read page after page. For each page, the server examines all remaining rows.
_IN_ORDER_ROWS = 2_000
_PASSES = 8

Row = dict[str, Any]


class Request(Protocol):
    """Calls Airflow's REST API; the path is without ``/api/v1`` or ``/api/v2``. Returns the answer's JSON."""

    def __call__(self, method: str, path: str, *, params: Mapping[str, Any] | None = None, json: Any = None) -> Any:
        """Send a call, and repeat it if necessary."""


class _Page(NamedTuple):
    rows: list[Row]
    total: int | None
    """The number of rows; ``None`` if the API does not count them."""
    limit: int

    @property
    def is_all(self) -> bool:
        return self.ends(len(self.rows))

    def ends(self, at: int) -> bool:
        """Return whether the list ends after its first ``at`` rows, of which these are the last."""
        return len(self.rows) < self.limit if self.total is None else at >= self.total


class Paginator:
    """Reads the rows of one list.

    Keeps a page in memory, and the keys of rows of one microsecond.

    :param request: sends a call.
    :param key: fields that identify a row.
    :param dags_of: returns the DAGs of the rows that some filters let through, if the list can be divided by DAG.
    """

    def __init__(
        self,
        request: Request,
        listing: Listing,
        key: Iterable[str],
        dags_of: Callable[[Mapping[str, Any]], Iterable[str]] | None = None,
    ) -> None:
        self._request = request
        self._listing = listing
        self._key = tuple(key)
        self._dags_of = dags_of
        self._limit = PAGE_ROWS
        self._is_limit_proven = False

    def all(self, filters: Mapping[str, Any] | None = None) -> Iterator[Row]:
        """Return all rows that the filters let through, read by offsets; for what fits a few pages.

        :raises UnexpectedAnswer: rows kept coming and going.
        """
        filters = filters or {}
        given: set[tuple[Any, ...]] = set()
        for _ in range(_PASSES):
            seen: set[tuple[Any, ...]] = set()
            totals: set[int | None] = set()
            offset = 0
            while True:
                page = self._page(filters, offset, self._listing.order)
                totals.add(page.total)
                for row in page.rows:
                    key = self.key_of(row)
                    seen.add(key)
                    if key not in given:
                        given.add(key)
                        yield row
                offset += len(page.rows)
                if not page.rows or page.ends(offset):
                    break
            if totals <= {None, len(seen)}:
                return
        raise UnexpectedAnswer(
            f"{self._listing.method} {self._listing.path}: {len(given):,} rows have the same time, and rows came or "
            f"went during each of {_PASSES} readings. Export again when fewer tasks run, or use another route."
        )

    def within(
        self,
        time_filter: TimeFilter,
        low: int = EARLIEST_US,
        high: int = LATEST_US,
        without: Mapping[str, Any] | None = None,
    ) -> Iterator[Row]:
        """Return the rows whose time is in a span, roughly in its order.

        :param low: start of the span, in microseconds since 1970.
        :param high: its end, exclusive.
        :param without: filters of rows to leave out. A piece with only such rows costs two calls.
        """
        spans = [(low, high)] if low < high else []
        while spans:
            low, high = spans.pop()
            filters = _cut(time_filter, low, high)
            page = self._page(filters, 0, time_filter.order or self._listing.order)
            if page.is_all:
                yield from self._but(page.rows, filters, without)
            elif without and self._are_all(filters, without):
                continue
            elif high - low <= 1:
                yield from self._of_a_moment(filters, without)
            elif not without and (cut := self._in_order(page, time_filter)) is not None and low <= cut < high:
                yield from (row for row in page.rows if self._time(row, time_filter) != cut)
                spans += [(cut, high)] if cut > low else [(cut + 1, high), (cut, cut + 1)]
            else:
                spans += reversed(_parts(low, high, page.total, self._most_common(page, time_filter)))

    def lacking(self, time_filter: TimeFilter) -> Iterator[Row]:
        """Return the rows without a time, which come first in a list that is sorted by time, latest first."""
        seen: set[tuple[Any, ...]] = set()
        offset = 0
        while True:
            page = self._page({}, offset, f"-{time_filter.order}")
            for row in page.rows:
                if self._time(row, time_filter) is not None:
                    return
                if self.key_of(row) not in seen:
                    seen.add(self.key_of(row))
                    yield row
            offset += len(page.rows)
            if not page.rows or page.ends(offset):
                return

    def key_of(self, row: Row) -> tuple[Any, ...]:
        """Return the fields that identify a row."""
        return tuple([field_of(row, name, self._listing.path) for name in self._key])

    def _of_a_moment(self, filters: Mapping[str, Any], without: Mapping[str, Any] | None) -> Iterator[Row]:
        """Return the rows of one microsecond that do not fit a page, such as those of all daily runs at midnight."""
        groups = [sorted(set(self._dags_of(filters)))] if self._dags_of and self._listing.by_dag else []
        if not groups or len(groups[0]) < 2:
            yield from self._but(self.all(filters), filters, without)
            return
        while groups:
            dags = groups.pop()
            chosen = {**filters, "dag_ids": dags}
            page = self._page(chosen, 0, self._listing.order)
            if page.is_all:
                yield from self._but(page.rows, chosen, without)
            elif without and self._are_all(chosen, without):
                continue
            elif len(dags) == 1:
                yield from self._but(self.all(chosen), chosen, without)
            else:
                size = max(1, min(len(dags) // 2, len(dags) * _ROWS_A_PART // (page.total or len(dags) * PAGE_ROWS)))
                groups += [dags[first : first + size] for first in range(0, len(dags), size)]

    def _are_all(self, filters: Mapping[str, Any], kind: Mapping[str, Any]) -> bool:
        """Return whether all rows that some filters let through also pass other filters."""
        every, those = (self._page(asked, 0, None, limit=1).total for asked in (filters, {**filters, **kind}))
        return every == those

    def _but(self, rows: Iterable[Row], filters: Mapping[str, Any], without: Mapping[str, Any] | None) -> Iterator[Row]:
        if without is None:
            yield from rows
            return
        found = list(rows)
        others = {self.key_of(row) for row in self.all({**filters, **without})} if found else set()
        yield from (row for row in found if self.key_of(row) not in others)

    def _in_order(self, page: _Page, time_filter: TimeFilter) -> int | None:
        """Return the time from which the rows after a page begin, if it was read in order of time."""
        if time_filter.order is None or not page.rows or (page.total is not None and page.total > _IN_ORDER_ROWS):
            return None
        times = [self._time(row, time_filter) for row in page.rows]
        known = [time for time in times if time is not None]
        return known[-1] if len(known) == len(times) and known == sorted(known) else None

    def _most_common(self, page: _Page, time_filter: TimeFilter) -> int | None:
        """Return the time that more than half of a page's rows have, such as midnight."""
        if time_filter.shown is None or not page.rows:
            return None
        time, count = Counter([self._time(row, time_filter) for row in page.rows]).most_common(1)[0]
        return time if count * 2 > len(page.rows) else None

    def _time(self, row: Row, time_filter: TimeFilter) -> int | None:
        assert time_filter.shown is not None
        try:
            time = parse_datetime(field_of(row, time_filter.shown, self._listing.path))
        except ValueError as error:
            shown = time_filter.shown
            raise UnexpectedAnswer(
                f"{self._listing.path}: {shown}={row[shown]!r} is not a time with a time zone ({error})."
            ) from None
        return None if time is None else micros(time)

    def _page(self, filters: Mapping[str, Any], offset: int, order: str | None, limit: int | None = None) -> _Page:
        page = self._asked(filters, offset, order, limit)
        if self._listing.counts or self._is_limit_proven or not 0 < len(page.rows) < page.limit:
            return page
        # A short page is the last one, or was limited by the environment; the next row shows which.
        end = offset + len(page.rows)
        if not self._asked(filters, end, order, 1).rows:
            return page._replace(total=end)
        self._limit, self._is_limit_proven = len(page.rows), True
        return page._replace(limit=len(page.rows))

    def _asked(self, filters: Mapping[str, Any], offset: int, order: str | None, limit: int | None) -> _Page:
        listing = self._listing
        while True:
            rows_wanted = limit or self._limit
            is_body = listing.method == "POST"
            names = ("page_limit", "page_offset") if is_body else ("limit", "offset")
            asked = {**filters, names[0]: rows_wanted, names[1]: offset}
            if order is not None:
                asked["order_by"] = order
            asked = {**asked, **listing.fixed}
            try:
                answer = self._request(listing.method, listing.path, **{"json" if is_body else "params": asked})
            except AnswerTooLarge:
                if rows_wanted == 1:
                    raise
                # Rows may be large (rendered fields): request fewer of them, from here to the end of the list.
                self._limit = max(1, rows_wanted // 4)
                continue
            rows, total = self._read(answer)
            return _Page(rows, total if listing.counts else None, rows_wanted)

    def _read(self, answer: Any) -> tuple[list[Row], int]:
        listing = self._listing
        rows = answer.get(listing.rows) if isinstance(answer, dict) else None
        total = answer.get("total_entries") if isinstance(answer, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or not isinstance(total, int):
            raise UnexpectedAnswer(
                f"{listing.method} {listing.path} was not answered with {listing.rows} and total_entries. Check that "
                "nothing but Airflow answers there."
            )
        return rows, total


def field_of(row: Row, name: str, path: str) -> Any:
    """Return a field of a row; a dot leads into an object, or a null instead of one.

    :raises UnexpectedAnswer: the field is missing.
    """
    value: Any = row
    for part in name.split("."):
        if value is None:
            return None
        if not isinstance(value, dict) or part not in value:
            raise UnexpectedAnswer(
                f"{path}: a row was answered without {name!r}, which this version of Airflow should show. Leave the "
                "table or the column out with exclude, or use another route."
            )
        value = value[part]
    return value


def _cut(time_filter: TimeFilter, low: int, high: int) -> dict[str, str]:
    """Return a span as filters. An open end has none, unless rows without a time would then be shown too."""
    found: dict[str, str] = {}
    if low > EARLIEST_US:
        found[time_filter.low] = written_time(low - 1 if time_filter.is_between else low)
    elif time_filter.is_between:
        found[time_filter.low] = written_time(LONG_AGO_US)
    if high < LATEST_US:
        found[time_filter.high] = written_time(high if time_filter.is_between else high - 1)
    return found


def _parts(low: int, high: int, total: int | None, crowded: int | None) -> list[tuple[int, int]]:
    """Divide a span.

    :param crowded: a time that many rows have, which becomes a part of its own.
    """
    cuts = [low, *(cut for cut in _ERA_US if low < cut < high), high]
    if crowded is not None and low <= crowded < high:
        cuts = sorted({low, crowded, crowded + 1, high})
    elif len(cuts) == 2 or high - low <= _ERA_US[1]:
        wanted = _PARTS if total is None else min(_PARTS, max(2, -(-total // _ROWS_A_PART)))
        wanted = min(wanted, high - low)
        cuts = [low + (high - low) * part // wanted for part in range(wanted + 1)]
    return list(pairwise(cuts))
