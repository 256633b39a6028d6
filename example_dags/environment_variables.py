# SPDX-License-Identifier: Apache-2.0
"""Show environment variables that configuration options of the environment set, to bash and to Python.

Options such as ``mwaa_env.java_home: /usr/lib/jvm/jre`` and ``mwaa_env.path: ${PATH}:${JAVA_HOME}/bin`` set them.
"""

from __future__ import annotations

import os
from datetime import datetime

try:  # Airflow 3
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.operators.bash import BashOperator


# [START variables]
@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False, is_paused_upon_creation=False, tags=["mwaa"])
def environment_variables() -> None:
    BashOperator(task_id="in_bash", bash_command='echo "JAVA_HOME is $JAVA_HOME, PATH ends with ${PATH##*:}"')

    @task
    def in_python() -> dict[str, str | None]:
        return {name: os.environ.get(name) for name in ("JAVA_HOME", "PATH")}

    in_python()


environment_variables()
# [END variables]
