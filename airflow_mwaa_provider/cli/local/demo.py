# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa local demo``: a DAG in one environment runs a DAG in another. Then one exports the metadata, what has
ended is deleted, tasks read a secret, metrics are published, and tasks see what configuration options set. A summary
shows what happened.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.cli.local.stage import Stage, dag_folder, secrets_options
from airflow_mwaa_provider.cli.support.output import echo_table
from airflow_mwaa_provider.local import lifecycle
from airflow_mwaa_provider.local.up_request import EnvironmentRequest
from airflow_mwaa_provider.metadata.cleaners import environment_ways
from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
from airflow_mwaa_provider.metadata.routes import choose_route
from airflow_mwaa_provider.monitoring.readings import read_dashboard
from airflow_mwaa_provider.monitoring.terminal import draw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from airflow_mwaa_provider.client.models import DagRun, TaskInstance
    from airflow_mwaa_provider.metadata.cleaning.outcome import Outcome
    from airflow_mwaa_provider.monitoring.readings import Readings

SOURCE_DAG = "trigger_in_other_environment"
TARGET_DAG = "run_by_other_environment"
EXPORT_DAG = "export_metadata"
EXPORT_BUCKET = "demo-export"
SECRETS_DAG = "secrets-manager"
METRICS_DAG = "dag-custom-metrics"
TASKS_NAMESPACE = "MWAA-Tasks"
MYCONN = "airflow/connections/myconn"
PLUGIN_OPTIONS = {
    "mwaa_provider.task_timezone": "America/Los_Angeles",
    "mwaa_env.java_home": "/usr/lib/jvm/jre",
}
SEEN_BY = {
    "mwaa_provider.task_timezone": ("tz_test", "tz_aware_task"),
    "mwaa_env.java_home": ("environment_variables", "in_bash"),
}
"""The DAG and task that show what an option does."""
READERS = 3
NUMBERS = [19, 23]
OLD_RUNS = 3
_METRICS_INTERVAL_S = 10.0


@dataclass(frozen=True)
class Story:
    """What happened in a demo.

    :param calls: the calls that the DAG in source made to target.
    :param manifest: the manifest of the export of source's metadata.
    :param outcome: the outcome of the cleanup of target's metadata.
    :param secret_calls: how many calls to Secrets Manager were made by each of the tasks in source that read a
        connection.
    :param resources: what tasks in source used according to their logs, by DAG and task.
    :param seen: what a task in source printed to show the effect of a configuration option, by the option.
    :param readings: source's metrics in CloudWatch.
    """

    source_run: DagRun
    target_run: DagRun
    result: int
    calls: list[dict[str, Any]]
    manifest: dict[str, Any]
    outcome: Outcome
    secret_calls: list[int]
    resources: dict[str, str]
    seen: dict[str, str]
    readings: Readings


def start(
    folder: Path, python: dict[str, str], on_progress: Callable[[str, str], None], *, mwaa_paths: bool = True
) -> dict[str, Any]:
    """Start the two environments with the example DAGs in their buckets."""
    dags = str(dag_folder())
    # Lets the web server export and clean the metadata, which tasks of Airflow 3 cannot access.
    options = {
        "mwaa_provider.metadata_api_export_to": f"s3://{EXPORT_BUCKET}",
        "mwaa_provider.metadata_api_cleanup": "True",
        "mwaa_provider.task_resources_namespace": TASKS_NAMESPACE,
    } | secrets_options(folder)
    requests = [
        EnvironmentRequest(name, python[name], dags, options=options | more)
        for name, more in (("source", PLUGIN_OPTIONS), ("target", {}))
    ]
    return lifecycle.up(
        folder,
        requests,
        mwaa_paths=mwaa_paths,
        metrics_interval_s=_METRICS_INTERVAL_S,
        on_progress=on_progress,
    )


def play(folder: Path, say: Callable[[str], None]) -> Story:
    """Trigger source's DAG as a user would, wait for it, and collect what happened.

    :raises MwaaError: a DAG doesn't appear, or a run fails; the error names it.
    """
    source, target = (Stage(folder, name, say) for name in ("source", "target"))
    for stage, dag_id in (
        (source, SOURCE_DAG),
        (target, TARGET_DAG),
        (source, EXPORT_DAG),
        (source, SECRETS_DAG),
        (source, METRICS_DAG),
        *((source, dag_id) for dag_id, _ in SEEN_BY.values()),
    ):
        stage.wait_for_dag(dag_id)
    source.admin("DELETE", "calls")
    say(f"source: DAG {SOURCE_DAG} runs DAG {TARGET_DAG} in target")
    run = source.run(SOURCE_DAG, {"numbers": NUMBERS})
    remote = source.xcom(run, "trigger")
    result = source.xcom(run, "read_result")
    calls = source.admin("GET", "calls?environment=target")["calls"]
    s3 = source.aws_client("s3")
    s3.create_bucket(Bucket=EXPORT_BUCKET)
    say(f"source: DAG {EXPORT_DAG} exports the metadata of all this to S3")
    exported = source.run(EXPORT_DAG, {"bucket": EXPORT_BUCKET})
    manifest = json.loads(s3.get_object(Bucket=EXPORT_BUCKET, Key="files/export/manifest.json")["Body"].read())
    target_run = target.environment.get_dag_run(TARGET_DAG, remote["run_id"])
    for number in range(OLD_RUNS):
        target.run(TARGET_DAG, {"numbers": [number]})
    say("target: runs that have ended are deleted from its metadata, except the last run of each DAG")
    options = CleanupOptions(retention=timedelta(0), force=True, tables=["dag_run"])
    outcome = choose_route("api", environment_ways(lambda: target.environment, "api", options, say), say).taken.run()
    say(f"source: tasks of DAG {SECRETS_DAG} read the secret {MYCONN}")
    source.put_secret(MYCONN, "postgres://demo:demo@db.internal/demo")
    secret_calls = []
    for _ in range(READERS):
        before = source.calls_to("aws:secretsmanager")
        source.run(SECRETS_DAG, {})
        secret_calls.append(source.calls_to("aws:secretsmanager") - before)
    say(f"source: DAG {METRICS_DAG} publishes the memory, CPU and disk of its worker")
    source.unpause(METRICS_DAG)
    measured = source.run(METRICS_DAG, {})
    resources = {
        f"{each.dag_id}, {task.label}": _used(source, each, task)
        for each in (exported, measured)
        for task in source.environment.get_task_instances(each.dag_id, each.run_id)
    }
    seen = {option: _seen(source, dag_id, task_id) for option, (dag_id, task_id) in SEEN_BY.items()}
    readings = read_dashboard(source.aws_client("cloudwatch"), "source", hours=1)
    return Story(run, target_run, int(result), calls, manifest, outcome, secret_calls, resources, seen, readings)


def show(story: Story, now: dict[str, Any]) -> None:
    """Show what happened, and where to find more."""
    runs: list[tuple[object, ...]] = [("ENVIRONMENT", "DAG", "RUN", "STATE", "SECONDS")]
    for name, run in (("source", story.source_run), ("target", story.target_run)):
        version = now["environments"][name]["airflow_version"]
        runs.append((f"{name} ({version})", run.dag_id, run.run_id, run.state.value, _seconds(run)))
    _echo_titled("What ran", runs, shorten="RUN")
    calls: list[tuple[object, ...]] = [("AT", "CALL", "METHOD", "PATH", "STATUS", "MS")]
    for call in story.calls:
        path = call["path"] if call["target"] in ("rest", "invoke_rest_api") else ""
        ms = f"{call['milliseconds']:.0f}"
        calls.append((call["at"][11:23], call["target"], call["method"], path, call["status"], ms))
    _echo_titled("Calls that the DAG in source made to target", calls, shorten="PATH")
    exported: list[tuple[object, ...]] = [("TABLE", "ROWS", "BYTES", "OBJECT", "SHA-256")]
    for name, table in story.manifest["tables"].items():
        exported.append((name, f"{table['rows']:,}", f"{table['bytes']:,}", table["objects"][0], table["sha256"]))
    _echo_titled(f"What DAG {EXPORT_DAG} wrote to s3://{EXPORT_BUCKET}", exported, shorten="SHA-256")
    cleaned: list[tuple[object, ...]] = [("TABLE", "OLD ROWS", "DELETED", "TRANSACTIONS", "LONGEST (S)")]
    for name, gone in story.outcome.tables.items():
        if gone.deleted:
            longest = f"{gone.longest_transaction_s:.2f}"
            cleaned.append((name, f"{gone.matched:,}", f"{gone.deleted:,}", gone.batches, longest))
    _echo_titled("What target's web server deleted from its metadata database", cleaned)
    read: list[tuple[object, ...]] = [("TASK", "SECRET", "CALLS TO SECRETS MANAGER")]
    read += [(f"{SECRETS_DAG}, {number + 1}", MYCONN, calls) for number, calls in enumerate(story.secret_calls)]
    _echo_titled("Tasks in source that read a connection with a cached secret", read)
    used: list[tuple[object, ...]] = [("DAG, TASK", "ITS LOG SAYS")]
    _echo_titled("What tasks in source used, as measured by a listener", [*used, *story.resources.items()])
    options: list[tuple[object, ...]] = [("OPTION", "VALUE", "TASK", "PRINTED")]
    options += [(each, PLUGIN_OPTIONS[each], SEEN_BY[each][1], printed) for each, printed in story.seen.items()]
    _echo_titled("The effect of source's configuration options on its tasks", options)
    click.echo("\nSource's metrics in CloudWatch, drawn by airflow-mwaa monitor show")
    for line in draw(story.readings, 80):
        click.echo(line.text)
    numbers = " + ".join(map(str, NUMBERS))
    click.echo(f"\nThe DAG in source sent {numbers}, the DAG in target answered {story.result}.")


def _echo_titled(title: str, rows: Sequence[Sequence[object]], shorten: str = "") -> None:
    click.echo(f"\n{title}")
    echo_table(rows, shorten=(shorten,), piped_width=80)


def _used(stage: Stage, run: DagRun, task: TaskInstance) -> str:
    found = re.search(r"Task resources: (ended [^\"\n]*)", stage.log(run, task.task_id))
    return found[1] if found else "nothing"


def _seen(stage: Stage, dag_id: str, task_id: str) -> str:
    stage.say(f"{stage.env_name}: a task of DAG {dag_id} shows what a configuration option does")
    stage.unpause(dag_id)
    return str(stage.xcom_as_shown(stage.run(dag_id, {}), task_id))


def _seconds(run: DagRun) -> str:
    if run.start_date is None or run.end_date is None:
        return ""
    return f"{(run.end_date - run.start_date).total_seconds():.1f}"
