# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa environments``: the environments of an account and region, and their status."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.cli.support.aws import Aws, aws_command
from airflow_mwaa_provider.cli.support.errors import error_text, warn
from airflow_mwaa_provider.cli.support.output import (
    echo_json,
    echo_table,
    format_datetime,
    isoformat_or_none,
    on_one_line,
    output_option,
)
from airflow_mwaa_provider.cli.support.remote import endpoint_option
from airflow_mwaa_provider.exceptions import MwaaError

if TYPE_CHECKING:
    from airflow_mwaa_provider.client.aws.control_plane import ControlPlane


@click.command()
@output_option
@endpoint_option
@aws_command
def environments(aws: Aws, *, endpoint_url: str | None, output: str) -> None:
    """List the environments of an account and region: status, version, size, and how the last update ended.

    An environment that you may not describe is listed by its name only, and the exit status is 1.

    \b
    Example:
      airflow-mwaa environments
      airflow-mwaa environments --region eu-west-1 --output json
    """
    from airflow_mwaa_provider.client.http.retrying import RetryPolicy, call_with_retries
    from airflow_mwaa_provider.client.in_parallel import read_all

    plane = aws.control_plane(endpoint_url)
    names = sorted(call_with_retries(plane.list_environments, RetryPolicy()))
    found = read_all(lambda name: _described(plane, name), names)
    if output == "json":
        echo_json([{**row, "last_update": _json_update(row["last_update"])} for row in found])
    elif found:
        heading = ("ENVIRONMENT", "STATUS", "AIRFLOW", "CLASS", "WORKERS", "LAST UPDATE")
        echo_table([heading, *map(_cells, found)], drop=("CLASS", "WORKERS"))
    else:
        click.echo(f"There are no environments in {plane.region_name}.", err=True)
    for row in found:
        update = row["last_update"]
        if update and update["error"]:
            words = " ".join(update["error"].split())
            warn(on_one_line(f"Environment {row['name']!r}: its last update {update['status']}: {words}"))
        if row["error"]:
            warn(row["error"])
    if any(row["error"] for row in found):
        sys.exit(1)


def _described(plane: ControlPlane, name: str) -> dict[str, Any]:
    from airflow_mwaa_provider.client.http.retrying import RetryPolicy, call_with_retries

    try:
        there = call_with_retries(lambda: plane.get_environment(name), RetryPolicy())
        error = None
    except MwaaError as refused:
        there, error = {}, error_text(refused)
    return {
        "name": name,
        "status": there.get("Status"),
        "airflow_version": there.get("AirflowVersion"),
        "environment_class": there.get("EnvironmentClass"),
        "min_workers": there.get("MinWorkers"),
        "max_workers": there.get("MaxWorkers"),
        "last_update": _update(there.get("LastUpdate")),
        "error": error,
    }


def _update(found: dict[str, Any] | None) -> dict[str, Any] | None:
    if not found:
        return None
    error = found.get("Error") or {}
    words = ": ".join(str(error[name]) for name in ("ErrorCode", "ErrorMessage") if error.get(name))
    return {"status": found.get("Status"), "created_at": found.get("CreatedAt"), "error": words or None}


def _json_update(update: dict[str, Any] | None) -> dict[str, Any] | None:
    return update and {**update, "created_at": isoformat_or_none(update["created_at"])}


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    update = row["last_update"] or {}
    least, most = row["min_workers"], row["max_workers"]
    return (
        row["name"],
        row["status"] or "unknown",
        row["airflow_version"],
        row["environment_class"],
        "" if most is None else f"{least}-{most}" if least is not None and least != most else most,
        f"{update.get('status') or ''} {format_datetime(update.get('created_at'))}".strip(),
    )
