# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa secrets stats`` and ``invalidate``: the cache of the secrets backends in this container."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.cli.support.errors import mwaa_errors_in_one_line, warn
from airflow_mwaa_provider.cli.support.interrupts import signals_as_interrupts
from airflow_mwaa_provider.cli.support.output import echo_fields, echo_json, echo_table, output_option
from airflow_mwaa_provider.cli.support.own_airflow import own_airflow
from airflow_mwaa_provider.exceptions import MwaaInputError

if TYPE_CHECKING:
    from airflow_mwaa_provider.secrets.kept_cache import KeptCache

_MONTH_S = 30 * 24 * 3600.0
_SHORTEST_S = 60.0
"""No monthly figures are estimated from less than this."""

_SHOWN = (
    "folder", "since", "look_ups", "hits", "negative_hits", "misses", "calls", "batch_calls", "stale", "errors",
    "not_cached", "secrets",
)  # fmt: skip

_cache_dir_option = click.option(
    "--cache-dir", metavar="FOLDER", help="The backend's cache_dir. By default that of this shell's configuration."
)


def _cache(cache_dir: str | None) -> KeptCache:
    """Return the cache that the backend of this shell's Airflow uses.

    :raises MwaaInputError: there is none.
    """
    from airflow_mwaa_provider.secrets.configured import configured_backend
    from airflow_mwaa_provider.secrets.kept_cache import KeptCache

    if cache_dir:
        return KeptCache(cache_dir)
    try:
        backend = configured_backend()
    except MwaaInputError:
        raise
    except Exception as error:
        raise MwaaInputError(
            f"Airflow cannot create its secrets backend ({type(error).__name__}). To see why: airflow-mwaa secrets "
            "explain NAME."
        ) from error
    return KeptCache(backend.cache.options.cache_dir)


@click.command()
@_cache_dir_option
@click.option(
    "--price-per-10000-calls",
    type=click.FloatRange(min=0),
    default=0.05,
    show_default=True,
    help="In dollars; prices vary by region and over time.",
)
@click.option(
    "--price-per-secret", type=click.FloatRange(min=0), default=0.40, show_default=True, help="In dollars per month."
)
@output_option
@mwaa_errors_in_one_line
def stats(*, cache_dir: str | None, price_per_10000_calls: float, price_per_secret: float, output: str) -> None:
    """Show how often this container's cache was asked, how often it asked AWS, and the cost per month.

    All processes of a container are counted together; each container has its own cache. On MWAA, run the command in a
    BashOperator to see a worker's cache.

    \b
    Example:
      airflow-mwaa secrets stats
      airflow-mwaa secrets stats --price-per-10000-calls 0.06 --output json
    """
    with signals_as_interrupts(), own_airflow():
        cache = _cache(cache_dir)
        counted = cache.statistics()
        secrets = cache.secrets()
    document = _document(cache.folder, counted, secrets, price_per_10000_calls, price_per_secret)
    if output == "json":
        echo_json(document)
    else:
        _print(document)


def _document(
    folder: str, counted: dict[str, Any], secrets: int, price_per_10000_calls: float, price_per_secret: float
) -> dict[str, Any]:
    since = counted.pop("since")
    seconds = max(0.0, time.time() - since)
    look_ups = counted["hits"] + counted["negative_hits"] + counted["misses"]
    calls = counted["calls"] + counted["batch_calls"]
    month = None
    if seconds >= _SHORTEST_S:
        factor = _MONTH_S / seconds

        def cost(number: int) -> dict[str, float]:
            a_month = number * factor
            return {"calls": round(a_month), "calls_cost": round(a_month / 10_000 * price_per_10000_calls, 2)}

        month = {
            "with_cache": cost(calls),
            "without_cache": cost(look_ups),
            "secrets_cost": round(secrets * price_per_secret, 2),
        }
    return {
        "folder": folder,
        "since": datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds),
        "look_ups": look_ups,
        **counted,
        "secrets": secrets,
        "price_per_10000_calls": price_per_10000_calls,
        "price_per_secret": price_per_secret,
        "month": month,
    }


def _print(document: dict[str, Any]) -> None:
    echo_fields((name.replace("_", " "), document[name]) for name in _SHOWN)
    month = document["month"]
    click.echo()
    if month is None:
        click.echo(f"Counted for {document['seconds']} s: too short to estimate a month.")
        return
    rows = [
        [title, f"{month[key]['calls']:,}", f"${month[key]['calls_cost']:,.2f}"]
        for title, key in (("with this cache", "with_cache"), ("without", "without_cache"))
    ]
    echo_table([["A MONTH LIKE THIS", "CALLS", "COST"], *rows])
    click.echo(
        f"At ${document['price_per_10000_calls']:g} for 10,000 calls; prices vary by region. The "
        f"{document['secrets']} secrets\nthemselves cost ${month['secrets_cost']:,.2f} a month either way. This "
        "container alone."
    )


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Delete everything that is cached.")
@click.option("--connection", "kind", flag_value="connection", help="Delete only a connection of that name.")
@click.option("--variable", "kind", flag_value="variable", help="Delete only a variable of that name.")
@_cache_dir_option
@output_option
@mwaa_errors_in_one_line
def invalidate(
    *, names: tuple[str, ...], everything: bool, kind: str | None, cache_dir: str | None, output: str
) -> None:
    """Delete cached answers in this container, so that the next look-up asks AWS.

    Each container has its own cache: on MWAA, run the command in a BashOperator for a worker's cache. The command fails
    for a name that is not cached.

    \b
    Example:
      airflow-mwaa secrets invalidate warehouse api_key
      airflow-mwaa secrets invalidate --all
    """
    if bool(names) == everything:
        raise click.UsageError("Give either names or --all.")
    with signals_as_interrupts(), own_airflow():
        cache = _cache(cache_dir)
        deleted = {} if everything else cache.invalidate(names, kind)
        count = cache.invalidate_all(kind) if everything else sum(deleted.values())
    missing = [name for name, number in deleted.items() if not number]
    if output == "json":
        echo_json({"folder": cache.folder, "deleted": count, "not_cached": missing})
    elif count or not missing:
        click.echo(f"{count} cached answer{'' if count == 1 else 's'} deleted in {cache.folder}")
    for name in missing:
        warn(f"{name!r} is not cached in {cache.folder}. Check its name, and that this is the right container.")
    if missing:
        sys.exit(1)
