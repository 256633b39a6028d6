# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa metadata plan``, ``clean`` and ``restore``: old rows of a metadata database."""

from __future__ import annotations

import functools
import sys
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.cli.metadata.database import choose
from airflow_mwaa_provider.cli.support.aws import Aws, profile_option, region_option
from airflow_mwaa_provider.cli.support.durations import DURATION
from airflow_mwaa_provider.cli.support.errors import fail, mwaa_errors_in_one_line, warn
from airflow_mwaa_provider.cli.support.interrupts import signals_as_interrupts
from airflow_mwaa_provider.cli.support.output import echo_fields, echo_json, echo_table, echo_text, output_option
from airflow_mwaa_provider.cli.support.remote import Remote
from airflow_mwaa_provider.cli.support.renamed import renamed_option
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.s3_uri import S3Uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_mwaa_provider.metadata.cleaners import Cleaner
    from airflow_mwaa_provider.metadata.cleanup import CleanupOptions, Outcome, Plan
    from airflow_mwaa_provider.metadata.routes import RoutePlan

_OPTIONS = (
    click.option(
        "--database-url",
        envvar="AIRFLOW_MWAA_DATABASE_URL",
        metavar="URL",
        help="postgresql://USER@HOST:5432/DATABASE; the password comes from PGPASSWORD or ~/.pgpass. Default: "
        "AIRFLOW_MWAA_DATABASE_URL.",
    ),
    click.option(
        "--route",
        type=click.Choice(["auto", "database", "mwaa_environment", "api", "cli"]),
        default="auto",
        help="mwaa_environment: the settings of the MWAA container that the command runs in; api: the plugin "
        "metadata_api of the environment's web server; cli: Airflow's own db clean there.",
    ),
    renamed_option("--env-name", "env_name", was="--env", metavar="ENV", help="Environment, for routes api and cli."),
    click.option(
        "--retention",
        type=DURATION,
        default="30d",
        show_default=True,
        help="Minimum age of rows to delete, such as 30d or 36h.",
    ),
    click.option("--table", "tables", multiple=True, metavar="NAME", help="Only this table; repeatable."),
    click.option("--exclude", multiple=True, metavar="NAME", help="Not this table; repeatable."),
    renamed_option(
        "--retention-by-table",
        "retention_by_table",
        was="--retention-of",
        multiple=True,
        metavar="TABLE=AGE",
        help="Retention of one table, such as xcom=7d; repeatable.",
    ),
    click.option("--max-age", type=DURATION, help="Do not touch rows that are older than this."),
    click.option("--dag", "dag_ids", multiple=True, metavar="DAG_ID", help="Only rows of this DAG; repeatable."),
    click.option(
        "--keep-last-run/--no-keep-last-run", default=True, show_default=True, help="Keep the last run of each DAG."
    ),
    click.option(
        "--statement-timeout", type=DURATION, default="1h", show_default=True, help="Longest query that counts rows."
    ),
    click.option("--force", is_flag=True, help="Allow a retention below a day."),
    output_option,
    region_option,
    profile_option,
)
_wait_timeout_option = functools.partial(
    renamed_option, "--wait-timeout", "wait_timeout", was="--wait", type=DURATION, default="0s"
)


def _with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return functools.reduce(lambda made, option: option(made), reversed(_OPTIONS), command)


@click.command("plan")
@_with_options
@mwaa_errors_in_one_line
def plan(*, output: str, **given: Any) -> None:
    """Show what a cleanup would delete from each table, and what it would keep and why. Delete nothing.

    \b
    Example:
      airflow-mwaa metadata plan --retention 30d --retention-by-table xcom=7d
      airflow-mwaa metadata plan --env-name my-environment --output json
    """
    try:
        with signals_as_interrupts(), _aws(given).naming_the_nearest_environment(), _counting() as counting:
            cleaner, routes = _cleaner(given, counting)
            found = cleaner.plan()
    except KeyboardInterrupt:
        fail("interrupted; a plan deletes nothing")
    if output == "json":
        echo_json({**found.document(), "routes": routes.to_dicts()})
    else:
        _show_plan(found)


@click.command("clean")
@_with_options
@click.option(
    "--archive-to", metavar="s3://BUCKET/PREFIX", help="Archive there first, and delete only what was archived."
)
@click.option("--kms-key-id", help="Encrypt the archive with this KMS key.")
@click.option("--bucket-owner", metavar="ACCOUNT", help="Account that must own the bucket.")
@click.option("--batch-rows", type=int, default=10_000, show_default=True, help="Rows per transaction at most.")
@click.option("--max-transaction", type=DURATION, default="1s", show_default=True, help="Longest transaction.")
@click.option("--lock-timeout", type=DURATION, default="500ms", show_default=True, help="Longest wait for a lock.")
@click.option(
    "--max-pause",
    type=DURATION,
    default="1m",
    show_default=True,
    help="Longest pause while the database is under load.",
)
@click.option("--max-duration", type=DURATION, help="Stop after this time; the next cleanup continues.")
@click.option("--workers", type=int, default=1, show_default=True, help="Connections that delete in parallel.")
@_wait_timeout_option(help="How long to wait for another cleanup to end.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@mwaa_errors_in_one_line
def clean(*, output: str, yes: bool, **given: Any) -> None:
    """Delete old rows in short transactions. On a terminal, show the plan first and ask.

    \b
    Example:
      airflow-mwaa metadata clean --retention 30d --max-duration 1h
      airflow-mwaa metadata clean --retention 90d --archive-to s3://my-bucket/history --yes
    """
    try:
        with signals_as_interrupts(), _aws(given).naming_the_nearest_environment():
            if not yes and not sys.stdin.isatty():
                raise MwaaInputError("No terminal to ask for confirmation: use --yes, or run metadata plan first.")
            with _counting() as counting:
                cleaner, routes = _cleaner(given, counting)
                found = None if yes else cleaner.plan()
            if found is not None:
                _ask(found)
            with _progress() as progress:
                outcome = cleaner.run(progress)
    except KeyboardInterrupt:
        fail("interrupted; rows that were already deleted stay deleted, and the next cleanup continues from there")
    if output == "json":
        echo_json({**outcome.document(), "routes": routes.to_dicts()})
    else:
        _show_outcome(outcome)
    if outcome.failures:
        name, why = next(iter(outcome.failures.items()))
        fail(f"cleaning {name} failed: {why}")


@click.command("restore")
@click.argument("place", metavar="s3://BUCKET/ARCHIVE")
@click.option("--database-url", envvar="AIRFLOW_MWAA_DATABASE_URL", metavar="URL", help="As for metadata clean.")
@click.option("--route", type=click.Choice(["auto", "mwaa_environment"]), default="auto", help="As for metadata clean.")
@click.option("--table", "tables", multiple=True, metavar="NAME", help="Only this table; repeatable.")
@click.option("--keep-changed", is_flag=True, help="Skip rows that exist with other values.")
@click.option("--other-database", is_flag=True, help="Restore into a database other than that of the archive.")
@_wait_timeout_option(help="How long to wait for a cleanup to end.")
@output_option
@region_option
@profile_option
@mwaa_errors_in_one_line
def restore(
    *,
    place: str,
    database_url: str | None,
    route: str,
    tables: tuple[str, ...],
    keep_changed: bool,
    other_database: bool,
    wait_timeout: timedelta,
    output: str,
    region: str | None,
    profile: str | None,
) -> None:
    """Restore rows that a cleanup with --archive-to deleted, each table completely or not at all.

    \b
    Example:
      airflow-mwaa metadata restore s3://my-bucket/history/archive-20261122T000000Z
    """
    uri = S3Uri.parse(place)
    if uri is None or not uri.key:
        raise MwaaInputError(f"{place!r} is not an archive in S3; write s3://BUCKET/PREFIX/archive-DATE.")
    from airflow_mwaa_provider.metadata.cleaning.restore import restore_archive

    try:
        with signals_as_interrupts():
            found = restore_archive(
                choose(database_url, route, warn).taken,
                Aws(region, profile).s3(),
                uri.bucket,
                uri.key,
                tables=tables or None,
                keep_changed=keep_changed,
                other_database=other_database,
                tell=lambda words: click.echo(words, err=True),
                wait_timeout_s=wait_timeout.total_seconds(),
            )
    except KeyboardInterrupt:
        fail("interrupted; the tables listed above are restored, the others are unchanged")
    if output == "json":
        echo_json(found)
        return
    rows = [(name, f"{table['rows']:,}", f"{table['inserted']:,}") for name, table in found.items()]
    echo_table([("TABLE", "ROWS", "INSERTED"), *rows])


def _ask(found: Plan) -> None:
    _show_plan(found)
    until = f" from before {found.older_than:%Y-%m-%d %H:%M} UTC" if found.older_than else ""
    if not click.confirm(f"Delete these {found.rows:,} rows of {found.source}{until}?"):
        fail("nothing was deleted")


@contextmanager
def _counting() -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being counted."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("connecting") as status:
        yield status.update


def _cleaner(given: dict[str, Any], counting: Callable[[str], None]) -> tuple[Cleaner, RoutePlan]:
    from airflow_mwaa_provider.metadata.cleaners import DatabaseCleaner, EnvironmentCleaner, environment_ways

    route, env_name = given["route"], given["env_name"]
    options = _options(given)
    wait_s = (given.get("wait_timeout") or timedelta(0)).total_seconds()

    def environment() -> Any:
        if not env_name:
            raise MwaaInputError(f"Route {route} goes through an environment. Name it with --env-name.")
        if given.get("archive_to"):
            raise MwaaInputError(
                "--archive-to needs the database itself: routes api and cli do not archive. Export first, with "
                "metadata export --env-name, and leave --archive-to out."
            )
        return Remote(env_name, given["region"], given["profile"]).environment

    by_environment = environment_ways(environment, route, options, warn, wait_timeout_s=wait_s)
    choice = choose(given["database_url"], route, warn, env_name, by_environment)
    cleaner: Cleaner = choice.taken
    if not isinstance(cleaner, EnvironmentCleaner):
        cleaner = DatabaseCleaner(
            choice.taken,
            options,
            warn,
            route=choice.plan.route,
            archive=_archive(given) if given.get("archive_to") else None,
            wait_timeout_s=wait_s,
            on_count=counting,
        )
    return cleaner, choice.plan


def _aws(given: dict[str, Any]) -> Aws:
    return Aws(given["region"], given["profile"])


def _archive(given: dict[str, Any]) -> tuple[Any, str]:
    from airflow_mwaa_provider.metadata.cleaning.options import read_place
    from airflow_mwaa_provider.metadata.storage.bucket import Storage

    uri = read_place(given["archive_to"])
    client = _aws(given).s3()
    return Storage(client, uri.bucket, kms_key_id=given["kms_key_id"], owner=given["bucket_owner"]), uri.prefix


def _options(given: dict[str, Any]) -> CleanupOptions:
    from airflow_mwaa_provider.metadata.cleanup import CleanupOptions

    by_table = {}
    for text in given["retention_by_table"]:
        table, _, age = text.partition("=")
        if not table or not age:
            raise MwaaInputError(f"--retention-by-table {text!r} is not TABLE=AGE; write xcom=7d.")
        try:
            by_table[table] = DURATION.convert(age, None, None)
        except click.BadParameter as error:
            raise click.BadParameter(error.message, param_hint="'--retention-by-table'") from None
    named = {
        name: given[name] for name in ("retention", "max_age", "keep_last_run", "statement_timeout", "force", "exclude")
    }
    of_clean = ("batch_rows", "max_transaction", "lock_timeout", "max_pause", "max_duration", "workers")
    named |= {name: given[name] for name in of_clean if name in given}
    return CleanupOptions(
        **named,
        tables=given["tables"] or None,
        dag_ids=given["dag_ids"] or None,
        retention_by_table=by_table,
    )


def _show_plan(plan: Plan) -> None:
    going = [table for table in plan.tables if table.rows]
    echo_fields(
        [
            ("metadata of", plan.source or None),
            ("older than", f"{plan.older_than:%Y-%m-%d %H:%M} UTC" if plan.older_than else None),
        ]
    )
    click.echo()
    if going:
        rows = [
            (
                t.table,
                f"{t.rows:,}",
                _share(t.rows, t.of_rows),
                _size(t.bytes),
                f"{t.older_than:%Y-%m-%d %H:%M}",
                t.root,
            )
            for t in going
        ]
        echo_table([("TABLE", "ROWS", "OF ALL", "BYTES", "OLDER THAN (UTC)", "WITH"), *rows], drop=("WITH", "OF ALL"))
    else:
        click.echo("  No rows are old enough to delete.")
    if plan.kept:
        click.echo()
        kept = [(k.table, "" if k.rows is None else f"{k.rows:,}", k.why) for k in plan.kept]
        echo_table([("KEPT", "ROWS", "WHY"), *kept])
    click.echo()
    untouched = len(plan.tables) - len(going)
    echo_fields(
        [
            ("rows", f"{plan.rows:,}"),
            ("bytes", _size(plan.bytes)),
            ("time, about", _time(plan.seconds) if plan.rows else None),
            ("tables without old rows", untouched or None),
            ("route", plan.route),
        ]
    )
    for advice in plan.advice:
        echo_text(advice)


def _show_outcome(outcome: Outcome) -> None:
    rows = [
        (name, f"{t.matched:,}", f"{t.deleted:,}", t.batches, f"{t.seconds:.1f}", f"{t.longest_transaction_s:.2f}")
        for name, t in outcome.tables.items()
        if t.matched or t.deleted or t.failure
    ]
    if rows:
        echo_table(
            [("TABLE", "MATCHED", "DELETED", "BATCHES", "SECONDS", "LONGEST (S)"), *rows], drop=("BATCHES", "SECONDS")
        )
    echo_fields(
        [
            ("deleted", f"{outcome.deleted:,}"),
            ("seconds", f"{outcome.seconds:.1f}"),
            ("paused", f"{outcome.paused_s:.1f} s: {'; '.join(outcome.paused_why)}" if outcome.paused_s else None),
            ("longest transaction", f"{outcome.longest_transaction_s:.2f} s"),
            ("archive", outcome.archive),
            ("route", outcome.route),
        ]
    )
    for why in outcome.skipped:
        warn(f"not done: {why}")


def _share(rows: int, of_rows: int | None) -> str:
    return f"{min(1.0, rows / of_rows):.0%}" if of_rows else ""


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Show a progress bar for the current table on a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar: dict[str, Any] = {}

        def show(table: str, rows: int, expected: int | None) -> None:
            if bar.get("table") != table:
                if bar:
                    bars.remove_task(bar["id"])
                bar.update(table=table, id=bars.add_task(table, total=expected))
            bars.update(bar["id"], completed=rows, total=expected)

        yield show
