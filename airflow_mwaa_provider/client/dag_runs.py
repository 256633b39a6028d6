# SPDX-License-Identifier: Apache-2.0
"""The calls of a remote environment that are about DAG runs."""

from __future__ import annotations

import json as jsonlib
import logging
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.http.errors import truncate
from airflow_mwaa_provider.client.models import DagRun, DagRunState, RunRequest
from airflow_mwaa_provider.exceptions import (
    DagRunAlreadyExists,
    DagRunNotFound,
    MwaaError,
    MwaaInputError,
    RemoteConflict,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from airflow_mwaa_provider.client.access import TransportSelector
    from airflow_mwaa_provider.client.backend import Backend

log = logging.getLogger(__name__)


class DagRunCalls:
    """Trigger, read, wait for, mark and clear runs."""

    name: str
    _access: TransportSelector

    def trigger_dag_run(
        self,
        dag_id: str,
        run_id: str | None = None,
        conf: Mapping[str, Any] | None = None,
        logical_date: datetime | None = None,
        note: str | None = None,
        *,
        data_interval: tuple[datetime, datetime] | None = None,
        former_run_id: str | None = None,
        identified_by: Collection[str] | None = None,
    ) -> DagRun:
        """Trigger a run, exactly once.

        The call carries the run's id. If its outcome is unknown (a time-out, an interrupted connection, a 5xx), it is
        not sent again before checking whether the run exists. Called twice with the same id, conf and date, it returns
        the same run; ``created`` says whether this call created it. After an attempt with an unknown outcome, a run
        that is found counts as created by it, because whether it existed before cannot be determined.

        :param run_id: id of the run; a unique one is generated if it is omitted.
        :param conf: JSON-serializable configuration of the run.
        :param logical_date: with a time zone. If omitted, Airflow 2 uses the current time, Airflow 3 none.
        :param data_interval: start and end of the run's data interval.
        :param former_run_id: the id that an earlier release of the caller gave to the same request. A run with this id
            is returned instead of creating one, if it is the same request; otherwise it is not touched.
        :param identified_by: keys of ``conf`` that distinguish requests; ``None`` compares all of it.
        :return: the run.
        :raises DagNotFound: the DAG does not exist.
        :raises DagRunAlreadyExists: the run with this id has another conf, logical date or data interval; on Airflow 3
            also if it has a date and none was requested.
        :raises RemoteConflict: another run has this logical date.
        :raises MwaaError: any other, with ``ambiguous`` set if the run may exist nevertheless.
        """
        run_id = run_id or f"mwaa__{uuid.uuid4().hex}"
        for moment in (logical_date, *(data_interval or ())):
            if moment is not None and moment.tzinfo is None:
                raise MwaaInputError(f"The date {moment.isoformat()} has no time zone. Add one, such as UTC.")
        try:
            jsonlib.dumps(conf, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise MwaaInputError(f"conf cannot be written as JSON: {error}.") from None
        request = _Request(conf or {}, logical_date, data_interval, note, identified_by)
        if former_run_id is not None:
            earlier = self._find_earlier(dag_id, run_id, former_run_id, request)
            if earlier is not None:
                return earlier
        fate_unknown = False

        def attempt(backend: Backend) -> DagRun:
            nonlocal fate_unknown
            if fate_unknown:
                found = backend.find_run(dag_id, run_id, recent=True, with_conf=True)
                if found is not None:
                    self._check_same_request(found, request)
                    log.info("Environment %r: run %r had been created despite the error", self.name, run_id)
                    return _with_created(found, True)
            try:
                run = backend.create_run(dag_id, run_id, request)
            except RemoteConflict:
                found = backend.find_run(dag_id, run_id, with_conf=True)
                if found is None:
                    raise  # the conflict is with another run, about the logical date
                self._check_same_request(found, request)
                return _with_created(found, fate_unknown)
            except MwaaError as error:
                fate_unknown = fate_unknown or error.ambiguous
                raise
            return _with_created(run, True)

        try:
            return self._access.call(
                attempt, idempotent=False, may_repeat=lambda error: error.transient or error.ambiguous
            )
        except DagRunAlreadyExists:
            raise  # no doubt is left: the run with this id is another one
        except MwaaError as error:
            # The last error may be about reading the run; the doubt is about the trigger before it.
            error.ambiguous = error.ambiguous or fate_unknown
            raise

    def find_earlier_run(
        self,
        dag_id: str,
        run_id: str,
        former_run_id: str,
        *,
        conf: Mapping[str, Any] | None = None,
        logical_date: datetime | None = None,
    ) -> DagRun | None:
        """Find the run of a request to which an earlier release of the caller gave another id.

        :return: ``None`` if no run has the former id, or if it was created for another request. If ``run_id`` exists
            as well, that run.
        """
        return self._find_earlier(dag_id, run_id, former_run_id, _Request(conf or {}, logical_date))

    def _find_earlier(self, dag_id: str, run_id: str, former_run_id: str, request: _Request) -> DagRun | None:
        def find(wanted: str) -> DagRun | None:
            found = self._access.call(lambda backend: backend.find_run(dag_id, wanted, recent=True, with_conf=True))
            return found if found is not None and not self._differences(found, request) else None

        former = find(former_run_id)
        if former is None:
            return None
        # If a run has the new id, this caller created it, and the former one is another caller's.
        return _with_created(find(run_id) or former, False)

    def _check_same_request(self, found: DagRun, request: _Request) -> None:
        """Refuse a run that has the right id and was created for another request."""
        differences = self._differences(found, request)
        if differences:
            raise DagRunAlreadyExists(
                f"Environment {self.name!r}: DAG {found.dag_id!r} already has a run {found.run_id!r}, created for "
                f"another request: {'; '.join(differences)}. Use another run id, or repeat the same request. A conf "
                "that changes with each try, such as the current time, makes another request.",
                env_name=self.name,
                status=409,
            )

    def _differences(self, found: DagRun, request: _Request) -> list[str]:
        """Return how a run differs from a request.

        On Airflow 3, a request without a date leaves the date of its run empty. Airflow 2 dates every run, and nothing
        that it or its CLI shows distinguishes a requested date from the time of the request: the run type is the same,
        the data interval follows from the date either way, and both may be in whole seconds. There such a run is taken
        for the same request. The ids that operators derive contain whether a date was requested, so that this only
        concerns ids that users give.
        """
        differences = request.differences(found)
        if request.logical_date is None and found.logical_date is not None and self._access.major() >= 3:
            return [f"its logical date is {found.logical_date.isoformat()}, and none was requested", *differences]
        return differences

    def get_dag_run(self, dag_id: str, run_id: str) -> DagRun:
        """Read one run.

        :raises DagRunNotFound: it, or its DAG, does not exist.
        """
        run = self._access.call(lambda backend: backend.find_run(dag_id, run_id))
        if run is None:
            raise DagRunNotFound(
                f"Environment {self.name!r}: DAG {dag_id!r} has no run {run_id!r}. Check both ids.",
                env_name=self.name,
                status=404,
            )
        return run

    def get_dag_runs(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], DagRun]:
        """Read many runs in few calls.

        :param pairs: (dag_id, run_id) of each.
        :return: the runs by their pair; those that do not exist are left out.
        """
        return self._access.call(lambda backend: backend.find_runs(pairs)) if pairs else {}

    def get_ended_dag_runs(self, dag_ids: Sequence[str], since: datetime) -> list[DagRun]:
        """Read the runs of these DAGs that ended at a time or after it; one call per hundred.

        :param since: with a time zone.
        """
        return self._access.call(lambda backend: list(backend.ended_runs(dag_ids, since))) if dag_ids else []

    def get_recent_dag_runs(
        self, dag_id: str, limit: int = 1, *, states: Sequence[DagRunState] = (), until: datetime | None = None
    ) -> list[DagRun]:
        """Read the latest runs of a DAG, the latest first.

        Latest by date (``run_after`` on Airflow 3, the logical date on Airflow 2), not by creation: a backfill of last
        year is not the latest run.

        :param until: with a time zone; leaves out the runs that could only begin after it (``run_after``). The CLI of
            Airflow 2 does not show that time; there a scheduled run counts from its start.
        :raises DagNotFound: the DAG does not exist.
        """
        return self._access.call(lambda backend: backend.recent_runs(dag_id, limit, states=states, until=until))

    def set_dag_run_state(self, dag_id: str, run_id: str, state: DagRunState | str) -> DagRun:
        """Mark a run as queued, success or failed; Airflow ends its running tasks accordingly.

        :raises DagRunNotFound: it does not exist.
        """
        try:
            wanted = DagRunState(state)
        except ValueError:
            raise MwaaInputError(f"state={state!r} is none of queued, success, failed.") from None
        # Setting the same state again changes nothing, so that it may be repeated.
        return self._access.call(lambda backend: backend.set_run_state(dag_id, run_id, wanted), idempotent=True)

    def stop_dag_run(self, dag_id: str, run_id: str) -> DagRun:
        """Mark a run as failed, which ends its tasks; one that has already ended is not changed.

        :raises DagRunNotFound: it does not exist.
        """
        run = self.get_dag_run(dag_id, run_id)
        return run if run.state.is_final else self.set_dag_run_state(dag_id, run_id, DagRunState.FAILED)

    def clear_dag_run(self, dag_id: str, run_id: str) -> None:
        """Clear a run's tasks, so that it runs again under its id. Not repeated if the outcome is unknown."""
        self._access.call(lambda backend: backend.clear_run(dag_id, run_id), idempotent=False)


@dataclass(frozen=True)
class _Request(RunRequest):
    """A request, and the keys of its conf that distinguish it from others."""

    identified_by: Collection[str] | None = None

    def differences(self, run: DagRun) -> list[str]:
        """Return how a run differs from this request; values of the conf are not repeated."""
        found = []
        if self.logical_date is not None and self.logical_date != run.logical_date:
            its_own = run.logical_date.isoformat() if run.logical_date else "none"
            found.append(f"its logical date is {its_own}, and {self.logical_date.isoformat()} was requested")
        if self.data_interval is not None and run.data_interval is not None and self.data_interval != run.data_interval:
            asked_for = _interval(self.data_interval)
            found.append(f"its data interval is {_interval(run.data_interval)}, and {asked_for} was requested")
        if run.conf is None:
            return found
        # As it comes back from JSON, where a tuple is a list.
        asked, there = jsonlib.loads(jsonlib.dumps(self.conf)), run.conf
        keys = {*asked, *there} if self.identified_by is None else set(self.identified_by)
        for keys_so, how in (
            (sorted(keys & asked.keys() - there.keys()), "its conf lacks"),
            (sorted(keys & there.keys() - asked.keys()), "only its conf has"),
            (
                sorted(key for key in keys & asked.keys() & there.keys() if not _is_same(asked[key], there[key])),
                "its conf has another",
            ),
        ):
            if keys_so:
                found.append(f"{how} {_some(keys_so)}")
        return found


def _is_same(asked: Any, there: Any) -> bool:
    """Compare JSON's own types: true is not 1, and 1e23 may come back as an integer."""
    if isinstance(asked, dict) and isinstance(there, dict):
        return asked.keys() == there.keys() and all(_is_same(asked[key], there[key]) for key in asked)
    if isinstance(asked, list) and isinstance(there, list):
        return len(asked) == len(there) and all(map(_is_same, asked, there))
    if isinstance(asked, bool) or isinstance(there, bool):
        return asked is there
    if isinstance(asked, float) != isinstance(there, float) and isinstance(asked, int | float):
        return isinstance(there, int | float) and float(asked) == float(there)
    return bool(asked == there)


def _interval(interval: tuple[datetime, datetime]) -> str:
    return " to ".join(moment.isoformat() for moment in interval)


def _some(keys: Sequence[str], most: int = 5) -> str:
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(repr(truncate(key, 60)) for key in keys[:most]) + more


def _with_created(run: DagRun, created: bool) -> DagRun:
    return replace(run, created=created)
