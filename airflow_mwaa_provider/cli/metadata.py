# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa metadata``: an environment's metadata database, and exports of it."""

from __future__ import annotations

import click

from airflow_mwaa_provider.cli.metadata_report import ddl, report


@click.group()
def metadata() -> None:
    """Work with exports of an environment's metadata database.

    \b
    Example:
      airflow-mwaa metadata report s3://bucket/files/export --output-file history.html
    """


metadata.add_command(ddl)
metadata.add_command(report)
