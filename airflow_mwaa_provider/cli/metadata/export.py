# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa metadata export``: export tables of a metadata database to S3."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.cli.metadata.database import choose
from airflow_mwaa_provider.cli.support.aws import Aws, profile_option, region_option
from airflow_mwaa_provider.cli.support.errors import fail, mwaa_errors_in_one_line
from airflow_mwaa_provider.cli.support.interrupts import signals_as_interrupts
from airflow_mwaa_provider.cli.support.output import echo_fields, echo_json, echo_table, output_option
from airflow_mwaa_provider.cli.support.remote import Remote
from airflow_mwaa_provider.cli.support.renamed import renamed_option
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.s3_uri import S3Uri

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mwaa_provider.metadata.export.run import ExportOptions
    from airflow_mwaa_provider.metadata.export.source import Progress
    from airflow_mwaa_provider.metadata.routes import RoutePlan


@click.command("export")
@click.argument("place", metavar="s3://BUCKET/PREFIX")
@click.option(
    "--database-url",
    envvar="AIRFLOW_MWAA_DATABASE_URL",
    metavar="URL",
    help="postgresql://USER@HOST:5432/DATABASE; the password comes from PGPASSWORD or ~/.pgpass. Default: "
    "AIRFLOW_MWAA_DATABASE_URL.",
)
@click.option(
    "--route",
    type=click.Choice(["auto", "database", "mwaa_environment", "api", "rest"]),
    default="auto",
    help="mwaa_environment: the settings of the MWAA container that the command runs in; api: the plugin metadata_api "
    "of the environment's web server; rest: what its REST API shows.",
)
@renamed_option("--env-name", "env_name", was="--env", metavar="ENV", help="Environment, for routes api and rest.")
@click.option("--table", "tables", multiple=True, metavar="NAME", help="Only this table; repeatable.")
@click.option("--exclude", multiple=True, metavar="NAME", help="Not this table, or TABLE.COLUMN; repeatable.")
@click.option("--since", metavar="ISO", help="Rows from this time on, with a time zone: 2026-11-22T00:00:00Z.")
@click.option("--until", metavar="ISO", help="Rows before this time.")
@renamed_option(
    "--file-format",
    "file_format",
    was="--format",
    type=click.Choice(["csv", "parquet"]),
    default="csv",
    show_default=True,
    help="Format of the objects.",
)
@click.option(
    "--compression", type=click.Choice(["none", "gzip", "zstd", "snappy"]), help="Default: that of the format."
)
@click.option("--layout", type=click.Choice(["table", "hive"]), help="One file per table, or partitions by date.")
@click.option("--file-bytes", type=int, metavar="N", help="Start a new file at this size.")
@click.option(
    "--incremental", is_flag=True, help="Only rows that are new or changed since the last incremental export."
)
@click.option("--manifest-name", default="manifest.json", show_default=True, help="Name of the manifest object.")
@click.option("--kms-key-id", help="Encrypt the objects with this KMS key.")
@click.option("--bucket-owner", metavar="ACCOUNT", help="Account that must own the bucket.")
@click.option("--dry-run", is_flag=True, help="Estimate the size, and write nothing.")
@output_option
@region_option
@profile_option
@mwaa_errors_in_one_line
def export(
    *,
    place: str,
    database_url: str | None,
    route: str,
    env_name: str | None,
    region: str | None,
    profile: str | None,
    output: str,
    dry_run: bool,
    kms_key_id: str | None,
    bucket_owner: str | None,
    **options: Any,
) -> None:
    """Export tables to S3 in constant memory. Nothing is visible until all of them are written.

    \b
    Example:
      airflow-mwaa metadata export s3://my-bucket/history --file-format parquet
      airflow-mwaa metadata export s3://my-bucket/history --table dag_run --since 2026-11-01T00:00:00Z --dry-run
    """
    uri = S3Uri.parse(place)
    if uri is None:
        raise MwaaInputError(f"{place!r} is not a location in S3; write s3://BUCKET/PREFIX.")
    bucket = uri.bucket
    aws = Aws(region, profile)
    chosen = _options(uri.prefix, options)
    opened = _source(database_url, route, env_name, region, profile, (bucket, uri.prefix))
    from airflow_mwaa_provider.metadata.export.run import export_metadata
    from airflow_mwaa_provider.metadata.storage.bucket import Storage

    try:
        with signals_as_interrupts(), aws.naming_the_nearest_environment(), opened as (source, routes):
            if dry_run:
                _show_estimates(source, chosen, output)
                return
            storage = Storage(aws.s3(), bucket, kms_key_id=kms_key_id, owner=bucket_owner)
            with storage, _progress() as progress:
                began = time.monotonic()
                manifest = export_metadata(source, storage, chosen, progress=progress)
                seconds = time.monotonic() - began
    except KeyboardInterrupt:
        fail("interrupted; nothing of this export is visible")
    if output == "json":
        echo_json({**manifest.document(), "routes": routes.to_dicts()})
        return
    tables = manifest.tables
    rows, size = sum(table.rows for table in tables.values()), sum(table.bytes for table in tables.values())
    shown = [(name, f"{table.rows:,}", f"{table.bytes:,}", len(table.files)) for name, table in tables.items()]
    echo_table([("TABLE", "ROWS", "BYTES", "OBJECTS"), *shown])
    echo_fields(
        [
            ("manifest", f"s3://{bucket}/{manifest.key}"),
            ("rows", f"{rows:,}"),
            ("bytes", f"{size:,}"),
            ("seconds", f"{seconds:.1f}"),
        ]
    )


def _options(prefix: str, given: dict[str, Any]) -> ExportOptions:
    from airflow_mwaa_provider.client.parameters import parse_datetime
    from airflow_mwaa_provider.metadata.export.run import ExportOptions

    given["since"] = parse_datetime(given["since"], "--since")
    given["until"] = parse_datetime(given["until"], "--until")
    tables = given.pop("tables") or None
    return ExportOptions(prefix=prefix, tables=tables, **given)


def _tell(words: str) -> None:
    click.echo(words, err=True)


@contextmanager
def _source(
    url: str | None,
    route: str,
    env_name: str | None,
    region: str | None,
    profile: str | None,
    destination: tuple[str, str],
) -> Iterator[tuple[Any, RoutePlan]]:
    """Open what the options lead to, and return the plan of the routes with it."""
    from airflow_mwaa_provider.metadata.database import Database
    from airflow_mwaa_provider.metadata.environment_source import opened, source_ways
    from airflow_mwaa_provider.metadata.sources import DatabaseSource

    def environment() -> Any:
        if not env_name:
            raise MwaaInputError(f"Route {route} reads from the web server of an environment. Name it with --env-name.")
        return Remote(env_name, region, profile).environment

    choice = choose(url, route, _tell, env_name, source_ways(environment, destination))
    taken = choice.taken
    with DatabaseSource(taken, route=choice.plan.route) if isinstance(taken, Database) else opened(taken) as source:
        yield source, choice.plan


def _show_estimates(source: Any, options: ExportOptions, output: str) -> None:
    from airflow_mwaa_provider.metadata.export.estimate import estimate_export

    if source.route in {"api", "rest"}:
        raise MwaaInputError(f"Route {source.route} cannot estimate, because it runs no query. Omit --dry-run.")
    estimates = estimate_export(source.connection, source.schema, options)
    if output == "json":
        echo_json([asdict(item) for item in estimates])
        return
    shown = [(item.table, f"{item.rows:,}", f"{item.bytes:,}", item.by or "whole") for item in estimates]
    echo_table([("TABLE", "ROWS", "BYTES", "CHOSEN BY"), *shown])
    total = sum(item.bytes for item in estimates)
    echo_fields(
        [
            ("rows", f"{sum(item.rows for item in estimates):,}"),
            ("bytes, uncompressed", f"{total:,}"),
            ("route", source.route),
        ]
    )
    click.echo("  PostgreSQL's own estimates; nothing was written.")


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """Show a progress bar for the current table on a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rows]} rows"),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        bar: dict[str, Any] = {}

        def show(table: str, rows: int, size: int, expected_rows: int | None) -> None:
            if bar.get("table") != table:
                if bar:
                    bars.remove_task(bar["id"])
                bar.update(table=table, id=bars.add_task(table, total=None, rows="0"))
            # The bar counts bytes; their total is estimated from the expected number of rows.
            total = size * expected_rows / rows if expected_rows and rows and expected_rows >= rows else None
            bars.update(bar["id"], completed=size, total=total, rows=f"{rows:,}")

        yield show
