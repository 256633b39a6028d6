# SPDX-License-Identifier: Apache-2.0
"""The running local MWAA, as the integration tests see it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import requests

from airflow_mwaa_provider.client.access import ClientSettings
from airflow_mwaa_provider.client.control_plane import ControlPlane
from airflow_mwaa_provider.client.environment import MwaaEnvironment
from airflow_mwaa_provider.client.retrying import RetryPolicy
from airflow_mwaa_provider.client.web_server import WebServerSettings
from airflow_mwaa_provider.exceptions import DagNotFound
from airflow_mwaa_provider.local import lifecycle

DAG_IDS = (
    "echo",
    "fails",
    "mapped",
    "sleeps",
    "paused",
    "calls_other_by_auto",
    "calls_other_impatiently",
    "trigger_in_other_environment",
)


class World:
    """A running local MWAA, and clients for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = lifecycle.client_variables(folder)
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
        """A client of its own for an environment, whose DAGs are there."""
        web_server = WebServerSettings(ca_bundle=self.variables["REQUESTS_CA_BUNDLE"], read_timeout_s=read_timeout_s)
        settings = ClientSettings(transport=transport, web_server=web_server, retry=retry or RetryPolicy())
        plane = self.control_plane(session, read_timeout_s=read_timeout_s)
        made = MwaaEnvironment(plane, name, settings)
        self._wait_for_dags(name)
        return made

    def admin(self, method: str, path: str, json: Any = None) -> Any:
        url = f"{self.variables['AIRFLOW_MWAA_LOCAL_ADMIN_URL'].rstrip('/')}/{path}"
        headers = {"X-Local-Admin": self.variables["AIRFLOW_MWAA_LOCAL_ADMIN_TOKEN"]}
        answer = requests.request(method, url, json=json, headers=headers, timeout=20)
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def fault(self, **fault: Any) -> None:
        self.admin("POST", "faults", fault)

    def _wait_for_dags(self, name: str) -> None:
        if name in self._ready:
            return
        web_server = WebServerSettings(ca_bundle=self.variables["REQUESTS_CA_BUNDLE"])
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


def until(condition: Callable[[], bool], *, timeout_s: float, what: str) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.5)
