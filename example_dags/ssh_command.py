# SPDX-License-Identifier: Apache-2.0
"""Run a command on another machine by SSH, with a private key that lies on no disk.

It needs a connection ``ssh_new`` of type SSH with the host, the user, and an Extra with the place of the private key
and the key of the server: ``{"private_key_from": "secretsmanager://NAME", "host_key": "ssh-ed25519 AAAA…"}``.

requirements.txt: ``airflow-mwaa-provider[ssh]``.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow_mwaa_provider.operators.ssh import SSHOperator

try:  # Airflow 3
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag


@dag(
    dag_id="ssh_operator_example",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    dagrun_timeout=timedelta(minutes=30),
    tags=["mwaa", "ssh"],
    # Who may trigger this DAG may run any command: write the command into the DAG where that is too much.
    params={"command": "hostname"},
)
def ssh_operator_example() -> None:
    # [START command]
    SSHOperator(
        task_id="ssh_task",
        ssh_conn_id="ssh_new",
        command="{{ params.command }}",
        cmd_timeout=60,
    )
    # [END command]


ssh_operator_example()
