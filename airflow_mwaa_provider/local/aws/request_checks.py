# SPDX-License-Identifier: Apache-2.0
"""Check what CreateEnvironment and UpdateEnvironment reject beyond the constraints of the service model.

Source: the documentation of CreateEnvironment in botocore's service model (classes, counts); MWAA's user guide on
networking (two subnets, in two Availability Zones) and on configuration options (``section.key``), and its list of
reserved variables. Which of those options the service itself rejects is not published. Here it is those that would have
no effect, because MWAA sets them for each environment. MWAA's own wording is unproven.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.local.aws.environment import EnvironmentProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

_SMALLEST = "mw1.micro"
CLASSES = (_SMALLEST, "mw1.small", "mw1.medium", "mw1.large", "mw1.xlarge", "mw1.2xlarge")
_DEFAULTS = {
    "EnvironmentClass": "mw1.small",
    "MaxWebservers": 2,
    "MaxWorkers": 10,
    "MinWebservers": 2,
    "MinWorkers": 1,
    "Schedulers": 2,
}
_SET_BY_MWAA = frozenset(
    {
        *("api.base_url", "api.host", "api.port", "api.secret_key", "api_auth.jwt_secret"),
        *("celery.broker_url", "celery.default_queue", "celery.result_backend"),
        *("celery_broker_transport_options.predefined_queues", "celery_broker_transport_options.region"),
        "celery_broker_transport_options.visibility_timeout",
        *("core.dags_folder", "core.execution_api_server_url", "core.executor", "core.fernet_key"),
        *("core.plugins_folder", "core.sql_alchemy_conn"),
        *("database.sql_alchemy_conn", "database.sql_alchemy_conn_async"),
        *("logging.base_log_folder", "operators.default_queue"),
        *("webserver.base_url", "webserver.secret_key", "webserver.web_server_host", "webserver.web_server_port"),
    }
)


def default_sizes(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the default class and counts of an environment."""
    if settings.get("EnvironmentClass") == _SMALLEST:
        return {**_DEFAULTS, "MaxWebservers": 1, "MinWebservers": 1, "Schedulers": 1}
    return dict(_DEFAULTS)


def check_options(configuration: Mapping[str, str]) -> None:
    """Check AirflowConfigurationOptions.

    :raises EnvironmentProblem: an option has no section, or is reserved by MWAA; the message never contains its value.
    """
    for option in configuration:
        section, _, key = option.partition(".")
        if not (section and key):
            raise EnvironmentProblem(
                f"AirflowConfigurationOptions: {option} names no section. Write section.key, such as core.parallelism."
            )
        if option.lower() in _SET_BY_MWAA:
            raise EnvironmentProblem(f"AirflowConfigurationOptions: {option} is set by MWAA. Remove it.")


def check_tags(tags: Mapping[str, str]) -> None:
    """Check an environment's tags. :raises EnvironmentProblem: a key is reserved by AWS."""
    for key in tags:
        if key.lower().startswith("aws:"):
            raise EnvironmentProblem(f"Tags: {key} begins with aws:, which is reserved by AWS. Choose another key.")


def check_sizes(settings: Mapping[str, Any]) -> None:
    """Check the class of an environment, and the numbers of its containers.

    :param settings: members of CreateEnvironment; for an update, the resulting ones.
    :raises EnvironmentProblem: the message names the member, its value, and the valid values.
    """
    sizes = {**default_sizes(settings), **{name: settings[name] for name in _DEFAULTS if name in settings}}
    environment_class = sizes["EnvironmentClass"]
    if environment_class not in CLASSES:
        raise EnvironmentProblem(f"EnvironmentClass: {environment_class} isn't valid. Choose {', '.join(CLASSES)}.")
    least, most = (1, 1) if environment_class == _SMALLEST else (2, 5)
    for name in ("Schedulers", "MinWebservers", "MaxWebservers"):
        if not least <= sizes[name] <= most:
            valid = str(least) if least == most else f"{least} to {most}"
            raise EnvironmentProblem(f"{name}: {sizes[name]} isn't valid for {environment_class}. Choose {valid}.")
    for containers in ("Workers", "Webservers"):
        low, high = sizes[f"Min{containers}"], sizes[f"Max{containers}"]
        if low > high:
            raise EnvironmentProblem(f"Min{containers}: {low} is above Max{containers}, {high}. Change one of them.")
