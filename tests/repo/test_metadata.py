# SPDX-License-Identifier: Apache-2.0
"""What the installed distribution declares to pip and to Airflow."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import import_module, metadata, util
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import airflow_mwaa_provider
from tests.repo.layers import HEAVY, SUBCLASSED

ROOT = Path(__file__).resolve().parents[2]
NAME = "airflow-mwaa-provider"


@pytest.fixture(scope="module")
def provider_info() -> dict[str, Any]:
    [entry_point] = (
        found
        for found in metadata.entry_points(group="apache_airflow_provider")
        if found.dist is not None and found.dist.name == NAME
    )
    return entry_point.load()()


def imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def test_the_version_has_one_source() -> None:
    assert metadata.version(NAME) == airflow_mwaa_provider.__version__
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / airflow_mwaa_provider.__name__).rglob("*.py"))
    assert len(re.findall(r"(?m)^__version__ = ", text)) == 1


def test_every_entry_point_is_there() -> None:
    ours = metadata.distribution(NAME).entry_points
    assert {(found.group, found.name) for found in ours} == {
        ("airflow.plugins", "mwaa_metadata_api"),
        ("airflow.plugins", "mwaa_task_resources"),
        ("airflow.plugins", "mwaa_timezone"),
        ("airflow.plugins", "mwaa_env_vars"),
        ("airflow.plugins", "mwaa_virtualenv"),
        ("apache_airflow_provider", "provider_info"),
        ("console_scripts", "airflow-mwaa"),
    }
    for found in ours:
        assert callable(found.load())


@pytest.mark.parametrize("schema", ["provider_info.schema.json", "provider.yaml.schema.json"])
def test_provider_info_is_valid_for_the_installed_airflow(provider_info: dict[str, Any], schema: str) -> None:
    spec = util.find_spec("airflow")  # does not run it, which would also read our provider info
    assert spec is not None
    assert spec.origin is not None
    file = Path(spec.origin).parent / schema
    if not file.exists():
        pytest.skip(f"this Airflow ships no {schema}")
    rules = json.loads(file.read_text(encoding="utf-8"))
    if schema.startswith("provider.yaml"):  # for Airflow's own sources: use only the part about our keys
        rules.pop("required", None)
        rules["additionalProperties"] = True
    jsonschema.validate(provider_info, rules)


def test_provider_info_names_what_is_there(provider_info: dict[str, Any]) -> None:
    assert provider_info["package-name"] == NAME
    assert airflow_mwaa_provider.__version__ in provider_info.get("versions", [airflow_mwaa_provider.__version__])
    classes = [entry["hook-class-name"] for entry in provider_info["connection-types"]]
    assert "mwaa" in [entry["connection-type"] for entry in provider_info["connection-types"]]
    for path in [*classes, *provider_info.get("hook-class-names", []), *provider_info.get("extra-links", [])]:
        assert isinstance(imported(path), type), path


def test_asking_for_the_provider_info_costs_nothing() -> None:
    code = (
        "import sys; from airflow_mwaa_provider.provider_info import get_provider_info; get_provider_info();"
        "print(sorted({'airflow', 'boto3', 'requests', 'psycopg2', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def heavy_imports(modules: list[str], home: Path) -> list[str]:
    """What a fresh interpreter has imported with modules, beyond what Airflow brings to every DAG file."""
    code = (
        # The operators of 2.11.0 import rich.
        "import importlib, json, sys, airflow.models, airflow_mwaa_provider._compat; before = set(sys.modules)\n"
        f"[importlib.import_module(name) for name in {modules}]\n"
        f"heavy = set({HEAVY})\n"
        "print(json.dumps(sorted(heavy & (set(sys.modules) - before))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={"PATH": "", "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
    )
    found: list[str] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def test_parsing_a_dag_file_imports_nothing_heavy(tmp_path: Path) -> None:
    """The layer test reads the sources; this one asks a fresh interpreter."""
    subclasses = {path for path, _ in SUBCLASSED}
    modules = [
        f"airflow_mwaa_provider.{layer}.{path.stem}"
        for layer in ("operators", "sensors", "triggers", "links")
        for path in sorted((ROOT / "airflow_mwaa_provider" / layer).glob("[a-z]*.py"))
        if f"{layer}/{path.name}" not in subclasses
    ]
    assert heavy_imports(modules, tmp_path) == []


def test_a_heavy_base_brings_nothing_of_aws(tmp_path: Path) -> None:
    found = heavy_imports(["airflow_mwaa_provider.operators.eks"], tmp_path)
    assert "kubernetes_asyncio" in found  # Airflow 2 brings the other client to every DAG file
    assert {"airflow.providers.amazon", "boto3", "botocore", "pandas", "psycopg2"} & set(found) == set()
