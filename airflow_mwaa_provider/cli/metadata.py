# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa metadata``: Airflow's metadata database."""

from __future__ import annotations

import click

from airflow_mwaa_provider.cli.metadata_export import export


@click.group()
def metadata() -> None:
    """Export Airflow's metadata database.

    \b
    Example:
      airflow-mwaa metadata export s3://my-bucket/history --format parquet
    """


metadata.add_command(export)
