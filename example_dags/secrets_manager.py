# SPDX-License-Identifier: Apache-2.0
"""Use a connection whose secret is ``airflow/connections/myconn``, and read it again if it was rotated.

This file does not name Secrets Manager: the environment's secrets backend finds the secret.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

try:  # Airflow 3
    from airflow.sdk import BaseHook, dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.hooks.base import BaseHook

from airflow_mwaa_provider.secrets import refresh

CONN_ID = "myconn"


class LoginFailed(Exception):
    """A client raises this if its password is rejected."""


def log_in(connection: Any) -> str:
    """Stand in for the client of a database or a service."""
    if not connection.password:
        raise LoginFailed(connection.login)
    return f"{connection.conn_type} at {connection.host} as {connection.login}"


@dag(
    dag_id="secrets-manager",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    dagrun_timeout=timedelta(hours=2),
    tags=["mwaa", "secrets"],
)
def secrets_manager() -> None:
    @task
    def read_from_aws_sm() -> None:
        # [START refresh]
        try:
            session = log_in(BaseHook.get_connection(CONN_ID))
        except LoginFailed:
            if not refresh(CONN_ID):
                raise  # the password is wrong, not only outdated
            session = log_in(BaseHook.get_connection(CONN_ID))
        # [END refresh]
        print(session)  # never print the connection, or return any of it: XComs are not encrypted

    read_from_aws_sm()


secrets_manager()
