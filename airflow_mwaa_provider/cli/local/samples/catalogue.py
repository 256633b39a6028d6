# SPDX-License-Identifier: Apache-2.0
"""All samples that can be run on a local MWAA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mwaa_provider.cli.local.samples import (
    bash_command,
    custom_metrics,
    ecs_task,
    eks_pod,
    emr_steps,
    environment_variables,
    print_configuration,
    rest_api,
    secrets_manager,
    secrets_manager_var,
    sql_server,
    ssh_command,
    time_zones,
)

if TYPE_CHECKING:
    from airflow_mwaa_provider.cli.local.samples.sample import Sample

__all__ = ["SAMPLES"]

_MODULES = (
    ssh_command,
    custom_metrics,
    secrets_manager_var,
    secrets_manager,
    environment_variables,
    time_zones,
    sql_server,
    emr_steps,
    eks_pod,
    ecs_task,
    print_configuration,
    rest_api,
    bash_command,
)
SAMPLES: dict[str, Sample] = {module.SAMPLE.name: module.SAMPLE for module in _MODULES}
"""In the order of the user guide, by name."""
