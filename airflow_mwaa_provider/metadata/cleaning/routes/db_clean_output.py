# SPDX-License-Identifier: Apache-2.0
"""Read what Airflow's ``db clean`` prints.

Source: ``utils/db_cleanup.py`` of Airflow 2.8.1, 2.10.3, 2.11.2, 3.0.6, 3.2.1 and 3.3.1; a test compares with what the
installed one prints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["CliAnswer", "Printed", "error_line", "last_line", "read_output"]

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
        """0 if it succeeded."""


@dataclass(frozen=True)
class Printed:
    """The meaning of what one ``db clean`` printed.

    :param names: its tables, as a dry run lists them, including those whose rows are deleted with another table's.
    :param counts: how many rows of each meet its criteria.
    :param failed: tables whose error it swallowed.
    :param missing: tables that it knows and this database does not have.
    :param without_dag: tables whose rows it cannot assign to a DAG, and cleans in spite of ``--dag-ids``.
    :param archives: tables that it copied rows to.
    :param has_finished: whether it reported the end of a table; 3.0.6 also does for one that failed.
    """

    names: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    failed: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    without_dag: frozenset[str] = frozenset()
    archives: tuple[str, ...] = ()
    has_finished: bool = False


def read_output(answer: CliAnswer) -> Printed:
    """Return the meaning of what ``db clean`` printed; lines of other origin are skipped."""
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
    """Read the tables without a DAG from the configuration that a dry run prints; before 3.3 it has no such column."""
    place = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if cells[0] == "table" and "dag_id_column" in cells:
            place = cells.index("dag_id_column")
        elif place is not None and len(cells) > place and cells[place] == "None":
            yield cells[0]


def error_line(answer: CliAnswer) -> str | None:
    """Return the line that names the error, without secrets; ``None`` if there is no such line."""
    lines = _lines(answer)
    for pattern in (_RAISED, _REFUSED):
        for line in reversed(lines):
            if found := pattern.match(line):
                return _without_secrets(found[1])
    for line in lines:
        if found := _FAILED.search(line):
            return f"{found[0]}, and printed no reason; the database's own log has it"
    return None


def last_line(answer: CliAnswer) -> str:
    """Return the last line that a command printed, without secrets."""
    return _without_secrets(["it printed nothing", *_lines(answer)][-1])


def _lines(answer: CliAnswer) -> list[str]:
    return [line.strip() for text in (answer.stdout, answer.stderr) for line in text.splitlines() if line.strip()]


def _without_secrets(line: str) -> str:
    line = _SECRET.sub(r"\1***", _CREDENTIALS.sub("***@", line)).rstrip(". ")
    return line if len(line) <= _LINE_LENGTH else f"{line[:_LINE_LENGTH]}…"
