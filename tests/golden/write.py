# SPDX-License-Identifier: Apache-2.0
"""Write the golden files, which contain what this tree writes: triggers, events, exports, archives, messages, state.

Run it manually, in an environment of ``scripts/test``, with the tree whose forms must be kept, before you change it::

    python tests/golden/write.py            # all
    python tests/golden/write.py -k triggers

The tests beside it then read the files with the changed tree. Writing them again hides that a form has changed, so a
form that changes on purpose gets new files in addition to the old ones, which must still be readable.

It is a pytest file, because of the fixtures, with a name that no test run collects. Clocks, IDs and addresses are fixed
if this tree chooses them; what the database, S3 and the code's random numbers choose differs between runs. The files
contain no secret, no address and no path of a machine.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "-p", "no:randomly", *sys.argv[1:]]))

from airflow_mwaa_provider.metadata.manifest import Manifest
from tests.golden import cases, databases, files, messages, provider
from tests.local_airflow.conftest import Local
from tests.metadata.exports import keys
from tests.metadata.lab import REGION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.client.world import World
    from tests.metadata.lab import Lab


def test_triggers() -> None:
    files.write("triggers.json", cases.triggers())


def test_events() -> None:
    files.write("events.json", cases.events(), indent=None)


def test_deferred(world: World, connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    connection()
    files.write("deferred.json", cases.deferrals(world, monkeypatch))


@pytest.fixture
def golden_bucket(lab: Lab) -> Iterator[str]:
    """Create a bucket with a fixed name, which is in the manifests."""
    s3, name = lab.s3(), "golden"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    yield name
    for key in keys(lab, name):
        s3.delete_object(Bucket=name, Key=key)
    s3.delete_bucket(Bucket=name)


@pytest.mark.parametrize("name", databases.EXPORTS)
def test_exports(lab: Lab, filled: str, golden_bucket: str, name: str) -> None:
    options = databases.EXPORTS[name]
    databases.export_all(lab, filled, golden_bucket, options)
    folder = files.FOLDER / "exports" / name
    databases.download(lab, golden_bucket, folder)
    place = folder / databases.PREFIX / options.get("manifest_name", "manifest.json")
    found = {"tables": databases.read_back(place), "summary": Manifest.read(place.read_bytes(), "it").summary()}
    files.write(f"exports/{name}/read.json", found, indent=None)


@pytest.mark.parametrize("name", databases.CUT)
def test_cut_exports(lab: Lab, filled: str, golden_bucket: str, name: str) -> None:
    def download() -> None:
        databases.download(lab, golden_bucket, files.FOLDER / "exports" / name)

    databases.export_killed(lab, filled, golden_bucket, databases.CUT[name], download)


def test_archive(lab: Lab, filled: str, golden_bucket: str) -> None:
    tables = ["dag_run", "task_instance", "log", "celery_taskmeta"]
    before = databases.rows_of(lab, filled, tables)
    outcome = databases.clean(lab, filled, golden_bucket)
    assert outcome.is_complete
    after = databases.rows_of(lab, filled, tables)
    databases.download(lab, golden_bucket, files.FOLDER / "archive")
    gone = {table: [row for row in before[table] if row not in after[table]] for table in tables}
    files.write("archive/rows.json", gone, indent=None)


@pytest.fixture
def api_bucket(lab: Lab) -> None:
    lab.s3().create_bucket(Bucket=messages.BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})


@pytest.mark.usefixtures("api_bucket")
def test_api_export(lab: Lab, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = messages.exporting(lab, filled)
    said = messages.recorded(server)
    end = messages.export_talk(server, lab.s3(), monkeypatch, lambda: databases.change(lab, filled))
    files.write("api/export.json", {"messages": said, "end": end}, indent=None)


def test_api_cleanup(lab: Lab, filled: str) -> None:
    server = messages.cleaning(lab, filled)
    said = messages.recorded(server)
    end = messages.cleanup_talk(server)
    # The plan contains the database's address.
    text = json.dumps({"messages": said, "end": end})
    text = text.replace(f"127.0.0.1:{lab.postgres.port}", "example.com:5432").replace(filled, "airflow")
    files.write("api/cleanup.json", json.loads(text), indent=None)


def test_api_refusals(lab: Lab, filled: str) -> None:
    found = messages.refusals(lab, filled)
    for message in found:
        message["told"] = [messages.told(message, cleanup=cleanup) for cleanup in (False, True)]
    files.write("api/refusals.json", found, indent=None)


def test_provider() -> None:
    files.write("provider.json", provider.described())


def test_cache_of_secrets(tmp_path: Path) -> None:
    store, entries = provider.cache(tmp_path / "cache"), provider.cache_entries()
    for entry in entries:
        store.write(entry)
    kept = {path.name: path.read_text() for path in Path(store.folder).glob("*.entry")}
    fields = [json.loads(entry.to_bytes()) for entry in entries]
    files.write("secrets.json", {"folder": Path(store.folder).name, "files": kept, "entries": fields})


def test_local_state(tmp_path: Path) -> None:
    """Start a local MWAA, and store what it records, with other keys, ports and paths."""
    local = Local(tmp_path / "state")
    given = ["-e", "source", "--no-mwaa-paths", "--output", "json"]
    try:
        result = local.run("up", *given)
        assert result.returncode == 0, result.stderr
        for path in ("secrets.json", "status.json", "postgres/record.json", "environments/source/record.json"):
            content = json.loads((local.folder / path).read_text(encoding="utf-8"))
            files.write(f"local/{path}", provider.anonymous(content, str(local.folder)))
    finally:
        local.run("down")
