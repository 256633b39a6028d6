# SPDX-License-Identifier: Apache-2.0
"""Show the version of Oracle's Instant Client in plugins.zip, as the user guide's sample does.

The zip is made by ``airflow-mwaa package plugins --oracle instantclient-….zip --libaio libaio.so.1``; oracledb is in
requirements.txt. Only oracledb's thick mode needs a client: leave ``init_oracle_client`` out, and none is needed.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

try:  # Airflow 3
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task


# [START client]
LIBRARIES = ("libaio.so.1", "libnnz*.so", "libclntshcore.so.*", "libclntsh.so.*")
"""What the client is made of, each after what it needs."""


def load_client() -> str:
    """Load the libraries by their paths, and return the client's folder.

    LD_LIBRARY_PATH would have to be set before this process was started, which no plugin can do on Airflow 3.
    """
    import ctypes

    plugins = Path(os.environ.get("AIRFLOW_HOME", "/usr/local/airflow")) / "plugins"
    [folder] = plugins.glob("instantclient_*")
    for pattern in LIBRARIES:
        for library in sorted(folder.glob(pattern)):
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    return str(folder)


@task
def hook_test() -> str:
    import oracledb

    oracledb.init_oracle_client(lib_dir=load_client())
    version = ".".join(str(number) for number in oracledb.clientversion())
    print("oracledb.clientversion", version)
    return version


# [END client]


@dag(
    dag_id="oracle",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    dagrun_timeout=timedelta(minutes=30),
    tags=["mwaa", "plugins"],
)
def oracle() -> None:
    hook_test()


oracle()
