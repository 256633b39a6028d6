# SPDX-License-Identifier: Apache-2.0
"""What an environment answers to route ``cli``: the text of ``db clean``, and the lists of runs of its REST API.

Source: ``utils/db_cleanup.py`` of Airflow 2.8.1, 2.10.3, 2.11.2, 3.0.6, 3.2.1 and 3.3.1; a test compares with what the
installed one prints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from airflow_mwaa_provider.exceptions import UnexpectedAnswer
from airflow_mwaa_provider.metadata.rest_values import micros, moment, written_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

__all__ = ["Bound", "CliAnswer", "CliEnvironment", "Printed", "Runs", "error_line", "read_output"]

_NAMES = re.compile(r"would be purged from tables [\[{](.*?)[\]}] with the following config")
_NAME = re.compile(r"'([^']+)'")
_CHECKING = re.compile(r"Checking table (\S+)$")
_FOUND = re.compile(r"Found (\d+) rows meeting deletion criteria")
_MOVING = re.compile(r"Moving data to table (\S+)$")
_FAILED = re.compile(r"Encountered error when attempting to clean table '([^']+)'")
_MISSING = re.compile(r"Table (\S+) not found\.\s+Skipping")
# The last line of a traceback, without the modules that the exception is in.
_RAISED = re.compile(r"^(?:[\w.]+\.)?([A-Z]\w*(?:Error|Exception)\b: \S.*)$")
_REFUSED = re.compile(r"^(airflow command error: .*?)(?:, see help above\.)?$")
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")
_SECRET = re.compile(
    r"((?:passw\w*|pwd|secret\w*|token\w*|api_?key\w*|credential\w*)[\"']?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|\S+)",
    re.IGNORECASE,
)
_LINE_LENGTH = 300

_UNFINISHED = ["queued", "running"]
_NAMED_RUNS = 3
_DATES = ("execution_date", "logical_date", "run_after", "queued_at", "start_date")


class CliAnswer(Protocol):
    """What one command printed; ``CliResult`` is one."""

    @property
    def stdout(self) -> str:
        """Its output."""

    @property
    def stderr(self) -> str:
        """Its errors."""

    @property
    def exit_status(self) -> int:
        """0 where it succeeded."""


class CliEnvironment(Protocol):
    """What is needed of a client, such as ``MwaaEnvironment``."""

    name: str

    @property
    def airflow_version(self) -> str:
        """The Airflow version there."""

    def request(self, method: str, path: str, params: Mapping[str, Any] | None = None, json: Any = None) -> Any:
        """Call Airflow's REST API."""

    def run_cli(self, argv: Sequence[str], *, idempotent: bool = False) -> CliAnswer:
        """Run an Airflow command; repeat it after a lost answer only if it is ``idempotent``."""


@dataclass(frozen=True)
class Printed:
    """What one ``db clean`` told.

    :param names: tables that it is about, as a dry run lists them: those that it takes along among them.
    :param counts: rows of each that meet the criteria.
    :param failed: tables whose error it swallowed.
    :param missing: tables that it knows, and this database has not.
    :param without_dag: tables whose rows it cannot tell by DAG, and ``--dag-ids`` lets pass.
    :param archives: tables that it copied rows to.
    :param has_finished: whether it said so of a table; 3.0.6 says so of one that failed as well.
    """

    names: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    failed: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    without_dag: frozenset[str] = frozenset()
    archives: tuple[str, ...] = ()
    has_finished: bool = False


def read_output(answer: CliAnswer) -> Printed:
    """Read what ``db clean`` printed; what others print in between is passed over."""
    everything = f"{answer.stdout}\n{answer.stderr}"
    names = _NAMES.search(answer.stdout)
    counts: dict[str, int] = {}
    archives = []
    table = None
    for line in answer.stdout.splitlines():
        if found := _CHECKING.match(line.rstrip()):
            table = found[1]
        elif (found := _FOUND.match(line)) and table is not None:
            counts[table] = int(found[1])
        elif found := _MOVING.match(line.rstrip()):
            archives.append(found[1])
    return Printed(
        names=tuple(_NAME.findall(names[1])) if names else (),
        counts=counts,
        failed=frozenset(_FAILED.findall(everything)),
        missing=frozenset(_MISSING.findall(everything)),
        without_dag=frozenset(_without_dag(answer.stdout)),
        archives=tuple(archives),
        has_finished="Finished Performing Delete" in answer.stdout,
    )


def _without_dag(text: str) -> Iterator[str]:
    """Read it from the configuration that a dry run prints; before 3.3 it has no such column."""
    place = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if cells[0] == "table" and "dag_id_column" in cells:
            place = cells.index("dag_id_column")
        elif place is not None and len(cells) > place and cells[place] == "None":
            yield cells[0]


def error_line(answer: CliAnswer) -> str | None:
    """Give the line that says what went wrong, without secrets; ``None`` where there is none."""
    lines = [line.strip() for text in (answer.stdout, answer.stderr) for line in text.splitlines() if line.strip()]
    for pattern in (_RAISED, _REFUSED):
        for line in reversed(lines):
            if found := pattern.match(line):
                return _without_secrets(found[1])
    for line in lines:
        if found := _FAILED.search(line):
            return f"{found[0]}, which is all that it says; the database's own log has the reason"
    if answer.exit_status and lines:
        return _without_secrets(lines[-1])
    return None


def _without_secrets(line: str) -> str:
    line = _SECRET.sub(r"\1***", _CREDENTIALS.sub("***@", line)).rstrip(". ")
    return line if len(line) <= _LINE_LENGTH else f"{line[:_LINE_LENGTH]}…"


@dataclass(frozen=True)
class Bound:
    """Up to when rows that hang on runs may go.

    :param time: nothing of a run that must stay is older than this.
    :param why: what keeps what is younger, a clause; empty where it is the retention alone.
    :param is_unfinished: whether that is an unfinished run.
    """

    time: datetime
    why: str = ""
    is_unfinished: bool = False


class Runs:
    """The runs of an environment, as its REST API shows them."""

    def __init__(self, environment: CliEnvironment, dag_ids: Sequence[str] | None) -> None:
        self._environment = environment
        self._dag_ids = dag_ids
        self._is_2 = environment.airflow_version.startswith("2.")

    def count_dags(self) -> int:
        """Count the DAGs that the role sees."""
        every = {"only_active": "false"} if self._is_2 else {"exclude_stale": "false"}
        answer = self._environment.request("GET", "/dags", params={"limit": 1, **every})
        return self._read(answer, "GET /dags", "dags")[1]

    def bound(self, cutoff: datetime) -> Bound:
        """Find out up to when what hangs on runs may go, if what ended before ``cutoff`` is to go.

        ``db clean`` goes by when a run or task began, whether it has ended or not. So only what began before any run
        that has not ended, or not before the cutoff, is left to it. An unfinished run that was cleared has tasks that
        began before it did; none of them began before the date that it is for.
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
        if dates:
            return Bound(min([began, cutoff, *dates]), _names(unfinished, is_all=is_all), is_unfinished=True)
        if began < cutoff:
            return Bound(began, f"a run that began then ended only after {cutoff:%Y-%m-%d %H:%M} UTC")
        return Bound(cutoff)

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
            f"Environment {self._environment.name!r}: {asked} was not answered with {name} and total_entries, so route "
            "cli cannot tell what is in use. Check that nothing but Airflow answers there.",
            env_name=self._environment.name,
        )


def _written(time: datetime) -> str:
    return written_time(micros(time))


def _date(row: dict[str, Any], name: str) -> datetime | None:
    try:
        return moment(row.get(name))
    except ValueError as error:
        raise UnexpectedAnswer(
            f"The REST API tells {name}={row[name]!r} of a run, which is no time: {error}."
        ) from None


def _earliest(row: dict[str, Any]) -> datetime:
    """Say when a run's first row can be of; it was listed for one of these dates."""
    return min(date for name in _DATES if (date := _date(row, name)) is not None)


def _names(unfinished: Mapping[tuple[str, str], tuple[datetime, str]], *, is_all: bool) -> str:
    first = sorted(unfinished.items(), key=lambda item: item[1][0])
    texts = [f"run {run_id} of DAG {dag_id} is {state}" for (dag_id, run_id), (_, state) in first[:_NAMED_RUNS]]
    if not is_all or len(first) > _NAMED_RUNS:
        texts.append("others are unfinished as well")
    return ", ".join(texts)
