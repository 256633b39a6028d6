# SPDX-License-Identifier: Apache-2.0
"""Series of graphs and alarms: a metric of an environment, and a statistic of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.monitoring.mwaa_metrics import AIRFLOW, CONTAINERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OWN = "MWAA-Custom"
"""The default namespace of this package's operators."""
_ENV_NAME = re.compile(r"[a-zA-Z][0-9a-zA-Z_-]{0,79}")
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")


@dataclass(frozen=True)
class Series:
    """A statistic of one metric of an environment.

    :param namespace: the namespace of the metric.
    :param name: its name.
    :param stat: ``"Average"``, ``"Maximum"``, ``"Minimum"``, ``"Sum"`` or ``"SampleCount"``.
    :param dimensions: the dimensions besides ``Environment``.
    :param label: its name in a graph.
    :param period_s: the seconds that one value covers.
    """

    namespace: str
    name: str
    stat: str
    dimensions: Mapping[str, str] = field(default_factory=dict, hash=False)
    label: str = ""
    period_s: int = 300

    def all_dimensions(self, env_name: str) -> dict[str, str]:
        """Return the dimensions that it has in an environment."""
        return {**self.dimensions, "Environment": env_name}

    def dimension_list(self, env_name: str) -> list[dict[str, str]]:
        """Return its dimensions as CloudWatch's API takes them."""
        return [{"Name": name, "Value": value} for name, value in self.all_dimensions(env_name).items()]

    def query(self, query_id: str, env_name: str) -> dict[str, Any]:
        """Return it as a part of an alarm's expression.

        :param query_id: its name in the expression.
        """
        metric = {"Namespace": self.namespace, "MetricName": self.name, "Dimensions": self.dimension_list(env_name)}
        stat = {"Metric": metric, "Period": self.period_s, "Stat": self.stat}
        return {"Id": query_id, "MetricStat": stat, "ReturnData": False}


def of_airflow(name: str, stat: str, label: str = "", **dimensions: str) -> Series:
    """Return a series of Airflow's own metrics."""
    return Series(AIRFLOW, name, stat, dimensions, label)


def of_containers(name: str, stat: str, label: str = "", **dimensions: str) -> Series:
    """Return a series of containers, queue or database."""
    return Series(CONTAINERS, name, stat, dimensions, label)


def of_own(name: str, stat: str, label: str = "", **dimensions: str) -> Series:
    """Return a series that an operator of this package publishes to its default namespace."""
    return Series(OWN, name, stat, dimensions, label)


def check_env_names(env_names: Iterable[str]) -> list[str]:
    """Return names of environments as a list.

    :raises MwaaInputError: there is no name, a name occurs twice, or MWAA would reject one.
    """
    if isinstance(env_names, str):
        raise MwaaInputError(f"env_names is the string {env_names[:80]!r}. Give a list of names.")
    found = list(env_names)
    if not found:
        raise MwaaInputError("No environment is given. Give at least one name.")
    for number, name in enumerate(found):
        if not isinstance(name, str) or not _ENV_NAME.fullmatch(name):
            raise MwaaInputError(
                f"Environment {str(name)[:80]!r}: not a name that MWAA accepts. Give 1 to 80 letters, digits, - and _, "
                "beginning with a letter."
            )
        if name in found[:number]:
            raise MwaaInputError(f"Environment {name!r} is given twice. Give each once.")
    return found


def check_region(region: str) -> None:
    """Refuse what is not an AWS region.

    :raises MwaaInputError: it is none.
    """
    if not isinstance(region, str) or not _REGION.fullmatch(region):
        raise MwaaInputError(f"Region {str(region)[:80]!r} is not an AWS region. Give one such as eu-west-1.")
