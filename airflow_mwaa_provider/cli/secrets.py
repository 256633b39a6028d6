# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa secrets``: why a look-up gives what it gives."""

from __future__ import annotations

import click

from airflow_mwaa_provider.cli.secrets_explain import explain


@click.group()
def secrets() -> None:
    """Tell why a connection or variable is not found.

    \b
    Example:
      airflow-mwaa secrets explain warehouse --env production
    """


secrets.add_command(explain)
