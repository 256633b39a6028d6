# SPDX-License-Identifier: Apache-2.0
"""Find out from an environment's log groups who changed whose privileges.

Source: the user guide's page on security best practices, which searches for ``add-role``; the messages of Airflow's
``users`` and ``roles`` commands and of Flask-AppBuilder's security manager; CloudWatch Logs' filter pattern syntax.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from airflow_mwaa_provider.client.aws.calls import AwsCalls

__all__ = [
    "CHANGES",
    "FILTER_PATTERN",
    "PRIVILEGES_METRIC",
    "Finding",
    "LogGroup",
    "changes_in",
    "find_changes",
    "log_groups",
]

CHANGES = (
    "role-given", "role-taken", "permission-given", "permission-taken", "role-created", "role-deleted", "user-created",
    "user-deleted", "user-added",
)  # fmt: skip
"""The kinds of changes; each person's first login also produces the last one."""

PRIVILEGES_METRIC = "privilege_changes"
"""The name of the metric that counts them, with the dimension Environment, and again with Change."""

_COMMANDS = {
    "add-role": "role-given",
    "remove-role": "role-taken",
    "add-perms": "permission-given",
    "del-perms": "permission-taken",
}
"""Words that are Airflow commands wherever they occur, as in the guide's query."""
_COMMANDS_OF = {
    ("users", "create"): "user-created",
    ("users", "import"): "user-created",
    ("users", "delete"): "user-deleted",
    ("roles", "create"): "role-created",
    ("roles", "import"): "role-created",
    ("roles", "delete"): "role-deleted",
}
# Patterns are compiled at their first use: parsing a DAG reads only the names above, and needs none.
# A name can contain quotes: it ends at the end of the line, or before the logger's name, as on Airflow 3.
_SUBJECT, _GRANTED = r"(?P<subject>.{1,256}?)", r"(?P<granted>.{1,256}?)"
_PERMISSION = r"(?P<granted>(?:can|menu)[ _][\w ]{1,40}? on .{1,256}?)"
_END = r"[ ]{0,8}(?= \[[\w.]+\]|$)"
_RESULTS = (
    ("role-given", rf'User "{_SUBJECT}" added to role "{_GRANTED}"{_END}'),
    ("role-taken", rf'User "{_SUBJECT}" removed from role "{_GRANTED}"{_END}'),
    ("permission-given", rf"Added (?:Permission )?{_PERMISSION} to role {_SUBJECT}{_END}"),
    ("permission-taken", rf"Removed Permission {_PERMISSION} to role {_SUBJECT}{_END}"),
    ("permission-taken", rf"Deleted {_PERMISSION} from role {_SUBJECT}{_END}"),
    ("role-created", rf"Inserted Role: {_SUBJECT}{_END}"),
    ("role-deleted", rf"Deleting role '{_SUBJECT}'{_END}"),
    ("user-created", rf'User "{_SUBJECT}" created with role "{_GRANTED}"{_END}'),
    ("user-deleted", rf'User "{_SUBJECT}" deleted{_END}'),
    ("user-added", rf"Added user {_SUBJECT}{_END}"),
)
# A command ends where a shell's does; in a list of arguments, a line ends with a backslash and an n.
_ARGUMENTS = r"(?=[\s\"',\\]|$)(?=(?P<arguments>(?:(?!\\n)[^\n;&|]){0,1000}))"
_COMMAND = rf"(?<![^\s\"',(])({'|'.join(_COMMANDS)}){_ARGUMENTS}"
_COMMAND_OF = rf"(?<![^\s\"',(])(users|roles)[\s\"',\\]{{1,8}}(create|import|delete){_ARGUMENTS}"
# In a shell command or a list of arguments: the two are separated by spaces, quotes or commas.
_BETWEEN = r"[\s\"',\\]+?"
# A value with spaces is quoted, and in a quoted command the quotes may have backslashes.
_QUOTED = r"\\?(?P<quote>[\"'])(?P<quoted>(?:(?!(?P=quote))[^\\\n]){1,256})\\?(?P=quote)"
_VALUE = rf"(?:=|{_BETWEEN})(?:{_QUOTED}|(?P<value>[^\s\"',\\\]]+))"
_USER = rf"(?<![\w-])(?:-u|--username|-e|--email){_VALUE}"
_ROLE = rf"(?<![\w-])(?:-r|--role){_VALUE}"
_FIRST_ARGUMENT = rf"{_BETWEEN}(?:{_QUOTED}|(?P<value>[^\s\"',\\\]-][^\s\"',\\\]]*))"
_CONTROL = r"\x1b\[[0-9;]*[A-Za-z]|\r"

FILTER_PATTERN = " ".join(
    f'?"{term}"'
    for term in (
        *_COMMANDS, *map(" ".join, _COMMANDS_OF), *map("', '".join, _COMMANDS_OF), "to role", "from role",
        "created with role", "deleted", "Inserted Role", "Deleting role", "Added user",
    )
)  # fmt: skip
"""A CloudWatch Logs pattern for lines that may report a change: any of these words. It is wider than the guide's query;
:func:`changes_in` decides which of the lines report one."""

_STREAM_OF_TASK = r"dag_id=(?P<dag_id>[^/]*)/run_id=(?P<run_id>[^/]*)/task_id=(?P<task_id>[^/]*)/"


@dataclass(frozen=True)
class LogGroup:
    """A log group of an environment.

    :param component: the component, from the end of the group's name: ``"Task"``, ``"WebServer"``, ….
    :param name: the group's name in CloudWatch Logs.
    """

    component: str
    name: str


@dataclass(frozen=True)
class Finding:
    """A line that reports a change. The text of the line is not included, because it can contain a password.

    :param time: when the line was written.
    :param change: one of :data:`CHANGES`.
    :param evidence: ``"command"`` that requests it, or ``"result"``, which confirms it.
    :param subject: the user or role that was changed, if the line names it.
    :param granted: the role or permission that it got or lost, if the line names it.
    :param dag_id: the DAG whose task wrote the line, as in the log stream's name, where a colon is an underscore.
    """

    time: datetime
    change: str
    evidence: str
    subject: str | None
    granted: str | None
    component: str
    log_group: str
    log_stream: str
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        """Return JSON types."""
        return {**asdict(self), "time": self.time.isoformat()}


def changes_in(message: str) -> list[tuple[str, str, str | None, str | None]]:
    """Return the changes that a log message reports, each once: change, evidence, subject and what was granted.

    >>> changes_in('User "alice" added to role "Op"')
    [('role-given', 'result', 'alice', 'Op')]
    """
    message = _text(message)
    found: list[tuple[str, str, str | None, str | None]] = []
    commands = [(match.start(), _COMMANDS[match[1]], match) for match in re.finditer(_COMMAND, message)]
    commands += [
        (match.start(), _COMMANDS_OF[match[1], match[2]], match) for match in re.finditer(_COMMAND_OF, message)
    ]
    for _, change, match in sorted(commands, key=lambda command: command[0]):
        arguments = match["arguments"]
        if change.startswith("user") or match[1] in ("add-role", "remove-role"):
            found.append((change, "command", _value(_USER, arguments), _value(_ROLE, arguments)))
        else:  # the names of roles come first, followed by options
            found.append((change, "command", _value(_FIRST_ARGUMENT, arguments, at_start=True), None))
    for change, pattern in _RESULTS:
        for match in re.finditer(pattern, message, re.MULTILINE):
            groups = match.groupdict()
            found.append((change, "result", groups["subject"], groups.get("granted")))
    return list(dict.fromkeys(found))


def _text(message: str) -> str:
    """Return the text of a message, without colors; on Airflow 3 a task's is JSON, in which quotes are escaped."""
    if message.startswith("{"):
        # Or it is text that looks like JSON.
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            message = str(json.loads(message)["event"])
    return re.sub(_CONTROL, "", message)


def _value(option: str, arguments: str, *, at_start: bool = False) -> str | None:
    match = (re.match if at_start else re.search)(option, arguments)
    return match["quoted"] or match["value"] if match else None


def log_groups(environment: Mapping[str, Any]) -> tuple[list[LogGroup], list[str]]:
    """Return an environment's log groups, and why changes may be missing: a line for each group that is not at INFO.

    :param environment: the ``Environment`` structure of GetEnvironment.
    """
    groups, blind = [], []
    for key, module in sorted((environment.get("LoggingConfiguration") or {}).items()):
        if not module.get("Enabled") or not module.get("CloudWatchLogGroupArn"):
            blind.append(f"{key} are not enabled, so changes that they would report are not found.")
            continue
        name = module["CloudWatchLogGroupArn"].rpartition(":log-group:")[2].partition(":")[0]
        groups.append(LogGroup(name.rpartition("-")[2], name))
        if module.get("LogLevel") not in ("INFO", "DEBUG"):
            blind.append(
                f"{key} have level {module.get('LogLevel')}, and changes are logged at INFO, so none are found there."
            )
    return groups, blind


def find_changes(
    logs: AwsCalls, group: LogGroup, start: datetime, end: datetime, changes: Collection[str]
) -> Iterator[Finding]:
    """Search a log group, page by page.

    :param logs: makes calls of CloudWatch Logs.
    :param start: the beginning of the period that is searched.
    :param end: its end, exclusive.
    :param changes: which of :data:`CHANGES`.
    :raises MwaaError: the group cannot be searched.
    """
    pages = logs.pages(
        "FilterLogEvents",
        f"Log group {group.name!r}",
        next_part="nextToken",
        logGroupName=group.name,
        startTime=_ms(start),
        endTime=_ms(end) - 1,  # inclusive
        filterPattern=FILTER_PATTERN,
    )
    for page in pages:
        for event in page["events"]:
            for change, evidence, subject, granted in changes_in(event["message"]):
                if change in changes:
                    yield _finding(group, event, change, evidence, subject, granted)


def _finding(
    group: LogGroup, event: Mapping[str, Any], change: str, evidence: str, subject: str | None, granted: str | None
) -> Finding:
    task = re.match(_STREAM_OF_TASK, event["logStreamName"])
    return Finding(
        datetime.fromtimestamp(event["timestamp"] / 1000, UTC), change, evidence, subject, granted,
        group.component, group.name, event["logStreamName"], **(task.groupdict() if task else {}),
    )  # fmt: skip


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
