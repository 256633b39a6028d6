# SPDX-License-Identifier: Apache-2.0
"""Find, by an environment's REST API, the runs that ``db clean`` would delete although they have not ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from airflow_mwaa_provider.exceptions import UnexpectedAnswer
from airflow_mwaa_provider.metadata.rest.values import micros, parse_datetime, written_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_mwaa_provider.metadata.cleaning.routes.db_clean_output import CliAnswer

__all__ = ["Bound", "CliEnvironment", "Runs"]

_UNFINISHED = ["queued", "running"]
_NAMED_RUNS = 3
_PAGE_ROWS = 100
_DATES = ("execution_date", "logical_date", "run_after", "queued_at", "start_date")


class CliEnvironment(Protocol):
    """A client of an environment, such as ``MwaaEnvironment``."""

    name: str

    @property
    def airflow_version(self) -> str:
        """The Airflow version of the environment."""

    def request(self, method: str, path: str, params: Mapping[str, Any] | None = None, json: Any = None) -> Any:
        """Call Airflow's REST API."""

    def run_cli(self, argv: Sequence[str], *, idempotent: bool = False) -> CliAnswer:
        """Run an Airflow command; repeat it after a lost answer only if it is ``idempotent``."""


@dataclass(frozen=True)
class Bound:
    """The time up to which dependents of runs may be deleted.

    :param time: no run that must be kept has older rows.
    :param why: why newer rows are kept, a clause; empty if only because of the retention.
    :param is_unfinished: whether the reason is an unfinished run.
    """

    time: datetime
    why: str = ""
    is_unfinished: bool = False

    @property
    def clause(self) -> str:
        """A clause with what is kept, and why."""
        since = f"rows that began at {self.time:%Y-%m-%d %H:%M} UTC or later are kept because {self.why}"
        return f"{since}; routes database and api can tell its rows from others" if self.is_unfinished else since


class Runs:
    """The DAGs and runs of an environment, as its REST API shows them."""

    def __init__(self, environment: CliEnvironment, dag_ids: Sequence[str] | None) -> None:
        self._environment = environment
        self._dag_ids = dag_ids
        self._is_2 = environment.airflow_version.startswith("2.")

    def count_dags(self) -> int:
        """Return how many DAGs the role sees."""
        every = {"only_active": "false"} if self._is_2 else {"exclude_stale": "false"}
        answer = self._environment.request("GET", "/dags", params={"limit": 1, **every})
        return self._read(answer, "GET /dags", "dags")[1]

    def dags(self) -> set[str]:
        """Return the names of the DAGs that the role sees."""
        every = {"only_active": "false"} if self._is_2 else {"exclude_stale": "false"}
        found: set[str] = set()
        offset = 0
        while True:
            params = {"limit": _PAGE_ROWS, "offset": offset, "order_by": "dag_id", **every}
            rows, total = self._read(self._environment.request("GET", "/dags", params=params), "GET /dags", "dags")
            found.update(row["dag_id"] for row in rows)
            offset += len(rows)
            if not rows or offset >= total:
                return found

    def has_any(self, dag_id: str) -> bool:
        """Return whether a DAG has any run."""
        path = "/dags/~/dagRuns/list"
        answer = self._environment.request("POST", path, json={"dag_ids": [dag_id], "page_limit": 1})
        return self._read(answer, f"POST {path}", "dag_runs")[1] > 0

    def bound(self, cutoff: datetime) -> Bound:
        """Return the time up to which dependents of runs may be deleted, if what ended before ``cutoff`` is old.

        ``db clean`` compares when a run or task began, whether it has ended or not. So it may only have what began
        before every run that has not ended, or that ended after the cutoff. An unfinished run that was cleared has
        tasks that began before it did, but none that began before the run's logical date.
        """
        unfinished: dict[tuple[str, str], tuple[datetime, str]] = {}
        is_all = True
        for name in ("execution_date", "start_date") if self._is_2 else ("logical_date", "run_after", "start_date"):
            rows, total = self._list(
                {"states": _UNFINISHED, f"{name}_lte": _written(cutoff), "order_by": name, "page_limit": _NAMED_RUNS}
            )
            is_all = is_all and total <= len(rows)
            for row in rows:
                unfinished[row["dag_id"], row["dag_run_id"]] = (_earliest(row), str(row.get("state")))
        ended, _ = self._list(
            {
                "start_date_lte": _written(cutoff),
                "end_date_gte": _written(cutoff),
                "order_by": "start_date",
                "page_limit": 1,
            }
        )
        began = min((_date(row, "start_date") or cutoff for row in ended), default=cutoff)
        dates = [date for date, _ in unfinished.values()]
        why = [_names(unfinished, is_all=is_all)] if dates else []
        if began < min([cutoff, *dates]):
            why.append(f"a run that began then ended only after {cutoff:%Y-%m-%d %H:%M} UTC")
        return Bound(min([cutoff, began, *dates]), ", and ".join(why), is_unfinished=bool(dates))

    def _list(self, body: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
        if self._dag_ids is not None:
            body["dag_ids"] = list(self._dag_ids)
        path = "/dags/~/dagRuns/list"
        return self._read(self._environment.request("POST", path, json=body), f"POST {path}", "dag_runs")

    def _read(self, answer: Any, asked: str, name: str) -> tuple[list[dict[str, Any]], int]:
        rows = answer.get(name) if isinstance(answer, dict) else None
        total = answer.get("total_entries") if isinstance(answer, dict) else None
        keys = {"dag_id"} if name == "dags" else {"dag_id", "dag_run_id"}
        if (
            isinstance(rows, list)
            and isinstance(total, int)
            and all(isinstance(r, dict) and keys <= set(r) for r in rows)
        ):
            return rows, total
        raise UnexpectedAnswer(
            f"Environment {self._environment.name!r}: the answer to {asked} has no {name} and total_entries, so route "
            "cli cannot tell what is in use. Check that nothing but Airflow answers there.",
            env_name=self._environment.name,
        )


def _written(time: datetime) -> str:
    return written_time(micros(time))


def _date(row: dict[str, Any], name: str) -> datetime | None:
    try:
        return parse_datetime(row.get(name))
    except ValueError as error:
        raise UnexpectedAnswer(f"The REST API: {name}={row[name]!r} of a run is not a time: {error}.") from None


def _earliest(row: dict[str, Any]) -> datetime:
    """Return the earliest time that a row of a run can have; any time, if the run is shown without dates."""
    dates = [date for name in _DATES if (date := _date(row, name)) is not None]
    return min(dates, default=datetime.min.replace(tzinfo=UTC))


def _names(unfinished: Mapping[tuple[str, str], tuple[datetime, str]], *, is_all: bool) -> str:
    first = sorted(unfinished.items(), key=lambda item: item[1][0])
    texts = [f"run {run_id} of DAG {dag_id} is {state}" for (dag_id, run_id), (_, state) in first[:_NAMED_RUNS]]
    if not is_all or len(first) > _NAMED_RUNS:
        texts.append("others are unfinished as well")
    return ", ".join(texts)
