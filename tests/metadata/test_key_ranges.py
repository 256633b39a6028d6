# SPDX-License-Identifier: Apache-2.0
"""Tables in pieces by key: each row, with any key, is in exactly one piece, and no piece exceeds its limit."""

from __future__ import annotations

import pytest

from airflow_mwaa_provider.metadata.catalog.registry import is_bookkeeping
from airflow_mwaa_provider.metadata.catalog.selection import has_readable_key, next_range, select_tables
from airflow_mwaa_provider.metadata.sources import DatabaseSource
from tests.metadata import history
from tests.metadata.test_export import NASTY


@pytest.fixture(scope="module")
def filled(lab):
    database = lab.copy()
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=30, tasks=4, dags=3)
        for number, text in enumerate(NASTY):
            cursor.execute(
                "INSERT INTO slot_pool (pool, slots, include_deferred) VALUES (%s, %s, false)", (text, number)
            )
            cursor.execute("INSERT INTO dag_tag (name, dag_id) VALUES (%s, 'dag_000')", (text,))
        cursor.execute("UPDATE log SET extra = repeat('x', 3000) || id")
    connection.close()
    return database


def pieces(source, table, **bounds):
    """Walk through a table, and return the condition of each piece."""
    rows = select_tables(source.schema, [table])[0]
    after, found = None, []
    while True:
        keys, is_last = next_range(source.connection, rows, after, **bounds)
        found.append(keys)
        if is_last:
            return found
        assert keys.last is not None
        after = keys.last
        assert len(found) < 1000


def count(source, table, keys) -> list[str]:
    with source.connection.cursor() as cursor:
        cursor.execute(f"SELECT t.ctid::text FROM {table} t WHERE {keys.condition()}")
        return [row[0] for row in cursor.fetchall()]


@pytest.mark.parametrize("table", ["dag_run", "task_instance", "slot_pool", "dag_tag", "log", "job"])
@pytest.mark.parametrize("max_rows", [1, 7, 1000])
def test_each_row_is_in_exactly_one_piece(lab, filled, table, max_rows) -> None:
    with DatabaseSource(lab.database(filled)) as source:
        found = pieces(source, table, max_rows=max_rows, max_bytes=1 << 30)
        of_pieces = [count(source, table, keys) for keys in found]
        with source.connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {table}")
            (total,) = cursor.fetchone()
        assert found == pieces(source, table, max_rows=max_rows, max_bytes=1 << 30), "the same when repeated"
    ids = [row for piece in of_pieces for row in piece]
    assert len(ids) == len(set(ids)) == total
    assert max(map(len, of_pieces)) <= max_rows
    # If the rows of a table fill the last piece completely, an empty one follows it.
    assert len(of_pieces) == total // max_rows + 1


def test_pieces_are_bounded_by_the_size_of_their_values(lab, filled) -> None:
    filled = lab.copy(filled)
    lab.execute(filled, "ALTER TABLE log ALTER COLUMN extra SET STORAGE EXTERNAL", "UPDATE log SET extra = extra || ''")
    with DatabaseSource(lab.database(filled)) as source:
        found = pieces(source, "log", max_rows=1000, max_bytes=40_000)
        of_pieces = [count(source, "log", keys) for keys in found]
        sizes = []
        with source.connection.cursor() as cursor:
            for keys in found:
                cursor.execute(f"SELECT COALESCE(sum(pg_column_size(extra)), 0) FROM log t WHERE {keys.condition()}")
                sizes.append(cursor.fetchone()[0])
        assert len(sizes) >= 10
        assert max(sizes) <= 40_000
        assert min(sizes[:-1]) > 25_000, "filled as far as it goes"
        # A single row is a piece, however large it is.
        each = [count(source, "log", keys) for keys in pieces(source, "log", max_rows=1000, max_bytes=1)]
    assert {len(piece) for piece in each} <= {0, 1}
    assert sum(map(len, each)) == sum(map(len, of_pieces)) == 120


def test_every_table_that_grows_has_a_key_that_can_be_read(lab, filled) -> None:
    with DatabaseSource(lab.database(filled)) as source:
        names = [name for name in source.schema.tables if not is_bookkeeping(name)]
        without = {rows.name for rows in select_tables(source.schema, names) if not has_readable_key(rows)}
    # The only exceptions, in a few versions, are small tables: links between assets.
    assert not without & {"dag_run", "task_instance", "task_instance_history", "log", "xcom", "job", "trigger"}
    assert not without, without
