# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa metadata``: export and clean Airflow's metadata database, and work with exports."""

from __future__ import annotations

import click

from airflow_mwaa_provider.cli.metadata.cleanup import clean, plan, restore
from airflow_mwaa_provider.cli.metadata.export import export
from airflow_mwaa_provider.cli.metadata.report import ddl, report


@click.group()
def metadata() -> None:
    """Export Airflow's metadata database, work with exports, and delete old rows.

    \b
    Example:
      airflow-mwaa metadata export s3://bucket/history --file-format parquet
      airflow-mwaa metadata report s3://bucket/history --output-file history.html
      airflow-mwaa metadata plan --retention 30d
    """


metadata.add_command(clean)
metadata.add_command(ddl)
metadata.add_command(export)
metadata.add_command(plan)
metadata.add_command(report)
metadata.add_command(restore)
