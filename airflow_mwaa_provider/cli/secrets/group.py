# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa secrets``: connections and variables in Secrets Manager."""

from __future__ import annotations

import click

from airflow_mwaa_provider.cli.secrets.cache import invalidate, stats
from airflow_mwaa_provider.cli.secrets.explain import explain
from airflow_mwaa_provider.cli.secrets.migration import migrate, restore
from airflow_mwaa_provider.cli.secrets.uri import uri


@click.group()
def secrets() -> None:
    """Work with connections and variables in Secrets Manager, and with their cache.

    \b
    Example:
      airflow-mwaa secrets explain warehouse --env-name production
      airflow-mwaa secrets stats
      airflow-mwaa secrets migrate production --variables 'sales_*' --dry-run
      airflow-mwaa secrets uri --type postgres --login etl --ask-password --host db.example.com
    """


secrets.add_command(explain)
secrets.add_command(invalidate)
secrets.add_command(stats)
secrets.add_command(migrate)
secrets.add_command(restore)
secrets.add_command(uri)
