# SPDX-License-Identifier: Apache-2.0
"""``airflow dags test DAG``, with a Snowflake on this machine: started by its path, with the port and the DAG's id.

Not every version of Snowflake's hook accepts a host, so it is passed to the connector. The rest is unchanged.
"""

from __future__ import annotations

import functools
import sys

import snowflake.connector
from airflow.__main__ import main
from airflow.utils import db

if __name__ == "__main__":
    _, port, dag_id = sys.argv
    snowflake.connector.connect = functools.partial(
        snowflake.connector.connect, host="127.0.0.1", port=int(port), protocol="http"
    )
    db.initdb()
    sys.argv = ["airflow", "dags", "test", dag_id]
    sys.exit(main())
