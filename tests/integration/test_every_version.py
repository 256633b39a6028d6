# SPDX-License-Identifier: Apache-2.0
"""A user's first hour on every available Airflow version, with the newest as client and as neighbor.

It runs only with AIRFLOW_MWAA_TEST_FULL=1: each version needs its own local MWAA, one after another.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from airflow_mwaa_provider.client.log_following import follow_task_log
from airflow_mwaa_provider.client.models import DagRunState, TaskState
from airflow_mwaa_provider.exceptions import CliCommandNotAllowed, DagNotFound, RemoteNotFound
from airflow_mwaa_provider.local import lifecycle
from airflow_mwaa_provider.local.airflow import interpreter
from tests.integration.world import World, environment_name, interpreters, started, until

pytestmark = pytest.mark.skipif(
    os.environ.get("AIRFLOW_MWAA_TEST_FULL") != "1", reason="scripts/test --full starts every version"
)

PYTHONS = interpreters()
NEWEST = list(PYTHONS)[-1]
AWKWARD = 'it\'s "quoted" $HOME `date` \\ ünïcödé\n second line'


@pytest.fixture(scope="module", params=list(PYTHONS))
def version(request: pytest.FixtureRequest) -> str:
    """Each Airflow version in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def world(version: str) -> Iterator[World]:
    """A local MWAA with this version and the newest, instead of the one that other files share."""
    with started({version: PYTHONS[version], NEWEST: PYTHONS[NEWEST]}) as running:
        yield running


@pytest.fixture
def name(version: str) -> str:
    """The environment's name."""
    return environment_name(version)


def test_it_is_that_version(world: World, name: str, version: str) -> None:
    environment = world.environment(name)
    assert environment.airflow_version == version
    assert environment.run_cli(["version"]).stdout.split()[-1] == version


def test_a_run_its_log_and_a_variable(world: World, name: str, transport: str) -> None:
    environment = world.environment(name, transport)
    # A short ID, because the path of a log must fit into InvokeRestApi's 64 characters.
    run = environment.trigger_dag_run("echo", f"v-{uuid.uuid4().hex[:12]}", conf={"text": AWKWARD})
    assert environment.wait_for_dag_run("echo", run.run_id, timeout_s=120).state is DagRunState.SUCCESS
    assert environment.get_task_instance("echo", run.run_id, "answer").state is TaskState.SUCCESS
    if transport != "cli":  # Airflow has no command for a task's log
        assert "a line with 'quotes', \"more\" and ünïcödé" in environment.get_task_log("echo", run.run_id, "answer")
    seen = world.environment(name, "web_session").get_dag_run("echo", run.run_id)
    assert seen.conf == {"text": AWKWARD}

    key = f"by {transport}"
    environment.variables.set(key, AWKWARD)
    assert environment.variables.get(key).value == AWKWARD
    environment.variables.delete(key)
    with pytest.raises(RemoteNotFound):
        environment.variables.get(key)


def test_a_failed_run_is_found_and_cleared(world: World, name: str, transport: str) -> None:
    environment = world.environment(name, transport)
    run = environment.trigger_dag_run("fails", f"v-{uuid.uuid4().hex[:6]}")
    until(
        lambda: environment.get_dag_run("fails", run.run_id).state is DagRunState.FAILED,
        timeout_s=120,
        what="the failure",
    )
    states = {task.label: task.state for task in environment.get_task_instances("fails", run.run_id)}
    assert states == {"explode": TaskState.FAILED, "after": TaskState.UPSTREAM_FAILED}
    assert {"echo": False, "paused": True}.items() <= {
        dag.dag_id: dag.is_paused for dag in environment.list_dags()
    }.items()
    assert environment.list_dag_file_errors() == []
    if transport == "cli":  # which has no commands for what follows
        return
    assert environment.get_last_dag_runs(["fails", "paused"])["fails"].run_id == run.run_id
    cleared = environment.clear_tasks("fails", run.run_id, task_ids=["explode"], downstream=True, only_failed=True)
    assert {task.label: task.state for task in cleared} == states
    task = environment.get_task_instance("fails", run.run_id, "explode")
    looks = list(follow_task_log(environment, task))
    lines = [line for look in looks if look.try_number == 2 for line in look.lines]
    assert "ValueError: on purpose" in "\n".join(lines)
    assert looks[-1].instance.state is TaskState.FAILED


def test_commands(world: World, name: str) -> None:
    environment = world.environment(name)
    listed = json.loads(environment.run_cli(["dags", "list", "-o", "json"]).stdout)
    assert {"echo", "paused"} <= {dag["dag_id"] for dag in listed}
    assert environment.run_cli(["dags", "list-import-errors", "-o", "json"]).stdout.strip() in ("[]", "No data found")
    dry_run = ["db", "clean", "--clean-before-timestamp", "2020-01-01T00:00:00+00:00", "--dry-run", "--yes"]
    cleaned = environment.run_cli(dry_run)
    assert cleaned.exit_status == 0, cleaned.stderr
    assert "task_instance" in cleaned.stdout
    with pytest.raises(CliCommandNotAllowed, match="db check"):
        environment.run_cli(["db", "check"])


def test_a_file_in_the_bucket_becomes_a_dag(world: World, name: str) -> None:
    environment = world.environment(name, "web_session")
    bucket = lifecycle.status(world.folder)["environments"][name]["bucket"]
    source = (Path(__file__).parent / "dags" / "remote_dags.py").read_text(encoding="utf-8")
    one = source[: source.index('@dag(**SHARED, dag_id="fails"')].replace('"echo"', '"late"') + "echo()\n"
    s3 = world.session().client("s3", endpoint_url=world.variables["AWS_ENDPOINT_URL"], verify=world.ca_bundle)
    s3.put_object(Bucket=bucket, Key="dags/late.py", Body=one.encode())

    def there() -> bool:
        try:
            return environment.is_dag_paused("late") is False
        except DagNotFound:
            return False

    until(there, timeout_s=120, what="the DAG of the file")
    run = environment.trigger_dag_run("late")
    assert environment.wait_for_dag_run("late", run.run_id, timeout_s=120).state is DagRunState.SUCCESS


def test_a_browser_logs_in(world: World, name: str, version: str) -> None:
    environment = world.environment(name)
    url = f"https://{environment.web_server_host}"
    token = world.control_plane().create_web_login_token(name)
    release = interpreter.release_of(version)
    is_airflow_3 = release >= (3, 0, 0)
    with requests.Session() as browser:
        browser.verify = world.ca_bundle
        browser.trust_env = False
        page = browser.get(f"{url}/aws_mwaa/aws-console-sso", timeout=30)
        assert "Logging in" in page.text
        login = f"{url}/pluginsv2/aws_mwaa/login" if is_airflow_3 else f"{url}/aws_mwaa/login"
        assert browser.post(login, data={"token": token.value}, timeout=30).status_code == 200
        home = browser.get(f"{url}/", timeout=60)
        assert home.status_code == 200
        assert home.url.rstrip("/") in (url, f"{url}/home")
        assert ('id="root"' if is_airflow_3 else "echo") in home.text
        api = f"{url}/api/v2/dags/echo" if is_airflow_3 else f"{url}/api/v1/dags/echo"
        (cookie,) = [cookie for cookie in browser.cookies if cookie.name == ("_token" if is_airflow_3 else "session")]
        # Airflow 3.0's page reads the cookie in a script, and sends it as a header; the others rely on the browser.
        by_script = release[:2] == (3, 0)
        assert cookie.has_nonstandard_attr("HttpOnly") is not by_script
        headers = {"Authorization": f"Bearer {cookie.value}"} if by_script else {}
        assert browser.get(api, headers=headers, timeout=30).json()["dag_id"] == "echo"


@pytest.mark.parametrize("forth", [True, False], ids=["there", "back"])
def test_its_dag_runs_a_dag_of_the_newest_and_the_other_way(world: World, name: str, forth: bool) -> None:
    newest = environment_name(NEWEST)
    source, target = (name, newest) if forth else (newest, name)
    here, there = world.environment(source, "web_session"), world.environment(target, "web_session")
    numbers = [uuid.uuid4().int % 1000, 23]
    asked = here.trigger_dag_run("trigger_in_other_environment", conf={"env_name": target, "numbers": numbers})
    here.wait_for_dag_run("trigger_in_other_environment", asked.run_id, timeout_s=240)
    run = f"/dags/trigger_in_other_environment/dagRuns/{asked.run_id}"
    result = here.request("GET", f"{run}/taskInstances/read_result/xcomEntries/return_value")
    assert str(result["value"]) == str(sum(numbers))
    ran = there.request("GET", "/dags/run_by_other_environment/dagRuns", params={"limit": 100})["dag_runs"]
    assert [row["state"] for row in ran if row["conf"].get("asked_by") == asked.run_id] == ["success"]
