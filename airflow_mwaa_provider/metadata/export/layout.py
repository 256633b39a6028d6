# SPDX-License-Identifier: Apache-2.0
"""The names of an export's objects, and how rows are divided among them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.catalog.schema import time_literal
from airflow_mwaa_provider.metadata.export.formats import FILE_SUFFIXES

if TYPE_CHECKING:
    from airflow_mwaa_provider.metadata.catalog.selection import TableRows

__all__ = ["Layout", "ObjectKeys", "Partitioning", "check_layout", "stamp"]

NO_DATE = "__HIVE_DEFAULT_PARTITION__"
"""Hive's name for NULL in a partition."""
NEW, CHANGED = "new", "changed"
_UNKNOWN = "-"


class Layout(StrEnum):
    """How objects are named.

    ``table``: one file per table, ``PREFIX/dag_run.csv``. ``hive``: ``PREFIX/table=dag_run/date=2026-11-22/...``, which
    Athena, Redshift Spectrum, DuckDB and pandas read as columns.
    """

    TABLE = "table"
    HIVE = "hive"


def check_layout(layout: str | None, *, incremental: bool) -> Layout:
    """Check a layout; ``None`` is ``hive`` for an incremental export, which has many files a table, else ``table``."""
    try:
        chosen = Layout(layout or ("hive" if incremental else "table"))
    except ValueError:
        raise MwaaInputError(f"layout={layout!r} is unknown. Use table or hive.") from None
    if incremental and chosen is Layout.TABLE:
        raise MwaaInputError("An incremental export needs the layout hive: one file per table cannot grow in S3.")
    return chosen


class Partitioning(str):
    """The SQL expression of a row's partition; also computes the partition of a row that is not from a database.

    :param is_increment: whether partitions also distinguish new from changed rows.
    :param changed_before: rows from before this time are the changed ones.
    """

    __slots__ = ("_changed_before", "_is_increment")
    _is_increment: bool
    _changed_before: datetime | None

    def __new__(cls, time_sql: str, *, is_increment: bool, changed_before: datetime | None) -> Self:
        """Build the expression."""
        # A year BC would be written like one AD, and one after 9999 has five digits: readers support neither.
        written = f"to_char({time_sql} AT TIME ZONE 'UTC', 'YYYY-MM-DD AD')"
        date = rf"COALESCE(substring({written} FROM '^(\d{{4}}-\d\d-\d\d) AD$'), '{_UNKNOWN}')"
        if not is_increment:
            sql = date
        elif changed_before is None:
            sql = f"'{NEW}/' || {date}"
        else:
            before = f"{time_sql} < {time_literal(changed_before)}"
            sql = f"CASE WHEN {before} THEN '{CHANGED}/' ELSE '{NEW}/' END || {date}"
        made = super().__new__(cls, sql)
        made._is_increment = is_increment
        made._changed_before = changed_before
        return made

    def of(self, time: datetime | None) -> str:
        """Return the partition of a row with this time, as the database would."""
        date = time.astimezone(UTC).date().isoformat() if time else _UNKNOWN
        if not self._is_increment:
            return date
        is_changed = time is not None and self._changed_before is not None and time < self._changed_before
        return f"{CHANGED if is_changed else NEW}/{date}"


@dataclass(frozen=True)
class ObjectKeys:
    """Names of an export's objects.

    :param suffix: of the files' names.
    :param export: the name of the increment, if it is one.
    :param since: the start of the window, and ``until`` its end: exports of several windows may share a prefix.
    :param is_numbered: also the first file has a number, because there may be several.
    """

    prefix: str
    layout: Layout
    suffix: str
    manifest_name: str = "manifest.json"
    export: str | None = None
    is_numbered: bool = False
    since: datetime | None = None
    until: datetime | None = None

    @property
    def manifest(self) -> str:
        """Key of the manifest; of an incremental export, of the last one."""
        return self._under(self.manifest_name)

    @property
    def journal(self) -> str:
        """Key of the note that exists while objects become visible."""
        return self._under(f"{self.manifest_name.removesuffix('.json')}.writing.json")

    @property
    def window_note(self) -> str | None:
        """Key of the note of what the last export of this window wrote; ``None`` if each export replaces the last."""
        if self.layout is Layout.TABLE or self.export:
            return None
        window = "-".join(stamp(moment) if moment else "open" for moment in (self.since, self.until))
        return self._under(f"{self.manifest_name.removesuffix('.json')}-windows/{window}.json")

    def lease(self, *, is_incremental: bool) -> str:
        """Return the key of the note that exists while an export is running.

        Windows that are exported in parallel have one each.
        """
        window = "" if is_incremental or self.layout is Layout.TABLE else self._whole_window.rstrip("-")
        return self._under(f"{self.manifest_name.removesuffix('.json')}.exporting{window and '-'}{window}.json")

    def increment(self, export: str) -> str:
        """Key of the manifest of one increment."""
        return self._under(f"{self.manifest_name.removesuffix('.json')}s/{export}.json")

    def partition(self, text: str) -> dict[str, str]:
        """Parse a partition as :meth:`partition_sql` writes it: ``changed/2026-11-22``."""
        if self.layout is Layout.TABLE:
            return {}
        found = {"until": self.export} if self.export else {}
        change, _, date = text.rpartition("/")
        if change:
            found["change"] = change
        if text:
            found["date"] = date if re.fullmatch(r"\d{4}-\d\d-\d\d", date) else NO_DATE
        return found

    def file(self, table: str, partition: dict[str, str], number: int) -> str:
        """Key of a file."""
        if self.layout is Layout.HIVE:
            folders = "".join(f"/{name}={value}" for name, value in partition.items())
            window = self._window if partition.get("date", NO_DATE) != NO_DATE else self._whole_window
            return self._under(f"table={table}{folders}/part-{window}{number:05d}{self.suffix}")
        if self.is_numbered:
            return self._under(f"{table}-{number:05d}{self.suffix}")
        return self._under(f"{table}{f'-{number:05d}' if number else ''}{self.suffix}")

    def is_replaced(self, key: str, tables: set[str]) -> bool:
        """Return whether a key is that of a file of these tables from an earlier export, in any format."""
        return any(replace(self, suffix=suffix).is_file_of(key, tables) for suffix in FILE_SUFFIXES)

    def is_file_of(self, key: str, tables: set[str]) -> bool:
        """Return whether a key is one that this export may write."""
        if not key.startswith(self._under("")):
            return False
        name = key.removeprefix(self._under(""))
        if self.layout is Layout.HIVE:
            table = name.removeprefix("table=").partition("/")[0]
            return name.startswith("table=") and name.endswith(self.suffix) and table in tables
        stem = name.removesuffix(self.suffix)
        return name.endswith(self.suffix) and (stem in tables or re.sub(r"-\d{5}$", "", stem) in tables)

    def may_have_left(self, key: str, tables: set[str]) -> bool:
        """Return whether an unfinished upload of a key is from an earlier try of this export.

        It may also be from the export of another window that is running in parallel.
        """
        if not self.is_file_of(key, tables):
            return False
        if self.layout is Layout.TABLE or self.export:
            return True
        name = key.rpartition("/")[2].removesuffix(self.suffix)
        found = re.search(r"/date=(\d{4}-\d\d-\d\d)/", key)
        window = self._window if found is not None else self._whole_window
        if re.fullmatch(rf"part-{re.escape(window)}\d{{5}}", name) is None:
            return False
        if found is None:
            return True
        day = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
        ends_before = self.since is not None and day.date() < self.since.astimezone(UTC).date()
        return not ends_before and (self.until is None or day < self.until)

    @property
    def _window(self) -> str:
        """What distinguishes files of windows that divide a day; empty if they end at midnight."""
        if all(_is_midnight(moment) for moment in (self.since, self.until) if moment):
            return ""
        return self._whole_window

    @property
    def _whole_window(self) -> str:
        """What distinguishes files of windows that are not in partitions by date, and so in the same folder."""
        if self.export or (self.since is None and self.until is None):
            return ""
        if self.since is not None:
            return f"{stamp(self.since)}-"
        assert self.until is not None
        return f"before-{stamp(self.until)}-"

    def partition_sql(self, rows: TableRows, changed_before: datetime | None) -> Partitioning | None:
        """Return the expression of a row's partition; ``None`` if rows are not divided.

        :param changed_before: rows from before this time were in an earlier export, and go to files of their own.
        """
        if self.layout is Layout.TABLE or rows.time_sql is None:
            return None
        return Partitioning(rows.time_sql, is_increment=self.export is not None, changed_before=changed_before)

    def _under(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name


def _is_midnight(moment: datetime) -> bool:
    moment = moment.astimezone(UTC)
    return (moment.hour, moment.minute, moment.second, moment.microsecond) == (0, 0, 0, 0)


def stamp(moment: datetime) -> str:
    """Return a time as it is part of a name: ``20261122T031500Z``, with microseconds if it has any."""
    moment = moment.astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%S}{f'.{moment.microsecond:06d}' if moment.microsecond else ''}Z"
