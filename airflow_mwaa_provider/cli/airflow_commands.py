# SPDX-License-Identifier: Apache-2.0
"""``airflow mwaa …``: the same tree inside Airflow's own command, where the installed Airflow lets providers add any.

Every start of ``airflow`` reads this file, so that it imports nothing that Airflow hasn't imported by then.

Source: ``airflow.cli.cli_parser`` of Airflow 3.3.1; the key ``cli`` in ``provider_info.schema.json``.
"""

from __future__ import annotations

import argparse
import logging
from typing import Any, NoReturn


class _AllArguments:
    """All that stands after ``airflow mwaa``, ``--help`` included, as it is."""

    flags = ("arguments",)

    def add_to_parser(self, parser: argparse.ArgumentParser) -> None:
        # With no character that begins an option argparse takes none for its own, and leaves them to click.
        parser.prefix_chars = "\0"
        parser.add_argument(*self.flags, nargs=argparse.REMAINDER, help="see airflow mwaa --help")


def get_commands() -> list[Any]:
    """Give Airflow the command that it adds; named in the provider's info."""
    from airflow.cli.cli_config import ActionCommand

    return [
        ActionCommand(
            name="mwaa",
            help="Tools for Amazon MWAA: DAGs, tasks, logs, roles, variables, connections and pools of an environment",
            func=_run,
            args=(_AllArguments(),),  # type: ignore[arg-type]
        )
    ]


def _run(given: argparse.Namespace) -> NoReturn:
    from airflow_mwaa_provider.cli.main import main

    # Airflow logs to stdout, where it would stand between what is printed for machines.
    logging.getLogger().handlers.clear()
    main(args=given.arguments, prog_name="airflow mwaa")
    raise AssertionError("click ends the process")
