# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa monitor``: dashboards and alarms of environments in CloudWatch."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.cli.support.aws import Aws, aws_command
from airflow_mwaa_provider.cli.support.errors import warn
from airflow_mwaa_provider.cli.support.output import echo_json, echo_table, output_option
from airflow_mwaa_provider.cli.support.progress import Progress
from airflow_mwaa_provider.exceptions import AwsError, MwaaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_mwaa_provider.monitoring.deployment import Change
    from airflow_mwaa_provider.monitoring.readings import Readings

_DONE = {"create": "created", "update": "updated", "delete": "deleted", "keep": "unchanged"}


def _actions(command: Callable[..., None]) -> Callable[..., None]:
    options = (
        click.argument("env_names", metavar="ENV...", nargs=-1, required=True),
        click.option("--plan", "action", flag_value="plan", help="Show what would change (the default)."),
        click.option("--apply", "action", flag_value="apply", help="Create what is missing, and update what differs."),
        click.option("--delete", "action", flag_value="delete", help="Delete all of it."),
        click.option(
            "--cloudformation", "action", flag_value="cloudformation", help="Print a CloudFormation template."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def monitor() -> None:
    """Show the metrics of environments, and create dashboards and alarms for them in CloudWatch.

    \b
    Example:
      airflow-mwaa monitor show production
      airflow-mwaa monitor dashboard production staging --apply
      airflow-mwaa monitor alarms production --sns-topic arn:aws:sns:eu-west-1:123456789012:on-call --apply
    """


@monitor.command("show")
@click.argument("env_name", metavar="ENV")
@click.option(
    "--hours", type=click.IntRange(1, 336), default=3, show_default=True, help="How many of the last hours to show."
)
@output_option
@aws_command
def show_command(aws: Aws, *, env_name: str, hours: int, output: str) -> None:
    """Show the last hours of the metrics on the dashboard, the worst first.

    Metrics that are beyond the threshold of an alarm come first (!), then those that were earlier (*). Each sparkline
    is scaled from its own lowest to its own highest value. Neither the dashboard nor the alarms need to be deployed.

    \b
    Example:
      airflow-mwaa monitor show production
      airflow-mwaa monitor show production --hours 24
      airflow-mwaa monitor show production --output json
    """
    from airflow_mwaa_provider.monitoring.readings import iso, read_dashboard

    status = str(_describe(aws, env_name).get("Status", ""))
    found = read_dashboard(aws.client("cloudwatch", attempts=1), env_name, hours=hours)
    if not found.has_data:
        raise AwsError(
            f"Environment {env_name!r} is {status}, and CloudWatch in {aws.session.region_name} has no metrics of its "
            f"last {hours} hours. MWAA publishes metrics every minute while an environment is AVAILABLE, and the first "
            "ones take up to 15 minutes. Wait, increase --hours, or check its options metrics.*."
        )
    if output == "json":
        echo_json(
            {
                "env_name": env_name,
                "region": aws.session.region_name,
                "start": iso(found.start_s),
                "end": iso(found.end_s),
                "lines": [reading.as_dict() for reading in found.shown],
                "without_data": list(found.without_data),
            }
        )
        return
    _draw(found)


@monitor.command("dashboard")
@_actions
@click.option("--body", "action", flag_value="body", help="Print the body of the dashboard, as PutDashboard takes it.")
@click.option("--name", metavar="NAME", help="Name of the dashboard. Default: MWAA- and the names of the environments.")
@output_option
@aws_command
def dashboard_command(
    aws: Aws, *, env_names: tuple[str, ...], action: str | None, name: str | None, output: str
) -> None:
    """Create a dashboard of one or more environments, one below the other.

    A dashboard that needs no change is not written, nor is one that this command did not create.

    \b
    Example:
      airflow-mwaa monitor dashboard production
      airflow-mwaa monitor dashboard production staging --name MWAA --apply
      airflow-mwaa monitor dashboard production --cloudformation > dashboard.json
    """
    from airflow_mwaa_provider.monitoring import dashboard
    from airflow_mwaa_provider.monitoring.deployment import DashboardDeployment

    named = dashboard.dashboard_name(env_names, name)
    # With --name, that dashboard is meant, whatever it shows.
    there = DashboardDeployment(aws.client("cloudwatch", attempts=1), named, None if name else env_names)
    remarks: list[str] = []
    if action == "delete":
        changes = there.deletion()
    else:
        body = dashboard.build(env_names, aws.session.region_name, max_workers=_max_workers(aws, env_names))
        if action in ("body", "cloudformation"):
            echo_json(body if action == "body" else dashboard.template(named, body))
            return
        changes = [there.plan(body)]
    if action in ("apply", "delete"):
        for change in changes:
            remarks += there.apply(change)
    for remark in remarks:
        warn(f"Dashboard {named!r}: CloudWatch remarks: {remark}")
    _show(changes, is_plan=action not in ("apply", "delete"), what="dashboard", output=output)


@monitor.command("alarms")
@_actions
@click.option(
    "--sns-topic",
    "topics",
    multiple=True,
    metavar="ARN",
    help="SNS topic for alarms and their ends; repeatable.",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar="ALARM=NUMBER",
    help="Another threshold, such as scheduler-cpu=80; repeatable.",
)
@click.option("--without", multiple=True, metavar="ALARM", help="Omit this alarm; repeatable.")
@output_option
@aws_command
def alarms_command(
    aws: Aws,
    *,
    env_names: tuple[str, ...],
    action: str | None,
    topics: tuple[str, ...],
    thresholds: tuple[str, ...],
    without: tuple[str, ...],
    output: str,
) -> None:
    """Create alarms for environments: schedulers, workers, queue, database, DAG files, cleanups and exports.

    Alarms that need no change are not written. Alarms that this command created earlier for an environment, and that
    are no longer wanted, are deleted.

    \b
    Example:
      airflow-mwaa monitor alarms production
      airflow-mwaa monitor alarms production --sns-topic arn:aws:sns:eu-west-1:123456789012:on-call --apply
      airflow-mwaa monitor alarms production --threshold oldest-queued-task=3600 --without export-failed --apply
    """
    from airflow_mwaa_provider.monitoring import alarms
    from airflow_mwaa_provider.monitoring.deployment import Action, AlarmDeployment

    there = AlarmDeployment(aws.client("cloudwatch", attempts=1), env_names)
    if action == "delete":
        changes = there.deletion()
    else:
        chosen: dict[str, Any] = {"topics": topics, "thresholds": _numbers(thresholds), "without": without}
        alarms.alarm_requests(env_names, **chosen)  # misuse is reported before any call
        requests = alarms.alarm_requests(env_names, max_workers=_max_workers(aws, env_names), **chosen)
        if action == "cloudformation":
            echo_json(alarms.template(requests))
            return
        changes = there.plan(requests)
    if action in ("apply", "delete"):
        to_do = sum(change.action is not Action.KEEP for change in changes)
        done: list[str] = []
        with Progress(is_plain_too=False) as progress:

            def tell(change: Change) -> None:
                done.append(change.name)
                progress.show("", f"{len(done)} of {to_do} alarms written")

            try:
                there.apply(changes, tell)
            except MwaaError:
                if done:
                    warn(f"{len(done)} of {to_do} alarms written: {', '.join(done)}.")
                raise
    _show(changes, is_plan=action not in ("apply", "delete"), what="alarm", output=output)


def _draw(found: Readings) -> None:
    from airflow_mwaa_provider.monitoring.terminal import LEVELS, Emphasis, draw

    try:
        LEVELS.encode(sys.stdout.encoding or "ascii")
        is_ascii = False
    except UnicodeEncodeError:
        is_ascii = True
    styles: dict[Emphasis, dict[str, Any]] = {
        Emphasis.OVER: {"fg": "red"},
        Emphasis.WAS_OVER: {"fg": "yellow"},
        Emphasis.HEADING: {"bold": True},
    }
    is_plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    for line in draw(found, shutil.get_terminal_size().columns, is_ascii=is_ascii):
        style = styles.get(line.emphasis)
        click.echo(click.style(line.text, **style) if style else line.text, color=False if is_plain else None)


def _max_workers(aws: Aws, env_names: Iterable[str]) -> dict[str, int]:
    """Return the maximum number of workers of each environment; raise if one does not exist."""
    found = {}
    for env_name in env_names:
        described = _describe(aws, env_name)
        if described.get("MaxWorkers"):
            found[env_name] = int(described["MaxWorkers"])
    return found


def _describe(aws: Aws, env_name: str) -> dict[str, Any]:
    from airflow_mwaa_provider.client.http.retrying import RetryPolicy, call_with_retries

    return call_with_retries(functools.partial(aws.control_plane().get_environment, env_name), RetryPolicy())


def _numbers(thresholds: Iterable[str]) -> dict[str, float]:
    found = {}
    for given in thresholds:
        key, _, number = given.partition("=")
        try:
            found[key] = float(number)
        except ValueError:
            raise click.UsageError(f"--threshold {given!r} is not ALARM=NUMBER, such as scheduler-cpu=80.") from None
    return found


def _show(changes: list[Change], *, is_plan: bool, what: str, output: str) -> None:
    if output == "json":
        echo_json({"written": not is_plan, "changes": [change.as_dict() for change in changes]})
        return
    said = {change: change.action.value if is_plan else _DONE[change.action.value] for change in changes}
    if changes:
        rows = [[said[change], change.name, ", ".join(change.differs)] for change in changes]
        echo_table([["TO DO" if is_plan else "DONE", what.upper(), "DIFFERS IN"], *rows])
    words = list(said.values())
    counted = [f"{words.count(word)} {'to ' if is_plan else ''}{word}" for word in dict.fromkeys(words)]
    summary = ", ".join(counted) or f"no {what} was created by airflow-mwaa"
    click.echo(f"{summary}{'; nothing was written' if is_plan else ''}")
