# SPDX-License-Identifier: Apache-2.0
"""What an environment answers to route ``cli``, and what follows from it.

The text of ``db clean``, the lists of runs of the REST API, and which of the tables that a dry run has listed can be
cleaned without deleting what is in use.

Source: ``utils/db_cleanup.py`` of Airflow 2.8.1, 2.10.3, 2.11.2, 3.0.6, 3.2.1 and 3.3.1; a test compares with what the
installed one prints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from airflow_mwaa_provider.exceptions import MwaaInputError, TableNotFound, UnexpectedAnswer
from airflow_mwaa_provider.metadata.cleaning.outcome import RetainedRows
from airflow_mwaa_provider.metadata.rest.values import micros, parse_datetime, written_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions

__all__ = [
    "LIVE",
    "LIVE_FOR",
    "OF_RUNS",
    "TAKEN_ALONG",
    "Bound",
    "Choice",
    "CliAnswer",
    "CliEnvironment",
    "Printed",
    "Runs",
    "choose_tables",
    "error_line",
    "last_line",
    "read_output",
]

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
_PAGE_ROWS = 100
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
    lines = _lines(answer)
    for pattern in (_RAISED, _REFUSED):
        for line in reversed(lines):
            if found := pattern.match(line):
                return _without_secrets(found[1])
    for line in lines:
        if found := _FAILED.search(line):
            return f"{found[0]}, which is all that it says; the database's own log has the reason"
    return None


def last_line(answer: CliAnswer) -> str:
    """Give the last line that it printed, without secrets."""
    return _without_secrets(["it printed nothing", *_lines(answer)][-1])


def _lines(answer: CliAnswer) -> list[str]:
    return [line.strip() for text in (answer.stdout, answer.stderr) for line in text.splitlines() if line.strip()]


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

    @property
    def clause(self) -> str:
        """Say what it keeps."""
        since = f"what began from {self.time:%Y-%m-%d %H:%M} UTC on stays, for {self.why}"
        return f"{since}; routes database and api can tell its rows from others" if self.is_unfinished else since


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
        """Whether there is a run of a DAG."""
        path = "/dags/~/dagRuns/list"
        answer = self._environment.request("POST", path, json={"dag_ids": [dag_id], "page_limit": 1})
        return self._read(answer, f"POST {path}", "dag_runs")[1] > 0

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
            f"Environment {self._environment.name!r}: {asked} was not answered with {name} and total_entries, so route "
            "cli cannot tell what is in use. Check that nothing but Airflow answers there.",
            env_name=self._environment.name,
        )


def _written(time: datetime) -> str:
    return written_time(micros(time))


def _date(row: dict[str, Any], name: str) -> datetime | None:
    try:
        return parse_datetime(row.get(name))
    except ValueError as error:
        raise UnexpectedAnswer(
            f"The REST API tells {name}={row[name]!r} of a run, which is no time: {error}."
        ) from None


def _earliest(row: dict[str, Any]) -> datetime:
    """Say when a run's first row can be of; where it is shown without dates, at any time."""
    dates = [date for name in _DATES if (date := _date(row, name)) is not None]
    return min(dates, default=datetime.min.replace(tzinfo=UTC))


def _names(unfinished: Mapping[tuple[str, str], tuple[datetime, str]], *, is_all: bool) -> str:
    first = sorted(unfinished.items(), key=lambda item: item[1][0])
    texts = [f"run {run_id} of DAG {dag_id} is {state}" for (dag_id, run_id), (_, state) in first[:_NAMED_RUNS]]
    if not is_all or len(first) > _NAMED_RUNS:
        texts.append("others are unfinished as well")
    return ", ".join(texts)


ON_TASKS = ("xcom", "task_reschedule", "task_fail", "task_instance_history")
ON_RUNS = (*ON_TASKS, "task_state_store", "deadline", "task_instance")
TAKEN_ALONG: dict[str, tuple[str, ...]] = {"dag_run": ON_RUNS, "task_instance": ON_TASKS}
"""What goes with rows of a table, by reference or because ``db clean`` sees to it; children first."""

OF_RUNS = frozenset({*ON_RUNS, "dag_run", "sla_miss", "celery_taskmeta", "_xcom_archive"})
"""Tables with rows of runs, whose own times don't say whether the run is over."""

LIVE = frozenset({"job", "callback_request"})
"""Tables with rows of what is at work now, which are at least this old:"""
LIVE_FOR = timedelta(days=1)

_ORDER = (
    *ON_RUNS, "dag_run", "sla_miss", "celery_taskmeta", "celery_tasksetmeta", "_xcom_archive", "log", "job",
    "import_error", "callback_request", "connection_test_request", "revoked_token", "session",
)  # fmt: skip
_NOT_GROWING = frozenset({"_xcom_archive"})
_IN_USE = {
    "trigger": "db clean deletes triggers that tasks still wait for",
    "dag": "db clean deletes DAGs together with their runs",
    "dag_version": "db clean deletes versions that are in use, with serialized DAGs and tasks",
    "serialized_dag": "db clean cannot tell which are in use",
    "dag_code": "db clean cannot tell which is in use",
    "asset_event": "db clean deletes events that a DAG still waits with",
    "dataset_event": "db clean deletes events that a DAG still waits with",
}
_OTHER_ROUTES = "routes database and api can"


@dataclass(frozen=True)
class Choice:
    """Which tables are cleaned.

    :param retention: of each of them; children before what they hang on.
    :param kept: tables that are left alone.
    """

    retention: Mapping[str, timedelta]
    kept: tuple[RetainedRows, ...]


def choose_tables(listing: Printed, options: CleanupOptions, label: str) -> Choice:
    """Say which tables of those that a dry run has listed are cleaned.

    :param label: names the Airflow there.
    :raises TableNotFound: one that was named isn't there.
    :raises MwaaInputError: one cannot be cleaned by this route, or not so.
    """
    known = [name for name in listing.names if name not in listing.missing]
    named = tuple(options.tables or ())
    for name in (*named, *options.exclude, *options.retention_by_table):
        if name not in known and name not in _IN_USE:
            raise TableNotFound(
                f"Route cli knows no table {name!r}: db clean of {label} knows {', '.join(sorted(known))}.", table=name
            )
    for name in named:
        if name not in _ORDER:
            why = _IN_USE.get(name, "it isn't known here what of it is in use")
            raise MwaaInputError(f"Route cli cannot clean table {name}: {why}. Leave it out; {_OTHER_ROUTES} clean it.")
    chosen = {name for name in _ORDER if name in known and name not in _NOT_GROWING}
    if named:
        chosen = {child for name in named for child in (name, *TAKEN_ALONG.get(name, ())) if child in known}
    chosen -= set(options.exclude)
    for parent, children in TAKEN_ALONG.items():
        if parent in chosen and (left_out := [name for name in children if name in options.exclude]):
            raise MwaaInputError(
                f"Table {left_out[0]} cannot be excluded: its rows go with {parent}'s. Exclude {parent} as well."
            )
    kept = []
    if options.tables is None:
        for name in known:
            if name not in _ORDER and name not in options.exclude and listing.counts.get(name):
                why = _IN_USE.get(name, "it isn't known here what of it is in use")
                kept.append(RetainedRows(name, f"{why}; {_OTHER_ROUTES} tell", listing.counts[name]))
    if options.dag_ids is not None:
        if without := [name for name in named if name in listing.without_dag]:
            raise MwaaInputError(f"Table {without[0]} names no DAG to db clean: leave it, or dag_ids, out.")
        # Of some, such as deadline, it believes that they have a column that they have not.
        kept += [RetainedRows(name, "db clean cannot tell its rows by DAG") for name in sorted(chosen & listing.failed)]
        chosen -= listing.without_dag | listing.failed
    if not chosen:
        raise MwaaInputError("No table is left to clean: tables, exclude and dag_ids leave none.")
    return Choice({name: _retention(name, chosen, options) for name in _ORDER if name in chosen}, tuple(kept))


def _retention(name: str, chosen: AbstractSet[str], options: CleanupOptions) -> timedelta:
    for other in options.retention_by_table:
        if other not in chosen:
            raise MwaaInputError(f"retention_by_table names {other}, which is not among the tables to clean.")
    own = options.retention_by_table.get(name)
    parents = [parent for parent, children in TAKEN_ALONG.items() if name in children and parent in chosen]
    longest = min((_retention(parent, chosen, options) for parent in parents), default=None)
    if longest is None:
        return options.retention_of(name)
    if own is None:  # what is named beside what it hangs on may go before that
        return min(options.retention, longest) if name in (options.tables or ()) else longest
    if own > longest:
        raise MwaaInputError(
            f"retention_by_table: rows of {name} go with those of {parents[0]}, and cannot stay for longer ({longest})."
        )
    return own
