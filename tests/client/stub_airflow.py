# SPDX-License-Identifier: Apache-2.0
"""A small in-memory Airflow, v1 and v2, with enough of the REST API and of the CLI for a client."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from aiohttp import web

from airflow_mwaa_provider.local.runtime import ApiSession, CliOutcome, EnvironmentSpec
from tests.client.stub_roles import StubRoles, add_commands

if TYPE_CHECKING:
    from collections.abc import Sequence

COLLECTIONS = {"variables": "key", "connections": "connection_id", "pools": "name"}


class StubAirflow:
    """The Airflow of one environment."""

    def __init__(self, spec: EnvironmentSpec) -> None:
        self.spec = spec
        self.major = int(spec.airflow_version.split(".")[0])
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._logins = 0
        self.clear()

    def clear(self) -> None:
        self.dags: dict[str, bool] = {"etl": False, "paused": True}
        self.hidden: set[str] = set()
        """DAGs that the role may not see."""
        self.roles = StubRoles(self.dags)
        self.has_roles_api = True
        self.runs: list[dict[str, Any]] = []
        self.tasks: list[dict[str, Any]] = []
        self.tasks_of_dags: dict[str, list[str]] = {}
        self.xcoms: dict[tuple[str, str, str, int, str], Any] = {}
        self.objects: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in COLLECTIONS}
        self.commands: list[list[str]] = []
        self.special: dict[str, web.Response] = {}
        """Answers by path that replace the real ones."""
        self.sessions: set[str] = set()
        self.forbidden_sessions: set[str] = set()
        self.bodies: list[bytes] = []
        self.shows_like_airflow_3 = False
        """Whether the REST API rewrites values that are JSON, and masks those whose key looks secret."""
        self.noise = ""
        """What the CLI logs to stdout around its rows."""
        self.cli_delay_s = 0.0
        self.not_importable: set[str] = set()
        """DAGs whose files the web server cannot import: ``dags list`` of Airflow 2 omits them."""
        self.file_errors: dict[str, str] = {}
        """Tracebacks of DAG files, by name."""
        self.schedules: dict[str, str] = {}
        """Cron expressions by DAG."""
        self.logs: dict[tuple[str, int], list[str]] = {}
        """Logs of tasks, by task ID and try, instead of two lines."""
        self.downstream: dict[str, list[str]] = {}
        self.clears_other_runs = False
        self.fails_after_clearing = False
        self.page_limit = 100
        """``[api] maximum_page_limit``."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def api_prefix(self) -> str:
        return "/api/v1" if self.major == 2 else "/api/v2"

    async def start(self, public_url: str) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", r"/{path:[\s\S]*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def delete(self) -> None:
        self.clear()

    async def login(self) -> ApiSession:
        self._logins += 1
        value = f"secret-session-{self.spec.name}-{self._logins}"
        self.sessions.add(value)
        if self.major == 2:
            return ApiSession("session", value, {"Cookie": f"session={value}"})
        return ApiSession("_token", value, {"Authorization": f"Bearer {value}"})

    # -- REST --------------------------------------------------------------------------------------

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        raw = request.raw_path.split("?")[0]
        auth_manager = self.major >= 3 and self.has_roles_api and raw.startswith("/auth/fab/v1/")
        if not raw.startswith(self.api_prefix) and not auth_manager:
            if raw.startswith("/auth/"):
                return web.Response(status=401, text="Unauthorized")
            return web.Response(status=404, text="<html>no such page</html>", content_type="text/html")
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        carried = {bearer, request.cookies.get("session")}
        if carried & self.forbidden_sessions:
            return web.json_response({"detail": "Invalid JWT token"}, status=403)
        if not carried & self.sessions:
            return web.json_response({"detail": "Unauthorized"}, status=401)
        parts = [
            unquote(part)
            for part in raw.removeprefix(self.api_prefix).removeprefix("/auth/fab/v1").strip("/").split("/")
        ]
        path = "/" + "/".join(parts)
        text = await request.read()
        self.bodies.append(text)
        special = self.special.get(path)
        if special is not None:
            return web.Response(body=special.body, status=special.status, headers=special.headers)
        status, answer = self._answer(request.method, parts, request.query, json.loads(text) if text else {})
        return web.Response(status=204) if status == 204 else web.json_response(answer, status=status)

    def _answer(self, method: str, parts: list[str], query: Any, body: Any) -> tuple[int, Any]:
        match method, *parts:
            case "GET", "version":
                return 200, {"version": self.spec.airflow_version}
            case "GET", "large":
                return 200, {"text": "x" * (7 * 1024 * 1024)}
            case "POST", "large":
                self.bodies.append(b"acted")
                return 200, {"text": "x" * (7 * 1024 * 1024)}
            case "GET", "query":
                return 200, {"query": list(query.items())}
            case "POST", "echo":
                return 200, {"echo": body}
            case "POST", "dags", "~", "dagRuns", "list":
                start = body["page_offset"]
                found = self._runs_of(body)
                rows = found[start:][: min(body["page_limit"], self.page_limit)]
                return 200, {"dag_runs": rows, "total_entries": len(found)}
            case _, "dags", dag_id, *_ if dag_id in self.hidden:
                return 403, {"detail": "Forbidden"}
            case "POST", "dags", "~", "dagRuns", "~", "taskInstances", "list":
                if self.major == 2 and self.hidden.intersection(body["dag_ids"]):
                    return 403, {"detail": f"User not allowed to access some of these DAGs: {body['dag_ids']}"}
                found, offset = self._tasks_of(body), body["page_offset"]
                if self.major == 2 and offset:
                    # That list is not sorted: PostgreSQL returns later pages in another order.
                    found = found[1::2] + found[::2]
                page = found[offset:][: min(body["page_limit"], self.page_limit)]
                return 200, {"task_instances": page, "total_entries": len(found)}
            case "GET", "dags":
                return 200, self._page("dags", [self._dag(name) for name in sorted(self.dags)], query)
            case "GET", "importErrors":
                rows = [
                    {"import_error_id": number, "filename": name, "stack_trace": text}
                    for number, (name, text) in enumerate(self.file_errors.items())
                ]
                return 200, self._page("import_errors", rows, query)
            case "POST", "dags", dag_id, "clearTaskInstances":
                return self._clear(dag_id, body)
            case "GET", "dags", dag_id, "tasks" if self.major == 2:
                return 200, {"tasks": [{"task_id": task_id} for task_id in self.tasks_of_dags.get(dag_id, ())]}
            case "GET", "dags", dag_id, "dagRuns", run_id, "taskInstances", task_id, "listMapped" if self.major == 2:
                asked = {"dag_ids": [dag_id], "dag_run_ids": [run_id], "task_ids": [task_id]}
                if "state" in query:
                    asked["state"] = query.getall("state")
                found = sorted(self._tasks_of(asked), key=lambda row: int(row["map_index"]))
                page = found[int(query["offset"]) :][: min(int(query["limit"]), self.page_limit)]
                return 200, {"task_instances": page, "total_entries": len(found)}
            case "GET", "dags", dag_id:
                if dag_id not in self.dags:
                    return 404, {"detail": f"The Dag with ID: `{dag_id}` was not found"}
                return 200, {"dag_id": dag_id, "is_paused": self.dags[dag_id]}
            case "POST", "dags", dag_id, "dagRuns":
                status, row = self.create(dag_id, body["dag_run_id"], body.get("conf"), body.get("logical_date"))
                if status == 200:
                    row.update({name: body[name] for name in body if name.startswith("data_interval_")})
                return status, row
            case _, "dags", dag_id, "dagRuns", run_id:
                run = self.run(dag_id, run_id)
                if run is None:
                    return 404, {"detail": "not found"}
                run.update(body)
                return 200, run
            case "POST", "dags", dag_id, "dagRuns", run_id, "clear":
                run = self.run(dag_id, run_id)
                assert run is not None
                run["state"] = "queued"
                return 200, {}
            case "GET", "dags", dag_id, "dagRuns", run_id, "taskInstances", task_id, "xcomEntries", key:
                assert query["stringify"] == "false"
                found = self.xcoms.get((dag_id, run_id, task_id, int(query["map_index"]), key), ...)
                return (404, {"detail": "not found"}) if found is ... else (200, {"key": key, "value": found})
            case "GET", "dags", _, "dagRuns", _, "taskInstances", task_id, "logs", number if (
                lines := self.logs.get((task_id, int(number)))
            ) is not None:
                if self.major == 2:
                    text = "".join(f"{line}\n" for line in lines)
                    return 200, {"content": str([("host", text)]), "continuation_token": "x"}
                # As for a running task: a token is returned as long as the log may grow.
                start, looks = map(int, query.get("token", "0.0").split("."))
                assert looks < 3, "a token that leads to nothing was followed"
                content = [{"event": line} for line in lines[start:]]
                return 200, {"content": content, "continuation_token": f"{len(lines)}.{looks + 1}"}
            case "GET", "dags", _, "dagRuns", _, "taskInstances", task_id, "logs", number:
                if self.major == 2:
                    return 200, {"content": str([("host", f"{task_id} {number}\nline 2")]), "continuation_token": "x"}
                lines = [{"timestamp": "2026-01-01T00:00:00Z", "level": "info", "event": f"{task_id} {number}"}]
                if "token" not in query:
                    return 200, {"content": lines, "continuation_token": "more"}
                return 200, {"content": [{"event": "line 2"}], "continuation_token": None}
            case "GET", "roles":
                return 200, self._page("roles", self.roles.rows(), query)
            case _, "roles", *name:
                return self.roles.answer(method, name[0] if name else None, body)
            case _, name, *key if name in COLLECTIONS:
                return self._object(method, name, key[0] if key else None, query, body)
        return 404, {"detail": "Not Found"}

    def _page(self, name: str, rows: list[dict[str, Any]], query: Any) -> dict[str, Any]:
        start = int(query["offset"])
        return {name: rows[start:][: min(int(query["limit"]), self.page_limit)], "total_entries": len(rows)}

    def _dag(self, dag_id: str) -> dict[str, Any]:
        schedule = self.schedules.get(dag_id)
        row = {"dag_id": dag_id, "is_paused": self.dags[dag_id], "has_import_errors": False}
        if self.major >= 3:
            return {**row, "timetable_summary": schedule or "None", "next_dagrun_run_after": None}
        object_ = {"__type": "CronExpression", "value": schedule} if schedule else None
        return {**row, "schedule_interval": object_, "next_dagrun_create_after": None}

    def _clear(self, dag_id: str, body: Any) -> tuple[int, Any]:
        run = self.run(dag_id, body["dag_run_id"])
        if run is None:
            return 404, {"detail": f"Dag Run id {body['dag_run_id']} not found in dag {dag_id}"}
        wanted = set(body.get("task_ids") or [task["task_id"] for task in self.tasks])
        if body["include_downstream"]:
            wanted |= {name for task_id in wanted for name in self.downstream.get(task_id, ())}
        chosen = [
            task
            for task in self.tasks
            if task["dag_id"] == dag_id
            and (self.clears_other_runs or task["dag_run_id"] == body["dag_run_id"])
            and task["task_id"] in wanted
            and (not body["only_failed"] or task["state"] in ("failed", "upstream_failed"))
        ]
        names = ("dag_id", "dag_run_id", "task_id", *(("map_index",) if self.major >= 3 else ()))
        answer = {"task_instances": [{name: task[name] for name in names} for task in chosen]}
        if not body["dry_run"]:
            assert body["reset_dag_runs"]
            for task in chosen:
                task["state"] = None
            run["state"] = "queued"
            if self.fails_after_clearing:
                return 500, {"detail": "the database went away"}
        return 200, answer

    def _object(self, method: str, name: str, key: str | None, query: Any, body: Any) -> tuple[int, Any]:
        known, id_field = self.objects[name], COLLECTIONS[name]
        if key is None and method == "GET":
            start = int(query["offset"])
            rows = list(known.values())[start:][: min(int(query["limit"]), self.page_limit)]
            return 200, {name: [self._shown(row) for row in rows], "total_entries": len(known)}
        if key is None:
            if body[id_field] in known and (self.major, name) != (2, "variables"):  # v1 replaces it
                return 409, {"detail": "exists"}
            known[body[id_field]] = body
            return 200, body
        if key not in known:
            return 404, {"detail": f"`{key}` was not found"}
        if method == "DELETE":
            del known[key]
            return 204, None
        if method == "PATCH":
            known[key].update(body)
        return 200, self._shown(known[key])

    def _shown(self, row: dict[str, Any]) -> dict[str, Any]:
        shown = dict(row)
        if self.major == 2 and "connection_id" in row:
            shown.pop("password", None)
        if not self.shows_like_airflow_3:
            return shown
        if "value" in row:
            with contextlib.suppress(ValueError):
                shown["value"] = json.dumps(json.loads(row["value"]))
            if "secret" in row["key"]:
                shown["value"] = "***"
        if "password" in row:
            shown["password"] = None if row["password"] is None else "***"
        return shown

    def run(self, dag_id: str, run_id: str) -> dict[str, Any] | None:
        return next((run for run in self.runs if (run["dag_id"], run["dag_run_id"]) == (dag_id, run_id)), None)

    def create(self, dag_id: str, run_id: str, conf: Any = None, date: str | None = None) -> tuple[int, Any]:
        if dag_id not in self.dags:
            return 404, {"detail": f"DAG with dag_id: '{dag_id}' not found"}
        same_date = any(run["dag_id"] == dag_id and date and run["logical_date"] == date for run in self.runs)
        if self.run(dag_id, run_id) is not None or same_date:
            return 409, {"detail": "DAGRun already exists"}
        if self.major == 2:
            date = date or datetime.now(UTC).isoformat()  # Airflow 3 allows a run without one
        row = {"dag_id": dag_id, "dag_run_id": run_id, "state": "queued", "conf": conf or {}, "logical_date": date}
        if self.major >= 3:
            row["run_after"] = date or datetime.now(UTC).isoformat()
        self.runs.append(row)
        return 200, row

    def end(self, dag_id: str, run_id: str, state: str = "success", *, ago_s: float = 0.0) -> None:
        """End a run, by this machine's clock."""
        run = self.run(dag_id, run_id)
        assert run is not None
        now = datetime.now(UTC) - timedelta(seconds=ago_s)
        run.update(state=state, end_date=now.isoformat())
        run.setdefault("start_date", (now - timedelta(seconds=60)).isoformat())

    def _runs_of(self, body: Any) -> list[dict[str, Any]]:
        since = datetime.fromisoformat(body.get("end_date_gte", "1970-01-01T00:00:00+00:00"))
        rows = [
            run
            for run in reversed(self.runs)
            if run["dag_id"] in body["dag_ids"]
            and run["dag_id"] not in self.hidden
            and run["state"] in body.get("states", [run["state"]])
            and ("end_date_gte" not in body or ("end_date" in run and datetime.fromisoformat(run["end_date"]) >= since))
        ]
        if body["order_by"] != "-id":
            assert body["order_by"] == ("-execution_date" if self.major == 2 else "-run_after")
            date = "logical_date" if self.major == 2 else "run_after"
            rows.sort(key=lambda run: run[date] or "", reverse=True)
            until = body.get("execution_date_lte" if self.major == 2 else "run_after_lte")
            if until is not None:
                end = datetime.fromisoformat(until)
                rows = [run for run in rows if run[date] and datetime.fromisoformat(run[date]) <= end]
        return rows

    def _tasks_of(self, body: Any) -> list[dict[str, Any]]:
        return [
            task
            for task in self.tasks
            if task["dag_id"] in body["dag_ids"]
            and task["dag_id"] not in self.hidden
            and task["dag_run_id"] in body["dag_run_ids"]
            and task["task_id"] in body.get("task_ids", [task["task_id"]])
            and task["state"] in body.get("state", [task["state"]])
        ]

    # -- CLI ---------------------------------------------------------------------------------------

    async def run_cli(self, argv: Sequence[str], timeout_s: float) -> CliOutcome:
        self.commands.append(list(argv))
        await asyncio.sleep(self.cli_delay_s)
        stderr = io.StringIO()
        try:
            with contextlib.redirect_stderr(stderr):
                arguments = _parser(self.major).parse_args(argv)
            out = self._command(" ".join(argv[:2]), arguments)
        except _Failed as failed:
            return CliOutcome(1, f"{failed}\n".encode(), b"")
        except SystemExit as end:
            text = stderr.getvalue() + ("" if isinstance(end.code, int) else f"{end.code}\n")
            return CliOutcome(1, b"", text.encode())
        return CliOutcome(0, (self.noise + out + "\n" + self.noise).encode(), b"a warning\n")

    def _command(self, command: str, given: argparse.Namespace) -> str:
        variables = self.objects["variables"]
        match command.split():
            case "version", *_:
                return self.spec.airflow_version
            case "roles", name:
                return self.roles.command(name, given)
            case "dags", "list":
                listed = {name: paused for name, paused in self.dags.items() if name not in self.not_importable}
                return json.dumps([{"dag_id": name, "is_paused": str(paused)} for name, paused in listed.items()])
            case "dags", "list-import-errors":
                rows = [{"filepath": name, "error": text} for name, text in self.file_errors.items()]
                if rows:
                    raise _Failed(json.dumps(rows))
                return "No data found"
            case "dags", "details":
                self._check_dag(given.dag_id)
                return json.dumps([{"dag_id": given.dag_id, "is_paused": str(self.dags[given.dag_id])}])
            case "dags", "trigger":
                status, row = self.create(given.dag_id, given.run_id, json.loads(given.conf), given.date)
                if status != 200:
                    raise SystemExit(f"airflow.exceptions.DagRunAlreadyExists: {row['detail']}")
                return json.dumps([{**row, "conf": {name: str(value) for name, value in row["conf"].items()}}])
            case "dags", "list-runs":
                self._check_dag(given.dag_id)
                rows = [run for run in self.runs if run["dag_id"] == given.dag_id]
                return json.dumps([{"start_date": "", **row, "run_id": row["dag_run_id"]} for row in rows])
            case "dags", "state":
                self._check_dag(given.dag_id)
                if self.major == 2:  # by its date
                    asked = datetime.fromisoformat(given.run_id)
                    dated = (run for run in self.runs if run["dag_id"] == given.dag_id and run["logical_date"])
                    run = next((run for run in dated if datetime.fromisoformat(run["logical_date"]) == asked), None)
                else:
                    run = self.run(given.dag_id, given.run_id)
                if run is None:
                    return "None"
                return run["state"] + (f", {json.dumps(run['conf'])}" if run["conf"] else "")
            case "tasks", "states-for-dag-run":
                if self.run(given.dag_id, given.run_id) is None:
                    raise SystemExit("airflow.exceptions.DagRunNotFound: not found")
                return json.dumps([{name: str(value) for name, value in task.items()} for task in self.tasks])
            case "variables", "get":
                if given.key not in variables:
                    raise SystemExit(f"Variable {given.key} does not exist")
                return str(variables[given.key]["value"])
            case "variables", "set":
                variables[given.key] = {"key": given.key, "value": given.value, "description": given.description}
                return f"Variable {given.key} created"
            case "variables", "list":
                return json.dumps([{"key": key} for key in variables])
            case "variables", "delete":
                variables.pop(given.key, None)
                return f"Variable {given.key} deleted"
        raise SystemExit(f"no {command}")

    def _check_dag(self, dag_id: str) -> None:
        if dag_id not in self.dags:
            raise SystemExit(f"DAG: {dag_id} does not exist in 'dag' table")


class _Failed(Exception):
    """A command that prints something to stdout and still fails."""


def _parser(major: int) -> argparse.ArgumentParser:
    """The options of Airflow's own parser that the client uses."""
    parser = argparse.ArgumentParser("airflow")
    groups = parser.add_subparsers(required=True)
    groups.add_parser("version")
    add_commands(groups.add_parser("roles").add_subparsers(required=True))
    shapes = {
        "dags list": [],
        "dags list-import-errors": [],
        "dags details": ["dag_id"],
        "dags trigger": ["dag_id"],
        "dags list-runs": ["dag_id"] if major >= 3 else [],
        "dags state": ["dag_id", "run_id"],
        "tasks states-for-dag-run": ["dag_id", "run_id"],
        "variables get": ["key"],
        "variables set": ["key", "value"],
        "variables list": [],
        "variables delete": ["key"],
    }
    subparsers: dict[str, Any] = {}
    for command, positionals in shapes.items():
        group, name = command.split()
        if group not in subparsers:
            subparsers[group] = groups.add_parser(group).add_subparsers(required=True)
        leaf = subparsers[group].add_parser(name)
        for positional in positionals:
            leaf.add_argument(positional)
        leaf.add_argument("-o", "--output")
        if command == "dags trigger":
            leaf.add_argument("-r", "--run-id")
            leaf.add_argument("-c", "--conf")
            leaf.add_argument("--no-replace-microseconds", action="store_true")
            leaf.add_argument("--exec-date" if major == 2 else "--logical-date", dest="date")
        if command == "dags list-runs" and major == 2:
            leaf.add_argument("-d", "--dag-id", required=True)
        if command == "variables set":
            leaf.add_argument("--description")
    return parser


class StubFactory:
    def __init__(self) -> None:
        self.made: dict[str, StubAirflow] = {}

    def versions(self) -> Sequence[str]:
        return ["3.3.1", "2.10.3"]

    async def read_files(self, spec: EnvironmentSpec) -> EnvironmentSpec:
        return spec

    def create(self, spec: EnvironmentSpec) -> StubAirflow:
        assert re.fullmatch(r"[23]\..*", spec.airflow_version)
        self.made[spec.name] = StubAirflow(spec)
        return self.made[spec.name]
