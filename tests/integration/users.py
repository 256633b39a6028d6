# SPDX-License-Identifier: Apache-2.0
"""Users of the real Airflows with a password."""

from __future__ import annotations

import subprocess
import uuid
from typing import Any

import psutil
import requests

from airflow_mwaa_provider.local import lifecycle
from airflow_mwaa_provider.local.machine.mwaa_home import AirflowHome
from airflow_mwaa_provider.local.machine.state import StateFolder
from tests.integration.world import World


class User:
    """A user with roles who logs in to Airflow with a password: MWAA has no such users, but its Airflow does."""

    def __init__(self, world: World, env_name: str, role_name: str) -> None:
        environment = world.environment(env_name, "web_session")
        self.is_2 = environment.airflow_version.startswith("2.")
        # With a name like MWAA's.
        self.name, password = f"assumed-role/{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
        body = {"first_name": "A", "last_name": " ", "email": f"{self.name}@example.invalid", "roles": []}
        body |= {
            "username": self.name,
            "password": password,
            "roles": [{"name": name} for name in {"Public", role_name}],
        }
        if environment.airflow_version.startswith("3.0."):
            make_by_command(world, env_name, self.name, password, role_name)  # the API of its auth manager has no users
        else:
            environment.request("POST", "/users" if self.is_2 else "/auth/fab/v1/users", json=body)
        self._verify = world.ca_bundle
        self._url = f"https://{environment.web_server_host}"
        self._arguments: dict[str, Any] = {"auth": (self.name, password)}
        if not self.is_2:
            answer = self._send("POST", "/auth/token", json={"username": self.name, "password": password})
            assert answer.status_code == 201, answer.text
            self._arguments = {"headers": {"Authorization": f"Bearer {answer.json()['access_token']}"}}

    def _send(self, method: str, path: str, **more: Any) -> requests.Response:
        arguments = {} if path == "/auth/token" else self._arguments
        return requests.request(method, f"{self._url}{path}", verify=self._verify, timeout=60, **arguments, **more)

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        return self._send(method, f"/api/v{1 if self.is_2 else 2}{path}", **more)

    def dag_ids(self) -> set[str]:
        return {dag["dag_id"] for dag in self.ask("GET", "/dags").json()["dags"]}

    def trigger(self, dag_id: str) -> int:
        body = {"conf": {}} if self.is_2 else {"conf": {}, "logical_date": None}
        return self.ask("POST", f"/dags/{dag_id}/dagRuns", json=body).status_code


def make_by_command(world: World, env_name: str, name: str, password: str, role_name: str) -> None:
    """Create a user with the environment's own ``airflow``, which MWAA's CLI endpoint does not allow."""
    status = world.status(env_name)
    options = {"username": name, "password": password, "firstname": "A", "lastname": "B", "role": role_name}
    options["email"] = f"{name}@example.invalid"
    command = [status["python"], "-m", "airflow", "users", "create"]
    command += [f"--{key}={value}" for key, value in options.items()]
    folder = StateFolder(world.folder).environment(env_name).airflow_home
    home = AirflowHome(folder, lifecycle.status(world.folder)["mwaa_paths"])
    subprocess.run(
        # Otherwise, Airflow would create the folder that the variables name.
        home.command(command),
        env=psutil.Process(status["pids"]["scheduler"]).environ(),
        check=True,
        capture_output=True,
        timeout=120,
    )
