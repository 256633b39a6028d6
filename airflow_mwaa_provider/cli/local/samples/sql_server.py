# SPDX-License-Identifier: Apache-2.0
"""SQL Server by a connection in Secrets Manager: a database is created, and a table written and read."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_mwaa_provider.cli.local.samples.sample import Prepared, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mwaa_provider.cli.local.stage import Stage
    from airflow_mwaa_provider.client.models import DagRun


NAME = "airflow/connections/mssql_default"


@contextmanager
def _prepare(stage: Stage) -> Iterator[Prepared]:
    # Everything else that reads this catalogue needs no server.
    from airflow_mwaa_provider.local.stand_ins.tds_server import TdsServer

    with TdsServer() as server:
        connection = {
            "conn_type": "mssql",
            "host": server.host,
            "port": server.port,
            "login": server.user,
            "password": server.password,
        }
        stage.put_secret(NAME, json.dumps(connection))
        before = stage.calls_to("aws:secretsmanager")

        def outcome(run: DagRun) -> list[tuple[str, str]]:
            logs = [stage.log(run, task_id) for task_id in ("drop_db", "create_table", "select_query")]
            rows = server.query("SELECT name, owner FROM testdb.dbo.pet")
            # Airflow 3 keeps that a row is a tuple.
            read = [row["__data__"] if isinstance(row, dict) else row for row in stage.xcom(run, "select_query")]
            return [
                ("secret", NAME),
                ("logins", ", ".join(sorted({f"{login.user}, TDS {login.version}" for login in server.logins}))),
                ("databases used", ", ".join(sorted({request.database for request in server.requests}))),
                ("rows of testdb.dbo.pet", str(rows)),
                ("rows that the DAG read", str([tuple(row) for row in read])),
                ("the password in the tasks' logs", "yes" if any(server.password in log for log in logs) else "no"),
                ("calls to Secrets Manager", str(stage.calls_to("aws:secretsmanager") - before)),
            ]

        yield Prepared(outcome)


SAMPLE = Sample(
    name="sql_server",
    dag_id="mssql_conn_example",
    guide="Using Amazon MWAA with Amazon RDS for Microsoft SQL Server",
    shows="Tasks create a database in SQL Server, write a table and read it.",
    against="a stand-in for SQL Server, through the real driver (pymssql, TDS 7.4)",
    packages={"pymssql": "apache-airflow-providers-microsoft-mssql"},
    prepare=_prepare,
)
