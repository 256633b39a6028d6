# SPDX-License-Identifier: Apache-2.0
"""The examples that publish metrics, as real tasks, and what CloudWatch then has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import pytest

from airflow_mwaa_provider.hooks.metadata import MetadataHook
from airflow_mwaa_provider.metadata.measures import Measures
from airflow_mwaa_provider.monitoring import dashboard, mwaa_metrics
from airflow_mwaa_provider.monitoring.metadata_metrics import METADATA_METRICS
from tests.integration.world import World, until
from tests.metadata import history


def _published(world: World, namespace: str, name: str) -> list[dict[str, Any]]:
    """Return all series of a metric: dimensions and unit, and CloudWatch's values of this day."""
    client = world.session().client("cloudwatch", endpoint_url=world.variables["AWS_ENDPOINT_URL"])
    now = datetime.now(UTC)
    # moto lists a series once for each time it was published.
    series = {
        frozenset((each["Name"], each["Value"]) for each in metric["Dimensions"])
        for page in client.get_paginator("list_metrics").paginate(Namespace=namespace, MetricName=name)
        for metric in page["Metrics"]
    }
    found = []
    for dimensions in series:
        points = client.get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions],
            StartTime=now - timedelta(days=1),
            EndTime=now + timedelta(hours=1),
            Period=3600,
            Statistics=["Sum", "Minimum", "Maximum"],
        )["Datapoints"]
        (unit,) = {point["Unit"] for point in points}
        found.append(
            {
                "dimensions": dict(dimensions),
                "unit": unit,
                "sum": sum(point["Sum"] for point in points),
                "minimum": min(point["Minimum"] for point in points),
                "maximum": max(point["Maximum"] for point in points),
            }
        )
    return found


def _series_of(world: World, env_name: str) -> set[tuple[str, str, frozenset[tuple[str, str]]]]:
    """Return all series of an environment's MWAA metrics, without the dimension Environment."""
    client = world.session().client("cloudwatch", endpoint_url=world.variables["AWS_ENDPOINT_URL"])
    own = {"Name": "Environment", "Value": env_name}
    return {
        (
            namespace,
            metric["MetricName"],
            frozenset((each["Name"], each["Value"]) for each in metric["Dimensions"] if each != own),
        )
        for namespace in (mwaa_metrics.AIRFLOW, mwaa_metrics.CONTAINERS)
        for page in client.get_paginator("list_metrics").paginate(Namespace=namespace, Dimensions=[own])
        for metric in page["Metrics"]
    }


def test_the_local_mwaa_publishes_mwaas_own_metrics(world: World, env_name: str) -> None:
    environment = world.environment(env_name)
    run_id = environment.trigger_dag_run("echo").run_id
    environment.wait_for_dag_run("echo", run_id, timeout_s=200)
    expected = {
        ("AmazonMWAA", "SchedulerHeartbeat", frozenset({("Function", "Scheduler")})),
        ("AmazonMWAA", "QueuedTasks", frozenset({("Function", "Executor")})),
        ("AmazonMWAA", "RunningTasks", frozenset({("Function", "Executor")})),
        ("AmazonMWAA", "TriggerHeartbeat", frozenset({("Function", "Triggerer")})),
        ("AmazonMWAA", "PoolOpenSlots", frozenset({("Pool", "default_pool")})),
        ("AmazonMWAA", "StartedTaskInstances", frozenset({("DAG", "All"), ("Task", "All")})),
        ("AmazonMWAA", "DAGDurationSuccess", frozenset({("DAG", "echo")})),
        *(
            ("AWS/MWAA", name, frozenset({("Cluster", cluster)}))
            for name in ("CPUUtilization", "MemoryUtilization")
            for cluster in ("Scheduler", "BaseWorker", "WebServer")
        ),
        ("AWS/MWAA", "DatabaseConnections", frozenset({("DatabaseRole", "WRITER")})),
        *(("AWS/MWAA", name, frozenset()) for name in ("QueuedTasks", "RunningTasks", "ApproximateAgeOfOldestTask")),
    }
    until(lambda: expected <= _series_of(world, env_name), timeout_s=90, what=f"the metrics of {env_name}")
    for namespace, name, dimensions in _series_of(world, env_name):
        everything = {**dict(dimensions), "Environment": env_name}
        assert mwaa_metrics.find(namespace, name, everything) is not None, (namespace, name, everything)
    for cluster in ("Scheduler", "BaseWorker", "WebServer"):
        (memory,) = [
            each
            for each in _published(world, "AWS/MWAA", "MemoryUtilization")
            if each["dimensions"] == {"Cluster": cluster, "Environment": env_name}
        ]
        assert memory["unit"] == "Percent"
        assert 0.0 < memory["minimum"] <= memory["maximum"] < 100.0


def test_a_workers_metrics_are_published_under_its_environments_name(world: World, env_name: str) -> None:
    environment = world.environment(env_name)
    environment.request("PATCH", "/dags/dag-custom-metrics", json={"is_paused": False})
    run_id = environment.trigger_dag_run("dag-custom-metrics").run_id
    environment.wait_for_dag_run("dag-custom-metrics", run_id, timeout_s=200)
    environment.request("PATCH", "/dags/dag-custom-metrics", json={"is_paused": True})
    for name, expected in (
        ("virtual_memory_total", psutil.virtual_memory().total),
        ("disk_total", psutil.disk_usage(str(world.folder)).total),
    ):
        (found,) = [
            each for each in _published(world, "MWAA-Custom", name) if each["dimensions"]["Environment"] == env_name
        ]
        assert set(found["dimensions"]) == {"Environment", "Category", "Host"}
        assert found["unit"] == "Bytes"
        assert (found["minimum"], found["maximum"]) == pytest.approx((expected, expected))


def test_a_dashboard_of_three_environments_is_made_by_a_dag(world: World, env_name: str) -> None:
    conf = {
        "dashboard": f"Three-{env_name}",
        "env_names": [env_name, "staging", "test"],
        "max_workers": {env_name: 7},
    }
    environment = world.environment(env_name)
    run_id = environment.trigger_dag_run("dag-environments-dashboard", conf=conf).run_id
    environment.wait_for_dag_run("dag-environments-dashboard", run_id, timeout_s=200)
    client = world.session().client("cloudwatch", endpoint_url=world.variables["AWS_ENDPOINT_URL"])
    body = json.loads(client.get_dashboard(DashboardName=conf["dashboard"])["DashboardBody"])
    assert body == dashboard.build(conf["env_names"], world.variables["AWS_REGION"], max_workers={env_name: 7})
    shown = json.dumps(body)
    assert all(f"## {name}" in shown for name in conf["env_names"])


def test_a_pipelines_metrics_are_published(world: World, env_name: str) -> None:
    environment = world.environment(env_name)

    def totals() -> dict[str, float]:
        return {each["dimensions"]["Region"]: each["sum"] for each in _published(world, "Sales", "order_total")}

    before = totals()
    run_id = environment.trigger_dag_run("pipeline_metrics").run_id
    environment.wait_for_dag_run("pipeline_metrics", run_id, timeout_s=200)
    added = {region: total - before.get(region, 0.0) for region, total in totals().items()}
    assert added == pytest.approx({"north": 12.5, "south": 7.25, "east": 19.75})
    (rows,) = _published(world, "Sales", "rows_loaded")
    assert rows["dimensions"] == {"Table": "orders"}
    assert rows["sum"] >= 2.0
    assert [each["unit"] for each in _published(world, "Sales", "load_time")] == ["Milliseconds"]
    (answers,) = _published(world, "Sales", "response_time")
    assert (answers["minimum"], answers["maximum"], answers["unit"]) == (10.0, 90.0, "Milliseconds")


# -- what is in the metadata database --------------------------------------------------------------

MINUTES = "now() - interval '{} minutes'"
# By number: state, and when it began and ended, in minutes ago; of a paused DAG, which the scheduler ignores.
RUNS = {1: ("queued", None, None), 2: ("running", 500, None), 3: ("failed", 30, 5), 4: ("success", 300, 200)}
TASKS = {
    "late": (1, "queued", None),
    "later": (1, "queued", None),
    "again": (1, "up_for_retry", 10),
    "broken": (3, "failed", 5),
    "done": (4, "success", 200),
}
QUEUED_MINUTES = {"late": 400, "later": 20}


def _ago(minutes: int | None) -> str:
    return "NULL" if minutes is None else MINUTES.format(minutes)


@pytest.fixture
def waiting(world: World, env_name: str) -> Iterator[None]:
    """Runs and tasks in several states, in addition to those of the environment's own DAGs."""
    world.environment(env_name)
    with world.metadata(env_name) as cursor:
        dag = {
            **history.DAG, "is_paused": "true", "is_subdag": "false", "is_active": "true", "is_stale": "false",
            "fileloc": "'/f.py'", "max_active_tasks": "1", "has_import_errors": "false",
            "max_consecutive_failed_dag_runs": "0",
        }  # fmt: skip
        history.insert(cursor, "dag", dag, "generate_series(0, 0) i", dags=1)
        for number, (state, began, ended) in RUNS.items():
            run = {
                **history.DAG_RUN, "run_id": f"'r{number}'", "state": f"'{state}'", "start_date": _ago(began),
                "end_date": _ago(ended), "external_trigger": "false",
            }  # fmt: skip
            history.insert(cursor, "dag_run", run, f"generate_series({number}, {number}) i", dags=1, n=10)
        for name, (number, state, ended) in TASKS.items():
            task = {
                **history.TASK_INSTANCE, "run_id": f"'r{number}'", "task_id": f"'{name}'", "state": f"'{state}'",
                "queued_dttm": _ago(QUEUED_MINUTES.get(name)), "start_date": _ago(ended), "end_date": _ago(ended),
            }  # fmt: skip
            history.insert(cursor, "task_instance", task, "generate_series(1, 1) i, generate_series(1, 1) j",
                           dags=1, n=10, tasks=1)  # fmt: skip
    yield
    with world.metadata(env_name) as cursor:
        history.clear(cursor)


def test_the_metadatas_metrics_are_the_same_by_every_route(
    world: World, env_name: str, waiting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a task publishes them, and as each route returns them afterwards."""
    environment = world.environment(env_name)
    environment.request("PATCH", "/dags/metadata_metrics", json={"is_paused": False})
    run_id = environment.trigger_dag_run("metadata_metrics").run_id
    environment.wait_for_dag_run("metadata_metrics", run_id, timeout_s=200)
    environment.request("PATCH", "/dags/metadata_metrics", json={"is_paused": True})
    found = {
        (name, each["dimensions"].get(by)): each
        for name, (by, _, _) in METADATA_METRICS.items()
        for each in _published(world, "MWAA-Custom", name)
        if each["dimensions"]["Environment"] == env_name
    }
    for (name, of), each in found.items():
        by, unit, _ = METADATA_METRICS[name]
        assert (set(each["dimensions"]), each["unit"]) == ({"Environment", by} - {None}, unit), (name, of)
    assert {name for name, _ in found} >= set(METADATA_METRICS) - {"scheduling_delay"}
    assert found["queued_task_age", None]["maximum"] == pytest.approx(400 * 60, abs=200)
    assert found["running_dag_run_age", None]["maximum"] >= 500 * 60
    assert found["dag_runs", "running"]["minimum"] >= 2.0  # its own run is another one
    assert found["task_instances", "running"]["minimum"] >= 1.0
    assert found["dag_runs_ended", "failed"]["minimum"] >= 1.0
    assert found["queued_dag_runs_of_paused_dags", None]["minimum"] >= 1.0

    extra = {"endpoint_url": world.variables["AWS_ENDPOINT_URL"], "ca_bundle": world.ca_bundle, "aws_conn_id": "keys"}
    keys = {
        "conn_type": "aws", "login": world.variables["AWS_ACCESS_KEY_ID"],
        "password": world.variables["AWS_SECRET_ACCESS_KEY"],
        "extra": {"region_name": world.variables["AWS_REGION"], "endpoint_url": extra["endpoint_url"],
                  "verify": world.ca_bundle},
    }  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_KEYS", json.dumps(keys))
    monkeypatch.setenv("AIRFLOW_CONN_MWAA", json.dumps({"conn_type": "mwaa", "extra": extra}))
    with world.metadata(env_name) as cursor:
        at = cursor.connection.get_dsn_parameters() | {"password": cursor.connection.info.password}
    database = {
        "conn_type": "postgres", "host": at["host"], "port": int(at["port"]), "schema": at["dbname"],
        "login": at["user"], "password": at["password"],
    }  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_METADATA", json.dumps(database))

    def measured(route: str, conn_id: str | None = None) -> Measures:
        return MetadataHook(conn_id, route, env_name, aws_conn_id="mwaa", verify=world.ca_bundle).measure()

    def counts(measures: Measures) -> dict[str, object]:
        return {name: number for name, number in measures.numbers.items() if METADATA_METRICS[name][1] == "Count"}

    by_route: dict[str, Measures] = {}

    def at_rest() -> bool:
        """Measure by each route; return whether the database was the same before and after."""
        before = measured("database", "metadata")
        by_route.update(api=measured("api"), rest=measured("rest"), database=measured("database", "metadata"))
        return counts(before) == counts(by_route["database"])

    # When the DAG was unpaused, its schedule started another run, which may end between two measurements.
    until(at_rest, timeout_s=120, what="an environment in which nothing changes")
    numbers = by_route["database"].numbers
    assert set(numbers) == set(METADATA_METRICS)
    assert numbers["task_instances"]["queued"] == 2
    assert numbers["task_instances"]["up_for_retry"] == 1
    for route in ("api", "rest"):
        told = by_route[route]
        assert set(told.numbers) | {name.partition(" of ")[0] for name in told.missing} == set(METADATA_METRICS)
        for name, number in told.numbers.items():
            if METADATA_METRICS[name][1] == "Count":
                assert number == numbers[name], (route, name)
            elif name.endswith("_age"):
                assert number == pytest.approx(numbers[name], abs=30), (route, name)
    assert by_route["api"].missing == {}
    assert set(by_route["rest"].missing) == {
        "task_instances_ended", "queued_dag_runs_of_paused_dags", "scheduling_delay", "table_size", "database_size",
        "oldest_row_age",
    }  # fmt: skip
