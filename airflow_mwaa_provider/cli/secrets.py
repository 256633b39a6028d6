# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa secrets``: why a look-up gives what it gives, and the cache of the secrets backends."""

from __future__ import annotations

import click

from airflow_mwaa_provider.cli.secrets_cache import invalidate, stats
from airflow_mwaa_provider.cli.secrets_explain import explain


@click.group()
def secrets() -> None:
    """Tell why a connection or variable is not found, and look after the cache of the secrets backends.

    \b
    Example:
      airflow-mwaa secrets explain warehouse --env production
      airflow-mwaa secrets stats
      airflow-mwaa secrets invalidate warehouse
    """


secrets.add_command(explain)
secrets.add_command(invalidate)
secrets.add_command(stats)
