# SPDX-License-Identifier: Apache-2.0
"""Calls, bytes, CPU and memory of publishing metrics: ours against put_metric_data in a loop, as AWS's sample does.

The service is a server that counts what it is sent, and takes all of it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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
        self.answer(b"{}" if "X-Amz-Target" in self.headers else b"<PutMetricDataResponse/>")

    def do_GET(self):
        global calls, sent, plain
        answer = json.dumps({"calls": calls, "sent": sent, "plain": plain}).encode()
        calls, sent, plain = 0, 0, 0
        self.answer(answer)

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
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
    parser.add_argument("--quick", action="store_true", help="5,000 metrics")
    given = parser.parse_args()
    number = 5_000 if given.quick else given.metrics
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
    os.environ.update(
        AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_DEFAULT_REGION="eu-west-1", AWS_ENDPOINT_URL=url
    )
    try:
        print(json.dumps(measure(url, number)))
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
        (f"{number:,} metrics, ours", ours, number),
    ):
        found[name] = run(url, way.__name__, count)
        row = found[name]
        print(
            f"{name:34}{row['calls']:9,.0f}{row['sent'] / 1e6:9.2f}{row['cpu_s']:8.2f}{row['wall_s']:8.2f}"
            f"{row['memory_mb']:11.1f}"
        )
    sample, own_sample, looped, own = found.values()
    return {
        "sample_calls_vs_loop": own_sample["calls"] / sample["calls"],
        "calls_vs_loop": round(own["calls"] / looped["calls"], 5),
        "bytes_vs_loop": round(own["sent"] / looped["sent"], 4),
        "cpu_vs_loop": round(own["cpu_s"] / looped["cpu_s"], 4),
        "memory_mb": round(own["memory_mb"], 1),
    }


def run(url: str, way: str, number: int) -> dict[str, float]:
    """Publish in a process of its own; return what it took, and what the server was sent."""
    command = [sys.executable, "-P", __file__, "--metrics", str(number)]
    done = subprocess.run(command, env={**os.environ, "BENCH_WAY": way}, capture_output=True, text=True, check=True)
    took: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    code = f"import urllib.request; print(urllib.request.urlopen('{url}').read().decode())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {**took, **json.loads(told.stdout)}


def publish(way: str, number: int) -> None:
    """Publish, and print what it took of CPU, time and memory beyond the metrics themselves."""
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
    gzip.compress(b"")  # its module is not counted either
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, cpu = time.perf_counter(), time.process_time()
    WAYS[way](client, metrics)
    took = {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}
    after_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**took, "memory_mb": (after_kb - before_kb) / 1024}))


def loop(client: Any, metrics: list[dict[str, Any]]) -> None:
    """One call a metric, as the user guide's sample makes them."""
    for metric in metrics:
        dimensions = [{"Name": name, "Value": value} for name, value in metric["dimensions"].items()]
        client.put_metric_data(
            Namespace="Bench",
            MetricData=[
                {"MetricName": metric["name"], "Value": metric["value"], "Unit": metric["unit"],
                 "Dimensions": dimensions}
            ],
        )  # fmt: skip


def ours(client: Any, metrics: list[dict[str, Any]]) -> None:
    from airflow_mwaa_provider.monitoring.publishing import put_metrics

    put_metrics(client, "Bench", metrics)


WAYS = {"loop": loop, "ours": ours}

if __name__ == "__main__":
    if "BENCH_WAY" in os.environ:
        publish(os.environ.pop("BENCH_WAY"), int(sys.argv[-1]))
    else:
        main()
