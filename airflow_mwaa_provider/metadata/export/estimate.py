# SPDX-License-Identifier: Apache-2.0
"""Estimate the size of an export from PostgreSQL's own statistics, without reading rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.metadata.catalog.selection import TableRows, Window, select_tables

if TYPE_CHECKING:
    from airflow_mwaa_provider.metadata.catalog.schema import Schema
    from airflow_mwaa_provider.metadata.export.run import ExportOptions

__all__ = ["TableEstimate", "estimate_export"]


@dataclass(frozen=True)
class TableEstimate:
    """The estimate for a table.

    :param rows: rows to export; PostgreSQL's estimate, which can be far off for a time window.
    :param bytes: their size in the table, uncompressed.
    :param by: ``time``, or ``None`` if all rows are exported.
    """

    table: str
    rows: int
    bytes: int
    by: str | None


def estimate_export(connection: Any, schema: Schema, options: ExportOptions) -> list[TableEstimate]:
    """Estimate each table of an export; an incremental export as if it were the first one.

    :param connection: a psycopg2 connection to the database with that schema.
    :raises MwaaInputError: the export cannot be done as requested.
    """
    tables = select_tables(schema, options.tables, options.exclude, Window(options.since, options.until))
    return [_estimate(connection, rows) for rows in tables]


def _estimate(connection: Any, rows: TableRows) -> TableEstimate:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {rows.select(lambda written, _: written)}")
        found = cursor.fetchone()[0]
    plan = (found if isinstance(found, list) else json.loads(found))[0]["Plan"]
    count = int(plan["Plan Rows"])
    if rows.is_whole and rows.table.estimated_rows is not None:
        count = rows.table.estimated_rows
    return TableEstimate(rows.name, count, count * int(plan["Plan Width"]), None if rows.is_whole else "time")
