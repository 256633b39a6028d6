# SPDX-License-Identifier: Apache-2.0
"""How the end of a deferred wait travels from the triggerer to the task: as plain JSON, and back as our own types."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider import exceptions
from airflow_mwaa_provider.client.models import DagRun, DagRunState, parse_time
from airflow_mwaa_provider.client.texts import storable
from airflow_mwaa_provider.client.waits.run_wait import Done, Failed
from airflow_mwaa_provider.exceptions import MwaaError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["event_of", "outcome_of"]

_TIMES = ("logical_date", "start_date", "end_date")


def event_of(outcome: Done | Failed) -> dict[str, Any]:
    """Write the end of a wait as JSON's own types, which Airflow's database can store.

    :return: ``{"status": "success" | "skipped" | "failed", "run": {…} | None, "error": {…} | None}``
    """
    if isinstance(outcome, Done):
        status = "skipped" if outcome.skipped else "success"
        return storable({"status": status, "run": _run(outcome.run), "error": None})
    return storable({"status": "failed", "run": _run(outcome.run), "error": _error(outcome.error)})


def outcome_of(event: Mapping[str, Any] | None) -> Done | Failed:
    """Read what :func:`event_of` has written; an event that isn't one of ours ended the wait without success."""
    run = _read_run((event or {}).get("run"))
    match (event or {}).get("status"):
        case "success":
            return Done(run)
        case "skipped":
            return Done(run, skipped=True)
        case "failed":
            return Failed(_read_error((event or {}).get("error") or {}), run)
    return Failed(MwaaError(f"The trigger ended with {event!r}, which it never sends. Clear the task to try again."))


def _run(run: DagRun | None) -> dict[str, Any] | None:
    """Everything but the conf, which may be large, and which the task has."""
    if run is None:
        return None
    times = {name: moment.isoformat() if (moment := getattr(run, name)) else None for name in _TIMES}
    return {"dag_id": run.dag_id, "run_id": run.run_id, "state": run.state.value, "note": run.note, **times}


def _read_run(fields: Mapping[str, Any] | None) -> DagRun | None:
    if fields is None:
        return None
    times: dict[str, Any] = {name: parse_time(fields.get(name)) for name in _TIMES}
    return DagRun(fields["dag_id"], fields["run_id"], DagRunState(fields["state"]), note=fields.get("note"), **times)


def _error(error: MwaaError) -> dict[str, Any]:
    plain = {name: value for name, value in vars(error).items() if isinstance(value, str | int | float | bool)}
    lists = {name: list(value) for name, value in vars(error).items() if isinstance(value, tuple)}
    return {"type": type(error).__name__, "message": str(error), "fields": plain | lists}


def _read_error(written: Mapping[str, Any]) -> MwaaError:
    kind = getattr(exceptions, str(written.get("type")), MwaaError)
    if not (inspect.isclass(kind) and issubclass(kind, MwaaError)):
        kind = MwaaError
    fields = written.get("fields") or {}
    known: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in fields.items()
        if any(name in inspect.signature(base).parameters for base in kind.__mro__ if issubclass(base, MwaaError))
    }
    error: MwaaError = kind(str(written.get("message") or "The wait failed, and its trigger didn't say why."), **known)
    return error
