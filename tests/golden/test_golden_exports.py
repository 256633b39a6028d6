# SPDX-License-Identifier: Apache-2.0
"""Exports and archives of an earlier release can be read, continued and restored, and have the same form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.exceptions import ExportUnderWay, MwaaInputError
from airflow_mwaa_provider.metadata.cleaning.restore import restore_archive
from airflow_mwaa_provider.metadata.manifest import Manifest
from tests.golden import databases, files
from tests.metadata.exports import body, keys

if TYPE_CHECKING:
    from tests.metadata.lab import Lab

pytestmark = pytest.mark.once

EXPORTS = files.FOLDER / "exports"
ARCHIVE = files.FOLDER / "archive"
MANIFESTS = sorted(
    path.relative_to(files.FOLDER).as_posix()
    for folder in (EXPORTS, ARCHIVE)
    for path in folder.rglob("*.json")
    if b'"format_version"' in path.read_bytes()[:40]
)
# Names of tables, columns and partitions are data.
DATA = ("tables", "columns", "partition")
# Values that depend on the environment and the time.
FREE = {"bucket", "schema_version", "airflow_version", "exported_at", "tables"}


@pytest.fixture
def stored(lab: Lab, bucket: str, request: pytest.FixtureRequest) -> str:
    """Return the name of a bucket with the objects of an earlier release."""
    databases.upload(lab, EXPORTS / request.param, bucket)
    return bucket


# -- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", databases.EXPORTS)
def test_an_export_is_read_as_it_was(name: str) -> None:
    place = EXPORTS / name / databases.PREFIX / databases.EXPORTS[name].get("manifest_name", "manifest.json")
    before = files.read(f"exports/{name}/read.json")
    assert databases.read_back(place) == before["tables"]
    # What the exporting task returns, and other tasks read.
    assert Manifest.read(place.read_bytes(), "it").summary() == before["summary"]


@pytest.mark.parametrize("path", MANIFESTS)
def test_a_manifest_is_written_as_it_was_read(path: str) -> None:
    content = (files.FOLDER / path).read_bytes()
    assert Manifest.read(content, path).write() == content


# -- writing --------------------------------------------------------------------------------------


def stored_keys(name: str) -> list[str]:
    return sorted(
        path.relative_to(EXPORTS / name).as_posix()
        for path in (EXPORTS / name).rglob("*")
        if path.is_file() and path.name != "read.json"
    )


def check_same_form(found: dict[str, Any], before: dict[str, Any]) -> None:
    """Check that two manifests of the same rows agree, except for values that are specific to each database."""
    assert files.shape(found, DATA) == files.shape(before, DATA)
    assert {name: found[name] for name in found.keys() - FREE} == {name: before[name] for name in before.keys() - FREE}
    assert found["tables"].keys() == before["tables"].keys()
    for name, table in before["tables"].items():
        for field in ("rows", "objects", "key", "by", "since", "until", "watermark", "rows_changed", "may_lack_rows"):
            assert found["tables"][name][field] == table[field], (name, field)
        places = [{field: file[field] for field in ("key", "rows", "partition")} for file in table["files"]]
        files_found = found["tables"][name]["files"]
        assert [{field: file[field] for field in ("key", "rows", "partition")} for file in files_found] == places


@pytest.mark.parametrize("name", ["table-csv", "hive-csv", "incremental-csv"])
def test_an_export_is_written_as_it_was(lab: Lab, bucket: str, name: str, request: pytest.FixtureRequest) -> None:
    """Object names and the form of the manifest are the same: readers do not know this package's version."""
    options = databases.EXPORTS[name]
    database = request.getfixturevalue("filled" if options.get("incremental") else "unchanged")
    databases.export_all(lab, database, bucket, options)
    assert keys(lab, bucket) == stored_keys(name)
    for key in keys(lab, bucket):
        if b'"format_version"' in (content := body(lab, bucket, key))[:40]:
            check_same_form(json.loads(content), files.read(f"exports/{name}/{key}"))


def test_notes_are_written_as_they_were(lab: Lab, filled: str, bucket: str) -> None:
    """The journal, the window's note and the lease at the time when the process is killed."""
    for name, options in databases.CUT.items():
        for key in keys(lab, bucket):
            lab.s3().delete_object(Bucket=bucket, Key=key)
        found: dict[str, bytes] = {}

        def look(found: dict[str, bytes] = found) -> None:
            found.update({key: body(lab, bucket, key) for key in keys(lab, bucket)})

        databases.export_killed(lab, filled, bucket, options, look)
        assert sorted(found) == stored_keys(name)
        for key, content in found.items():
            if key.endswith(".json"):
                before = files.read(f"exports/{name}/{key}")
                assert files.shape(json.loads(content), DATA) == files.shape(before, DATA), key
                for field in {"manifest", "window", "incremental", "keys"} & before.keys():
                    assert json.loads(content)[field] == before[field], (key, field)


# -- continuing -----------------------------------------------------------------------------------


def without_lease(lab: Lab, bucket: str) -> None:
    """Delete the killed export's lease, because exports would wait until they detect that it is not renewed."""
    found = [key for key in keys(lab, bucket) if ".exporting" in key]
    assert len(found) == 1
    lab.s3().delete_object(Bucket=bucket, Key=found[0])


@pytest.mark.parametrize(
    ("stored", "name"), [("cut-table", "cut-table"), ("cut-hive", "cut-hive")], indirect=["stored"]
)
def test_an_export_that_was_cut_is_gone_on_with(lab: Lab, unchanged: str, stored: str, name: str) -> None:
    """The leftovers of the killed export, and what it was to replace, are deleted according to its journal."""
    without_lease(lab, stored)
    assert [key for key in keys(lab, stored) if key.endswith(".csv")]
    written = databases.export(lab, unchanged, stored, **databases.CUT[name], compression="zstd")
    note = {key for key in stored_keys(name) if "-windows/" in key}
    assert set(keys(lab, stored)) == {*written.keys, written.key, *note}
    assert all(key.endswith(".csv.zst") for key in written.keys)


@pytest.mark.parametrize("stored", ["cut-incremental"], indirect=True)
def test_an_increment_that_was_cut_is_gone_on_with(lab: Lab, unchanged: str, stored: str) -> None:
    """The journal contains the manifest that was about to be replaced; until it is restored, nothing else is added."""
    without_lease(lab, stored)
    options = databases.CUT["cut-incremental"]
    last = databases.OCTOBER
    with pytest.raises(MwaaInputError, match=last.isoformat().replace("+", r"\+")):
        databases.export(lab, unchanged, stored, until=last.replace(day=2), **options)
    written = databases.export(lab, unchanged, stored, until=last, compression="zstd", **options)
    assert written.key in keys(lab, stored)
    assert not [key for key in keys(lab, stored) if "until=20261001" in key and not key.endswith(".csv.zst")]
    assert not [key for key in keys(lab, stored) if ".writing" in key]
    assert [key for key in keys(lab, stored) if "until=20260501" in key and key.endswith(".csv")]


class Renewed:
    """boto3's S3 client, while an earlier release renews its lease."""

    def __init__(self, client: Any) -> None:
        self._client, self._looks = client, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_object(self, **given: Any) -> Any:
        if ".exporting" in given["Key"]:
            self._looks += 1
            note = json.loads(self._client.get_object(**given)["Body"].read())
            content = json.dumps({**note, "renewals": note["renewals"] + self._looks}).encode()
            self._client.put_object(**given, Body=content)
        return self._client.get_object(**given)


@pytest.mark.parametrize("stored", ["cut-table"], indirect=True)
def test_an_export_of_an_earlier_release_that_is_alive_keeps_others_away(lab: Lab, unchanged: str, stored: str) -> None:
    [lease] = [key for key in keys(lab, stored) if ".exporting" in key]
    began = json.loads(body(lab, stored, lease))["began"]
    with pytest.raises(ExportUnderWay) as caught:
        databases.export(lab, unchanged, stored, client=Renewed(lab.s3()), **databases.CUT["cut-table"])
    assert began in str(caught.value)


# -- archives -------------------------------------------------------------------------------------


def same_tables(lab: Lab, database: str, archive: dict[str, Any]) -> list[str]:
    """Return the archive's tables that have the same columns in this Airflow."""
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        cursor.execute("SELECT table_name, array_agg(column_name::text) FROM information_schema.columns GROUP BY 1")
        there = {name: set(columns) for name, columns in cursor.fetchall()}
    connection.close()
    return [name for name, table in archive["tables"].items() if there.get(name) == table["columns"].keys()]


def test_an_archive_is_restored(lab: Lab, filled: str, bucket: str) -> None:
    archive = files.read(f"archive/{databases.ARCHIVE}/manifest.json")
    tables = same_tables(lab, filled, archive)
    assert "celery_taskmeta" in tables
    databases.upload(lab, ARCHIVE, bucket)
    lab.execute(filled, "DELETE FROM task_instance; DELETE FROM dag_run; DELETE FROM log; DELETE FROM celery_taskmeta")
    with pytest.raises(MwaaInputError, match="is of another database"):
        restore_archive(lab.database(filled), lab.s3(), bucket, databases.ARCHIVE, tables=tables)
    found = restore_archive(
        lab.database(filled), lab.s3(), bucket, databases.ARCHIVE, tables=tables, other_database=True
    )
    gone = {name: rows for name, rows in files.read("archive/rows.json").items() if name in tables}
    assert {name: count["inserted"] for name, count in found.items()} == {name: len(gone[name]) for name in tables}
    assert databases.rows_of(lab, filled, tables) == gone


def test_an_archive_is_written_as_it_was(lab: Lab, filled: str, bucket: str) -> None:
    assert databases.clean(lab, filled, bucket).is_complete
    before = files.read(f"archive/{databases.ARCHIVE}/manifest.json")
    there = sorted(path.relative_to(ARCHIVE).as_posix() for path in (ARCHIVE / "cold").rglob("*") if path.is_file())
    assert keys(lab, bucket) == there
    found = json.loads(body(lab, bucket, f"{databases.ARCHIVE}/manifest.json"))
    database, other = found.pop("database"), before.pop("database")
    assert files.shape(database) == files.shape(other)
    check_same_form(found, before)
