# SPDX-License-Identifier: Apache-2.0
"""Route api: web servers of a real Airflow 2 and 3 export their databases, for authorized users only."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import psutil
import psycopg2
import pytest
import requests

from airflow_mwaa_provider.client.environment import MwaaEnvironment
from airflow_mwaa_provider.client.models import Role
from airflow_mwaa_provider.exceptions import UnsupportedByTransport
from airflow_mwaa_provider.hooks.metadata import MetadataHook
from airflow_mwaa_provider.metadata import api_source
from airflow_mwaa_provider.metadata.catalog import registry
from airflow_mwaa_provider.metadata.environment_source import source_of_environment
from airflow_mwaa_provider.metadata.export.run import ExportOptions
from airflow_mwaa_provider.metadata.remote_api.messages import PREFIX
from tests.integration.users import User
from tests.integration.world import API_BUCKET, World, until

csv.field_size_limit(1 << 30)
PLACE = {"LocationConstraint": "eu-west-1"}


@pytest.fixture
def s3(world: World) -> Any:
    client = world.session().client("s3", endpoint_url=world.variables["AWS_ENDPOINT_URL"], verify=world.ca_bundle)
    with suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=API_BUCKET, CreateBucketConfiguration=PLACE)
    return client


@pytest.fixture
def hook(world: World, env_name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Create a hook with the credentials of the local MWAA."""
    keys = {
        "conn_type": "aws", "login": world.variables["AWS_ACCESS_KEY_ID"],
        "password": world.variables["AWS_SECRET_ACCESS_KEY"],
        "extra": {"region_name": world.variables["AWS_REGION"], "endpoint_url": world.variables["AWS_ENDPOINT_URL"],
                  "verify": world.ca_bundle},
    }  # fmt: skip
    extra = {"aws_conn_id": "keys", "endpoint_url": world.variables["AWS_ENDPOINT_URL"], "ca_bundle": world.ca_bundle}
    monkeypatch.setenv("AIRFLOW_CONN_KEYS", json.dumps(keys))
    monkeypatch.setenv("AIRFLOW_CONN_MWAA", json.dumps({"conn_type": "mwaa", "extra": extra}))
    world.environment(env_name)
    return lambda route: MetadataHook(route=route, env_name=env_name, aws_conn_id="mwaa", verify=world.ca_bundle)


def database_rows(world: World, env_name: str, table: str, columns: dict[str, str]) -> set[tuple[str, ...]]:
    """Return the rows of a table as in CSV, directly from the database."""
    items = ", ".join(f'"{name}"::text' if kind == "bool" else f'"{name}"' for name, kind in columns.items())
    scheduler = psutil.Process(world.status(env_name)["pids"]["scheduler"])
    url = scheduler.environ()["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "")
    out = io.StringIO()
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SET TimeZone TO 'UTC'")
        cursor.copy_expert(f'COPY (SELECT {items} FROM "{table}") TO STDOUT (FORMAT csv)', out)
    return lines(out.getvalue())


def lines(text: str) -> set[tuple[str, ...]]:
    # NULL is empty, and an empty string is ""; a reader that parses quotes loses the difference.
    return {tuple(row) for row in csv.reader(io.StringIO(text.replace('""', "\0"), newline=""))}


def exported_rows(s3: Any, manifest: dict[str, Any], table: str) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for key in manifest["tables"][table]["objects"]:
        text = s3.get_object(Bucket=API_BUCKET, Key=key)["Body"].read().decode()
        found |= lines(text.partition("\n")[2])
    return found


def run_of(environment: MwaaEnvironment, dag_id: str, conf: dict[str, Any]) -> str:
    run = environment.trigger_dag_run(dag_id, conf=conf)
    until(
        lambda: environment.get_dag_run(dag_id, run.run_id).state.is_final, timeout_s=240, what=f"the end of {dag_id}"
    )
    assert environment.get_dag_run(dag_id, run.run_id).state == "success"
    return run.run_id


@pytest.mark.parametrize("route", ["api", "auto"])
def test_a_task_exports_its_own_environment(world: World, env_name: str, s3: Any, route: str) -> None:
    """A task of Airflow 3 has no database, so ``auto`` uses the API; in Airflow 2 it uses the database."""
    environment = world.environment(env_name, "web_session")
    run_id = run_of(environment, "export_metadata", {"bucket": API_BUCKET, "route": route})
    manifest = json.loads(s3.get_object(Bucket=API_BUCKET, Key="files/export/manifest.json")["Body"].read())
    is_2 = environment.airflow_version.startswith("2.")
    assert manifest["route"] == ("database" if is_2 and route == "auto" else "api")
    assert manifest["airflow_version"] == environment.airflow_version
    places = {name: number for number, name in enumerate(manifest["tables"]["dag_run"]["columns"])}
    states = {row[places["run_id"]]: row[places["state"]] for row in exported_rows(s3, manifest, "dag_run")}
    assert states[run_id] == "running"
    log = environment.get_task_log("export_metadata", run_id, "export")
    assert f"Route {manifest['route']}: " in log
    assert s3.list_multipart_uploads(Bucket=API_BUCKET).get("Uploads", []) == []


def test_it_gives_every_row_of_every_table(world: World, env_name: str, s3: Any, hook: Any) -> None:
    """Rows that are unchanged before and after are in the export; all others in it have just changed."""
    prefix = f"all-{uuid.uuid4().hex[:8]}"
    written = hook("api").export(API_BUCKET, ExportOptions(prefix=prefix)).document()
    columns = {name: table["columns"] for name, table in written["tables"].items()}
    before = {name: database_rows(world, env_name, name, columns[name]) for name in columns}
    written = hook("api").export(API_BUCKET, ExportOptions(prefix=prefix)).document()
    after = {name: database_rows(world, env_name, name, columns[name]) for name in columns}
    assert {"dag_run", "task_instance", "log", "xcom", "serialized_dag", "trigger", "job", "slot_pool"} <= set(columns)
    assert not any(registry.facts_of(name).is_private for name in columns)
    moving = set()
    for name in columns:
        exported = exported_rows(s3, written, name)
        assert exported >= before[name] & after[name], name
        if not exported <= before[name] | after[name]:
            moving.add(name)
    # What the scheduler, the parser and this test's own requests write meanwhile.
    assert moving <= {"job", "dag", "log", "dag_run", "serialized_dag", "dag_version", "dag_code", "task_instance"}
    assert sum(len(rows) for rows in before.values()) > 50


@pytest.fixture
def answers(world: World, env_name: str) -> Any:
    """Call the API as a user; return status and body."""
    environment = world.environment(env_name, "web_session")
    url = f"https://{environment.web_server_host}{PREFIX}"

    def ask(method: str, path: str, session: Any = requests, **more: Any) -> tuple[int, str]:
        answer = session.request(method, f"{url}{path}", verify=world.ca_bundle, timeout=60, **more)
        return answer.status_code, answer.text

    ask.environment = environment  # type: ignore[attr-defined]
    ask.ca_bundle = world.ca_bundle  # type: ignore[attr-defined]
    return ask


REQUEST = {
    "columns": ["id"], "bucket": API_BUCKET, "max_rows": 10, "file_format": "csv", "compression": "none",
    "places": {
        "prefix": "refused", "layout": "table", "export": None, "is_numbered": False, "since": None, "until": None,
    },
}  # fmt: skip


def test_nobody_who_is_not_logged_in_gets_anything(answers: Any, s3: Any) -> None:
    wrong = {
        "nothing": {},
        "a bearer": {"headers": {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."}},
        "a cookie": {"cookies": {"session": "x", "_token": "x"}},
        "a password": {"auth": ("admin", "admin")},
    }
    for name, credentials in wrong.items():
        for method, path in (("GET", "/schema"), ("POST", "/pieces")):
            body = {"json": {**REQUEST, "table": "dag_run"}} if method == "POST" else {}
            status, text = answers(method, path, **credentials, **body)
            assert status in (401, 403), (name, path, status)
            assert "dag_run" not in text, name
    for path in ("/openapi.json", "/docs", "/redoc", "/"):
        assert answers("GET", path)[0] in (401, 403, 404), path
    assert "Contents" not in s3.list_objects_v2(Bucket=API_BUCKET, Prefix="refused")


def logged_in(answers: Any, user: User, world: World) -> requests.Session:
    """Return a session of a user with a password; on Airflow 2 through the login form."""
    session = requests.Session()
    if not user.is_2:
        session.headers["Authorization"] = user._arguments["headers"]["Authorization"]
        return session
    url = f"https://{answers.environment.web_server_host}/login/"
    _, password = user._arguments["auth"]

    def is_in() -> bool:
        page = session.get(url, verify=answers.ca_bundle, timeout=60).text
        found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
        assert found is not None
        answer = session.post(
            url,
            data={"username": user.name, "password": password, "csrf_token": found[1]},
            headers={"Referer": url},
            verify=answers.ca_bundle,
            timeout=60,
            allow_redirects=False,
        )
        assert answer.status_code in (302, 429), answer.text[:300]
        return answer.status_code == 302  # 2.8 allows only five logins within 40 seconds

    until(is_in, timeout_s=90, what="the login")
    return session


@pytest.mark.parametrize(
    ("role", "allowed"),
    [("Public", set()), ("Viewer", set()), ("User", set()), ("Op", {"schema", "dag_run", "xcom", "connection"}),
     ("Admin", {"schema", "dag_run", "log", "xcom", "connection"})],
)  # fmt: skip
def test_what_each_role_gets(world: World, env_name: str, answers: Any, s3: Any, role: str, allowed: set[str]) -> None:
    session = logged_in(answers, User(world, env_name, role), world)
    got = set()
    if answers("GET", "/schema", session)[0] == 200:
        got.add("schema")
    for table, column in (
        ("dag_run", "id"),
        ("log", "id"),
        ("xcom", "key"),
        ("connection", "conn_id"),
        ("ab_user", "id"),
    ):
        status, text = answers("POST", "/pieces", session, json={**REQUEST, "table": table, "columns": [column]})
        assert status in (200, 403), text
        if status == 200:
            got.add(table)
            for upload in json.loads(text)["uploads"]:
                s3.abort_multipart_upload(Bucket=API_BUCKET, Key=upload["file"]["key"], UploadId=upload["upload_id"])
        else:
            assert "AccessDenied: " in text
            assert user_words(role, table) in text
    if role == "Op" and env_name == "airflow-2-8-1":
        allowed = allowed | {"log"}  # all users could read the audit log there
    assert got == allowed


def test_a_role_of_some_dags_gets_nothing(
    world: World, env_name: str, answers: Any, s3: Any, apply: Callable[..., Any], role_name: str
) -> None:
    """Rows of all DAGs are exported together: permission for some is not enough, whatever else a role may read."""
    apply(["echo"])
    roles = world.environment(env_name).roles
    made = roles.get(role_name)
    assert ("can_read", "DAG:echo") in made.permissions
    assert ("can_read", "DAGs") not in made.permissions
    roles.set(Role(role_name, made.permissions | {("can_read", "Configurations"), ("can_read", "XComs")}))
    session = logged_in(answers, User(world, env_name, role_name), world)
    for method, path, body in (
        ("GET", "/schema", {}),
        ("POST", "/pieces", {"json": {**REQUEST, "table": "dag_run"}}),
        ("POST", "/pieces", {"json": {**REQUEST, "table": "xcom", "columns": ["key"]}}),
    ):
        status, text = answers(method, path, session, **body)
        assert (status, "may not read all DAGs" in text) == (403, True), text
    assert s3.list_multipart_uploads(Bucket=API_BUCKET).get("Uploads", []) == []


def test_a_web_server_without_the_plugin_is_told_from_one_that_has_it(
    world: World, env_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_source, "PREFIX", "/mwaa-provider/nothing/v1")
    told: list[str] = []
    with source_of_environment(world.environment(env_name), "auto", notify=told.append) as source:
        assert source.route == "rest"
    assert "has no metadata API. Install airflow-mwaa-provider there" in told[0]


def user_words(role: str, table: str) -> str:
    if table == "ab_user" and role in ("Op", "Admin"):
        return "never leaves by this API"
    return "may not read audit logs of all DAGs" if role == "Op" else "may not read the configuration"


def test_a_form_of_another_site_does_nothing(world: World, env_name: str, answers: Any, s3: Any) -> None:
    """A browser sends the user's cookie with such a form, but the form cannot declare itself as JSON."""
    session = logged_in(answers, User(world, env_name, "Admin"), world)
    body = json.dumps({**REQUEST, "table": "dag_run"})
    for kind in (None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        headers = {"Content-Type": kind} if kind else {}
        status, _ = answers("POST", "/pieces", session, data=body.encode(), headers=headers)
        assert status in (415, 422), kind
    assert s3.list_multipart_uploads(Bucket=API_BUCKET).get("Uploads", []) == []


def test_auto_takes_the_api_where_it_may_and_else_the_stock_one(world: World, env_name: str, s3: Any) -> None:
    other = f"other-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=other, CreateBucketConfiguration=PLACE)
    for bucket, route in ((API_BUCKET, "api"), (other, "rest")):
        told: list[str] = []
        with source_of_environment(
            world.environment(env_name), "auto", destination=(bucket, "x"), notify=told.append
        ) as source:
            assert source.route == route
        assert [line for line in told if line.startswith(f"Route {route}: ")], told
    assert any(f"does not export to s3://{other}/x: " in line for line in told), told
    # InvokeRestApi and the CLI do not reach a plugin's endpoints.
    for transport in ("rest_api", "cli"):
        if transport == "cli" or world.control_plane().supports_invoke_rest_api:
            with (
                pytest.raises(UnsupportedByTransport, match="web session"),
                source_of_environment(world.environment(env_name, transport), "api", notify=told.append),
            ):
                pass


def test_the_terminal_exports_by_it(world: World, env_name: str, s3: Any) -> None:
    world.environment(env_name)
    variables = {**os.environ, **world.variables}
    variables.pop("AIRFLOW_MWAA_DATABASE_URL", None)  # set if there is one environment, and takes precedence
    done = subprocess.run(
        [
            sys.executable, "-m", "airflow_mwaa_provider.cli.main", "metadata", "export",
            f"s3://{API_BUCKET}/terminal", "--env-name", env_name, "--table", "slot_pool", "--output", "json",
        ],
        env=variables, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["route"] == "api"
    refused = subprocess.run(
        [
            sys.executable, "-m", "airflow_mwaa_provider.cli.main", "metadata", "export", "s3://elsewhere/x",
            "--env-name", env_name, "--route", "api", "--table", "slot_pool",
        ],
        env={**os.environ, **world.variables}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "metadata_api_export_to allows s3://exported-by-api" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr
