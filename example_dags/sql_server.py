# SPDX-License-Identifier: Apache-2.0
"""Create a database in RDS for SQL Server, write a table there and read it, by the connection ``mssql_default``.

The file names neither a host, nor a password, nor a driver: the connection has them, and its type decides. Because all
statements are standard SQL, a connection of type ``postgres`` works as well; ``conn_id`` is a parameter of the run.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

try:  # Airflow 3
    from airflow.sdk import Param, dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag
    from airflow.models.param import Param

CONN_ID = "{{ params.conn_id }}"
DATABASE = "testdb"


# [START dag]
@dag(
    dag_id="mssql_conn_example",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,  # all runs use one database
    dagrun_timeout=timedelta(minutes=30),
    tags=["mwaa", "sql"],
    params={
        "conn_id": Param(
            "mssql_default",
            type="string",
            minLength=1,
            description=f"A connection to SQL Server or PostgreSQL. Its database {DATABASE} is dropped and created.",
        )
    },
)
def mssql_conn_example() -> None:
    # Databases are dropped and created outside of a transaction, from the database that the connection names.
    drop_db = SQLExecuteQueryOperator(
        task_id="drop_db", conn_id=CONN_ID, sql=f"DROP DATABASE IF EXISTS {DATABASE}", autocommit=True
    )
    create_db = SQLExecuteQueryOperator(
        task_id="create_db", conn_id=CONN_ID, sql=f"CREATE DATABASE {DATABASE}", autocommit=True
    )

    # These log in to the new database: PostgreSQL has no other way, and no name such as testdb.dbo.pet.
    create_table = SQLExecuteQueryOperator(
        task_id="create_table",
        conn_id=CONN_ID,
        database=DATABASE,
        sql="CREATE TABLE pet (name VARCHAR(20), owner VARCHAR(20))",
    )
    insert_into_table = SQLExecuteQueryOperator(
        task_id="insert_into_table",
        conn_id=CONN_ID,
        database=DATABASE,
        sql="INSERT INTO pet VALUES ('Olaf', 'Disney')",
    )
    select_query = SQLExecuteQueryOperator(
        task_id="select_query", conn_id=CONN_ID, database=DATABASE, sql="SELECT name, owner FROM pet ORDER BY name"
    )

    drop_db >> create_db >> create_table >> insert_into_table >> select_query


mssql_conn_example()
# [END dag]
