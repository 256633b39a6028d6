# SPDX-License-Identifier: Apache-2.0
"""``airflow mwaa …``: the same commands inside Airflow's own, where the installed Airflow lets providers add some.

Every start of ``airflow`` imports this file, so it imports nothing that Airflow has not imported already.

Source: ``airflow.cli.cli_parser`` of Airflow 3.3.1; the key ``cli`` in ``provider_info.schema.json``.
"""

from __future__ import annotations

import argparse
import logging
from typing import Any, NoReturn


class _AllArguments:
    """All arguments after ``airflow mwaa``, unchanged, ``--help`` included."""

    flags = ("arguments",)

    def add_to_parser(self, parser: argparse.ArgumentParser) -> None:
        # Without a prefix character, argparse parses no options, and leaves them to click.
        parser.prefix_chars = "\0"
        parser.add_argument(*self.flags, nargs=argparse.REMAINDER, help="see airflow mwaa --help")


def get_commands() -> list[Any]:
    """Return the command for Airflow to add. The provider info names this function."""
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

    # Airflow logs to stdout, where its lines would mix with output for machines.
    logging.getLogger().handlers.clear()
    main(args=given.arguments, prog_name="airflow mwaa")
    raise AssertionError("click ends the process")
