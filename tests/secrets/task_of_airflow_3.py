# SPDX-License-Identifier: Apache-2.0
"""Run a task as a worker of Airflow 3 does: supervised, in a separate process.

The API server knows only this run, so no database is needed. Started by its path.
"""

from __future__ import annotations

import json
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from airflow.executors.workloads import BundleInfo, TaskInstanceDTO
from airflow.sdk.execution_time.supervisor import supervise_task

NOW = "2026-01-01T00:00:00Z"
RUN = {
    "dag_id": "d", "run_id": "r", "logical_date": NOW, "run_after": NOW, "start_date": NOW, "data_interval_start": NOW,
    "data_interval_end": NOW, "end_date": None, "state": "running", "partition_key": None, "run_type": "manual",
    "clear_number": 0, "conf": None, "consumed_asset_events": [],
}  # fmt: skip
CONTEXT = {
    "dag_run": RUN, "max_tries": 0, "should_retry": False, "variables": [], "connections": [],
    "upstream_map_indexes": {}, "xcom_keys_to_clear": [],
}  # fmt: skip


class ApiServer(BaseHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Keep the task's output clean."""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps(CONTEXT).encode() if self.path.endswith("/run") else b""
        self.send_response(200 if body else 204)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_PATCH = do_POST = do_PUT = _answer  # noqa: N815 - http.server's names


def main() -> int:
    server = ThreadingHTTPServer(("127.0.0.1", 0), ApiServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ti = TaskInstanceDTO(
        id=uuid.uuid4(),
        dag_version_id=uuid.uuid4(),
        task_id="t",
        dag_id="d",
        run_id="r",
        try_number=1,
        map_index=-1,
        pool_slots=1,
        queue="default",
        priority_weight=1,
    )
    return supervise_task(
        ti=ti,
        bundle_info=BundleInfo(name="dags-folder", version=None),
        dag_rel_path="d.py",
        token="a-token",
        server=f"http://127.0.0.1:{server.server_port}/",
    )


if __name__ == "__main__":
    sys.exit(main())
