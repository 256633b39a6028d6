# SPDX-License-Identifier: Apache-2.0
"""What Airflow's provider manager asks for: a plain dict, valid against Airflow's own schema."""

from __future__ import annotations

from typing import Any

from airflow_mwaa_provider import __version__

HOOK = "airflow_mwaa_provider.hooks.mwaa.MwaaEnvironmentHook"

#: The fields of the ``mwaa`` connection's form, kept in its ``extra``. Newer Airflows read them from here, older ones
#: ask the hook, which takes them from here as well.
CONNECTION_FIELDS: dict[str, dict[str, Any]] = {
    "aws_conn_id": {
        "label": "AWS connection",
        "description": "Connection with the AWS credentials. Empty: the role that the task runs with.",
        "schema": {"type": ["string", "null"]},
    },
    "region_name": {
        "label": "Region",
        "description": "AWS region of the environments. Empty: the AWS connection's, or the task's own.",
        "schema": {"type": ["string", "null"]},
    },
    "transport": {
        "label": "Transport",
        "description": "rest_api, web_session or cli. Empty: the first of them that works.",
        "schema": {"type": ["string", "null"]},
    },
    "proxy": {
        "label": "Proxy to the web server",
        "description": "For private web servers: http://HOST:PORT or socks5h://HOST:PORT.",
        "schema": {"type": ["string", "null"]},
    },
    "proxy_login": {
        "label": "Proxy login",
        "description": "Who logs in to the proxy, where it asks.",
        "schema": {"type": ["string", "null"]},
    },
    # "password" in its name is what makes Airflow mask it in its log, its API and its forms.
    "proxy_password": {
        "label": "Proxy password",
        "description": "The password of that login.",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "ca_bundle": {
        "label": "CA bundle",
        "description": "Path of a PEM file that the web server's certificate is checked against.",
        "schema": {"type": ["string", "null"]},
    },
    "endpoint_url": {
        "label": "MWAA endpoint",
        "description": "Another endpoint of the MWAA API: a VPC endpoint, or the local MWAA.",
        "schema": {"type": ["string", "null"]},
    },
}

HIDDEN_FIELDS = ["host", "schema", "port", "login", "password"]


def get_provider_info() -> dict[str, Any]:
    """Describe the provider; entry point ``apache_airflow_provider``."""
    return {
        "package-name": "airflow-mwaa-provider",
        "name": "Amazon MWAA",
        "description": "Run DAGs across Amazon MWAA environments, with a local MWAA to try it on.",
        "versions": [__version__],
        "connection-types": [
            {
                "connection-type": "mwaa",
                "hook-class-name": HOOK,
                "hook-name": "Amazon MWAA",
                "ui-field-behaviour": {"hidden-fields": HIDDEN_FIELDS},
                "conn-fields": CONNECTION_FIELDS,
            }
        ],
        "config": {
            "mwaa_provider": {
                "description": "Plugins of airflow-mwaa-provider.",
                "options": {
                    "metadata_api_export_to": {
                        "description": "Turns the metadata API of the web server on, which writes exports of the "
                        "metadata database below these places in S3, separated by commas, and nowhere else.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://my-bucket/history",
                        "default": "",
                    },
                    "metadata_api_cleanup": {
                        "description": "Turns the metadata API of the web server on, and lets it delete what is old "
                        "from the metadata database, for callers whose role may delete runs of all DAGs.",
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "True",
                        "default": "False",
                    },
                    "task_resources_namespace": {
                        "description": "Turns the measuring of tasks on, and is the namespace in CloudWatch of what "
                        "each has used of memory, CPU and disk.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "MWAA-Tasks",
                        "default": "",
                    },
                    "task_resources_max_tasks": {
                        "description": "How many tasks (pairs of DAG and task) of a container have metrics of their "
                        "own in a day; the others are summed up as 'other'. CloudWatch charges by metric.",
                        "version_added": "0.1.0",
                        "type": "integer",
                        "example": "50",
                        "default": "200",
                    },
                    "task_timezone": {
                        "description": "The time zone that tasks see as local time. What Airflow schedules and stores "
                        "stays UTC.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "America/Los_Angeles",
                        "default": "",
                    },
                    "log_timezone": {
                        "description": "The time zone of the time stamps of logs, on Airflow 2 only.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "America/Los_Angeles",
                        "default": "",
                    },
                    "preload_libraries": {
                        "description": "Full paths of shared libraries, separated by commas, which every process loads "
                        "that may run code of DAGs.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/usr/local/airflow/plugins/instantclient/libaio.so.1",
                        "default": "",
                    },
                    "patch_virtualenv": {
                        "description": "Lets the scheduler say whether PythonVirtualenvOperator needs the user guide's "
                        "patch. No Airflow from 2.8.1 on does.",
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "True",
                        "default": "False",
                    },
                },
            },
            "mwaa_env": {
                "description": "Environment variables: mwaa_env.java_home sets JAVA_HOME.",
                "options": {},
            },
        },
        "secrets-backends": [
            "airflow_mwaa_provider.secrets.secrets_manager.CachedSecretsManagerBackend",
            "airflow_mwaa_provider.secrets.systems_manager.CachedSystemsManagerParameterStoreBackend",
        ],
        # Since Airflow 3.2; older ones pass over it.
        "cli": ["airflow_mwaa_provider.cli.airflow_commands.get_commands"],
        "extra-links": ["airflow_mwaa_provider.links.dag_run.MwaaDagRunLink"],
    }
