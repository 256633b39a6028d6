# SPDX-License-Identifier: Apache-2.0
"""What tasks return about a remote run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import MwaaError

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_mwaa_provider.client.environment import MwaaEnvironment
    from airflow_mwaa_provider.client.models import DagRun

log = logging.getLogger(__name__)


def url_of(environment: MwaaEnvironment, run: DagRun) -> str:
    """Return the address of a run's page, or log a warning and return an empty string if it is not available."""
    try:
        return environment.dag_run_url(run.dag_id, run.run_id)
    except MwaaError as error:
        # The run exists. A role that may not read the host's name must not make it look failed.
        log.warning("The task has no link to the run, because its address is not available: %s", error)
        return ""


def result_of(env_name: str, run: DagRun, url: str) -> dict[str, Any]:
    """Describe a run as JSON types. The last two keys are those of the amazon provider's operator."""

    def text(moment: datetime | None) -> str | None:
        return moment.isoformat() if moment else None

    return {
        "env_name": env_name,
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "state": run.state.value,
        "url": url,
        "RestApiStatusCode": 200,
        "RestApiResponse": {
            "dag_id": run.dag_id,
            "dag_run_id": run.run_id,
            "state": run.state.value,
            "logical_date": text(run.logical_date),
            "start_date": text(run.start_date),
            "end_date": text(run.end_date),
            "note": run.note,
        },
    }
