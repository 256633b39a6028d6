# SPDX-License-Identifier: Apache-2.0
"""The operators that import and export: files on disk and in S3, what they return, and what they do not reveal."""

from __future__ import annotations

import inspect
import json
import logging
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from jinja2 import UndefinedError
from moto.server import ThreadedMotoServer

from airflow_mwaa_provider.client.models import Connection
from airflow_mwaa_provider.exceptions import AccessDenied, ImportFailed, MwaaInputError, RemoteConflict
from airflow_mwaa_provider.operators.connections import MwaaExportConnectionsOperator, MwaaImportConnectionsOperator
from airflow_mwaa_provider.operators.pools import MwaaExportPoolsOperator, MwaaImportPoolsOperator
from airflow_mwaa_provider.operators.variables import MwaaExportVariablesOperator, MwaaImportVariablesOperator
from tests.client.conftest import _world, world
from tests.client.world import KEY, REGION, SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.client.world import World

__all__ = ["_world", "world"]

VALUE = "hunter2 of the tests"
IMPORTS: dict[str, Any] = {
    "variables": MwaaImportVariablesOperator,
    "connections": MwaaImportConnectionsOperator,
    "pools": MwaaImportPoolsOperator,
}
EXPORTS: dict[str, Any] = {
    "variables": MwaaExportVariablesOperator,
    "connections": MwaaExportConnectionsOperator,
    "pools": MwaaExportPoolsOperator,
}
DOCUMENTS: dict[str, dict[str, Any]] = {
    "variables": {"a": VALUE, "b": {"value": {"deep": [1]}, "description": "why"}},
    "connections": {"db": {"conn_type": "postgres", "host": "h", "password": VALUE}},
    "pools": {"p": {"slots": 3, "description": "d", "include_deferred": True}},
}
HEAVY = ("boto3", "botocore", "psycopg2", "pandas", "requests", "airflow.providers.amazon.aws")


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]  # older releases of moto do not expose the port that they chose
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def s3(s3_url: str) -> Any:
    client = boto3.client(
        "s3", region_name=REGION, endpoint_url=s3_url, aws_access_key_id=KEY, aws_secret_access_key=SECRET
    )
    client.create_bucket(Bucket="stored")
    yield client
    for item in client.list_objects_v2(Bucket="stored").get("Contents", ()):
        client.delete_object(Bucket="stored", Key=item["Key"])
    client.delete_bucket(Bucket="stored")


@pytest.fixture
def common(world: World, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Parameters for the local MWAA and moto's S3."""
    keys = {"region_name": REGION, "service_config": {"s3": {"endpoint_url": s3_url}}}
    connections = {
        "AWS_KEYS": {"conn_type": "aws", "login": KEY, "password": SECRET, "extra": keys},
        "OTHER": {
            "conn_type": "mwaa",
            "extra": {"aws_conn_id": "aws_keys", "region_name": REGION, "endpoint_url": world.url},
        },
    }
    for name, fields in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(fields))
    return {
        "task_id": "t",
        "env_name": "env3",
        "aws_conn_id": "other",
        "verify": world.ca,
        "transport": "web_session",
    }


def run(operator: Any) -> Any:
    result = operator.execute({})
    json.dumps(result)
    return result


@pytest.mark.parametrize("nouns", IMPORTS)
def test_from_a_file_to_a_file_and_through_s3(
    world: World, common: dict[str, Any], s3: Any, tmp_path: Path, nouns: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "airflow_mwaa_provider")
    source = tmp_path / "source.json"
    source.write_text(json.dumps(DOCUMENTS[nouns]), encoding="utf-8")
    created = sorted(DOCUMENTS[nouns])
    none: dict[str, Any] = {"changed": [], "skipped": [], "dry_run": False}
    assert run(IMPORTS[nouns](**common, **{nouns: str(source)})) == {**none, "created": created, "same": []}
    destination = tmp_path / "destination.json"
    exported = run(EXPORTS[nouns](**common, destination=str(destination)))
    assert exported == {"destination": str(destination), "exported": created, "left_out": []}
    assert destination.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    run(EXPORTS[nouns](**common, destination="s3://stored/a/b.json"))
    written = s3.get_object(Bucket="stored", Key="a/b.json")["Body"].read()
    assert written == destination.read_bytes()
    again = run(IMPORTS[nouns](**common, **{nouns: "s3://stored/a/b.json"}, s3_conn_id="aws_keys"))
    assert again == {**none, "created": [], "same": created}
    assert VALUE not in caplog.text
    assert (VALUE in written.decode()) == (nouns == "variables")


def test_a_dict_and_a_dry_run(world: World, common: dict[str, Any]) -> None:
    operator = MwaaImportVariablesOperator(**common, variables=DOCUMENTS["variables"], dry_run=True)
    assert run(operator)["created"] == ["a", "b"]
    assert world.airflow().objects["variables"] == {}
    assert run(operator)["dry_run"] is True


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1, "a": 2}', "'a' is repeated"),
        (b"a: 1\n", "is not JSON"),
        (json.dumps({"a": "ok", "b": "x" * 1_000_000}).encode(), "'b': its value has 1,000,000 bytes"),
        (b"\x00\xff\x00binary", "is not UTF-8 text"),
    ],
)
def test_bad_files_are_refused_before_the_first_write(
    world: World, common: dict[str, Any], s3: Any, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    s3.put_object(Bucket="stored", Key="bad.json", Body=content)
    for place in (str(path), "s3://stored/bad.json"):
        with pytest.raises(MwaaInputError, match=message):
            run(MwaaImportVariablesOperator(**common, variables=place))
    assert world.airflow().objects["variables"] == {}
    assert "rest" not in world.calls()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("/no/such/file.json", "No such file"),
        ("s3://stored/nothing.json", r"does not exist \(NoSuchKey\)"),
        ("s3://no-such-bucket/a", r"does not exist \(NoSuchBucket\)"),
        ("s3://stored", "names no object"),
        ("s3://stored/folder/", "names no object"),
        ("", "is empty"),
    ],
)
def test_places_that_are_not_there(common: dict[str, Any], s3: Any, place: str, message: str) -> None:
    with pytest.raises(MwaaInputError, match=message):
        run(MwaaImportVariablesOperator(**common, variables=place))
    if place != "s3://stored/nothing.json":
        with pytest.raises(MwaaInputError):
            run(MwaaExportVariablesOperator(**common, destination=place))


def test_what_s3_refuses_names_the_permission(common: dict[str, Any], s3: Any) -> None:
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::stored/*"}
    s3.put_object(Bucket="stored", Key="a.json", Body=b"{}")
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    s3.put_bucket_policy(Bucket="stored", Policy=json.dumps(policy))
    try:
        with pytest.raises(AccessDenied) as caught:
            run(MwaaImportVariablesOperator(**common, variables="s3://stored/a.json"))
        assert caught.value.action == "s3:GetObject"
    finally:
        s3.delete_bucket_policy(Bucket="stored")


def test_a_failure_and_a_retry(world: World, common: dict[str, Any]) -> None:
    operator = MwaaImportVariablesOperator(**common, variables={f"key_{n}": n for n in range(9)})
    world.fault("rest", "status", status=400, method="POST", path="*/variables", times=1)
    with pytest.raises(ImportFailed) as caught:
        run(operator)
    assert caught.value.restored
    assert world.airflow().objects["variables"] == {}
    assert len(run(operator)["created"]) == 9
    assert len(run(operator)["same"]) == 9
    with pytest.raises(RemoteConflict):
        run(MwaaImportVariablesOperator(**common, variables={"key_1": "other"}, on_conflict="fail"))


def test_a_killed_task_puts_all_back(world: World, common: dict[str, Any]) -> None:
    operator = MwaaImportVariablesOperator(**common, variables={f"key_{n}": n for n in range(30)})
    # Airflow calls on_kill from a signal handler; here it is called when the first few exist.
    rows = world.airflow().objects["variables"]

    class Watched(dict[str, Any]):
        def __setitem__(self, key: str, value: Any) -> None:
            super().__setitem__(key, value)
            operator.on_kill()

    world.airflow().objects["variables"] = Watched(rows)
    with pytest.raises(ImportFailed, match="The import was stopped"):
        run(operator)
    assert world.airflow().objects["variables"] == {}
    MwaaImportPoolsOperator(**common, pools={}).on_kill()  # before it began: nothing to do


def test_hidden_connections_can_be_left_out(world: World, common: dict[str, Any], tmp_path: Path) -> None:
    hook_environment = world.environment("env3", "web_session")
    hook_environment.connections.set(Connection("db", "x", extra='{"token": "***"}'))
    hook_environment.connections.set(Connection("web", "x"))
    destination = str(tmp_path / "c.json")
    result = run(MwaaExportConnectionsOperator(**common, destination=destination, leave_out_hidden=True))
    assert (result["exported"], result["left_out"]) == (["web"], ["db"])


# -- Airflow's own handling of the operators -----------------------------------------------------------


def test_a_dict_is_rendered_and_shown_nowhere() -> None:
    from airflow.serialization.helpers import serialize_template_field

    document = {"day": "{{ ds }}", "nested": {"list": ["{{ ds }}"]}}
    operator = MwaaImportVariablesOperator(task_id="t", env_name="{{ ds }}", variables=document)
    operator.render_template_fields({"ds": "2026-01-01"})  # type: ignore[typeddict-unknown-key]
    assert operator.env_name == "2026-01-01"
    assert operator.variables.content == {"day": "2026-01-01", "nested": {"list": ["2026-01-01"]}}  # type: ignore[union-attr]
    shown = serialize_template_field(operator.variables, "variables")
    assert shown == "<given in the DAG, not shown>"
    path = MwaaImportVariablesOperator(task_id="t", env_name="e", variables="s3://stored/{{ ds }}.json")
    path.render_template_fields({"ds": "2026-01-01"})  # type: ignore[typeddict-unknown-key]
    assert path.variables == "s3://stored/2026-01-01.json"


def test_a_template_that_fails_does_not_bring_the_rest_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    document = {"a": VALUE, "nested": {"b": VALUE, "c": "{{ nothing.here }}"}, "list": [VALUE]}
    operator = MwaaImportVariablesOperator(task_id="t", env_name="e", variables=document)
    with pytest.raises(UndefinedError):
        operator.render_template_fields({})
    assert VALUE not in caplog.text
    assert "nothing.here" in caplog.text
    assert operator.variables.content == document  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"on_conflict": "merge"}, "on_conflict='merge' must be one of 'overwrite', 'skip', 'fail'"),
        ({"transport": "pigeon"}, "transport='pigeon'"),
        ({"restore_timeout": 300}, "restore_timeout=300 is not a timedelta"),
    ],
)
def test_wrong_parameters_are_refused_when_the_dag_is_parsed(more: dict[str, Any], message: str) -> None:
    with pytest.raises(MwaaInputError, match=message):
        MwaaImportVariablesOperator(task_id="t", env_name="e", variables={}, **more)


@pytest.mark.parametrize("kind", [*IMPORTS.values(), *EXPORTS.values()])
def test_every_parameter_is_documented(kind: type) -> None:
    own = [parent for parent in kind.__mro__ if parent.__module__.startswith("airflow_mwaa_provider")]
    documented = "\n".join(inspect.getdoc(parent) or "" for parent in own)
    for parent in own:
        for name in set(inspect.signature(parent.__init__).parameters) - {"self", "kwargs", "args"}:
            assert f":param {name}:" in documented, name


def test_defaults_of_a_dag_reach_the_base() -> None:
    default_args = {"env_name": "e", "on_conflict": "skip", "region_name": "eu-west-1", "restore_timeout": timedelta(1)}
    operator = MwaaImportVariablesOperator(task_id="t", variables={}, default_args=default_args)  # type: ignore[call-arg]
    assert (operator.env_name, operator.on_conflict, operator.region_name) == ("e", "skip", "eu-west-1")


def test_parsing_a_dag_with_them_loads_nothing_heavy() -> None:
    program = (
        "import json, sys\n"
        "try:\n    from airflow.sdk import BaseOperator, BaseOperatorLink\n"
        "except ImportError:\n    from airflow.models.baseoperator import BaseOperator\n"
        "before = set(sys.modules)\n"
        "from airflow_mwaa_provider.operators import connections, pools, variables\n"
        "print('RESULT' + json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    loaded = json.loads(line.removeprefix("RESULT"))
    assert [name for name in loaded if name.startswith(HEAVY)] == []
