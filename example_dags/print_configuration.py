# SPDX-License-Identifier: Apache-2.0
"""Print a configuration option as tasks see it, which is how an environment's options are checked.

The web server, the scheduler and workers may see different values: this is the worker's. Options that hold secrets are
not printed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

try:  # Airflow 3
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task


@dag(
    dag_id="print_env_variable_example",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    dagrun_timeout=timedelta(minutes=10),
    params={"section": "email", "key": "email_backend"},
    tags=["mwaa"],
)
def print_configuration() -> None:
    # [START print]
    @task
    def email_backend_test(params: dict[str, str] | None = None) -> str:
        from airflow.configuration import conf

        section, key = params["section"], params["key"]
        if (section.lower(), key.lower()) in conf.sensitive_config_values:
            raise ValueError(f"{section}.{key} holds a secret. Name another option.")
        value = conf.get(section, key)
        print(f"{section}.{key} = {value}")
        return value

    # [END print]
    email_backend_test()


print_configuration()
