# SPDX-License-Identifier: Apache-2.0
"""The memory of an export: within its bound, and the same for more than twice the rows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3
from airflow_mwaa_provider.metadata.storage.bucket import PART_BYTES
from tests.metadata.lab import REGION
from tests.metadata.once import FULL

EXPORT = """
import sys
import boto3
from botocore.config import Config
from airflow_mwaa_provider.metadata.database import Database
from airflow_mwaa_provider.metadata.export.run import ExportOptions, export_metadata
from airflow_mwaa_provider.metadata.sources import DatabaseSource
from airflow_mwaa_provider.metadata.storage.bucket import Storage
url, endpoint, region, bucket, form, compression = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint, region_name=region, aws_access_key_id="t", aws_secret_access_key="t",
                  config=Config(s3={"addressing_style": "path"}))
options = ExportOptions(tables=["log"], file_format=form, compression=compression)
with DatabaseSource(Database.from_url(url)) as source, Storage(s3, bucket) as storage:
    print(export_metadata(source, storage, options).tables["log"].rows)
print(open("/proc/self/status").read())
"""


# The second set of rows must be far larger than the allowed growth, even compressed; a few long rows are faster
# than many short ones.
ROWS, PADDING = (30_000, 120_000), " || ".join(f"md5((i * 32 + {number})::text)" for number in range(24))
if FULL:
    ROWS, PADDING = (500_000, 700_000), "md5(i::text) || repeat('x', 60)"


@pytest.mark.skipif(
    AIRFLOW_V_3 and not FULL, reason="the suite of Airflow 2 does it; what is measured knows no Airflow"
)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's own peak")
def test_the_memory_does_not_grow_with_the_rows(lab, database, bucket) -> None:
    formats = {("csv", "none"): 150, ("csv", "gzip"): 150, ("parquet", "zstd"): 300}
    peaks: dict[tuple[str, str], list[float]] = {form: [] for form in formats}
    for rows in ROWS:
        lab.execute(
            database,
            "INSERT INTO log (dttm, dag_id, event, extra) SELECT now(), 'dag_' || i % 50, 'event', "
            f"'padding so that a row has some bytes: ' || i || {PADDING} "
            f"FROM generate_series(1, {rows}) i",
        )
        for form in formats:
            arguments = [lab.postgres.url(database), lab.moto.url, REGION, bucket, *form]
            done = subprocess.run(
                [sys.executable, "-c", EXPORT, *arguments], capture_output=True, text=True, check=True
            )
            found = re.search(r"^VmHWM:\s+(\d+) kB", done.stdout, re.MULTILINE)
            assert found is not None
            peaks[form].append(int(found[1]) / 1024)
    for form, most_mb in formats.items():
        small, large = peaks[form]
        assert large <= most_mb, peaks
        # If S3 is slow, the parts being uploaded may or may not have been in memory all at once.
        assert large <= small * 1.1 + 3 * PART_BYTES / 2**20, peaks
    print(peaks)
