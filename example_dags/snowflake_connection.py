# SPDX-License-Identifier: Apache-2.0
"""Query Snowflake through a connection whose secret is ``airflow/connections/snowflake_conn``.

This file names neither Secrets Manager, nor an account, a warehouse or a role: the environment's secrets backend finds
the connection, which has the rest. The operator is part of the common SQL provider, which every image has. The
Snowflake provider is imported when the task runs.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

try:  # Airflow 3
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag

SNOWFLAKE_QUERY = 'select * from "SNOWFLAKE_SAMPLE_DATA"."TPCH_SF1"."NATION" limit 100'


@dag(
    dag_id="snowflake_test",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    dagrun_timeout=timedelta(hours=2),
    tags=["mwaa", "secrets"],
)
def snowflake_test() -> None:
    # [START query]
    SQLExecuteQueryOperator(
        task_id="snowflake_select",
        sql=SNOWFLAKE_QUERY,
        conn_id="snowflake_conn",
    )
    # [END query]


snowflake_test()
