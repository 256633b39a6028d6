# SPDX-License-Identifier: Apache-2.0
"""The running local MWAA, for the integration tests."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import psutil
import psycopg2
import requests

from airflow_mwaa_provider.client.access import ClientSettings
from airflow_mwaa_provider.client.aws.control_plane import ControlPlane
from airflow_mwaa_provider.client.environment import MwaaEnvironment
from airflow_mwaa_provider.client.http.retrying import RetryPolicy
from airflow_mwaa_provider.client.http.web_server import WebServerSettings
from airflow_mwaa_provider.exceptions import DagNotFound
from airflow_mwaa_provider.local import lifecycle
from airflow_mwaa_provider.local.airflow import interpreter
from airflow_mwaa_provider.local.machine import processes
from airflow_mwaa_provider.local.up_request import EnvironmentRequest
from scripts.lib import canary

DAG_FOLDERS = (Path(__file__).parent / "dags", Path(__file__).resolve().parents[2] / "example_dags")
PLUGINS = Path(__file__).parent / "plugins"
API_BUCKET = "exported-by-api"
TASKS_NAMESPACE = "Tasks"
TASK_TIMEZONE, LOG_TIMEZONE = "America/Los_Angeles", "Asia/Tokyo"
JAVA_HOME = "/usr/lib/jvm/jre"
OPTIONS = {
    "mwaa_provider.task_timezone": TASK_TIMEZONE,
    "mwaa_provider.log_timezone": LOG_TIMEZONE,
    "mwaa_provider.patch_virtualenv": "True",
    "mwaa_env.java_home": JAVA_HOME,
    "mwaa_env.path": "${PATH}:${JAVA_HOME}/bin",
    "mwaa_env.pip_no_index": "1",
    "mwaa_provider.task_resources_namespace": TASKS_NAMESPACE,
    "mwaa_provider.metadata_api_export_to": f"s3://{API_BUCKET}",
    "mwaa_provider.metadata_api_cleanup": "True",
    "api.maximum_page_limit": "50",  # below the hundred that are requested, so that every page is short
}
"""Airflow configuration options of all environments."""
SECRETS_CACHE = tempfile.mkdtemp(prefix="secrets-cache-")
SECRETS_OPTIONS = {
    "secrets.backend": "airflow_mwaa_provider.secrets.secrets_manager.CachedSecretsManagerBackend",
    "secrets.backend_kwargs": json.dumps(
        {"connections_lookup_pattern": "^(?!aws_default$).*$", "cache_dir": SECRETS_CACHE}
    ),
}
"""The backend precedes other sources in every lookup of a test."""
RARELY_S = "600"
# No DAG file changes while the tests run: checking for changes, and reading each file again every half minute, would be
# a third of the cost of an idle environment.
OPTIONS_BY_MAJOR = {
    2: {"scheduler.min_file_process_interval": RARELY_S, "scheduler.dag_dir_list_interval": RARELY_S},
    3: {
        "dag_processor.min_file_process_interval": RARELY_S,
        "dag_processor.refresh_interval": RARELY_S,
        "dag_processor.bundle_refresh_check_interval": "30",
        "standard.venv_install_method": "pip",  # not a uv that happens to be installed
    },
}
DAG_IDS = (
    "echo",
    "fails",
    "mapped",
    "sleeps",
    "paused",
    "empty",
    "goes_away",
    "calls_other_many_times",
    "calls_other_in_both_ways",
    "calls_other_by_auto",
    "calls_other_by_auto_deferred",
    "calls_other_in_a_task",
    "fan_out",
    "watches_other",
    "work_with_other_environment",
    "calls_other_impatiently",
    "trigger_in_other_environment",
    "import_variables",
    "cleans_itself",
    "names_mwaas_path",
    "reads_secrets",
    "migrate_to_secrets_manager",
    "dag-custom-metrics",
    "dag-environments-dashboard",
    "pipeline_metrics",
    "metadata_metrics",
    "uses_resources",
    "changes_privileges",
    "privilege_changes",
    "tz_test",
    "environment_variables",
    "virtualenv_test",
    "uses_plugins",
)


class World:
    """A running local MWAA, and clients for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = lifecycle.client_variables(folder)
        self.ca_bundle = self.variables["REQUESTS_CA_BUNDLE"]
        self._ready: set[str] = set()

    def session(self, access_key_id: str | None = None, secret_access_key: str | None = None) -> boto3.Session:
        return boto3.Session(
            aws_access_key_id=access_key_id or self.variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=secret_access_key or self.variables["AWS_SECRET_ACCESS_KEY"],
            region_name=self.variables["AWS_REGION"],
        )

    def control_plane(self, session: boto3.Session | None = None, **keywords: Any) -> ControlPlane:
        return ControlPlane(session or self.session(), endpoint_url=self.variables["AWS_ENDPOINT_URL"], **keywords)

    def environment(
        self,
        name: str,
        transport: str | None = None,
        *,
        session: boto3.Session | None = None,
        retry: RetryPolicy | None = None,
        read_timeout_s: float = 60,
    ) -> MwaaEnvironment:
        """Return a separate client for an environment, after waiting for its DAGs."""
        web_server = WebServerSettings(ca_bundle=self.ca_bundle, read_timeout_s=read_timeout_s)
        settings = ClientSettings(transport=transport, web_server=web_server, retry=retry or RetryPolicy())
        plane = self.control_plane(session, read_timeout_s=read_timeout_s)
        made = MwaaEnvironment(plane, name, settings)
        self._wait_for_dags(name)
        return made

    def admin(self, method: str, path: str, content: Any = None) -> Any:
        url = f"{self.variables['AIRFLOW_MWAA_LOCAL_ADMIN_URL'].rstrip('/')}/{path}"
        headers = {"X-Local-Admin": self.variables["AIRFLOW_MWAA_LOCAL_ADMIN_TOKEN"]}
        answer = requests.request(method, url, json=content, headers=headers, timeout=20)
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def fault(self, **fault: Any) -> None:
        self.admin("POST", "faults", fault)

    def status(self, env_name: str) -> dict[str, Any]:
        """Return the ``local status`` of an environment; the daemon records it twice a second."""
        return dict(lifecycle.status(self.folder)["environments"][env_name])

    @contextlib.contextmanager
    def metadata(self, env_name: str) -> Iterator[Any]:
        """Return a cursor for an environment's metadata database, for what no API shows."""
        scheduler = psutil.Process(self.status(env_name)["pids"]["scheduler"])
        url = scheduler.environ()["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "")
        with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            yield cursor

    def copy_tables(self, env_name: str, folder: Path) -> None:
        """Write all tables of an environment as plain text: PostgreSQL compresses long values in its own files."""
        folder.mkdir(exist_ok=True)
        with self.metadata(env_name) as cursor:
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            for (table,) in cursor.fetchall():
                with (folder / f"{env_name}.{table}").open("wb") as file:
                    cursor.copy_expert(f'COPY "{table}" TO STDOUT', file)

    def runs_asked_by(self, env_name: str, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return every run of a DAG whose conf names the requesting run, read page by page without our own lists."""
        reader = self.environment(env_name, "web_session")
        found: list[dict[str, Any]] = []
        offset = 0
        while True:
            params = {"limit": 100, "offset": offset, "order_by": "id"}
            page = reader.request("GET", f"/dags/{dag_id}/dagRuns", params=params)["dag_runs"]
            found += [run for run in page if (run["conf"] or {}).get("by") == run_id]
            offset += len(page)
            if not page:
                return found

    def _wait_for_dags(self, name: str) -> None:
        if name in self._ready:
            return
        web_server = WebServerSettings(ca_bundle=self.ca_bundle)
        probe = MwaaEnvironment(
            self.control_plane(), name, ClientSettings(transport="web_session", web_server=web_server)
        )

        def there() -> bool:
            try:
                return all(probe.is_dag_paused(dag_id) in (True, False) for dag_id in DAG_IDS)
            except DagNotFound:
                return False

        until(there, timeout_s=120, what=f"the DAGs of {name}")
        self._ready.add(name)


def interpreters() -> dict[str, str]:
    """Airflow version -> interpreter, oldest first: those of AIRFLOW_MWAA_TEST_PYTHONS, or the running one."""
    given = dict(
        entry.split("=", 1) for entry in filter(None, os.environ.get("AIRFLOW_MWAA_TEST_PYTHONS", "").split(os.pathsep))
    )
    if not given:
        return {str(interpreter.inspect(sys.executable).airflow_version): sys.executable}
    return {version: given[version] for version in sorted(given, key=interpreter.release_of)}


def environment_name(version: str) -> str:
    """Environment names cannot contain dots: ``airflow-2-10-3``."""
    return f"airflow-{version.replace('.', '-')}"


def has_invoke_rest_api(python: str) -> bool:
    """Return whether the boto3 of an interpreter supports InvokeRestApi."""
    botocore = interpreter.inspect(python).botocore
    return botocore is not None and any(
        b'"InvokeRestApi"' in (gzip.decompress(content) if path.suffix == ".gz" else content)
        for path in botocore.glob("data/mwaa/*/service-2.json*")
        for content in [path.read_bytes()]
    )


def with_our_imports(source: str) -> str:
    """Change only the import lines of a DAG that was written for the amazon provider."""
    for kind in ("operators", "sensors"):
        theirs, ours = f"airflow.providers.amazon.aws.{kind}.mwaa", f"airflow_mwaa_provider.{kind}.dag_run"
        assert f"from {theirs} import" in source
        source = source.replace(f"from {theirs} import", f"from {ours} import")
    return source


@contextlib.contextmanager
def started(pythons: Mapping[str, str]) -> Iterator[World]:
    """A local MWAA with an environment for each version; removed completely in the end."""
    folder = Path(tempfile.mkdtemp(prefix="mwaa-"))
    dags = folder / "dags"
    for source in DAG_FOLDERS:
        shutil.copytree(source, dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    theirs = (dags / "amazon_dag.py").read_text(encoding="utf-8")
    (dags / "amazon_dag_with_our_imports.py").write_text(with_our_imports(theirs), encoding="utf-8")
    wheels = _wheels(folder / "wheels")
    plugins = shutil.make_archive(str(folder / "plugins"), "zip", PLUGINS)
    requests = [
        EnvironmentRequest(
            environment_name(version),
            python,
            str(dags),
            files={"plugins": plugins},
            options={
                **OPTIONS,
                "mwaa_env.pip_find_links": str(wheels),
                **SECRETS_OPTIONS,
                **OPTIONS_BY_MAJOR[interpreter.release_of(version)[0]],
            },
        )
        for version, python in pythons.items()
    ]
    try:
        lifecycle.up(folder / "local", requests, metrics_interval_s=15.0)
        world = World(folder / "local")
        yield world
        for request in requests:
            world.copy_tables(request.name, folder / "tables")
        lifecycle.down(folder / "local")
        canary.check(folder, SECRETS_CACHE)
    finally:
        lifecycle.down(folder / "local", purge=True)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(SECRETS_CACHE, ignore_errors=True)
    assert processes.find(folder / "local") == []


def _wheels(folder: Path) -> Path:
    """Create a folder with a boto3 that tasks in virtual environments install without a package index."""
    folder.mkdir()
    about = "boto3-1.99.0.dist-info"
    with zipfile.ZipFile(folder / "boto3-1.99.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("boto3/__init__.py", '__version__ = "1.99.0"\n')
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: boto3\nVersion: 1.99.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(
            f"{about}/RECORD", f"boto3/__init__.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n"
        )
    return folder


def until(condition: Callable[[], bool], *, timeout_s: float, what: str) -> None:
    """Wait for an action of another process."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.5)
