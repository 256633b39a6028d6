# SPDX-License-Identifier: Apache-2.0
"""What tasks return of a remote run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_mwaa_provider.client.models import DagRun


def result_of(env_name: str, run: DagRun, url: str) -> dict[str, Any]:
    """Describe a run in JSON's own types; the last two keys as the amazon provider's operator gives them."""

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
