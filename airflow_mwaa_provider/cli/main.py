# SPDX-License-Identifier: Apache-2.0
"""The command ``airflow-mwaa``."""

from __future__ import annotations

import click

from airflow_mwaa_provider import __version__
from airflow_mwaa_provider.cli.demo_commands import demo, login
from airflow_mwaa_provider.cli.local import local
from airflow_mwaa_provider.cli.package import package


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="airflow-mwaa")
def main() -> None:
    """Tools for Apache Airflow on Amazon MWAA."""


local.add_command(demo)
local.add_command(login)
main.add_command(local)
main.add_command(package)


if __name__ == "__main__":
    main()
