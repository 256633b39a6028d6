# SPDX-License-Identifier: Apache-2.0
"""How large an export will be, by what PostgreSQL itself expects; reads no rows."""

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
    """What is expected of a table.

    :param rows: that will leave; PostgreSQL's guess, which may be far off for a window of time.
    :param bytes: of those rows in the table, without compression.
    :param by: ``time`` or ``None`` when all rows are taken.
    """

    table: str
    rows: int
    bytes: int
    by: str | None


def estimate_export(connection: Any, schema: Schema, options: ExportOptions) -> list[TableEstimate]:
    """Estimate each table of an export; an incremental one as if it were the first.

    :param connection: a psycopg2 connection to the database of that schema.
    :raises MwaaInputError: the export cannot be done as asked.
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
