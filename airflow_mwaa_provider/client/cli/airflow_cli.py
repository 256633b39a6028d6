# SPDX-License-Identifier: Apache-2.0
"""Airflow through its CLI: the calls that MWAA's CLI endpoint allows, read from ``-o json`` and not from prose.

What has no command there (logs, pools, marking a run) is not overridden, so that ``Backend`` refuses it. Clearing has
one, by dates, which could affect other runs; the last run of each DAG would take a command per DAG.

Source: the CLI of Airflow 2.8.1 to 3.3.1; the guide's table of commands; FACTS for Airflow 3's allow-list.
"""

from __future__ import annotations

import json as jsonlib
import logging
from dataclasses import replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_mwaa_provider.client.cli.call import positional
from airflow_mwaa_provider.client.cli.endpoint import json_argument, last_words
from airflow_mwaa_provider.client.cli.roles import RolesCli
from airflow_mwaa_provider.client.cli.stored_objects import StoredObjectsCli
from airflow_mwaa_provider.client.models import Dag, DagFileError, DagRun, TaskInstance, parse_time
from airflow_mwaa_provider.client.states import DagRunState, TaskState
from airflow_mwaa_provider.exceptions import (
    CliCommandFailed,
    CliCommandNotAllowed,
    DagNotFound,
    RemoteConflict,
    UnexpectedAnswer,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_mwaa_provider.client.models import CliResult, RunRequest

log = logging.getLogger(__name__)


class AirflowCli(StoredObjectsCli, RolesCli):
    """One environment's Airflow, by commands."""

    # -- DAGs and runs -----------------------------------------------------------------------------

    def is_paused(self, dag_id: str) -> bool | None:
        # On Airflow 2, `dags list` reads the DAG files, and lacks those that the web server cannot import.
        for dag in self.list_dags():
            if dag.dag_id == dag_id:
                return dag.is_paused
        if not self._has_runs_listed(dag_id):
            raise self._no_dag(dag_id)
        try:
            result = self._endpoint.run(["dags", "details", "-o", "json", *positional(dag_id)], check=True)
            [details] = self._parse(result, "dags details", "is_paused")
        except (CliCommandNotAllowed, CliCommandFailed):  # MWAA may not allow it
            log.warning(
                "Environment %r: `airflow dags list` lacks DAG %r, because the web server cannot import its file. The "
                "CLI does not show whether it is paused.",
                self._env_name,
                dag_id,
            )
            return None
        return str(details["is_paused"]) == "True"

    def list_dags(self) -> list[Dag]:
        """List the DAGs, sorted by id; on Airflow 2 only those whose files the web server can import."""
        rows = self._json(["dags", "list"], "dag_id")
        found = (Dag(row["dag_id"], str(row.get("is_paused", row.get("paused"))) == "True") for row in rows)
        return sorted(found, key=lambda dag: dag.dag_id)

    def list_dag_file_errors(self) -> list[DagFileError]:
        """List the DAG files that cannot be imported, sorted by name; on Airflow 2 by the web server."""
        command = ["dags", "list-import-errors"]
        result = self._endpoint.run([*command, "-o", "json"])
        try:
            # It fails if there are any, and prints them nevertheless.
            rows = self._parse(result, " ".join(command), "filepath", "error")
        except UnexpectedAnswer:
            if not result.exit_status:
                raise
            raise self._failed(" ".join(command), result) from None
        found = (DagFileError(str(row["filepath"]), str(row["error"])) for row in rows)
        return sorted(found, key=lambda error: error.filename)

    def missing_dags(self, dag_ids: Sequence[str]) -> list[str]:
        """Return which of these DAGs do not exist; one command, and one more for each that it does not list."""
        listed = {row["dag_id"] for row in self._json(["dags", "list"], "dag_id")}
        return [dag_id for dag_id in dag_ids if dag_id not in listed and not self._has_runs_listed(dag_id)]

    def _has_runs_listed(self, dag_id: str) -> bool:
        """Return whether Airflow lists runs of a DAG, even if none: it does for each DAG in its database."""
        return self._run_list(dag_id).exit_status == 0

    def _no_dag(self, dag_id: str) -> DagNotFound:
        return DagNotFound(
            f"Environment {self._env_name!r}: no DAG {dag_id!r}. Check the id, and that the DAG is deployed there.",
            env_name=self._env_name,
        )

    def create_run(self, dag_id: str, run_id: str, request: RunRequest) -> DagRun:
        if request.note is not None or request.data_interval is not None:  # the command takes neither
            raise self._unsupported("note" if request.note is not None else "data_interval_start and data_interval_end")
        conf, logical_date = dict(request.conf or {}), request.logical_date
        argv = ["dags", "trigger", f"--run-id={run_id}", "--conf", json_argument(conf), "-o", "json"]
        if self.major == 2:
            # Without a date, Airflow 2 uses the current second, and two triggers within one second collide.
            logical_date = logical_date or datetime.now(UTC)
            argv += ["--exec-date", logical_date.isoformat()]
        elif logical_date is not None:
            argv += ["--logical-date", logical_date.isoformat()]
        if logical_date is not None:
            argv.append("--no-replace-microseconds")  # otherwise Airflow truncates the date to the second
        argv += positional(dag_id)
        result = self._endpoint.run(argv)
        if result.exit_status:
            self._explain_failed_trigger(dag_id, run_id, result, last_words(result, argv))
        row = next(iter(self._parse(result, "dags trigger", ambiguous=True)), {})
        if row.get("dag_run_id") != run_id:
            raise UnexpectedAnswer(
                f"Environment {self._env_name!r}: `airflow dags trigger` answered without the run {run_id!r}: "
                f"{last_words(result)}. It may exist nevertheless: check before you trigger it again.",
                env_name=self._env_name,
                ambiguous=True,
                transient=True,
            )
        row = {"state": DagRunState.QUEUED, **row, "dag_id": dag_id, "run_id": run_id}
        return replace(self._run(row, ambiguous=True), conf=conf)

    def find_run(self, dag_id: str, run_id: str, *, recent: bool = False, with_conf: bool = False) -> DagRun | None:
        """Read one run; ``None`` if it does not exist.

        :raises DagNotFound: the DAG does not exist.
        """
        if with_conf:
            found = self.find_run(dag_id, run_id, recent=recent)
            if found is None:
                return None
            # One command shows the dates, another the conf.
            listed = next((run for run in self._list_runs(dag_id) if run.run_id == run_id), found)
            return replace(listed, conf=self._conf_of(listed))
        if self.major >= 3 and not _may_read_as_time(run_id):
            # One row instead of all runs of the DAG. An id that reads as a time could mean another run there.
            result = self._endpoint.run(["dags", "state", *positional(dag_id, run_id)])
            if result.exit_status == 0:
                return self._state_line(dag_id, run_id, result)
            self._explain_unreadable_dag(dag_id, "dags state", result)
        return next((run for run in self._list_runs(dag_id) if run.run_id == run_id), None)

    def find_runs(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], DagRun]:
        """Read many runs: one command per DAG; those that do not exist are left out."""
        found: dict[tuple[str, str], DagRun] = {}
        wanted: dict[str, set[str]] = {}
        for dag_id, run_id in pairs:
            wanted.setdefault(dag_id, set()).add(run_id)
        for dag_id, run_ids in wanted.items():
            try:
                runs = self._list_runs(dag_id)
            except DagNotFound:
                continue
            found.update({(dag_id, run.run_id): run for run in runs if run.run_id in run_ids})
        return found

    def ended_runs(self, dag_ids: Sequence[str], since: datetime) -> Iterator[DagRun]:
        """Read the runs of these DAGs that ended at that time or after it: one command per DAG.

        A DAG that does not exist has none, as with the REST API.
        """
        for dag_id in dag_ids:
            try:
                runs = self._list_runs(dag_id)
            except DagNotFound:
                continue
            for run in runs:
                if run.state.is_final and (run.end_date is None or run.end_date >= since):
                    yield run

    def recent_runs(
        self, dag_id: str, limit: int, *, states: Sequence[DagRunState] = (), until: datetime | None = None
    ) -> list[DagRun]:
        runs = [run for run in self._list_runs(dag_id) if not states or run.state in states]
        if until is not None:
            runs = [run for run in runs if run.run_after is not None and run.run_after <= until]
        date = attrgetter("run_after" if self.major >= 3 else "logical_date")
        runs.sort(key=lambda run: date(run) or datetime.now(UTC), reverse=True)
        return runs[:limit]

    # -- tasks -------------------------------------------------------------------------------------

    def get_tasks_of_runs(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        task_ids: Sequence[str] | None = None,
        states: Sequence[TaskState] = (),
    ) -> list[TaskInstance]:
        """List task instances of runs: one command per run."""
        return [
            instance
            for dag_id, run_id in dict.fromkeys(pairs)
            for instance in self._tasks_of_run(dag_id, run_id)
            if (task_ids is None or instance.task_id in task_ids) and (not states or instance.state in states)
        ]

    def _tasks_of_run(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        argv = ["tasks", "states-for-dag-run", "-o", "json", *positional(dag_id, run_id)]
        result = self._endpoint.run(argv)
        if result.exit_status:
            if self.find_run(dag_id, run_id) is None:
                return []
            raise self._failed("tasks states-for-dag-run", result)
        return [self._task_instance(dag_id, run_id, row) for row in self._parse(result, " ".join(argv[:2]))]

    # -- within ------------------------------------------------------------------------------------

    def _list_runs(self, dag_id: str) -> list[DagRun]:
        result = self._run_list(dag_id)
        if result.exit_status:
            self._explain_unreadable_dag(dag_id, "dags list-runs", result)
        return [self._run(row) for row in self._parse(result, "dags list-runs")]

    def _run_list(self, dag_id: str) -> CliResult:
        which = [f"--dag-id={dag_id}"] if self.major == 2 else positional(dag_id)
        return self._endpoint.run(["dags", "list-runs", "-o", "json", *which])

    def _run(self, row: dict[str, Any], *, ambiguous: bool = False) -> DagRun:
        try:
            logical_date = parse_time(_text(row.get("logical_date") or row.get("execution_date")))
            start_date = parse_time(_text(row.get("start_date")))
            run_after = parse_time(_text(row.get("run_after")))
            if run_after is None:
                # Airflow 2 does not show it. A scheduled run is created at the end of an interval that is not shown
                # either, so that only its start is known; other runs are created at their logical date.
                run_after = start_date if row["run_id"].startswith("scheduled__") else logical_date or start_date
            return DagRun(
                dag_id=row["dag_id"],
                run_id=row["run_id"],
                state=DagRunState(row["state"]),
                logical_date=logical_date,
                run_after=run_after,
                start_date=start_date,
                end_date=parse_time(_text(row.get("end_date"))),
            )
        except (KeyError, ValueError) as error:
            raise self._unrecognized("a DAG run", error, came=row, ambiguous=ambiguous) from error

    def _task_instance(self, dag_id: str, run_id: str, row: dict[str, Any]) -> TaskInstance:
        try:
            return TaskInstance(
                dag_id=dag_id,
                run_id=run_id,
                task_id=row["task_id"],
                state=TaskState(_text(row.get("state")) or TaskState.NONE),
                map_index=int(_text(row.get("map_index")) or -1),
                start_date=parse_time(_text(row.get("start_date"))),
                end_date=parse_time(_text(row.get("end_date"))),
            )
        except (KeyError, ValueError) as error:
            raise self._unrecognized("a task instance", error, came=row) from error

    def _conf_of(self, run: DagRun) -> dict[str, Any] | None:
        """Read the conf of a run that exists; on Airflow 2 it is requested by its date."""
        which = run.run_id if self.major >= 3 else run.logical_date.isoformat() if run.logical_date else None
        if which is None:
            return None
        result = self._endpoint.run(["dags", "state", *positional(run.dag_id, which)])
        if result.exit_status:
            raise self._failed("dags state", result, f" of DAG {run.dag_id!r}")
        shown = self._state_line(run.dag_id, run.run_id, result)
        return None if shown is None else shown.conf or {}

    def _state_line(self, dag_id: str, run_id: str, result: CliResult) -> DagRun | None:
        """Read ``running``, ``success, {…conf…}`` or ``None``: the last line of the output that is one of them."""
        for line in reversed(result.stdout.splitlines()):
            word, _, rest = line.strip().partition(", ")
            if word == "None":
                return None
            if word in DagRunState.__members__.values():
                try:
                    conf = jsonlib.loads(rest) if rest else None
                except ValueError:
                    continue
                return DagRun(dag_id=dag_id, run_id=run_id, state=DagRunState(word), conf=conf)
        raise UnexpectedAnswer(
            f"Environment {self._env_name!r}: `airflow dags state` of run {run_id!r} printed no state: "
            f"{last_words(result)}. Try again later, or use transport rest_api or web_session.",
            env_name=self._env_name,
        )

    def _explain_failed_trigger(self, dag_id: str, run_id: str, result: CliResult, words: str) -> NoReturn:
        """Determine from data why a trigger failed: no such DAG, a run of this id, or something else."""
        found = self.find_run(dag_id, run_id)  # raises DagNotFound
        if found is not None:
            raise RemoteConflict(
                f"Environment {self._env_name!r}: DAG {dag_id!r} already has a run {run_id!r}. Use another id, or "
                "that run.",
                env_name=self._env_name,
                status=409,
            )
        raise self._failed("dags trigger", result, f" of DAG {dag_id!r}", words)

    def _explain_unreadable_dag(self, dag_id: str, command: str, result: CliResult) -> NoReturn:
        """Determine from data why a DAG's runs cannot be read: no such DAG, or the command failed."""
        if self.missing_dags([dag_id]):
            raise self._no_dag(dag_id)
        raise self._failed(command, result, f" of DAG {dag_id!r}")


def _text(value: Any) -> str | None:
    """Return a column's text; in some columns the CLI writes Airflow's null as ``None``."""
    return None if value in (None, "", "None") else str(value)


def _may_read_as_time(text: str) -> bool:
    """Return whether Airflow could take a run's id for a time; its lenient parser takes nothing with an underscore."""
    return "_" not in text
