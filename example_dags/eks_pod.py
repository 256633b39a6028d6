# SPDX-License-Identifier: Apache-2.0
"""Run a pod in an Amazon EKS cluster, without a kube_config.yaml in the DAGs folder.

The cluster, its namespace ``mwaa`` and the access of the environment's role to them must exist. The endpoint of the
cluster and its certificate authority are read from EKS when the task runs. Its token is made then, too, and is renewed
for as long as the pod runs.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow_mwaa_provider.operators.eks import EksPodOperator

try:  # Airflow 3
    from airflow.sdk import dag
except ImportError:  # Airflow 2
    from airflow.decorators import dag


@dag(
    dag_id="kubernetes_pod_example",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    dagrun_timeout=timedelta(hours=1),
    tags=["mwaa", "eks"],
    # An empty region is that of the environment.
    params={"cluster": "mwaa-eks", "region": "", "namespace": "mwaa", "image": "ubuntu:24.04"},
)
def kubernetes_pod_example() -> None:
    # [START pod]
    EksPodOperator(
        task_id="pod-task",
        cluster_name="{{ params.cluster }}",
        region_name="{{ params.region }}",
        namespace="{{ params.namespace }}",
        name="mwaa-pod-test",
        image="{{ params.image }}",
        cmds=["bash"],
        arguments=["-c", "ls"],
        labels={"foo": "bar"},
        get_logs=True,
        on_finish_action="keep_pod",
    )
    # [END pod]


kubernetes_pod_example()
