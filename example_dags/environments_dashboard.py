# SPDX-License-Identifier: Apache-2.0
"""Create one CloudWatch dashboard of three environments, or update it. An unchanged dashboard is not written.

The role of the environment that runs it needs cloudwatch:GetDashboard and cloudwatch:PutDashboard.
"""

from __future__ import annotations

from datetime import datetime

try:  # Airflow 3
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task


@dag(
    dag_id="dag-environments-dashboard",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=1,
    params={
        "dashboard": "MWAA",
        "env_names": ["production", "staging", "test"],
        "max_workers": {"production": 25, "staging": 10},
    },
    tags=["mwaa", "cloudwatch"],
)
def environments_dashboard() -> None:
    # [START task]
    @task(retries=2)
    def update_dashboard(params: dict[str, object] | None = None) -> str:
        # Imported here so that parsing this file does not load boto3.
        from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook
        from airflow_mwaa_provider.monitoring import dashboard
        from airflow_mwaa_provider.monitoring.deployment import DashboardDeployment

        client = MwaaEnvironmentHook().aws_client("cloudwatch", attempts=1)
        region = client.meta.region_name
        body = dashboard.build(params["env_names"], region, max_workers=params["max_workers"])
        deployment = DashboardDeployment(client, params["dashboard"])
        change = deployment.plan(body)
        for remark in deployment.apply(change):
            print(f"CloudWatch remarks: {remark}")
        return change.action.value

    # [END task]

    update_dashboard()


environments_dashboard()
