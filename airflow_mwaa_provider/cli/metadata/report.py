# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa metadata report`` and ``ddl``: a page, or SQL, from an export."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from airflow_mwaa_provider.cli.support.aws import Aws, aws_command
from airflow_mwaa_provider.cli.support.output import echo_exactly, echo_json, output_option
from airflow_mwaa_provider.cli.support.progress import Progress
from airflow_mwaa_provider.exceptions import MwaaError

if TYPE_CHECKING:
    from airflow_mwaa_provider.metadata.report.figures import Figures

_DIALECTS = ("athena", "duckdb")

place_argument = click.argument("place", metavar="s3://BUCKET/PREFIX|DIR")


@click.command()
@place_argument
@click.option(
    "--output-file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="Path of the page; - for stdout.",
)
@click.option("--since", metavar="ISO", help="Count only from this time on: 2026-11-01T00:00:00Z.")
@click.option("--title", metavar="TEXT", help="Title of the page, such as the name of the environment.")
@output_option
@aws_command
def report(aws: Aws, *, place: str, output_file: Path, since: str | None, title: str | None, output: str) -> None:
    """Write a page with plots from an export: open runs, failures, slow tasks, queue delay, growth.

    The export, CSV or Parquet, is streamed from S3 or from a local folder with a copy of it. The page is a single file
    that needs no network.

    \b
    Example:
      airflow-mwaa metadata report s3://bucket/files/export --output-file history.html --title production
      airflow-mwaa metadata report ./export --since 2026-11-01T00:00:00Z
    """
    from airflow_mwaa_provider.client.parameters import parse_datetime
    from airflow_mwaa_provider.metadata.reading.export import open_export
    from airflow_mwaa_provider.metadata.report.figures import read_figures
    from airflow_mwaa_provider.metadata.report.page import write_page

    begin = parse_datetime(since, "--since")
    export = open_export(place, aws.s3)
    to_stdout = str(output_file) == "-"
    if not to_stdout:
        _check_writable(output_file)
    with Progress(is_plain_too=False) as progress:

        def show(table: str, rows: int, expected_rows: int) -> None:
            share = f" of {expected_rows:,}" if expected_rows else ""
            progress.show("", f"reading {table}: {rows:,}{share} rows")

        figures = read_figures(export, show, since=begin)
    page = write_page(export, figures, title=title)
    if to_stdout:
        echo_exactly(page)
        return
    _write(output_file, page)
    if output == "json":
        echo_json({"file": str(output_file), "bytes": len(page.encode()), **_summary(figures)})
        return
    click.echo(f"Wrote {output_file}: {_in_words(figures)}.")


@click.command()
@place_argument
@click.option("--dialect", type=click.Choice(_DIALECTS), required=True, help="SQL dialect of the statements.")
@output_option
@aws_command
def ddl(aws: Aws, *, place: str, dialect: str, output: str) -> None:
    """Print the SQL that creates the tables of an export in Athena or DuckDB.

    Each row of an incremental export appears once, in its last state. Run the command again after a further increment.

    \b
    Example:
      airflow-mwaa metadata ddl s3://bucket/files/export --dialect athena
      airflow-mwaa metadata ddl ./export --dialect duckdb | duckdb history.db
    """
    from airflow_mwaa_provider.metadata.reading.export import open_export
    from airflow_mwaa_provider.metadata.reading.sql_views import Dialect, statements

    written = statements(open_export(place, aws.s3), Dialect(dialect))
    if output == "json":
        echo_json({"dialect": dialect, "statements": written})
    else:
        echo_exactly("\n\n".join(written) + "\n")


def _check_writable(path: Path) -> None:
    """Raise if the page cannot be written, before the export is read."""
    if path.exists() and not path.is_file():
        return
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise MwaaError(f"{path} cannot be written: {error.strerror}.") from None


def _write(path: Path, page: str) -> None:
    """Write the page completely or not at all."""
    beside = path.with_name(f".{path.name}.part")
    try:
        if path.exists() and not path.is_file():  # /dev/null, a pipe
            path.write_text(page, encoding="utf-8")
            return
        beside.write_text(page, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise MwaaError(f"{path} cannot be written: {error.strerror}.") from None


def _summary(figures: Figures) -> dict[str, object]:
    runs, tasks = figures.runs, figures.tasks
    return {
        "runs": runs.all.count if runs else None,
        "failed_runs": runs.all.failed if runs else None,
        "task_instances": tasks.all.count if tasks else None,
        "tables": {name: table.rows for name, table in figures.tables.items()},
    }


def _in_words(figures: Figures) -> str:
    runs, tasks = figures.runs, figures.tasks
    said = []
    if runs:
        said.append(f"{runs.all.count:,} runs, {runs.all.failed:,} of them failed")
    if tasks:
        said.append(f"{tasks.all.count:,} task instances")
    return ", ".join(said) or f"{len(figures.tables)} tables, without dag_run and task_instance"
