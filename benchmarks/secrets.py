# SPDX-License-Identifier: Apache-2.0
"""Calls and CPU time of lookups in tasks: our backend against the amazon provider's, over moto's Secrets Manager.

As in MWAA's workers, each task is forked from a process that has imported what every task uses of Airflow, and nothing
of either backend. A lookup is measured in fresh interpreters too, because a forked process spends most of its time
copying memory that the two processes share.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

OURS = ("airflow_mwaa_provider.secrets.secrets_manager", "CachedSecretsManagerBackend")
STOCK = ("airflow.providers.amazon.aws.secrets.secrets_manager", "SecretsManagerBackend")
SECRETS = 20
LOOK_UPS = 5
FRESH_INTERPRETERS = 15
FRESH = """
import json, sys, time
import airflow.configuration, airflow.secrets, cryptography.fernet
from importlib import import_module
module, name, keywords = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
clock = time.process_time_ns
times = [clock()]
backend = getattr(import_module(module), name)
times.append(clock())
made = backend(**keywords)
times.append(clock())
assert made.get_variable("v0") == "value 0"
times.append(clock())
print(json.dumps([(each - times[0]) / 1e6 for each in times[1:]]))
"""
KEY = "x6R0CUyYtOTo9f3xqnXrT1fXh0qkb5pKnU3Xy4lmv1k="
SERVER = """
import collections, json, sys
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

class Silent(WSGIRequestHandler):
    def log(self, *arguments):
        pass

calls = collections.Counter()
moto = DomainDispatcherApplication(create_backend_app)

def count(environ, start_response):
    if environ["PATH_INFO"] == "/calls":
        start_response("200 OK", [])
        return [json.dumps(calls).encode()]
    calls[environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]] += 1
    return moto(environ, start_response)

server = make_server("127.0.0.1", 0, count, threaded=True, request_handler=Silent)
print(server.server_port, flush=True)
server.serve_forever()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="60 tasks, and 1,000 entries instead of 10,000")
    given = parser.parse_args()
    tasks, entries = (60, 1_000) if given.quick else (given.tasks, 10_000)
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
    with tempfile.TemporaryDirectory(prefix="bench-secrets-") as folder:
        os.environ.update(
            AIRFLOW_HOME=folder,
            AIRFLOW__CORE__FERNET_KEY=KEY,
            AWS_ACCESS_KEY_ID="a",
            AWS_SECRET_ACCESS_KEY="b",
            AWS_DEFAULT_REGION="eu-west-1",
            AWS_ENDPOINT_URL=url,
        )
        # As with an installed package, the first process that imports the modules compiles them.
        sys.dont_write_bytecode, sys.pycache_prefix = False, f"{folder}/compiled"
        try:
            in_process(fill)
            print(json.dumps(measure(folder, url, tasks, entries)))
        finally:
            server.kill()
            server.wait()


def measure(folder: str, url: str, tasks: int, entries: int) -> dict[str, float]:
    import airflow.configuration
    import airflow.secrets  # noqa: F401
    import cryptography.fernet  # noqa: F401

    def ours() -> Any:
        return getattr(import_module(OURS[0]), OURS[1])(cache_dir=f"{folder}/cache")

    def stock() -> Any:
        return getattr(import_module(STOCK[0]), STOCK[1])()

    print(f"{tasks:,} tasks, {LOOK_UPS} lookups each of {SECRETS} secrets\n")
    print(f"{'':28}{'calls':>8}{'CPU ms a task':>15}{'wall s':>8}")
    found: dict[str, float] = {}
    ways = (("amazon provider", stock, 1), ("ours", ours, 1), ("ours, 16 at a time", ours, 16))
    for name, backend, at_once in ways:
        if name != "amazon provider":
            subprocess.run(["rm", "-rf", f"{folder}/cache"], check=True)
        before, began = calls(url), time.perf_counter()
        cpu = run_tasks(backend, tasks, at_once)
        made = calls(url) - before
        print(f"{name:28}{made:8,}{statistics.median(cpu):15.1f}{time.perf_counter() - began:8.1f}")
        found[f"calls: {name}"] = made
        found[f"cpu_ms: {name}"] = round(statistics.median(cpu), 2)

    def steps(backend: Callable[[], Any]) -> list[float]:
        began = time.process_time_ns()
        made = backend()
        built = time.process_time_ns()
        made.get_variable("v0")
        return [(built - began) / 1e6, (time.process_time_ns() - began) / 1e6]

    in_process(lambda: steps(ours))
    print(f"\n{'one lookup, CPU ms, median':36}{'imported':>10}{'built':>8}{'looked up':>11}")
    fresh_ways = (("amazon provider", STOCK, {}), ("ours", OURS, {"cache_dir": f"{folder}/cache"}))
    for name, backend_class, keywords in fresh_ways:
        measured = [in_interpreter(backend_class, keywords) for _ in range(FRESH_INTERPRETERS)]
        found[f"fresh_ms: {name}"] = show(f"{name}, fresh interpreter", measured)
    for name, backend in (("amazon provider", stock), ("ours, 20 entries", ours)):
        measured = [in_process(lambda b=backend: steps(b)) for _ in range(40)]  # type: ignore[misc]
        found[f"look_up_ms: {name}"] = show(f"{name}, forked task", measured)
    in_process(lambda: fill_cache(folder, entries))
    name = f"ours, {entries:,} entries"
    found[f"look_up_ms: {name}"] = show(f"{name}, forked task", [in_process(lambda: steps(ours)) for _ in range(40)])
    theirs = found["look_up_ms: amazon provider"]
    return {
        "calls_vs_amazon": round(found["calls: ours"] / found["calls: amazon provider"], 5),
        "calls": found["calls: ours"],
        "calls_16_at_a_time": found["calls: ours, 16 at a time"],
        "look_up_cpu_vs_amazon": round(found["look_up_ms: ours, 20 entries"] / theirs, 4),
        "look_up_cpu_ms": found["look_up_ms: ours, 20 entries"],
        "fresh_cpu_vs_amazon": round(found["fresh_ms: ours"] / found["fresh_ms: amazon provider"], 4),
        "fresh_cpu_ms": found["fresh_ms: ours"],
        "many_entries_vs_few": round(found[f"look_up_ms: {name}"] / found["look_up_ms: ours, 20 entries"], 3),
    }


def show(name: str, measured: list[list[float]]) -> float:
    medians = [statistics.median(each) for each in zip(*measured, strict=True)]
    print(f"{name:36}{''.join(f'{each:10.2f}' for each in medians):>29}")
    return round(medians[-1], 3)


def in_interpreter(backend_class: tuple[str, str], keywords: dict[str, str]) -> list[float]:
    """Look up one variable in a separate interpreter; return the CPU time after import, setup and lookup."""
    command = [sys.executable, "-P", "-c", FRESH, *backend_class, json.dumps(keywords)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(sys.pycache_prefix)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    times: list[float] = json.loads(done.stdout.splitlines()[-1])
    return times


def fill() -> None:
    import boto3

    client = boto3.client("secretsmanager")
    for number in range(SECRETS):
        client.create_secret(Name=f"airflow/variables/v{number}", SecretString=f"value {number}")


def fill_cache(folder: str, entries: int) -> None:
    from airflow_mwaa_provider.secrets.store import VALUE, CacheKeys, Entry, FileStore

    store = FileStore(f"{folder}/cache", CacheKeys(KEY), max_entries=10**9, max_bytes=10**12, max_age_s=10**9)
    for number in range(entries):
        store.write(Entry(("other", "variable", f"v{number}", ""), VALUE, "x" * 100))


def run_tasks(backend: Callable[[], Any], tasks: int, at_once: int) -> list[float]:
    """Run tasks, several at a time; return the CPU time of each in milliseconds."""

    def task(seed: int) -> float:
        began = time.process_time_ns()
        made = backend()
        chosen = random.Random(seed)
        for _ in range(LOOK_UPS):
            number = chosen.randrange(SECRETS)
            assert made.get_variable(f"v{number}") == f"value {number}"
        return (time.process_time_ns() - began) / 1e6

    found: list[float] = []
    waiting: list[Callable[[], Any]] = []
    for seed in range(tasks):
        waiting.append(start(lambda seed=seed: task(seed)))  # type: ignore[misc]
        if len(waiting) == at_once:
            found.append(waiting.pop(0)())
    return found + [end() for end in waiting]


def start(work: Callable[[], Any]) -> Callable[[], Any]:
    """Start a forked process; return a function that waits for its result."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            answer = json.dumps(work()).encode()
            os.write(writer, answer)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)

    def end() -> Any:
        with os.fdopen(reader) as file:
            text = file.read()
        assert os.waitpid(child, 0)[1] == 0
        return json.loads(text)

    return end


def in_process(work: Callable[[], Any]) -> Any:
    return start(work)()


def calls(url: str) -> int:
    code = f"import urllib.request; print(urllib.request.urlopen('{url}/calls').read().decode())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return sum(count for name, count in json.loads(done.stdout).items() if name.endswith("GetSecretValue"))


if __name__ == "__main__":
    main()
