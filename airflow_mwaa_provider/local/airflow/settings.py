# SPDX-License-Identifier: Apache-2.0
"""The environment variables that make an Airflow process part of a local MWAA environment.

Everything is set through variables: they override ``airflow.cfg``, they need no file with secrets, and all processes of
an environment agree. Airflow and AWS variables of the user's shell are not inherited.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine.process_environment import inherited

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from airflow_mwaa_provider.local.airflow.interpreter import Interpreter

_LOOKED_UP = json.dumps({"connections_lookup_pattern": "^(?!aws_default$).*$"})
"""MWAA's preset for a secrets backend: every hook looks up ``aws_default``, but few users have a secret for it."""

_METRICS_ELSEWHERE = ("metrics.statsd_on", "metrics.statsd_host", "metrics.statsd_port", "metrics.otel_on")

SESSION_LIFETIME_S = 12 * 3600
"""The lifetime of MWAA's web sessions."""


@dataclass(frozen=True)
class AwsWorld:
    """How processes of the local MWAA reach the local AWS."""

    endpoint_url: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    region: str
    ca_bundle: Path

    def variables(self) -> dict[str, str]:
        """Return the variables that make boto3, the AWS CLI, requests, curl and Python's ssl use the local AWS."""
        bundle = str(self.ca_bundle)
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
            "AWS_CA_BUNDLE": bundle,
            "REQUESTS_CA_BUNDLE": bundle,
            "SSL_CERT_FILE": bundle,
            "CURL_CA_BUNDLE": bundle,
        }


@dataclass(frozen=True)
class Database:
    """The location of an environment's metadata."""

    url: str = field(repr=False)
    async_url: str = field(repr=False)
    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class EnvironmentKeys:
    """An environment's own secrets, which are random and kept with its folder."""

    fernet_key: str = field(repr=False)
    web_secret_key: str = field(repr=False)
    jwt_secret: str = field(repr=False)


@dataclass(frozen=True)
class WebServer:
    """The internal and the public address of an environment's web server."""

    port: int
    public_url: str

    @property
    def base_url(self) -> str:
        """The web server's own URL."""
        return f"http://127.0.0.1:{self.port}"


def airflow_variables(
    *,
    env_name: str,
    interpreter: Interpreter,
    home: Path,
    database: Database,
    keys: EnvironmentKeys,
    web: WebServer,
    aws: AwsWorld,
    configuration: Mapping[str, str],
    marker: Mapping[str, str],
    aws_data_path: Path | None = None,
    statsd: tuple[str, int] | None = None,
) -> dict[str, str]:
    """Return the whole environment of an Airflow process.

    :param home: AIRFLOW_HOME, as these processes see it.
    :param configuration: AirflowConfigurationOptions, ``section.key``; they override the defaults, but not what the
        local MWAA depends on (database, addresses, keys), since MWAA rejects such options.
    :param aws_data_path: service models that botocore prefers to its own.
    :param statsd: the host and port for Airflow's metrics, unless AirflowConfigurationOptions set others.
    :raises LocalMwaaError: an option is not ``section.key``.
    """
    metrics = {} if statsd is None or sends_metrics_elsewhere(configuration) else _metrics(*statsd)
    options = {
        **_defaults(interpreter),
        **metrics,
        **configuration,
        **_required(interpreter, home, database, keys, web),
    }
    credentials = {"username": database.user, "password": database.password}
    return {
        **inherited(),
        **{configuration_variable(option): value for option, value in options.items()},
        **aws.variables(),
        **({"AWS_DATA_PATH": str(aws_data_path)} if aws_data_path else {}),
        **marker,
        "PATH": os.pathsep.join((str(interpreter.path.parent), os.environ.get("PATH", os.defpath))),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_ENV_NAME": env_name,
        "AIRFLOW_VERSION": interpreter.airflow_version,
        "AWS_EXECUTION_ENV": f"Amazon_MWAA_{interpreter.airflow_version.replace('.', '')}",
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        "MWAA__DB__CREDENTIALS": json.dumps(credentials),
        "MWAA__DB__POSTGRES_HOST": database.host,
        "MWAA__DB__POSTGRES_PORT": str(database.port),
        "MWAA__DB__POSTGRES_DB": database.name,
        # MWAA sets "require"; the embedded server has no TLS, and would reject a client that requires it.
        "MWAA__DB__POSTGRES_SSLMODE": "prefer",
        "FORWARDED_ALLOW_IPS": "127.0.0.1",
        **without_proxy(os.environ),
        "PYTHONUNBUFFERED": "1",
        "TZ": "UTC",
        # macOS kills forked processes that use the system's proxy look-up or the Objective-C runtime.
        "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",
    }


def overridable_names(interpreter: Interpreter, configuration: Mapping[str, str]) -> set[str]:
    """Return the variables of :func:`airflow_variables` that a startup script may change, the same as on MWAA.

    AirflowConfigurationOptions take precedence, and what the local MWAA depends on is kept.
    """
    defaults = {configuration_variable(option) for option in _defaults(interpreter) if option not in configuration}
    return {*inherited(), *defaults, "PATH", "TZ"} - {"NO_PROXY", "no_proxy", "SPT_NOENV"}


def configuration_variable(option: str) -> str:
    """Return the variable of a configuration option: ``core.default_timezone`` is
    ``AIRFLOW__CORE__DEFAULT_TIMEZONE``.

    :raises LocalMwaaError: the option is not ``section.key``.
    """
    section, dot, key = option.partition(".")
    if not (section and dot and key):
        raise LocalMwaaError(f"configuration option {option!r} does not have the form section.key", misuse=True)
    return f"AIRFLOW__{section.upper()}__{key.upper()}"


def _defaults(interpreter: Interpreter) -> dict[str, str]:
    """Return the options that AirflowConfigurationOptions may change."""
    shared = {
        # One machine runs all environments: idle workers and parsers cost more than they help.
        "core.parallelism": "8",
        "core.load_examples": "False",
        # MWAA sets this to True: every task then takes two cold starts of Airflow, 5-10 s on a small machine.
        "core.execute_tasks_new_python_interpreter": "False",
        "database.load_default_connections": "False",
        # Every CLI command would read all migrations to compare; the setup ran them before the first command.
        "database.check_migrations": "False",
        "usage_data_collection.enabled": "False",
        "fab.auth_rate_limited": "False",
        "scheduler.parsing_processes": "1",
        "secrets.backend_kwargs": _LOOKED_UP,
    }
    if interpreter.is_airflow_3:
        return {
            **shared,
            "workers.secrets_backend_kwargs": _LOOKED_UP,
            "api.workers": "1",
            # A task's supervisor that misses the end of its process, as it often does on a busy machine, looks again
            # after this time; until then a failed task is not reported, and a deferred one holds its slot. MWAA: 5 s.
            "workers.min_heartbeat_interval": "1",
            "dag_processor.parsing_processes": "1",
            # A new file is seen at the next refresh; MWAA's 300 s would be too long for trying things out.
            "dag_processor.refresh_interval": "5",
            "dag_processor.bundle_refresh_check_interval": "3",
        }
    # The same option before it was moved to the auth manager's section.
    limits = {"webserver.auth_rate_limited": "False"} if interpreter.airflow_release < (2, 9, 0) else {}
    return {
        **shared,
        **limits,
        "scheduler.dag_dir_list_interval": "5",
        "webserver.workers": "2",
    }


def sends_metrics_elsewhere(configuration: Mapping[str, str]) -> bool:
    """Return whether options set where Airflow's metrics are sent, or turn them off."""
    return any(option in configuration for option in _METRICS_ELSEWHERE)


def _metrics(host: str, port: int) -> dict[str, str]:
    return {"metrics.statsd_on": "True", "metrics.statsd_host": host, "metrics.statsd_port": str(port)}


def _required(
    interpreter: Interpreter, home: Path, database: Database, keys: EnvironmentKeys, web: WebServer
) -> dict[str, str]:
    """Return the options that the local MWAA depends on."""
    shared = {
        "core.executor": "LocalExecutor",
        "core.dags_folder": str(home / "dags"),
        "core.plugins_folder": str(home / "plugins"),
        "core.fernet_key": keys.fernet_key,
        # The default looks up the machine's full name in the DNS, which takes seconds if there is none.
        "core.hostname_callable": "socket.gethostname",
        "database.sql_alchemy_conn": database.url,
        "logging.base_log_folder": str(home / "logs"),
        "scheduler.enable_health_check": "False",
    }
    if interpreter.is_airflow_3:
        return {
            **shared,
            "core.auth_manager": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
            "core.execution_api_server_url": f"{web.base_url}/execution/",
            "api.base_url": web.public_url,
            "api.host": "127.0.0.1",
            "api.port": str(web.port),
            "api.secret_key": keys.web_secret_key,
            "webserver.secret_key": keys.web_secret_key,
            "api_auth.jwt_secret": keys.jwt_secret,
            "api_auth.jwt_expiration_time": str(SESSION_LIFETIME_S),
            "fab.session_lifetime_minutes": str(SESSION_LIFETIME_S // 60),
            "database.sql_alchemy_conn_async": database.async_url,
            "dag_processor.dag_bundle_storage_path": str(home / "bundles"),
            "logging.dag_processor_child_process_log_directory": str(home / "logs" / "dag_processor"),
        }
    basic = "airflow.providers.fab.auth_manager.api" if interpreter.airflow_release >= (2, 9, 0) else "airflow.api"
    return {
        **shared,
        "api.auth_backends": f"airflow.api.auth.backend.session,{basic}.auth.backend.basic_auth",
        "webserver.base_url": web.public_url,
        "webserver.web_server_host": "127.0.0.1",
        "webserver.web_server_port": str(web.port),
        "webserver.secret_key": keys.web_secret_key,
        "webserver.session_lifetime_minutes": str(SESSION_LIFETIME_S // 60),
        "webserver.enable_proxy_fix": "True",
        "scheduler.child_process_log_directory": str(home / "logs" / "scheduler"),
    }


def without_proxy(variables: Mapping[str, str], hosts: Iterable[str] = ()) -> dict[str, str]:
    """Return the variables that exempt calls to loopback from a proxy of the user's machine.

    :param hosts: known addresses, in addition to the likely ones.
    """
    listed = (variables.get("NO_PROXY") or variables.get("no_proxy") or "").split(",")
    if [name.strip() for name in listed] == ["*"]:
        # Not among others: that means nothing to many programs.
        return {"NO_PROXY": "*", "no_proxy": "*"}
    # Each gateway has its own loopback address, and not every program understands 127.0.0.0/8 here.
    likely = (f"127.0.0.{number}" for number in range(1, 20))
    value = ",".join(filter(None, dict.fromkeys((*listed, "localhost", *likely, *hosts, "127.0.0.0/8"))))
    return {"NO_PROXY": value, "no_proxy": value}
