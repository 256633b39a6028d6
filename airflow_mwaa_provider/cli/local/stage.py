# SPDX-License-Identifier: Apache-2.0
"""An environment of a running local MWAA, as someone at a terminal reaches it: what the demos are made with."""

from __future__ import annotations

import ast
import json
import os
import shlex
import time
import urllib.request
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import airflow_mwaa_provider
from airflow_mwaa_provider.client.access import ClientSettings
from airflow_mwaa_provider.client.aws.control_plane import ControlPlane
from airflow_mwaa_provider.client.environment import MwaaEnvironment
from airflow_mwaa_provider.client.http.web_server import WebServerSettings
from airflow_mwaa_provider.client.states import TransportName
from airflow_mwaa_provider.exceptions import DagNotFound, MwaaError
from airflow_mwaa_provider.local import lifecycle
from airflow_mwaa_provider.local.errors import LocalMwaaError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_mwaa_provider.client.models import DagRun

_PARSE_TIMEOUT_S = 120.0
_RUN_TIMEOUT_S = 240.0


def dag_folder() -> Path:
    """Find the example DAGs of the checkout that this package runs from.

    :raises LocalMwaaError: the package does not run from a checkout.
    """
    folder = Path(airflow_mwaa_provider.__file__).resolve().parents[1] / "example_dags"
    if not (folder / "trigger_in_other_environment.py").is_file():
        raise LocalMwaaError("the demo needs the example DAGs of a checkout: clone the project and run scripts/demo")
    return folder


def secrets_options(folder: Path) -> dict[str, str]:
    """Return the configuration options of an environment that reads its connections from Secrets Manager."""
    return {
        "secrets.backend": "airflow_mwaa_provider.secrets.secrets_manager.CachedSecretsManagerBackend",
        "secrets.backend_kwargs": json.dumps(
            {"connections_lookup_pattern": "^(?!aws_default$).*$", "cache_dir": str(folder / "secrets-cache")}
        ),
    }


@dataclass(frozen=True)
class Stage:
    """An environment of a running local MWAA.

    :param folder: the folder of the local MWAA.
    :param say: called with what is done next.
    """

    folder: Path
    env_name: str
    say: Callable[[str], None]

    @cached_property
    def plane(self) -> ControlPlane:
        """A client for MWAA's API, configured as by ``airflow-mwaa local env``."""
        import boto3

        variables = lifecycle.client_variables(self.folder)
        # boto3 and requests read here which hosts need no proxy.
        os.environ.update({name: variables[name] for name in ("NO_PROXY", "no_proxy") if name in variables})
        session = boto3.Session(
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
            region_name=variables["AWS_REGION"],
        )
        return ControlPlane(session, endpoint_url=variables["AWS_ENDPOINT_URL"])

    @cached_property
    def environment(self) -> MwaaEnvironment:
        """A client for the environment, through a web session: calls of a DAG stand out beside it."""
        web_server = WebServerSettings(ca_bundle=lifecycle.client_variables(self.folder)["REQUESTS_CA_BUNDLE"])
        return MwaaEnvironment(
            self.plane, self.env_name, ClientSettings(transport=TransportName.WEB_SESSION, web_server=web_server)
        )

    def aws_client(self, service: str) -> Any:
        """Make a boto3 client for another AWS service of the local MWAA."""
        import boto3

        variables = lifecycle.client_variables(self.folder)
        return boto3.client(
            service,
            endpoint_url=variables["AWS_ENDPOINT_URL"],
            region_name=variables["AWS_REGION"],
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
            verify=variables["AWS_CA_BUNDLE"],
        )

    def put_secret(self, name: str, value: str) -> None:
        """Create a secret in Secrets Manager, or change its value."""
        client = self.aws_client("secretsmanager")
        try:
            client.create_secret(Name=name, SecretString=value)
        except client.exceptions.ResourceExistsException:
            client.put_secret_value(SecretId=name, SecretString=value)

    def admin(self, method: str, path: str) -> Any:
        """Call the administration of the local MWAA."""
        variables = lifecycle.client_variables(self.folder)
        request = urllib.request.Request(  # noqa: S310 - our own endpoint on loopback
            f"{variables['AIRFLOW_MWAA_LOCAL_ADMIN_URL'].rstrip('/')}/{path}",
            method=method,
            headers={"X-Local-Admin": variables["AIRFLOW_MWAA_LOCAL_ADMIN_TOKEN"]},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def calls_to(self, target: str) -> int:
        """Return how many calls to a service, such as ``"aws:secretsmanager"``, the local MWAA has had."""
        counts = self.admin("GET", "calls")["counts"]
        return sum(by_target.get(target, 0) for by_target in counts.values())

    def wait_for_dag(self, dag_id: str) -> None:
        """Wait until a DAG has arrived from the environment's bucket.

        :raises DagNotFound: it does not appear.
        """
        self.say(f"{self.env_name}: waiting for DAG {dag_id} to arrive from its S3 bucket")
        deadline = time.monotonic() + _PARSE_TIMEOUT_S
        while True:
            try:
                self.environment.is_dag_paused(dag_id)
            except DagNotFound:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
            else:
                return

    def unpause(self, dag_id: str) -> None:
        """Let a DAG run."""
        self.environment.request("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def run(self, dag_id: str, conf: Mapping[str, Any]) -> DagRun:
        """Run a DAG, and wait until it has succeeded.

        :raises DagRunFailed: it failed; names the tasks that failed.
        """
        run = self.environment.trigger_dag_run(dag_id, conf=conf)
        deadline = time.monotonic() + _RUN_TIMEOUT_S
        while not (now := self.environment.get_dag_run(dag_id, run.run_id)).state.is_final:
            if time.monotonic() > deadline:
                raise MwaaError(f"{self.env_name}: run {run.run_id} did not end within {_RUN_TIMEOUT_S:g} s")
            tasks = self.environment.get_task_instances(dag_id, run.run_id)
            shown = ", ".join(f"{task.label} {task.state.value}" for task in tasks)
            self.say(f"{self.env_name}: {now.state.value}; {shown}")
            time.sleep(1)
        if now.state.value != "success":
            # Raises an error that names the tasks that failed.
            self.environment.wait_for_dag_run(dag_id, run.run_id, timeout_s=1)
        return now

    def xcom_as_shown(self, run: DagRun, task_id: str) -> Any:
        """Return what a task returned, as the REST API shows it."""
        path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.environment.request("GET", path)["value"]

    def xcom(self, run: DagRun, task_id: str) -> Any:
        """Return what a task returned."""
        value = self.xcom_as_shown(run, task_id)
        if not isinstance(value, str):
            return value
        try:
            return ast.literal_eval(value)  # Airflow 2 returns the value in Python's notation
        except (SyntaxError, ValueError):
            return value

    def log(self, run: DagRun, task_id: str) -> str:
        """Return the log of the last try of a task."""
        task = self.environment.get_task_instance(run.dag_id, run.run_id, task_id)
        return self.environment.get_task_log(run.dag_id, run.run_id, task_id, try_number=task.try_number or 1)


def login_url(folder: Path, name: str) -> str:
    """Return a URL that logs a browser in, like the console's "Open Airflow UI"; it is valid for 60 seconds."""
    token = Stage(folder, name, say=lambda _: None).plane.create_web_login_token(name)
    return f"https://{token.host}/aws_mwaa/aws-console-sso?login=true#{token.value}"


def echo_ways_on(folder: Path, names: Sequence[str]) -> None:
    """Print where the web UIs of running environments are, and how to stop them."""
    option = f" --folder {shlex.quote(str(folder))}"
    which = "Environment" if len(names) == 1 else "Environments"
    click.echo(
        f"{which} {' and '.join(names)} {'is' if len(names) == 1 else 'are'} still running; all files are in {folder}."
    )
    for name in names:
        click.echo(f"  Airflow UI of {name}: airflow-mwaa local login {name}{option}")
    click.echo(f'  In a terminal:        eval "$(airflow-mwaa local env{option})"')
    click.echo(f"  Stop:                 airflow-mwaa local down --purge{option}")
