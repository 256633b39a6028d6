# SPDX-License-Identifier: Apache-2.0
"""plugins.zip, requirements.txt and a startup script in an environment's bucket, as users of MWAA upload them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

import airflow_mwaa_provider
from airflow_mwaa_provider.client.access import ClientSettings
from airflow_mwaa_provider.client.environment import MwaaEnvironment
from airflow_mwaa_provider.client.http.web_server import WebServerSettings
from airflow_mwaa_provider.client.models import TaskState
from airflow_mwaa_provider.exceptions import DagNotFound
from airflow_mwaa_provider.local import lifecycle
from airflow_mwaa_provider.local.machine.state import StateFolder
from airflow_mwaa_provider.packaging import image_constraints
from airflow_mwaa_provider.packaging.plugins_zip.building import Binaries, build_plugins
from airflow_mwaa_provider.packaging.startup.codeartifact import codeartifact_script
from airflow_mwaa_provider.packaging.startup.dbt import dbt_script
from scripts.lib import canary
from tests.integration.conftest import CHOSEN, ENVIRONMENTS
from tests.integration.world import World, environment_name, until
from tests.metadata.lab import Lab
from tests.packaging import oracle_client
from tests.packaging.apache import hadoop_tar, hive_tar
from tests.packaging.startup_lab import code_artifact

FULL = os.environ.get("AIRFLOW_MWAA_TEST_FULL") == "1"
ROOT = Path(__file__).resolve().parents[3]
DAG = Path(__file__).with_name("environment_files_dag.txt")
# A separate environment is started twice for each version: two minutes of two cores.
VERSIONS = sorted(CHOSEN, key=lambda version: tuple(map(int, version.split("."))))
TRIED = VERSIONS if FULL else VERSIONS[-1:]
WATCHES = environment_name(VERSIONS[0])
BINARIES = {"hive.py": "hive_test_dag"}
"""Example DAGs that use what is in plugins.zip; Oracle's only if a C compiler can build the client."""
if oracle_client.CAN_BE_MADE:
    BINARIES["oracle_client.py"] = "oracle"
NEW_VERSION = f"{airflow_mwaa_provider.__version__}.post1"
PLUGIN = """
import asyncio, logging, os

from airflow.plugins_manager import AirflowPlugin
from airflow.triggers.base import BaseTrigger, TriggerEvent
from airflow_mwaa_provider._compat import deferral_settles_s

class PluginOfTheZip(AirflowPlugin):
    name = "plugin_of_the_zip"

class SecretTrigger(BaseTrigger):
    def serialize(self):
        return "plugin_of_the_zip.SecretTrigger", {}

    async def run(self):
        await asyncio.sleep(deferral_settles_s())
        self.log.info("Seen by the trigger: %s", os.environ["PRIVATE_KEY"])
        yield TriggerEvent({"characters": len(os.environ["PRIVATE_KEY"])})
"""
SECRET = uuid.uuid4().hex
KEY = f"-----BEGIN KEY-----\n{SECRET}\nabc{SECRET}\n-----END KEY-----\n"
"""No canary: programs that tasks start must have it in their environments."""
STARTUP = r"""#!/bin/sh
echo "the component is ${MWAA_AIRFLOW_COMPONENT}"
echo "the script is ${BASH_SOURCE[0]} in ${HOME}, beside $(cat /usr/local/airflow/dags/data.txt)"
echo "the key is ${AIRFLOW__CORE__FERNET_KEY}"
export STAGE="it's \"only\" a
tést"
export AIRFLOW__CORE__FERNET_KEY=changed
if [[ "${MWAA_AIRFLOW_COMPONENT}" != "worker" ]]
then
    export STAGE="that of the ${MWAA_AIRFLOW_COMPONENT}"
    exit 0
fi
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project's wheel, as another version of it."""
    copy = tmp_path_factory.mktemp("project") / "copy"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "airflow_mwaa_provider", copy / "airflow_mwaa_provider", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    source = copy / "airflow_mwaa_provider" / "__init__.py"
    changed, count = re.subn(r'(?m)^__version__ = ".*"$', f'__version__ = "{NEW_VERSION}"', source.read_text())
    assert count == 1
    source.write_text(changed)
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "made"], cwd=copy, check=True)
    return next((copy / "made").glob(f"*-{NEW_VERSION}-*.whl"))


class Files:
    """A separate environment in the running local MWAA, with its own bucket."""

    def __init__(self, world: World, version: str) -> None:
        self.world = world
        self.version = version
        self.name = f"files-{uuid.uuid4().hex[:8]}"
        self.mwaa = self.client_of("mwaa")
        self.s3 = self.client_of("s3")
        ec2 = self.client_of("ec2")
        self.network = {
            "SubnetIds": sorted(subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"])[:2],
            "SecurityGroupIds": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
        }
        self.s3.create_bucket(Bucket=self.name)
        self.s3.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})

    def client_of(self, service: str) -> Any:
        config = Config(inject_host_prefix=False)
        session = boto3.Session(
            self.world.variables["AWS_ACCESS_KEY_ID"],
            self.world.variables["AWS_SECRET_ACCESS_KEY"],
            region_name=self.world.variables["AWS_REGION"],
        )
        return session.client(service, endpoint_url=self.world.variables["AWS_ENDPOINT_URL"], config=config)

    def put(self, key: str, content: str | bytes) -> str:
        body = content.encode() if isinstance(content, str) else content
        return str(self.s3.put_object(Bucket=self.name, Key=key, Body=body)["VersionId"])

    def create(self, **members: Any) -> None:
        self.mwaa.create_environment(
            Name=self.name,
            AirflowVersion=self.version,
            SourceBucketArn=f"arn:aws:s3:::{self.name}",
            DagS3Path="dags",
            ExecutionRoleArn="arn:aws:iam::123456789012:role/mwaa",
            NetworkConfiguration=self.network,
            **members,
        )

    def update(self, **members: Any) -> dict[str, Any]:
        self.mwaa.update_environment(Name=self.name, **members)
        return self.settled()

    def described(self) -> dict[str, Any]:
        return dict(self.mwaa.get_environment(Name=self.name)["Environment"])

    def settled(self) -> dict[str, Any]:
        until(
            lambda: self.described()["Status"] not in ("CREATING", "UPDATING", "ROLLING_BACK"),
            timeout_s=240,
            what=f"a change of {self.name}",
        )
        return self.described()

    def status(self) -> dict[str, Any]:
        """Return its ``local status``; the daemon records it twice a second."""
        time.sleep(1)
        return dict(lifecycle.status(self.world.folder)["environments"][self.name])

    def client(self) -> MwaaEnvironment:
        web_server = WebServerSettings(ca_bundle=self.world.variables["REQUESTS_CA_BUNDLE"], read_timeout_s=60)
        return MwaaEnvironment(
            self.world.control_plane(read_timeout_s=60),
            self.name,
            ClientSettings(transport="web_session", web_server=web_server),
        )

    @property
    def folder(self) -> Path:
        return StateFolder(self.world.folder).environment(self.name).root

    def delete(self) -> None:
        self.mwaa.delete_environment(Name=self.name)
        until(lambda: self.name not in self.mwaa.list_environments()["Environments"], timeout_s=60, what="a deletion")


@pytest.fixture(params=TRIED)
def files(request: pytest.FixtureRequest, world: World) -> Iterator[Files]:
    made = Files(world, request.param)
    yield made
    if made.name in made.mwaa.list_environments()["Environments"]:
        made.delete()
    assert not made.folder.exists()


def test_an_environment_and_its_files(files: Files, wheel: Path, tmp_path: Path) -> None:
    # Created with a requirement that does not exist: it still becomes available, and reports what is missing.
    files.put("dags/report.py", DAG.read_text())
    files.put("dags/data.txt", "that of this environment")
    for example in BINARIES:
        files.put(f"dags/{example}", (ROOT / "example_dags" / example).read_bytes())
    files.put("requirements.txt", "--no-index\nno-such-package-anywhere==1.0\n")
    files.client_of("secretsmanager").create_secret(Name=files.name, SecretString=KEY)
    options = {"mwaa_env.private_key": f"secretsmanager://{files.name}"}
    files.create(RequirementsS3Path="requirements.txt", AirflowConfigurationOptions=options)
    assert files.settled()["Status"] == "AVAILABLE"
    status = files.status()
    assert status["python"] == ENVIRONMENTS[f"airflow-{files.version.replace('.', '-')}"]
    has_mwaa_paths = lifecycle.status(files.world.folder)["mwaa_paths"]
    home = Path("/usr/local/airflow") if has_mwaa_paths else files.folder / "airflow"
    error = status["requirements_error"]
    log = Path(error.rpartition("the log is ")[2])
    assert error.startswith("requirements.txt was not installed: pip ended with status 1; the log is ")
    assert "no-such-package-anywhere" in log.read_text()
    shown = subprocess.run(
        [sys.executable, "-m", "airflow_mwaa_provider.cli.main", "local", "status", "--folder", files.world.folder],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"  {files.name} runs without its requirements: {error}\n" in shown

    # The next release of this project, installed as MWAA's guide describes for a web server without an index.
    # With the binaries of the guide's samples in it.
    plugin = tmp_path / "plugin_of_the_zip.py"
    plugin.write_text(PLUGIN)
    client, libaio = oracle_client.make(tmp_path) if oracle_client.CAN_BE_MADE else (None, None)
    hadoop, hive = hadoop_tar(tmp_path / "hadoop-3.3.6.tar.gz"), hive_tar(tmp_path / "apache-hive-3.1.3-bin.tar.gz")
    archive = tmp_path / "plugins.zip"
    build_plugins(
        [wheel, plugin],
        archive,
        binaries=Binaries(client, libaio, hadoop, hive),
        with_environment_plugin=True,
        airflow_version=files.version if files.version in image_constraints.versions() else None,
    )
    pin = f"airflow-mwaa-provider=={NEW_VERSION}"
    versions = {
        "PluginsS3ObjectVersion": files.put("plugins.zip", archive.read_bytes()),
        "RequirementsS3ObjectVersion": files.put(
            "requirements.txt", f"--find-links /usr/local/airflow/plugins\n--no-index\n{pin}\n"
        ),
        "StartupScriptS3ObjectVersion": files.put("startup.sh", STARTUP),
    }
    assert files.status()["requirements_error"] == error, "an upload alone changes nothing"
    watching = begin_to_watch(files)
    found = files.update(
        PluginsS3Path="plugins.zip", RequirementsS3Path="requirements.txt", StartupScriptS3Path="startup.sh"
    )
    assert found["Status"] == "AVAILABLE", found
    assert {name: found[name] for name in versions} == versions
    check_that_waits_went_on(files, watching)
    status = files.status()
    overlay = files.folder / "overlay"
    assert (status["requirements_error"], status["python"]) == (None, str(overlay / "bin" / "python"))
    assert report(files.client()) == {
        "version": NEW_VERSION,
        "file": str(next(overlay.glob("lib/python*/site-packages")) / "airflow_mwaa_provider" / "__init__.py"),
        "prefix": str(overlay),
        "stage": 'it\'s "only" a\ntést',
        "component": "worker",
        "fernet_key": False,
        "plugin": str(home / "plugins" / "plugin_of_the_zip.py"),
        "data": "that of this environment",
    }
    installed = (files.folder / "airflow" / "requirements" / "requirements.txt").read_text()
    assert installed.startswith(f"--find-links {home}/plugins\n"), "the path that pip was given"
    plugins = files.client().request("GET", "/plugins")["plugins"]
    assert "plugin_of_the_zip" in {plugin["name"] for plugin in plugins}
    check_binaries(files.client(), home)
    assert NEW_VERSION in files.client().run_cli(["providers", "list", "-o", "json"]).stdout
    key = json.loads((files.folder / "record.json").read_text())["fernet_key"]
    for component in ("webserver", "scheduler", "worker"):
        text = (files.folder / "components" / f"startup_script.{component}.log").read_text()
        script = f"the script is {home}/startup/startup.sh in {home}, beside that of this environment"
        assert f"the component is {component}\n{script}\nthe key is ***\n" in text
        assert key not in text

    # A failed update leaves everything unchanged and running.
    pids = status["pids"]
    files.put("plugins.zip", "no zip file")
    found = files.update(PluginsS3Path="plugins.zip", RequirementsS3Path="other.txt")
    assert found["Status"] == "UPDATE_FAILED"
    assert found["LastUpdate"]["Error"]["ErrorMessage"].startswith("plugins.zip can't be read as a zip file")
    assert {name: found[name] for name in versions} == versions
    assert files.status()["pids"] == pids
    assert "plugin_of_the_zip" in {plugin["name"] for plugin in files.client().request("GET", "/plugins")["plugins"]}

    check_secret_variable(files)
    if FULL:  # another two minutes of two cores
        check_installed_from_code_artifact(files, wheel)
        check_dbt(files, tmp_path)


def check_installed_from_code_artifact(files: Files, wheel: Path) -> None:
    """The guide's other method: listed in requirements.txt, here from a private index, by a startup script."""
    with code_artifact() as server:
        server.wheels["airflow-mwaa-provider"] = wheel
        script = codeartifact_script("amazon", "112233445566", "MyRepo", region="us-east-1", replace_pypi=True)
        versions = {
            "StartupScriptS3ObjectVersion": files.put(
                "startup.sh", f"export AWS_ENDPOINT_URL_CODEARTIFACT={server.url}\n{script}"
            ),
            "RequirementsS3ObjectVersion": files.put("requirements.txt", f"airflow-mwaa-provider=={NEW_VERSION}\n"),
        }
        assert files.update(**versions)["Status"] == "AVAILABLE"
        assert files.status()["requirements_error"] is None
        assert [path.rpartition("/")[2] for path in server.with_token][-1] == wheel.name
        assert len(server.asked) == 3 + 1, "a trial in each component, and pip"
        assert report(files.client(), times=2)["version"] == NEW_VERSION
    for component in ("webserver", "scheduler", "worker"):
        text = (files.folder / "components" / f"startup_script.{component}.log").read_text()
        assert "repository MyRepo of domain amazon: got a token, valid until 20" in text
    canary.check(files.folder)


def check_dbt(files: Files, folder: Path) -> None:
    """A startup script installs dbt from a package index; a DAG builds and tests a project with it, in PostgreSQL."""
    example = ROOT / "example_dags"
    lab = Lab(folder / "warehouse")
    for path in [example / "dbt_tasks.py", *example.glob("dbt/**/*.*")]:
        files.put(f"dags/{path.relative_to(example)}", path.read_bytes())
    try:
        lab.start_postgres()
        lab.run(lab.postgres.create_database("warehouse"))
        script = files.put("startup.sh", dbt_script("1.11.2", ["postgres"]))
        assert files.update(StartupScriptS3ObjectVersion=script)["Status"] == "AVAILABLE"
        log = (files.folder / "components" / "startup_script.worker.log").read_text()
        assert "dbt-core==1.11.2 dbt-postgres: installed into " in log
        environment = files.client()
        warehouse = {
            "connection_id": "dbt_warehouse",
            "conn_type": "postgres",
            "host": "127.0.0.1",
            "port": lab.postgres.port,
            "login": "airflow_user",
            "password": lab.postgres.password,
            "schema": "warehouse",
        }
        environment.request("POST", "/connections", json=warehouse)
        for dag_id in ("dbt-installation-test", "dbt_tasks"):
            environment.request("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
            environment.wait_for_dag_run(dag_id, environment.trigger_dag_run(dag_id).run_id, timeout_s=240)
        with lab.connect("warehouse") as database, database.cursor() as cursor:
            cursor.execute("SELECT customer, orders FROM mwaa_dbt.revenue ORDER BY 1")
            assert cursor.fetchall() == [("ann", 2), ("ben", 1)]
        database.close()
        canary.check(files.folder)
    finally:
        lab.stop()


def check_secret_variable(files: Files) -> None:
    """A multi-line key to which an option refers is in an environment variable of tasks and in no log."""
    environment = files.client()
    environment.wait_for_dag_run("shows_secret", environment.trigger_dag_run("shows_secret").run_id, timeout_s=240)
    folder = next(path for path in files.folder.rglob("dag_id=shows_secret") if path.is_dir())
    texts = {
        task_id: "\n".join(path.read_text() for path in folder.rglob("*.log") if f"task_id={task_id}" in path.parts)
        for task_id in ("in_bash", "in_python", "in_log", "in_trigger")
    }
    assert "lines: 4" in texts["in_bash"]
    assert f"characters: {len(KEY)}" in texts["in_python"]
    assert f"The trigger had {len(KEY)} characters" in texts["in_trigger"]
    for task_id, text in texts.items():
        assert "***" in text, task_id
    files_with_it = [
        path for path in files.folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()
    ]
    assert files_with_it == []


def test_an_environment_that_is_deleted_while_it_is_created_leaves_nothing(files: Files) -> None:
    files.put("plugins.zip", empty_zip())
    files.create(PluginsS3Path="plugins.zip")
    until(lambda: "phase" in files.status() and files.status()["phase"] != "CREATING", timeout_s=60, what="its start")
    files.delete()
    assert not files.folder.exists()


def wait_for_dags(environment: MwaaEnvironment) -> None:
    def there() -> bool:
        try:
            return [
                environment.is_dag_paused(dag_id) for dag_id in ("report", "triggered", "kept", *BINARIES.values())
            ] != []
        except DagNotFound:
            return False

    until(there, timeout_s=90, what="the DAGs")


def begin_to_watch(files: Files) -> str:
    """Make sensors of every kind, in an environment that remains, wait for a run in this one."""
    there, here = files.client(), files.world.environment(WATCHES, "web_session")
    wait_for_dags(there)
    conf = {"env_name": files.name, "dag_id": "kept", "run_id": there.trigger_dag_run("kept").run_id}
    run = here.trigger_dag_run("watches_other", conf=conf)
    waiting = {TaskState.RUNNING, TaskState.DEFERRED, TaskState.UP_FOR_RESCHEDULE}
    seen: set[str] = set()

    def all_wait() -> bool:
        tasks = here.get_task_instances("watches_other", run.run_id)
        seen.update(task.label for task in tasks if task.state in waiting)
        deferred = {task.label for task in tasks if task.state is TaskState.DEFERRED}
        return len(seen) == 6 and len(deferred) == 2

    until(all_wait, timeout_s=90, what="six sensors that wait")
    return run.run_id


def check_that_waits_went_on(files: Files, run_id: str) -> None:
    """They waited while the web server restarted, and now detect the end."""
    here = files.world.environment(WATCHES, "web_session")
    states = {task.label: task.state for task in here.get_task_instances("watches_other", run_id)}
    assert not {TaskState.FAILED, TaskState.SUCCESS} & set(states.values()), states
    files.client().request("PATCH", "/dags/kept", json={"is_paused": False})
    here.wait_for_dag_run("watches_other", run_id, timeout_s=240)
    tasks = here.get_task_instances("watches_other", run_id)
    assert [task.state for task in tasks] == [TaskState.SUCCESS] * 6


def report(environment: MwaaEnvironment, times: int = 1) -> Any:
    """Run the DAG and return what its task saw; by then, the triggered DAG has run a given number of times."""
    wait_for_dags(environment)
    run = environment.trigger_dag_run("report")
    until(
        lambda: environment.get_dag_run("report", run.run_id).state in ("success", "failed"),
        timeout_s=120,
        what="the DAG run",
    )
    assert environment.get_dag_run("report", run.run_id).state == "success"
    triggered = environment.request("GET", "/dags/triggered/dagRuns")["dag_runs"]
    assert [(one["conf"], one["state"]) for one in triggered] == [({"from": "report"}, "success")] * times
    path = f"/dags/report/dagRuns/{run.run_id}/taskInstances/look_around/xcomEntries/return_value"
    return json.loads(environment.request("GET", path)["value"])


def check_binaries(environment: MwaaEnvironment, home: Path) -> None:
    """Tasks load Oracle's client and run Hive; nothing was exported before their processes started."""
    runs = {dag_id: environment.trigger_dag_run(dag_id).run_id for dag_id in BINARIES.values()}
    for dag_id, run_id in runs.items():
        environment.wait_for_dag_run(dag_id, run_id, timeout_s=120)

    def returned(dag_id: str, task_id: str) -> Any:
        path = f"/dags/{dag_id}/dagRuns/{runs[dag_id]}/taskInstances/{task_id}/xcomEntries/return_value"
        return environment.request("GET", path)["value"]

    if oracle_client.CAN_BE_MADE:
        assert oracle_client.VERSION in returned("oracle", "hook_test")
    hive = home / "plugins" / "apache-hive-3.1.3-bin"
    assert f"hive of {hive} --help" in returned("hive_test_dag", "hive_test")


def empty_zip() -> bytes:
    return b"PK\x05\x06" + bytes(18)
