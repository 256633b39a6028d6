# SPDX-License-Identifier: Apache-2.0
"""Write the end of a deferred wait as an event of its trigger, in plain JSON, and read it back in the task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.models import DagRun, parse_time
from airflow_mwaa_provider.client.states import DagRunState
from airflow_mwaa_provider.client.texts import storable
from airflow_mwaa_provider.client.waits.run_wait import Done, Failed
from airflow_mwaa_provider.error_documents import as_dict, from_dict
from airflow_mwaa_provider.exceptions import MwaaError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["event_of", "outcome_of"]

_UNEXPLAINED = "The wait failed, and its trigger did not report why. See the triggerer's log."
_TIMES = ("logical_date", "start_date", "end_date")


def event_of(outcome: Done | Failed) -> dict[str, Any]:
    """Return the end of a wait in JSON's own types, which Airflow's database can store.

    :return: ``{"status": "success" | "skipped" | "failed", "run": {…} | None, "error": {…} | None}``
    """
    if isinstance(outcome, Done):
        status = "skipped" if outcome.skipped else "success"
        return storable({"status": status, "run": _run(outcome.run), "error": None})
    return storable({"status": "failed", "run": _run(outcome.run), "error": as_dict(outcome.error)})


def outcome_of(event: Mapping[str, Any] | None) -> Done | Failed:
    """Read what :func:`event_of` returned; any other event is a failure of the wait."""
    run = _read_run((event or {}).get("run"))
    match (event or {}).get("status"):
        case "success":
            return Done(run)
        case "skipped":
            return Done(run, skipped=True)
        case "failed":
            error = (event or {}).get("error") or {}
            return Failed(from_dict({**error, "message": error.get("message") or _UNEXPLAINED}), run)
    return Failed(MwaaError(f"The trigger ended with the unexpected event {event!r}. Clear the task to try again."))


def _run(run: DagRun | None) -> dict[str, Any] | None:
    """Return all fields but the conf, which may be large and which the task has."""
    if run is None:
        return None
    times = {name: moment.isoformat() if (moment := getattr(run, name)) else None for name in _TIMES}
    return {"dag_id": run.dag_id, "run_id": run.run_id, "state": run.state.value, "note": run.note, **times}


def _read_run(fields: Mapping[str, Any] | None) -> DagRun | None:
    if fields is None:
        return None
    times: dict[str, Any] = {name: parse_time(fields.get(name)) for name in _TIMES}
    return DagRun(fields["dag_id"], fields["run_id"], DagRunState(fields["state"]), note=fields.get("note"), **times)
