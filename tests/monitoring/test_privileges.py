# SPDX-License-Identifier: Apache-2.0
"""Which log lines report a change of privileges: lines of Airflow 2 and 3, and lines that only look similar."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import pytest

from airflow_mwaa_provider.client.aws.calls import AwsCalls
from airflow_mwaa_provider.monitoring.privileges import FILTER_PATTERN, LogGroup, changes_in, find_changes, log_groups

ROLE = 'it\'s "ours" ünïcödé 3476f7'
OVERRIDE = "[airflow.providers.fab.auth_manager.security_manager.override] loc=override.py:1843"
SHELL = (
    "Running command: ['/bin/bash', '-c', 'airflow roles add-perms by_dag -r DAGs -a can_read; airflow users create "
    "-u mallory -r Viewer -p no-secret; airflow users add-role -u mallory -r Op']"
)
ARGUMENTS = "Running command: ['airflow', 'users', 'remove-role', '--email', 'm@example.org', '--role', 'Op']"

TELLING = [
    (
        f"[2026-11-30T07:51:57.277+0000] {{subprocess.py:88}} INFO - {SHELL}",
        [
            ("permission-given", "command", "by_dag", None),
            ("user-created", "command", "mallory", "Viewer"),
            ("role-given", "command", "mallory", "Op"),
        ],
    ),
    (
        json.dumps({"level": "info", "event": SHELL, "logger": "airflow.task.hooks"}),
        [
            ("permission-given", "command", "by_dag", None),
            ("user-created", "command", "mallory", "Viewer"),
            ("role-given", "command", "mallory", "Op"),
        ],
    ),
    (ARGUMENTS, [("role-taken", "command", "m@example.org", "Op")]),
    ("airflow users add-role --username=mallory --role=Op", [("role-given", "command", "mallory", "Op")]),
    (
        r"Running command: ['bash', '-c', 'airflow users add-role -u a -r Op\nairflow users remove-role -u b -r Op']",
        [("role-given", "command", "a", "Op"), ("role-taken", "command", "b", "Op")],
    ),
    (
        r"Running command: ['bash', '-c', 'airflow users add-role\nairflow users remove-role -u b -r Op\n']",
        [("role-given", "command", None, None), ("role-taken", "command", "b", "Op")],
    ),
    ("airflow users add-role", [("role-given", "command", None, None)]),
    (
        '[2026-11-30T07:52:10.413+0000] {subprocess.py:106} INFO - User "mallory" added to role "Op"',
        [("role-given", "result", "mallory", "Op")],
    ),
    (
        json.dumps({"level": "info", "event": 'User "mallory" added to role "Op"', "logger": "airflow.task.hooks"}),
        [("role-given", "result", "mallory", "Op")],
    ),
    (f'INFO - User "a "b"" removed from role "{ROLE}"', [("role-taken", "result", 'a "b"', ROLE)]),
    (
        "[2026-11-30T07:52:03.253+0000] {subprocess.py:106} INFO - Added can read on DAGs to role by_dag",
        [("permission-given", "result", "by_dag", "can read on DAGs")],
    ),
    (
        "[2026-11-30T07:51:56.363+0000] {override.py:1962} INFO - Added Permission can create on DAG Runs to role "
        + ROLE,
        [("permission-given", "result", ROLE, "can create on DAG Runs")],
    ),
    (
        f"2026-11-30T07:52:27.931024Z [info     ] Added Permission can edit on DAG:echo to role {ROLE} {OVERRIDE}",
        [("permission-given", "result", ROLE, "can edit on DAG:echo")],
    ),
    (
        f"2026-11-30T07:52:27.931024Z [info     ] Removed Permission can edit on DAG:echo to role Op {OVERRIDE}",
        [("permission-taken", "result", "Op", "can edit on DAG:echo")],
    ),
    ("Deleted can read on DAGs from role by_dag", [("permission-taken", "result", "by_dag", "can read on DAGs")]),
    (
        f"[2026-11-30T07:51:56.359+0000] {{override.py:1507}} INFO - Inserted Role: {ROLE}",
        [("role-created", "result", ROLE, None)],
    ),
    (f"2026-11-30T07:52:27.9Z [info     ] Inserted Role: {ROLE} {OVERRIDE}", [("role-created", "result", ROLE, None)]),
    ("INFO - Deleting role 'by_dag'", [("role-deleted", "result", "by_dag", None)]),
    (
        '{subprocess.py:106} INFO - User "mallory" created with role "Viewer"',
        [("user-created", "result", "mallory", "Viewer")],
    ),
    ("{override.py:1596} INFO - Added user mallory", [("user-added", "result", "mallory", None)]),
    ('User "mallory" deleted', [("user-deleted", "result", "mallory", None)]),
    ("airflow users create -u m -r Admin --use-random-password", [("user-created", "command", "m", "Admin")]),
    ("['airflow', 'users', 'delete', '-u', 'm']", [("user-deleted", "command", "m", None)]),
    ("airflow users add-role -u mallory -r 'My Role'", [("role-given", "command", "mallory", "My Role")]),
    (
        "Running command: ['airflow', 'users', 'add-role', '-u', 'mallory', '-r', \"Alice's Role\"]",
        [("role-given", "command", "mallory", "Alice's Role")],
    ),
    (
        r"Running command: ['bash', '-c', 'airflow users add-role -r \'My Role\' --username=\"a b\"']",
        [("role-given", "command", "a b", "My Role")],
    ),
    ("airflow roles create 'My Role' Other", [("role-created", "command", "My Role", None)]),
    ("airflow roles create Evil Worse", [("role-created", "command", "Evil", None)]),
    (
        "(airflow roles delete Op; airflow roles import x.json)",
        [("role-deleted", "command", "Op", None), ("role-created", "command", "x.json)", None)],
    ),
    ('\x1b[32mUser "mallory" added to role "Op"\x1b[0m\r', [("role-given", "result", "mallory", "Op")]),
    ("add-role " * 500, [("role-given", "command", None, None)]),
    (
        'one\nUser "a" added to role "Op"\nUser "b" added to role "Op"',
        [("role-given", "result", "a", "Op"), ("role-given", "result", "b", "Op")],
    ),
]
SILENT = [
    "[2026-11-30T07:51:29.657+0000] {override.py:1911} INFO - Created Permission View: can edit on DAG:restrict_role",
    '"POST /api/v1/roles HTTP/1.1" 200 3 "-" "Python/3.12 aiohttp/3.14.3"',
    "[2026-11-30T07:51:59.968+0000] {subprocess.py:106} INFO - Added 1 role(s)",
    "Updated user mallory",  # at every login
    "2026-11-30T07:52:28.386024Z [info     ] + can_read on ImportError      [airflow.task.x] loc=roles.py:142",
    "role-given: 1 line(s), command, in the log of Task: dag_id=add-role/run_id=r/task_id=add-role/attempt=1.log",
    "switched to role Admin",
    "Deleted 5 rows from role table",
    "Added policy AdministratorAccess to role my-iam-role",
    "roles created",
    "Inserted Role: " * 17 + " " * 50_000 + "b",
    "{not JSON, add-roles}",
]


@pytest.mark.parametrize(("line", "changes"), TELLING)
def test_a_line_that_tells_of_changes(line: str, changes: list[Any]) -> None:
    assert changes_in(line) == changes


@pytest.mark.parametrize("line", SILENT)
def test_a_line_that_only_looks_so(line: str) -> None:
    assert changes_in(line) == []


def _terms() -> list[str]:
    """Return the optional terms of a CloudWatch Logs pattern: a line matches if it has one of them."""
    assert re.fullmatch(r'\?"[^"]+"(?: \?"[^"]+")*', FILTER_PATTERN)
    assert len(FILTER_PATTERN) <= 1024
    return re.findall(r'\?"([^"]+)"', FILTER_PATTERN)


@pytest.mark.parametrize("line", [line for line, _ in TELLING])
def test_no_line_that_tells_is_left_out_by_the_pattern(line: str) -> None:
    assert any(term in line for term in _terms())


def test_the_guides_query_finds_no_more() -> None:
    assert "add-role" in _terms()


class _Logs:
    """A CloudWatch Logs client with pages, some of them empty."""

    meta = mock.Mock()

    def __init__(self, pages: list[list[dict[str, Any]]]) -> None:
        self._pages = pages
        self.requests: list[dict[str, Any]] = []

    def filter_log_events(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        number = int(request.get("nextToken", 0))
        more = {"nextToken": str(number + 1)} if number + 1 < len(self._pages) else {}
        return {"events": self._pages[number], **more}


def test_every_page_is_read_and_says_who() -> None:
    stream = "dag_id=d/run_id=manual__2026-11-30T07_51_57+00_00/task_id=g.t/map_index=3/attempt=1.log"
    logs = _Logs(
        [
            [{"timestamp": 1_000, "message": "airflow users add-role -u a -r Op", "logStreamName": stream}],
            [],
            [{"timestamp": 2_500, "message": "Added user b", "logStreamName": "web"},
             {"timestamp": 2_500, "message": "Inserted Role: c", "logStreamName": "web"}],
        ]
    )  # fmt: skip
    start, end = datetime.fromtimestamp(1, UTC), datetime.fromtimestamp(3, UTC)
    group = LogGroup("Task", "airflow-e-Task")
    given, created = find_changes(
        AwsCalls(logs, "CloudWatch Logs", "logs"), group, start, end, ("role-given", "role-created")
    )
    assert (given.dag_id, given.run_id, given.task_id) == ("d", "manual__2026-11-30T07_51_57+00_00", "g.t")
    assert given.as_dict() == {
        "time": "1970-01-01T00:00:01+00:00", "change": "role-given", "evidence": "command", "subject": "a",
        "granted": "Op", "component": "Task", "log_group": "airflow-e-Task", "log_stream": stream, "dag_id": "d",
        "run_id": "manual__2026-11-30T07_51_57+00_00", "task_id": "g.t",
    }  # fmt: skip
    assert (created.change, created.subject, created.dag_id) == ("role-created", "c", None)
    assert {(each["startTime"], each["endTime"]) for each in logs.requests} == {(1_000, 2_999)}


def test_a_group_that_is_off_or_too_quiet_is_named() -> None:
    arn = "arn:aws:logs:eu-west-1:123456789012:log-group:airflow-e-"
    groups, blind = log_groups(
        {
            "LoggingConfiguration": {
                "TaskLogs": {"Enabled": True, "LogLevel": "INFO", "CloudWatchLogGroupArn": f"{arn}Task"},
                "WorkerLogs": {"Enabled": True, "LogLevel": "WARNING", "CloudWatchLogGroupArn": f"{arn}Worker:*"},
                "WebserverLogs": {"Enabled": False, "LogLevel": "INFO", "CloudWatchLogGroupArn": f"{arn}WebServer"},
            }
        }
    )
    assert groups == [LogGroup("Task", "airflow-e-Task"), LogGroup("Worker", "airflow-e-Worker")]
    assert [line.partition(",")[0] for line in blind] == [
        "WebserverLogs are not enabled", "WorkerLogs have level WARNING"
    ]  # fmt: skip
    assert log_groups({}) == ([], [])
