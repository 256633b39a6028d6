# SPDX-License-Identifier: Apache-2.0
"""Incremental exports while Airflow's own code runs: the increments together have every row in its current form."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.metadata.catalog.selection import select_tables
from airflow_mwaa_provider.metadata.export.run import ExportOptions, export_metadata
from airflow_mwaa_provider.metadata.sources import DatabaseSource
from airflow_mwaa_provider.metadata.storage.bucket import Storage
from tests import seeds
from tests.metadata.airflow_life import AirflowLife
from tests.metadata.api import Server
from tests.metadata.exports import body, copied, export, rows
from tests.metadata.once import FULL

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_mwaa_provider.metadata.manifest import Manifest
    from tests.metadata.lab import Lab

Key = tuple[str, ...]
Row = tuple[str, ...]


class Increments:
    """All increments of one prefix, read without the package, except for their manifests."""

    def __init__(self, lab: Lab, bucket: str) -> None:
        self._lab, self._bucket = lab, bucket
        self._versions: defaultdict[str, dict[Key, Row]] = defaultdict(dict)
        self._files: dict[str, str] = {}

    def add(self, manifest: Manifest) -> None:
        """Read an increment; the last version of each row counts, and the last export of a table without a history."""
        for name, table in manifest.tables.items():
            if table.by is None:
                self._versions[name].clear()
            for file in table.files:
                self._files[file.key] = file.sha256
                for row in rows(self._lab, self._bucket, file.key):
                    key = tuple(row[column] for column in table.key)
                    self._versions[name][key] = tuple(row[column] for column in table.columns)

    def lost(self) -> list[str]:
        """Return rows of earlier increments that no longer exist in that form."""
        return [
            key
            for key, digest in self._files.items()
            if hashlib.sha256(body(self._lab, self._bucket, key)).hexdigest() != digest
        ]

    def differences(self, database: str, manifest: Manifest) -> list[str]:
        """Return rows of the database that are missing or different in the increments."""
        found = []
        for name, table in manifest.tables.items():
            columns = ", ".join(
                f't."{column}"::text' if kind == "bool" else f't."{column}"' for column, kind in table.columns.items()
            )
            present = _parsed(copied(self._lab, database, f'SELECT {columns} FROM "{name}" t'))
            for values in present:
                row = dict(zip(table.columns, values, strict=True))
                key = tuple(row[column] for column in table.key)
                known = self._versions[name].get(key)
                if known != values:
                    found.append(f"{name} {key}: {'missing' if known is None else f'{known} for {values}'}")
        return found


def _parsed(content: bytes) -> list[Row]:
    return [tuple(row) for row in list(csv.reader(io.StringIO(content.decode(), newline="")))[1:]]


def by_database(lab: Lab, database: str, bucket: str, tables: list[str], until: datetime) -> Manifest:
    return export(lab, database, bucket, incremental=True, until=until, tables=tables)


def by_api(lab: Lab, database: str, bucket: str, tables: list[str], until: datetime) -> Manifest:
    options = ExportOptions(incremental=True, until=until, tables=tables)
    with Server(lab, database, f"s3://{bucket}").source() as source, Storage(lab.s3(), bucket) as storage:
        return export_metadata(source, storage, options)


CASES = [(by_database, seed) for seed in seeds.several(50 if FULL else 2)]
CASES += [(by_api, seed) for seed in seeds.several(10 if FULL else 1)]


@pytest.mark.parametrize(("by", "seed"), CASES)
def test_the_increments_have_every_row_that_airflow_has_written(
    lab: Lab, database: str, bucket: str, monkeypatch: Any, by: Any, seed: str
) -> None:
    random = Random(seed)
    life = AirflowLife(lab.postgres.url(database), random, monkeypatch)
    union, done = Increments(lab, bucket), []
    with DatabaseSource(lab.database(database)) as source:
        # The others are complete in each increment.
        tables = [rows.name for rows in select_tables(source.schema) if rows.time_sql is not None]
    try:
        for number in range(5):
            done += [*life.go_on(random.randint(1, 30)), f"export {number}"]
            if number == 4:
                life.end_late()
            exported = by(lab, database, bucket, tables, life.clock.now)
            union.add(exported)
            if random.random() < 0.5:
                life.end_late()
    finally:
        life.close()
    assert union.differences(database, exported) == [], done
    assert union.lost() == []
