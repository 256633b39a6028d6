# SPDX-License-Identifier: Apache-2.0
"""The sample of SQL Server in a running Airflow, as ``airflow-mwaa local demo sql_server`` runs it."""

from __future__ import annotations

from tests.integration import samples
from tests.integration.world import World


def test_sql_server(world: World, env_name: str) -> None:
    found = samples.run(world, env_name, "sql_server")
    calls = int(found.pop("calls to Secrets Manager"))
    assert found == {
        "secret": "airflow/connections/mssql_default",
        "logins": "admin, TDS 7.4",
        "databases used": "master, testdb",
        "rows of testdb.dbo.pet": "[('Olaf', 'Disney')]",
        "rows that the DAG read": "[('Olaf', 'Disney')]",
        "the password in the tasks' logs": "no",
    }
    assert 1 <= calls <= 10
