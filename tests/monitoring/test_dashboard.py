# SPDX-License-Identifier: Apache-2.0
"""A dashboard's body follows AWS's own description, and shows only existing metrics.

cfn-lint and moto accept any body, so the page on its structure is a schema here, which malformed bodies fail.
"""

from __future__ import annotations

import copy
import inspect
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.monitoring import dashboard
from airflow_mwaa_provider.monitoring.metadata_metrics import METADATA_METRICS, metadata_metrics
from airflow_mwaa_provider.monitoring.mwaa_metrics import CLUSTERS, find
from airflow_mwaa_provider.monitoring.worker import WORKER_METRICS, Measured
from tests.monitoring.cfn_lint import complaints

pytestmark = pytest.mark.once

REGION = "eu-west-1"
SCHEMA = json.loads((Path(__file__).parent / "dashboard_schema.json").read_text(encoding="utf-8"))
OF_THE_GUIDE = {"QueuedTasks", "RunningTasks", "SchedulerHeartbeat", "TotalParseTime"}
SEARCH = re.compile(
    r"SEARCH\('\{(?P<schema>[^}]+)\} MetricName=\"(?P<name>\w+)\" Environment=\"(?P<env>[\w-]+)\"', '\w+', \d+\)"
)


def body_of(*env_names: str, **given: Any) -> dict[str, Any]:
    return dashboard.build(env_names or ["prod"], REGION, **given)


def problems(body: Any) -> list[str]:
    found = [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(body)]
    for widget in body.get("widgets", []) if isinstance(body, dict) else []:
        for line in widget.get("properties", {}).get("metrics", ()) if isinstance(widget, dict) else ():
            names = [part for part in line if isinstance(part, str)]
            if len(names) % 2 or any(isinstance(part, dict) for part in line[:-1]):
                found.append(f"no pairs of dimensions, then a rendering: {line}")
    return found


def graphs(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [widget["properties"] for widget in body["widgets"] if widget["type"] == "metric"]


def metrics_on(body: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Return namespace, name and dimensions of all shown metrics; in a search, a dimension's value is its name."""
    for graph in graphs(body):
        for line in graph["metrics"]:
            if len(line) > 1:
                namespace, name, *parts = [part for part in line if isinstance(part, str)]
                yield namespace, name, dict(zip(parts[::2], parts[1::2], strict=True))
                continue
            match = SEARCH.fullmatch(line[0]["expression"])
            assert match, line
            namespace, *dimensions = [part.strip('"') for part in match["schema"].split(",")]
            yield namespace, match["name"], {**{each: each for each in dimensions}, "Environment": match["env"]}


@pytest.mark.parametrize("env_names", [("prod",), ("prod", "my_env-2", "A"), tuple(f"e{n}" for n in range(19))])
def test_the_body_is_what_aws_describes(env_names: tuple[str, ...]) -> None:
    body = body_of(*env_names, max_workers={"prod": 10})
    assert problems(body) == []
    assert len(body["widgets"]) <= 500
    cells = [
        (widget["x"] + column, widget["y"] + row)
        for widget in body["widgets"]
        for column in range(widget["width"])
        for row in range(widget["height"])
    ]
    assert len(cells) == len(set(cells)), "widgets lie upon each other"
    assert max(column for column, _ in cells) == 23


def changed(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        *outer, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        place: Any = body
        for part in outer:
            place = place[part]
        if value is None:
            del place[last]
        else:
            place[last] = value

    return change


MALFORMED = {
    "no widgets": changed("widgets", None),
    "501 widgets": lambda body: body["widgets"].extend(body["widgets"] * 23),
    "an unknown key": changed("titel", "x"),
    "an unknown type": changed("widgets.2.type", "graph"),
    "a text without its text": changed("widgets.0.properties.markdown", None),
    "a text as a graph": changed("widgets.0.type", "metric"),
    "column 24": changed("widgets.2.x", 24),
    "x without y": changed("widgets.2.y", None),
    "25 wide": changed("widgets.2.width", 25),
    "no height": changed("widgets.2.height", 0),
    "no region": changed("widgets.2.properties.region", None),
    "a region that is none": changed("widgets.2.properties.region", "Ireland"),
    "an unknown view": changed("widgets.2.properties.view", "line"),
    "a gauge without a maximum": changed("widgets.2.properties.view", "gauge"),
    "a period of 45 s": changed("widgets.2.properties.period", 45),
    "an unknown statistic": changed("widgets.2.properties.metrics.0.6.stat", "Mean"),
    "a rendering with an unknown key": changed("widgets.2.properties.metrics.0.6.colour", "#ffffff"),
    "half a dimension": changed("widgets.2.properties.metrics.0.5", None),
    "a rendering before the dimensions": lambda body: body["widgets"][2]["properties"]["metrics"][0].reverse(),
    "a metric without a name": changed("widgets.2.properties.metrics.0", ["AWS/MWAA"]),
    "a line that is no list": changed("widgets.2.properties.metrics.0", "AWS/MWAA"),
    "an id that begins with a capital": changed("widgets.4.properties.metrics.0.0.id", "E1"),
    "an expression that is empty": changed("widgets.4.properties.metrics.0.0.expression", ""),
    "an annotation without a value": changed("widgets.3.properties.annotations.horizontal.0.value", None),
    "an annotation of another colour": changed("widgets.3.properties.annotations.horizontal.0.color", "red"),
    "a start that is none": changed("start", "6 hours"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_body_fails_the_schema(what: str) -> None:
    body = copy.deepcopy(body_of())
    MALFORMED[what](body)
    assert problems(body) != []


def own_dimensions(name: str) -> set[str]:
    """The dimensions with which an operator of this package publishes a metric."""
    if name in WORKER_METRICS:
        [metric] = Measured({name: 1.0}, {}).metrics("prod", "host")
    elif name in METADATA_METRICS:
        dimension = METADATA_METRICS[name][0]
        [metric] = metadata_metrics({name: {"x": 1.0} if dimension else 1.0}, "prod")
    else:
        assert name == "privilege_changes"
        return {"Environment"}
    return set(metric.dimensions)


def test_only_metrics_that_mwaa_or_this_package_publishes_are_shown() -> None:
    seen = list(metrics_on(body_of("prod", "staging")))
    assert len(seen) > 60
    for namespace, name, dimensions in seen:
        if namespace == "MWAA-Custom":
            assert set(dimensions) == own_dimensions(name)
            continue
        assert find(namespace, name, dimensions), f"{namespace} has no {name} with {dimensions}"
        assert dimensions.get("Cluster", "Scheduler") in CLUSTERS
        assert dimensions.get("DatabaseRole", "WRITER") in ("WRITER", "READER")


def test_own_metrics_are_looked_for_where_they_are_published() -> None:
    from airflow_mwaa_provider.operators import cloudwatch

    publishers = (
        cloudwatch.WorkerMetricsOperator, cloudwatch.MetadataMetricsOperator, cloudwatch.PrivilegeChangesOperator
    )  # fmt: skip
    namespaces = {inspect.signature(each.__init__).parameters["namespace"].default for each in publishers}
    assert namespaces == {"MWAA-Custom"}
    own = {name for found, name, _ in metrics_on(body_of()) if found == "MWAA-Custom"}
    assert own == {
        "container_memory_percent", "disk_percent", "container_memory_kills", "table_size", "scheduling_delay",
        "privilege_changes",
    }  # fmt: skip


def test_what_the_guide_shows_and_what_someone_on_call_needs_is_there_of_each_environment() -> None:
    seen = list(metrics_on(body_of("prod", "staging")))
    for env_name in ("prod", "staging"):
        own = [(name, dimensions) for _, name, dimensions in seen if dimensions["Environment"] == env_name]
        names = {name for name, _ in own}
        assert names >= OF_THE_GUIDE | {"ApproximateAgeOfOldestTask", "DAGDurationFailed", "DatabaseConnections"}
        for metric in ("CPUUtilization", "MemoryUtilization"):
            clusters = {dimensions.get("Cluster") for name, dimensions in own if name == metric}
            assert clusters >= set(CLUSTERS)


def test_the_largest_number_of_workers_is_a_line_where_it_is_known() -> None:
    body = body_of("prod", "staging", max_workers={"prod": 7})
    workers = {graph["title"]: graph for graph in graphs(body) if graph["title"].startswith("Workers")}
    assert workers["Workers, and the maximum - prod"]["annotations"]["horizontal"][0]["value"] == 7
    assert "annotations" not in workers["Workers, and the maximum - staging"]


def test_the_same_arguments_give_the_same_body() -> None:
    assert dashboard.body_text(body_of("b", "a")) == dashboard.body_text(body_of("b", "a"))
    titles = [graph["title"].rpartition(" ")[2] for graph in graphs(body_of("b", "a"))]
    assert titles == sorted(titles, reverse=True)


def test_names_are_no_markdown() -> None:
    headings = [widget["properties"]["markdown"] for widget in body_of("a_b_c")["widgets"] if widget["type"] == "text"]
    assert all("a\\_b\\_c" in heading for heading in headings)


@pytest.mark.parametrize(
    "env_names", [[], "prod", ["prod", "prod"], ["1st"], ['x"', "y"], ["a" * 81], ["${AWS::Region}"]]
)
def test_names_that_are_none_are_refused(env_names: Any) -> None:
    with pytest.raises(MwaaInputError, match=r"\. (Give|Name) "):
        dashboard.build(env_names, REGION)


def test_more_environments_than_there_is_room_for_are_refused() -> None:
    with pytest.raises(MwaaInputError, match="has room for 19"):
        body_of(*(f"e{n}" for n in range(20)))


@pytest.mark.parametrize("region", ["", "Ireland", "eu-west", "eu-west-1'"])
def test_a_region_that_is_none_is_refused(region: str) -> None:
    with pytest.raises(MwaaInputError, match="is not an AWS region"):
        dashboard.build(["prod"], region)


def test_the_name_of_a_dashboard() -> None:
    assert dashboard.dashboard_name(["prod", "my_env"]) == "MWAA-prod-my_env"
    assert dashboard.dashboard_name(["prod"], "Ops") == "Ops"
    for bad in ("a b", "x" * 256):
        with pytest.raises(MwaaInputError, match="Give another"):
            dashboard.dashboard_name(["prod"], bad)
    with pytest.raises(MwaaInputError, match="Give another"):
        dashboard.dashboard_name([f"{'e' * 70}{n}" for n in range(4)])


@pytest.mark.once
def test_the_template_passes_cfn_lint(tmp_path: Path) -> None:
    template = dashboard.template("MWAA-prod", body_of())
    assert complaints(template, tmp_path) == ""
    [resource] = template["Resources"].values()
    assert json.loads(resource["Properties"]["DashboardBody"]) == body_of()
    resource["Properties"]["DashboardTitle"] = "x"
    assert "DashboardTitle" in complaints(template, tmp_path)
