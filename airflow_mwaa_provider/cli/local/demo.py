# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa local demo``: a DAG in one environment runs a DAG in another. Then one exports the metadata, what has
ended is deleted, tasks read a secret, metrics are published, and tasks see what configuration options set. A summary
shows what happened.
"""

from __future__ import annotations

import ast
import json
import os
import re
import time
import urllib.request
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import airflow_mwaa_provider
from airflow_mwaa_provider.cli.support.output import echo_table
from airflow_mwaa_provider.client.access import ClientSettings
from airflow_mwaa_provider.client.aws.control_plane import ControlPlane
from airflow_mwaa_provider.client.environment import MwaaEnvironment
from airflow_mwaa_provider.client.http.web_server import WebServerSettings
from airflow_mwaa_provider.client.states import TransportName
from airflow_mwaa_provider.exceptions import DagNotFound, MwaaError
from airflow_mwaa_provider.local import lifecycle
from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.up_request import EnvironmentRequest
from airflow_mwaa_provider.metadata.cleaners import environment_ways
from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
from airflow_mwaa_provider.metadata.routes import choose_route
from airflow_mwaa_provider.monitoring.readings import read_dashboard
from airflow_mwaa_provider.monitoring.terminal import draw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
_PARSE_TIMEOUT_S = 120.0
_RUN_TIMEOUT_S = 240.0


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


def dag_folder() -> Path:
    """Find the example DAGs of the checkout that this package runs from.

    :raises LocalMwaaError: the package does not run from a checkout.
    """
    folder = Path(airflow_mwaa_provider.__file__).resolve().parents[1] / "example_dags"
    if not (folder / f"{SOURCE_DAG}.py").is_file():
        raise LocalMwaaError("the demo needs the example DAGs of a checkout: clone the project and run scripts/demo")
    return folder


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
        "secrets.backend": "airflow_mwaa_provider.secrets.secrets_manager.CachedSecretsManagerBackend",
        "secrets.backend_kwargs": json.dumps(
            {"connections_lookup_pattern": "^(?!aws_default$).*$", "cache_dir": str(folder / "secrets-cache")}
        ),
    }
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


def control_plane(folder: Path) -> tuple[ControlPlane, WebServerSettings]:
    """Make a client for a running local MWAA, as its ``env`` command would configure it."""
    import boto3

    variables = lifecycle.client_variables(folder)
    # boto3 and requests read here which hosts need no proxy.
    os.environ.update({name: variables[name] for name in ("NO_PROXY", "no_proxy") if name in variables})
    session = boto3.Session(
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_REGION"],
    )
    plane = ControlPlane(session, endpoint_url=variables["AWS_ENDPOINT_URL"])
    return plane, WebServerSettings(ca_bundle=variables["REQUESTS_CA_BUNDLE"])


def play(folder: Path, say: Callable[[str], None]) -> Story:
    """Trigger source's DAG as a user would, wait for it, and collect what happened.

    :raises MwaaError: a DAG doesn't appear, or a run fails; the error names it.
    """
    plane, web_server = control_plane(folder)
    # Like a user at a terminal, through a web session, so that the calls of the DAG itself stand out in the list.
    settings = ClientSettings(transport=TransportName.WEB_SESSION, web_server=web_server)
    source = MwaaEnvironment(plane, "source", settings)
    target = MwaaEnvironment(plane, "target", settings)
    for environment, dag_id in (
        (source, SOURCE_DAG),
        (target, TARGET_DAG),
        (source, EXPORT_DAG),
        (source, SECRETS_DAG),
        (source, METRICS_DAG),
        *((source, dag_id) for dag_id, _ in SEEN_BY.values()),
    ):
        say(f"{environment.name}: waiting for DAG {dag_id} to arrive from its S3 bucket")
        _wait_for_dag(environment, dag_id)
    _admin(folder, "DELETE", "calls")
    say(f"source: DAG {SOURCE_DAG} runs DAG {TARGET_DAG} in target")
    run = _run(source, SOURCE_DAG, {"numbers": NUMBERS}, say)
    remote = _xcom(source, run, "trigger")
    result = _xcom(source, run, "read_result")
    calls = _admin(folder, "GET", "calls?environment=target")["calls"]
    s3 = _client(folder, "s3")
    s3.create_bucket(Bucket=EXPORT_BUCKET)
    say(f"source: DAG {EXPORT_DAG} exports the metadata of all this to S3")
    exported = _run(source, EXPORT_DAG, {"bucket": EXPORT_BUCKET}, say)
    manifest = json.loads(s3.get_object(Bucket=EXPORT_BUCKET, Key="files/export/manifest.json")["Body"].read())
    target_run = target.get_dag_run(TARGET_DAG, remote["run_id"])
    for number in range(OLD_RUNS):
        _run(target, TARGET_DAG, {"numbers": [number]}, say)
    say("target: runs that have ended are deleted from its metadata, except the last run of each DAG")
    options = CleanupOptions(retention=timedelta(0), force=True, tables=["dag_run"])
    outcome = choose_route("api", environment_ways(lambda: target, "api", options, say), say).taken.run()
    say(f"source: tasks of DAG {SECRETS_DAG} read the secret {MYCONN}")
    _client(folder, "secretsmanager").create_secret(Name=MYCONN, SecretString="postgres://demo:demo@db.internal/demo")
    secret_calls = []
    for _ in range(READERS):
        before = _calls_to(folder, "aws:secretsmanager")
        _run(source, SECRETS_DAG, {}, say)
        secret_calls.append(_calls_to(folder, "aws:secretsmanager") - before)
    say(f"source: DAG {METRICS_DAG} publishes the memory, CPU and disk of its worker")
    source.request("PATCH", f"/dags/{METRICS_DAG}", json={"is_paused": False})
    measured = _run(source, METRICS_DAG, {}, say)
    resources = {
        f"{each.dag_id}, {task.label}": _used(source, each, task)
        for each in (exported, measured)
        for task in source.get_task_instances(each.dag_id, each.run_id)
    }
    seen = {option: _seen(source, dag_id, task_id, say) for option, (dag_id, task_id) in SEEN_BY.items()}
    readings = read_dashboard(_client(folder, "cloudwatch"), "source", hours=1)
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


def _run(environment: MwaaEnvironment, dag_id: str, conf: dict[str, Any], say: Callable[[str], None]) -> DagRun:
    run = environment.trigger_dag_run(dag_id, conf=conf)
    deadline = time.monotonic() + _RUN_TIMEOUT_S
    while not (now := environment.get_dag_run(dag_id, run.run_id)).state.is_final:
        if time.monotonic() > deadline:
            raise MwaaError(f"{environment.name}: run {run.run_id} did not end within {_RUN_TIMEOUT_S:g} s")
        tasks = environment.get_task_instances(dag_id, run.run_id)
        shown = ", ".join(f"{task.label} {task.state.value}" for task in tasks)
        say(f"{environment.name}: {now.state.value}; {shown}")
        time.sleep(1)
    if now.state.value != "success":
        environment.wait_for_dag_run(
            dag_id, run.run_id, timeout_s=1
        )  # raises an error that names the tasks that failed
    return now


def _used(environment: MwaaEnvironment, run: DagRun, task: TaskInstance) -> str:
    log = environment.get_task_log(run.dag_id, run.run_id, task.task_id, try_number=task.try_number or 1)
    found = re.search(r"Task resources: (ended [^\"\n]*)", log)
    return found[1] if found else "nothing"


def _seen(environment: MwaaEnvironment, dag_id: str, task_id: str, say: Callable[[str], None]) -> str:
    say(f"source: a task of DAG {dag_id} shows what a configuration option does")
    environment.request("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
    return str(_xcom_as_shown(environment, _run(environment, dag_id, {}, say), task_id))


def _seconds(run: DagRun) -> str:
    if run.start_date is None or run.end_date is None:
        return ""
    return f"{(run.end_date - run.start_date).total_seconds():.1f}"


def _wait_for_dag(environment: MwaaEnvironment, dag_id: str) -> None:
    deadline = time.monotonic() + _PARSE_TIMEOUT_S
    while True:
        try:
            environment.is_dag_paused(dag_id)
        except DagNotFound:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return


def _xcom_as_shown(environment: MwaaEnvironment, run: DagRun, task_id: str) -> Any:
    path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task_id}/xcomEntries/return_value"
    return environment.request("GET", path)["value"]


def _xcom(environment: MwaaEnvironment, run: DagRun, task_id: str) -> Any:
    value = _xcom_as_shown(environment, run, task_id)
    if not isinstance(value, str):
        return value
    # Airflow 2 returns the value in Python's notation.
    return ast.literal_eval(value)


def _calls_to(folder: Path, target: str) -> int:
    counts = _admin(folder, "GET", "calls")["counts"]
    return sum(by_target.get(target, 0) for by_target in counts.values())


def _client(folder: Path, service: str) -> Any:
    import boto3

    variables = lifecycle.client_variables(folder)
    return boto3.client(
        service,
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        verify=variables["AWS_CA_BUNDLE"],
    )


def _admin(folder: Path, method: str, path: str) -> Any:
    variables = lifecycle.client_variables(folder)
    request = urllib.request.Request(  # noqa: S310 - our own endpoint on loopback
        f"{variables['AIRFLOW_MWAA_LOCAL_ADMIN_URL'].rstrip('/')}/{path}",
        method=method,
        headers={"X-Local-Admin": variables["AIRFLOW_MWAA_LOCAL_ADMIN_TOKEN"]},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        return json.loads(answer.read() or b"null")


def login_url(folder: Path, name: str) -> str:
    """Return a URL that logs a browser in, like the console's "Open Airflow UI"; it is valid for 60 seconds."""
    plane, _ = control_plane(folder)
    token = plane.create_web_login_token(name)
    return f"https://{token.host}/aws_mwaa/aws-console-sso?login=true#{token.value}"


def echo_ways_on(folder: Path) -> None:
    """Print where both web UIs are, and how to stop."""
    option = f" --folder {folder}"
    click.echo(f"Both environments are still running; their files are in {folder}.")
    for name in ("source", "target"):
        click.echo(f"  Airflow UI of {name}: airflow-mwaa local login {name}{option}")
    click.echo(f'  In a terminal:        eval "$(airflow-mwaa local env{option})"')
    click.echo(f"  Stop:                 airflow-mwaa local down --purge{option}")
