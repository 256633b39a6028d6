# SPDX-License-Identifier: Apache-2.0
"""The command ``airflow-mwaa``."""

from __future__ import annotations

import click

from airflow_mwaa_provider import __version__
from airflow_mwaa_provider.cli.dags import dags
from airflow_mwaa_provider.cli.environments import environments
from airflow_mwaa_provider.cli.local.commands import local
from airflow_mwaa_provider.cli.local.demo_commands import demo, login
from airflow_mwaa_provider.cli.metadata.group import metadata
from airflow_mwaa_provider.cli.monitor import monitor
from airflow_mwaa_provider.cli.package.commands import package
from airflow_mwaa_provider.cli.roles import roles
from airflow_mwaa_provider.cli.run import run
from airflow_mwaa_provider.cli.secrets.group import secrets
from airflow_mwaa_provider.cli.startup import startup
from airflow_mwaa_provider.cli.stored.commands import stored_commands
from airflow_mwaa_provider.cli.stored.texts import WORDS
from airflow_mwaa_provider.cli.tasks import tasks


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="airflow-mwaa")
def main() -> None:
    """Tools for Apache Airflow on Amazon MWAA.

    \b
    Example:
      airflow-mwaa dags trigger production etl --wait
      airflow-mwaa run production -- dags list
    """


local.add_command(demo)
local.add_command(login)
main.add_command(dags)
main.add_command(environments)
main.add_command(local)
main.add_command(metadata)
main.add_command(monitor)
main.add_command(package)
main.add_command(roles)
main.add_command(run)
main.add_command(secrets)
main.add_command(startup)
main.add_command(tasks)
for nouns in WORDS:
    main.add_command(stored_commands(nouns))


if __name__ == "__main__":
    main()
