# SPDX-License-Identifier: Apache-2.0
"""LoggingConfiguration: which of an environment's logs are sent to CloudWatch Logs, and from which level.

Source: the shapes LoggingConfiguration and LoggingConfigurationInput of botocore's service model.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.local.runtime import LogKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_mwaa_provider.local.aws.environment import Environment

MEMBER = "LoggingConfiguration"
_KINDS = {
    "DagProcessingLogs": LogKind.DAG_PROCESSING,
    "SchedulerLogs": LogKind.SCHEDULER,
    "TaskLogs": LogKind.TASK,
    "WebserverLogs": LogKind.WEB_SERVER,
    "WorkerLogs": LogKind.WORKER,
}
EVERYTHING = {name: {"Enabled": True, "LogLevel": "INFO"} for name in _KINDS}
"""The configuration of `local up`."""


def default(name: str) -> dict[str, Any]:
    """Return the default for a kind of log: only those of tasks are sent."""
    return {"Enabled": _KINDS[name] is LogKind.TASK, "LogLevel": "INFO"}


def merge(old: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration after an update; everything else is kept."""
    return {**old, **{name: {**old.get(name, {}), **module} for name, module in asked.items()}}


def describe(environment: Environment, region: str, account_id: str) -> dict[str, Any]:
    """Return the logs' members of GetEnvironment."""
    prefix = f"arn:aws:logs:{region}:{account_id}:log-group:airflow-{environment.name}-"
    return {
        name: {**module, "CloudWatchLogGroupArn": prefix + _KINDS[name]}
        for name, module in _modules(environment).items()
    }


def levels(environment: Environment) -> dict[LogKind, int]:
    """Return the lowest level of each enabled kind of log, as a :mod:`logging` level."""
    return {
        _KINDS[name]: logging.getLevelNamesMapping()[module["LogLevel"]]
        for name, module in _modules(environment).items()
        if module["Enabled"]
    }


def _modules(environment: Environment) -> dict[str, dict[str, Any]]:
    asked = environment.settings.get(MEMBER, {})
    return {name: {**default(name), **asked.get(name, {})} for name in _KINDS}
