# SPDX-License-Identifier: Apache-2.0
"""The cost of publishing metrics, and the cost to tasks of measuring every task.

First, calls, bytes, CPU and memory against put_metric_data in a loop, as in AWS's sample, and against Powertools'
embedded metric format, which prints metrics for CloudWatch Logs to extract. The service is a server that accepts and
counts everything.

Then one-second tasks, each forked from a process that has loaded Airflow, as executors do, with and without the
listener of task_resources: time from fork to end, CPU, and peak memory.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SERVER = """
import gzip, json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

calls, sent, plain = 0, 0, 0

class Sink(BaseHTTPRequestHandler):
    protocol_version, wbufsize = "HTTP/1.1", -1

    def do_POST(self):
        global calls, sent, plain
        body = self.rfile.read(int(self.headers["Content-Length"]))
        calls += 1
        sent += len(body)
        plain += len(gzip.decompress(body)) if self.headers.get("Content-Encoding") == "gzip" else len(body)
        id_ = b"<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>"
        xml = b"<PutMetricDataResponse>" + id_ + b"</PutMetricDataResponse>"
        self.answer(b"{}" if "X-Amz-Target" in self.headers else xml)

    def do_GET(self):
        global calls, sent, plain
        answer = json.dumps({"calls": calls, "sent": sent, "plain": plain}).encode()
        calls, sent, plain = 0, 0, 0
        self.answer(answer)

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-amzn-RequestId", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
print(server.server_port, flush=True)
server.serve_forever()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metrics", type=int, default=100_000)
    parser.add_argument("--tasks", type=int, default=30, help="with the listener, and without it")
    parser.add_argument("--quick", action="store_true", help="5,000 metrics, 5 tasks")
    given = parser.parse_args()
    number, tasks = (5_000, 5) if given.quick else (given.metrics, given.tasks)
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
    os.environ.update(
        AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_DEFAULT_REGION="eu-west-1", AWS_ENDPOINT_URL=url
    )
    try:
        ratios = measure(url, number)
        ratios |= measure_tasks(tasks)
        print(json.dumps(ratios))
    finally:
        server.kill()
        server.wait()


def measure(url: str, number: int) -> dict[str, float]:
    print(f"{'':34}{'calls':>9}{'sent MB':>9}{'CPU s':>8}{'wall s':>8}{'memory MB':>11}")
    found = {}
    for name, way, count in (
        ("the sample's 10, its own way", loop, 10),
        ("the sample's 10, ours", ours, 10),
        (f"{number:,} metrics, in a loop", loop, number),
        (f"{number:,} metrics, Powertools", emf, number),
        (f"{number:,} metrics, ours", ours, number),
    ):
        found[name] = run(url, way.__name__, count)
        row = found[name]
        print(
            f"{name:34}{row['calls']:9,.0f}{row['sent'] / 1e6:9.2f}{row['cpu_s']:8.2f}{row['wall_s']:8.2f}"
            f"{row['memory_mb']:11.1f}"
        )
    print("Powertools makes no call: its bytes are those that it prints, and a log that CloudWatch Logs gets has them.")
    sample, own_sample, looped, printed, own = found.values()
    return {
        "sample_calls_vs_loop": own_sample["calls"] / sample["calls"],
        "calls_vs_loop": round(own["calls"] / looped["calls"], 5),
        "bytes_vs_loop": round(own["sent"] / looped["sent"], 4),
        "bytes_vs_powertools": round(own["sent"] / printed["sent"], 4),
        "cpu_vs_loop": round(own["cpu_s"] / looped["cpu_s"], 4),
        "cpu_vs_powertools": round(own["cpu_s"] / printed["cpu_s"], 4),
        "memory_mb": round(own["memory_mb"], 1),
    }


def run(url: str, way: str, number: int) -> dict[str, float]:
    """Publish in a separate process; return what it used, and what the server received."""
    command = [sys.executable, "-P", __file__, "--metrics", str(number)]
    done = subprocess.run(command, env={**os.environ, "BENCH_WAY": way}, capture_output=True, text=True, check=True)
    took: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    code = f"import urllib.request; print(urllib.request.urlopen('{url}').read().decode())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {**json.loads(told.stdout), **took}


def publish(way: str, number: int) -> None:
    """Publish, and print the CPU, time and memory used beyond the metrics themselves."""
    import resource

    import boto3
    from botocore.config import Config

    from airflow_mwaa_provider.monitoring import publishing  # noqa: F401 - not counted

    client = boto3.client("cloudwatch", config=Config(retries={"total_max_attempts": 1}))
    metrics = [
        {"name": f"metric_{each % 50}", "value": each * 0.5, "unit": "Bytes",
         "dimensions": {"Environment": "prod", "Category": "memory", "Host": f"10.0.{each % 7}.{each % 251}"}}
        for each in range(number)
    ]  # fmt: skip
    gzip.compress(b"")  # so that its import is not counted
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, cpu = time.perf_counter(), time.process_time()
    told = WAYS[way](client, metrics)
    took = {**(told or {}), "wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}
    after_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**took, "memory_mb": (after_kb - before_kb) / 1024}))


def loop(client: Any, metrics: list[dict[str, Any]]) -> None:
    """Make one call per metric, as the user guide's sample does."""
    for metric in metrics:
        dimensions = [{"Name": name, "Value": value} for name, value in metric["dimensions"].items()]
        client.put_metric_data(
            Namespace="Bench",
            MetricData=[
                {"MetricName": metric["name"], "Value": metric["value"], "Unit": metric["unit"],
                 "Dimensions": dimensions}
            ],
        )  # fmt: skip


def emf(_: Any, metrics: list[dict[str, Any]]) -> dict[str, int]:
    """Print them in the embedded metric format, one object per set of dimensions; return the number of bytes."""
    from aws_lambda_powertools.metrics import EphemeralMetrics

    by_dimensions: dict[tuple[tuple[str, str], ...], list[dict[str, Any]]] = {}
    for metric in metrics:
        by_dimensions.setdefault(tuple(metric["dimensions"].items()), []).append(metric)
    with tempfile.TemporaryFile("w+") as log, contextlib.redirect_stdout(log):
        for dimensions, those in by_dimensions.items():
            collected = EphemeralMetrics(namespace="Bench")
            for name, value in dimensions:
                collected.add_dimension(name, value)
            for metric in those:
                collected.add_metric(metric["name"], metric["unit"], metric["value"])
            collected.flush_metrics()
        sent = log.tell()
    return {"calls": 0, "sent": sent}


def ours(client: Any, metrics: list[dict[str, Any]]) -> None:
    from airflow_mwaa_provider.monitoring.publishing import put_metrics

    put_metrics(client, "Bench", metrics)


WAYS = {"loop": loop, "emf": emf, "ours": ours}

WORKER = """
import json, os, sys, time

try:
    from airflow.sdk.listener import get_listener_manager
    more = {}
except ImportError:
    from airflow.listeners.listener import get_listener_manager
    more = {"session": None}
import airflow.models

class Instance:
    dag_id, task_id, run_id, map_index, try_number, state = "bench", "task", "run", -1, 1, "running"

def task():
    ends = time.perf_counter() + 1.0
    held = bytearray(b"x") * 30_000_000
    while time.perf_counter() < ends - 0.8:
        sum(range(10_000))
    time.sleep(max(0.0, ends - time.perf_counter()))

hook, instance = get_listener_manager().hook, Instance()
for line in sys.stdin:
    began = time.perf_counter()
    pid = os.fork()
    if not pid:
        hook.on_task_instance_running(previous_state=None, task_instance=instance, **more)
        task()
        hook.on_task_instance_success(previous_state=None, task_instance=instance, **more)
        hook.before_stopping(component=instance)
        os._exit(0)
    _, status, usage = os.wait4(pid, 0)
    assert not status
    print("TOOK", json.dumps({
        "wall_s": time.perf_counter() - began,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "memory_mb": usage.ru_maxrss / 1024,
    }), flush=True)
"""


def measure_tasks(number: int) -> dict[str, float]:
    """Run one-second tasks, alternately with and without the listener."""
    from airflow_mwaa_provider.monitoring.task_results import TaskResults

    home = tempfile.mkdtemp()
    option = {"AIRFLOW__MWAA_PROVIDER__TASK_RESOURCES_NAMESPACE": "Bench", "AIRFLOW_ENV_NAME": f"bench-{os.getpid()}"}
    quiet = {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER], env={**os.environ, **quiet, **more}, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for more in ({}, option)
    ]  # fmt: skip
    found: list[list[dict[str, float]]] = [[], []]
    try:
        for each in range(2 * (number + 1)):
            worker = workers[each % 2]
            assert worker.stdin is not None
            assert worker.stdout is not None
            print(file=worker.stdin, flush=True)
            line = next(line for line in worker.stdout if line.startswith("TOOK"))
            if each > 1:  # the first of each starts what later ones use, such as the publisher
                found[each % 2].append(json.loads(line.removeprefix("TOOK")))
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        with mock.patch.dict(os.environ, {**option, **quiet}):
            shutil.rmtree(TaskResults.of_environment("Bench").folder)  # its publisher ends when the folder is removed
        shutil.rmtree(home, ignore_errors=True)
    rows = [{key: statistics.median(row[key] for row in rows) for key in rows[0]} for rows in found]
    print(f"\n{f'a task of 1 s, median of {number}':34}{'wall ms':>9}{'CPU ms':>9}{'memory MB':>11}")
    for name, row in zip(("without the listener", "with it"), rows, strict=True):
        print(f"{name:34}{row['wall_s'] * 1e3:9.1f}{row['cpu_s'] * 1e3:9.1f}{row['memory_mb']:11.1f}")
    without, with_it = rows
    return {
        "task_wall": round(with_it["wall_s"] / without["wall_s"], 4),
        "task_memory": round(with_it["memory_mb"] / without["memory_mb"], 4),
    }


if __name__ == "__main__":
    if "BENCH_WAY" in os.environ:
        publish(os.environ.pop("BENCH_WAY"), int(sys.argv[-1]))
    else:
        main()
