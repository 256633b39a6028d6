# SPDX-License-Identifier: Apache-2.0
"""``metadata report`` and ``metadata ddl`` in a terminal, with a small export in a folder and in S3."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest

from airflow_mwaa_provider.metadata.manifest import Manifest, TableExport
from airflow_mwaa_provider.metadata.storage.bucket import StoredFile
from tests.cli.terminal import Terminal
from tests.client.world import KEY, REGION, SECRET

RUNS = """dag_id,run_id,state,run_type,start_date,end_date
etl,a,success,scheduled,2026-01-05 01:00:00+00,2026-01-05 01:01:00+00
etl,b,failed,scheduled,2026-01-06 01:00:00.5+00,2026-01-06 01:01:00+00
"<b>""x""
",c,running,manual,2026-01-06 02:00:00+00,
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    content = gzip.compress(RUNS.encode())
    file = StoredFile("p/dag_run.csv.gz", 3, len(content), hashlib.sha256(content).hexdigest())
    kinds = dict.fromkeys(("dag_id", "run_id", "state", "run_type"), "varchar")
    kinds |= {"start_date": "timestamptz", "end_date": "timestamptz"}
    manifest = Manifest(
        bucket="b",
        key="p/manifest.json",
        tables={"dag_run": TableExport((file,), kinds, ("run_id",), by="time")},
        schema_version="x",
        airflow_version="3.0.6",
        since=None,
        until=None,
        exported_at=datetime(2026, 1, 7, tzinfo=UTC),
        file_format="csv",
        compression="gzip",
        layout="table",
        route="database",
    )
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "dag_run.csv.gz").write_bytes(content)
    (folder / "manifest.json").write_bytes(manifest.write())
    return folder


@pytest.fixture
def bucket(terminal: Terminal, folder: Path) -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]  # older releases of moto do not expose the port that they chose
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port)
    server.start()
    url = f"http://127.0.0.1:{port}"
    s3 = boto3.client("s3", region_name=REGION, endpoint_url=url, aws_access_key_id=KEY, aws_secret_access_key=SECRET)
    s3.create_bucket(Bucket="reports")
    for path in folder.iterdir():
        s3.put_object(Bucket="reports", Key=f"copied/to/{path.name}", Body=path.read_bytes())
    terminal.variables["AWS_ENDPOINT_URL_S3"] = url
    yield "reports"
    s3.close()
    server.stop()


def test_a_report_of_a_folder(terminal: Terminal, folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    said = terminal.run("metadata", "report", str(folder), "--output-file", str(page), "--title", "production")
    assert said.stdout == f"Wrote {page}: 3 runs, 1 of them failed.\n"
    text = page.read_text(encoding="utf-8")
    assert "Airflow history of production" in text
    assert text.count("&lt;b&gt;&quot;x&quot;\\n") == 1  # it has not ended, and is listed as open
    assert "<b>&quot;x" not in text
    assert "The export has no table task_instance" in text
    assert list(tmp_path.glob(".*")) == []
    answer = terminal.json("metadata", "report", str(folder), "--output-file", str(page))
    assert answer == {
        "file": str(page),
        "bytes": page.stat().st_size,
        "runs": 3,
        "failed_runs": 1,
        "task_instances": None,
        "tables": {"dag_run": 3},
    }
    since = ("--since", "2026-01-06T01:30:00Z")
    assert terminal.json("metadata", "report", str(folder), "--output-file", str(page), *since)["runs"] == 1
    assert "12:30" in terminal.error("metadata", "report", str(folder), "--since", "12:30", status=2)
    terminal.run("metadata", "report", str(folder), "--output-file", str(page))
    piped = terminal.run("metadata", "report", str(folder), "--output-file", "-")
    assert piped.stdout == page.read_text(encoding="utf-8")


def test_a_device_stays_one(terminal: Terminal, folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    terminal.run("metadata", "report", str(folder), "--output-file", str(tmp_path / "pipe"))
    assert os.read(reader, 15) == b"<!doctype html>"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


def test_a_report_out_of_s3(terminal: Terminal, bucket: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    terminal.run("metadata", "report", f"s3://{bucket}/copied/to/", "--output-file", str(page))
    assert f"s3://{bucket}/copied/to" in page.read_text(encoding="utf-8")
    assert f"'s3://{bucket}/copied/to/dag_run.csv.gz'" in (
        terminal.run("metadata", "ddl", f"s3://{bucket}/copied/to", "--dialect", "duckdb").stdout
    )
    line = terminal.error("metadata", "report", f"s3://{bucket}/none", status=2)
    assert line.startswith(f"s3://{bucket}/none has no manifest.json")
    line = terminal.error("metadata", "report", "s3://nobody-has-this/none", status=1)
    assert line.startswith("Bucket 'nobody-has-this' does not exist.")


def test_ddl(terminal: Terminal, folder: Path) -> None:
    answer = terminal.json("metadata", "ddl", str(folder), "--dialect", "duckdb")
    [view] = answer["statements"]
    assert view.startswith('CREATE OR REPLACE VIEW "dag_run" AS')
    assert terminal.run("metadata", "ddl", str(folder), "--dialect", "duckdb").stdout == f"{view}\n"
    assert "layout hive" in terminal.error("metadata", "ddl", str(folder), "--dialect", "athena", status=2)


def test_what_fails_says_so_in_a_line(terminal: Terminal, folder: Path, tmp_path: Path) -> None:
    assert "is not a folder" in terminal.error("metadata", "report", str(tmp_path / "none"), status=2)
    assert "has no manifest.json" in terminal.error("metadata", "report", str(tmp_path), status=2)
    assert "names no bucket" in terminal.error("metadata", "report", "s3://", status=2)
    nowhere = str(tmp_path / "none" / "page.html")
    line = terminal.error("metadata", "report", str(folder), "--output-file", nowhere, status=1)
    assert line == f"{nowhere} cannot be written: No such file or directory."
    whole = (folder / "dag_run.csv.gz").read_bytes()
    (folder / "dag_run.csv.gz").write_bytes(whole[:20] + bytes(len(whole) - 20))
    assert "is damaged" in terminal.error("metadata", "report", str(folder), "--output-file", "-", status=1)


def test_without_credentials(terminal: Terminal) -> None:
    terminal.variables |= {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
    line = terminal.error("metadata", "report", "s3://b/p", "--output-file", "-", status=1)
    assert line.startswith("No AWS credentials were found.")
    terminal.variables["AWS_REGION"] = None
    assert "No AWS region" in terminal.error("metadata", "ddl", "s3://b/p", "--dialect", "duckdb", status=2)
