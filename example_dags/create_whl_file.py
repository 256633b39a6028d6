# SPDX-License-Identifier: Apache-2.0
"""Package the wheels of the environment's requirements.txt as a plugins.zip, for a web server without a package index.

Then update the environment with the versions that the task returns: that of plugins.zip, and, as its requirements.txt,
that of ``packaged_requirements.txt`` beside it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

try:  # Airflow 3
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag

from airflow_mwaa_provider.operators.packaging import RequirementsToPluginsZipOperator

S3_BUCKET = "my-s3-bucket"
S3_KEY = "backup/plugins_whl.zip"


@dag(
    dag_id="create_whl_file",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    dagrun_timeout=timedelta(hours=1),
    tags=["mwaa", "packaging"],
)
def create_whl_file() -> None:
    # [START package]
    RequirementsToPluginsZipOperator(task_id="package", destination=f"s3://{S3_BUCKET}/{S3_KEY}")
    # [END package]


create_whl_file()
