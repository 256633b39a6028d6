# SPDX-License-Identifier: Apache-2.0
"""The provider's description for Airflow's provider manager: a plain dict, valid against Airflow's own schema."""

from __future__ import annotations

from typing import Any

from airflow_mwaa_provider import __version__

HOOK = "airflow_mwaa_provider.hooks.mwaa.MwaaEnvironmentHook"

#: The fields of the ``mwaa`` connection's form, stored in its ``extra``. Newer Airflow versions read them from here,
#: older ones from the hook, which returns these fields.
CONNECTION_FIELDS: dict[str, dict[str, Any]] = {
    "aws_conn_id": {
        "label": "AWS connection",
        "description": "Connection with the AWS credentials. Empty: the role that the task runs with.",
        "schema": {"type": ["string", "null"]},
    },
    "region_name": {
        "label": "Region",
        "description": "AWS region of the environments. Empty: the AWS connection's region, or that of the task.",
        "schema": {"type": ["string", "null"]},
    },
    "transport": {
        "label": "Transport",
        "description": "rest_api, web_session or cli. Empty: the first of these that works.",
        "schema": {"type": ["string", "null"]},
    },
    "proxy": {
        "label": "Proxy to the web server",
        "description": "For private web servers: http://HOST:PORT or socks5h://HOST:PORT.",
        "schema": {"type": ["string", "null"]},
    },
    "proxy_login": {
        "label": "Proxy login",
        "description": "User name for the proxy, if it requires one.",
        "schema": {"type": ["string", "null"]},
    },
    # "password" in its name is what makes Airflow mask it in its log, its API and its forms.
    "proxy_password": {
        "label": "Proxy password",
        "description": "Password for the proxy.",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "ca_bundle": {
        "label": "CA bundle",
        "description": "Path of a PEM file to verify the web server's certificate with.",
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
                        "description": "Turn on the metadata API of the web server, which writes exports of the "
                        "metadata database below these S3 prefixes, separated by commas, and nowhere else.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://my-bucket/history",
                        "default": "",
                    },
                    "metadata_api_cleanup": {
                        "description": "Turn on the metadata API of the web server, and let it delete old rows from "
                        "the metadata database, for callers whose role may delete runs of all DAGs.",
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "True",
                        "default": "False",
                    },
                    "task_resources_namespace": {
                        "description": "Measure the memory, CPU and disk that each task uses, and publish them in this "
                        "CloudWatch namespace.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "MWAA-Tasks",
                        "default": "",
                    },
                    "task_resources_max_tasks": {
                        "description": "How many tasks (pairs of DAG and task) of a container have their own metrics "
                        "in a day. The others are combined as 'other'. CloudWatch charges per metric.",
                        "version_added": "0.1.0",
                        "type": "integer",
                        "example": "50",
                        "default": "200",
                    },
                    "task_timezone": {
                        "description": "The time zone that tasks see as local time. Airflow still schedules and stores "
                        "times in UTC.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "America/Los_Angeles",
                        "default": "",
                    },
                    "log_timezone": {
                        "description": "The time zone of timestamps in logs, on Airflow 2 only.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "America/Los_Angeles",
                        "default": "",
                    },
                    "preload_libraries": {
                        "description": "Full paths of shared libraries, separated by commas, which every process that "
                        "may run code of DAGs loads.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/usr/local/airflow/plugins/instantclient/libaio.so.1",
                        "default": "",
                    },
                    "patch_virtualenv": {
                        "description": "Let the scheduler log whether PythonVirtualenvOperator needs the user guide's "
                        "patch. No Airflow version from 2.8.1 on needs it.",
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
        # Read since Airflow 3.2, and ignored before.
        "cli": ["airflow_mwaa_provider.cli.airflow_commands.get_commands"],
        "extra-links": ["airflow_mwaa_provider.links.dag_run.MwaaDagRunLink"],
    }
