# SPDX-License-Identifier: Apache-2.0
"""The demo, run as by scripts/demo: it ends, shows the result, and leaves no process."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_mwaa_provider.local.machine import processes
from scripts.lib import recording
from tests.local_airflow.refusing_proxy import RefusingProxy

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "assets" / "demo.svg"

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]


def test_demo_once(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with RefusingProxy() as proxy:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "airflow_mwaa_provider.cli.main",
                "local",
                "demo",
                "--once",
                "--folder",
                str(folder),
            ],
            env={**os.environ, **proxy.variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
    assert done.returncode == 0, done.stderr
    assert proxy.asked == [], "all of it is on this machine"
    assert "The DAG in source sent 19 + 23, the DAG in target answered 42." in done.stdout
    assert "run_by_other_environment" in done.stdout
    assert "What DAG export_metadata wrote to s3://demo-export" in done.stdout
    assert "files/export/task_instance.csv" in done.stdout
    cleaned = done.stdout.split("What target's web server deleted from its metadata database")[1]
    assert "task_instance" in cleaned
    read = done.stdout.split("Tasks in source that read a connection")[1]
    calls = [int(line.split()[-1]) for line in read.splitlines() if line.strip().startswith("secrets-manager, ")]
    assert len(calls) == 3
    assert calls[0] >= 1
    assert calls[1:] == [0, 0]
    used = done.stdout.split("What tasks in source used")[1]
    assert re.search(r"export_metadata, export +ended success, peak memory [1-9]\d*\.\d MB", used)
    seen = used.split("The effect of source's configuration options on its tasks")[1]
    rows = [" ".join(row.split()) for row in seen.split("\n\n")]
    assert any(
        re.search(r"mwaa_provider\.task_timezone VALUE America/Los_Angeles TASK tz_aware_task PRINTED .* P[SD]T\b", row)
        for row in rows
    ), rows
    assert any(
        "mwaa_env.java_home VALUE /usr/lib/jvm/jre TASK in_bash PRINTED JAVA_HOME is /usr/lib/jvm/jre," in row
        for row in rows
    ), rows
    metrics = used.split("Source's metrics in CloudWatch")[1]
    assert re.search(r"^  worker disk\b.*%", metrics, re.MULTILINE)
    assert re.search(r"^  scheduler\b", metrics, re.MULTILINE)
    drawn = {html.unescape(line) for line in recording.lines_of(PICTURE.read_text(encoding="utf-8"))}
    titles = set(recording.headings(done.stdout))
    assert len(titles) > 5
    assert titles <= drawn, "run scripts/demo --record docs/assets/demo.svg"
    assert "source: waiting for DAG" in done.stderr, "progress is visible while it waits"
    assert not folder.exists()
    assert processes.find(folder) == []
