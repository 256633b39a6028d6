# SPDX-License-Identifier: Apache-2.0
"""Checks of a 60-line requirements.txt: our command against pip's own dry run with the same constraints.

Both are timed as processes, including their start, cold (each with an empty cache) and warm (a second run). pip runs on
the same Python, isolated from the machine's configuration except for its index. The plugins' cost at the start of each
process is measured by ``plugins_startup.py``, and shown afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from airflow_mwaa_provider.packaging import image_constraints  # noqa: E402
from airflow_mwaa_provider.packaging.requirements.regime import essential_pins  # noqa: E402
from benchmarks import plugins_startup  # noqa: E402

LINES = [
    "apache-airflow-providers-amazon",
    "apache-airflow-providers-common-sql",
    "apache-airflow-providers-http",
    "apache-airflow-providers-postgres",
    "apache-airflow-providers-slack",
    "apache-airflow-providers-snowflake",
    "apache-airflow-providers-ssh",
    "awswrangler",
    "beautifulsoup4",
    "boto3",
    "branca",
    "cachetools",
    "clickhouse-connect",
    "cloudpickle",
    "colorlog",
    "cron-descriptor",
    "deepdiff",
    "deltalake",
    "dnspython",
    "duckdb",
    "email-validator",
    "folium",
    "fsspec",
    "gspread",
    "httpx",
    "humanize",
    "jmespath",
    "joblib",
    "jsonpath-ng",
    "jsonschema",
    "loguru",
    "lxml",
    "markdown",
    "more-itertools",
    "networkx",
    "numpy",
    "openpyxl",
    "orjson",
    "pandas",
    "paramiko",
    "polars",
    "pure-sasl",
    "pyarrow",
    "pydantic",
    "pymysql",
    "pyproj",
    "python-dateutil",
    "pytz",
    "pyyaml",
    "redis",
    "requests",
    "rich",
    "s3fs",
    "scikit-learn",
    "scipy",
    "shapely",
    "simple-salesforce",
    "sqlparse",
    "tabulate",
    "xlsxwriter",
]


def uv_folder() -> Path:
    found = sorted(ROOT.glob(".envs/bootstrap-*/bin/uv"))
    return found[0].parent if found else Path(shutil.which("uv") or "uv").parent


def pip_of(folder: Path) -> str:
    """Create an environment of this Python with pip."""
    uv = str(uv_folder() / "uv")
    subprocess.run([uv, "venv", "--quiet", "--seed", "--python", sys.executable, folder], check=True)
    return str(folder / "bin" / "pip")


def seconds(command: list[str | Path], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="12 lines, each once")
    parser.add_argument("--rounds", type=int, default=3, help="of the warm runs; the median counts")
    parser.add_argument("--airflow-version", help="of the image; the newest one of this Python if not given")
    given = parser.parse_args()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    images = [version for version in image_constraints.versions() if image_constraints.python_of(version) == python]
    version = given.airflow_version or images[-1]
    lines, rounds = (LINES[::5], 1) if given.quick else (LINES, given.rounds)

    with tempfile.TemporaryDirectory(prefix="requirements-benchmark-") as name:
        folder = Path(name)
        requirements, constraints = folder / "requirements.txt", folder / "constraints.txt"
        pins = {**image_constraints.pins_of(version), **essential_pins(version)}
        requirements.write_text("\n".join(lines) + "\n", encoding="utf-8")
        constraints.write_text("".join(f"{name}=={pin}\n" for name, pin in pins.items()), encoding="utf-8")
        base = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
        for setting in ("PIP_CERT", "PIP_INDEX_URL", "UV_DEFAULT_INDEX"):
            base |= {setting: os.environ[setting]} if setting in os.environ else {}
        base["PATH"] = f"{uv_folder()}{os.pathsep}{base['PATH']}"
        pip: list[str | Path] = [pip_of(folder / "pip"), "install", "--isolated", "--dry-run", "--ignore-installed"]
        pip += ["--quiet", "--disable-pip-version-check", "--cache-dir", folder / "pip-cache"]
        pip += ["-r", requirements, "-c", constraints]
        pip += ["--cert", base["PIP_CERT"]] if "PIP_CERT" in base else []
        pip += ["--index-url", base["PIP_INDEX_URL"]] if "PIP_INDEX_URL" in base else []
        ours: list[str | Path] = [Path(sys.executable).with_name("airflow-mwaa"), "package", "requirements"]
        ours += [requirements, "--airflow-version", version]
        contenders = {"ours": ours, "pip install --dry-run": pip}
        environment = {**base, "UV_CACHE_DIR": str(folder / "uv-cache"), "UV_NO_CONFIG": "1"}

        taken = {}
        for contender, command in contenders.items():
            print(f"{contender}, cold ...", file=sys.stderr)
            cold = seconds(command, environment)
            print(f"{contender}, warm ...", file=sys.stderr)
            warm = statistics.median(seconds(command, environment) for _ in range(rounds))
            taken[contender] = (cold, warm)

    print(f"{len(lines)} lines for Airflow {version}; one cold run, median of {rounds} warm")
    print(f"{'':26}{'cold s':>9}{'warm s':>9}")
    for contender, (cold, warm) in taken.items():
        print(f"{contender:26}{cold:9.2f}{warm:9.2f}")
    (our_cold, our_warm), (pip_cold, pip_warm) = taken.values()
    ratios = {"requirements_vs_pip_cold": our_cold / pip_cold, "requirements_vs_pip_warm": our_warm / pip_warm}
    print()
    ratios |= plugins_startup.show(plugins_startup.measure(5 if given.quick else 15))
    print(json.dumps({name: round(value, 3) for name, value in ratios.items()}))


if __name__ == "__main__":
    main()
