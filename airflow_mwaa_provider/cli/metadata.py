# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa metadata``: Airflow's metadata database, and exports of it."""

from __future__ import annotations

import click

from airflow_mwaa_provider.cli.metadata_export import export
from airflow_mwaa_provider.cli.metadata_report import ddl, report


@click.group()
def metadata() -> None:
    """Export Airflow's metadata database, and work with exports of it.

    \b
    Example:
      airflow-mwaa metadata export s3://bucket/history --format parquet
      airflow-mwaa metadata report s3://bucket/history --output-file history.html
    """


metadata.add_command(ddl)
metadata.add_command(export)
metadata.add_command(report)
