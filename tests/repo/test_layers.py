# SPDX-License-Identifier: Apache-2.0
"""The layers of the package are enforced, and the check is tested on sources that break each rule."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scripts.lib.imports import LONG_LINES, PACKAGE, circles, file_arrows, long_files, read_modules, read_tree
from tests.repo.layers import STANDALONE, violations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parents[2]
SPDX = "# SPDX-License-Identifier: Apache-2.0\n"


def broken(path: str, source: str, **others: str) -> list[str]:
    """Return the violations of one file, passed without its SPDX line, among other files of the package."""
    tree = {path: source} | {name.replace("__", "/") + ".py": text for name, text in others.items()}
    return violations({name: SPDX + text for name, text in tree.items()})


def circles_of(sources: Mapping[str, str]) -> set[tuple[str, ...]]:
    return circles(file_arrows(read_modules(sources)))


def test_the_package_keeps_its_layers() -> None:
    assert violations(read_tree(ROOT / PACKAGE)) == []


def test_no_file_is_excused_without_need() -> None:
    assert set(read_tree(ROOT / PACKAGE)) >= STANDALONE


def test_what_should_become_less_is_told(record_property: Callable[[str, object], None]) -> None:
    """``scripts/check`` shows it beside the step's name, pytest at its end; no action is required."""
    sources = read_tree(ROOT / PACKAGE)
    long = ", ".join(f"{path} ({length})" for path, length in long_files(sources)) or "none"
    record_property("summary", f"{len(sources)} files, past {LONG_LINES} lines: {long}")


@pytest.mark.parametrize("folder", ["benchmarks", "example_dags", "scripts", "tests"])
def test_every_source_file_names_its_licence(folder: str) -> None:
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".sh"}]
    without = [
        str(path.relative_to(ROOT))
        for path in files
        if SPDX.strip() not in path.read_text(encoding="utf-8").splitlines()[:2]
    ]
    assert without == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("client/environment.py", f"from {PACKAGE}.hooks.mwaa import MwaaEnvironmentHook"),
        ("client/environment.py", "from ..hooks import mwaa"),
        ("client/environment.py", f"def call():\n    import {PACKAGE}.cli.main"),
        ("hooks/mwaa.py", f"from {PACKAGE}.operators.dag_run import MwaaTriggerDagRunOperator"),
        ("hooks/mwaa.py", f"from {PACKAGE} import operators"),
        ("links/mwaa.py", f"from {PACKAGE}.triggers import dag_run"),
        ("metadata/export.py", f"from {PACKAGE}.client import environment"),
        ("local/gateway.py", f"from {PACKAGE}.client.errors import thing"),
        ("local/gateway.py", f"import importlib\nimportlib.import_module('{PACKAGE}.client.airflow_api')"),
        ("operators/dag_run.py", f"from {PACKAGE}.plugins import timezone"),
        ("operators/dag_run.py", f"from {PACKAGE}.local import runtime"),
        ("cli/main.py", f"from {PACKAGE}.plugins import timezone"),
        ("exceptions.py", f"from {PACKAGE} import client"),
        ("__init__.py", f"from {PACKAGE}.client import environment"),
        ("misc/things.py", "x = 1"),
        ("local/aws/gateway.py", f"from {PACKAGE}.local.airflow import runtime"),
        ("local/aws/gateway.py", f"from {PACKAGE}.local.machine.processes import ManagedProcess"),
        ("local/airflow/runtime.py", f"from {PACKAGE}.local import daemon"),
        ("local/machine/postgres.py", f"from {PACKAGE}.local.runtime import Runtime"),
        ("local/attic/things.py", "x = 1"),
    ],
)
def test_an_import_against_the_table_is_found(path: str, source: str) -> None:
    assert len(broken(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("client/environment.py", "import airflow"),
        ("client/environment.py", "def call():\n    from airflow.models import DagRun"),
        ("client/environment.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import airflow"),
        ("exceptions.py", "from airflow.exceptions import AirflowException"),
        ("provider_info.py", "import airflow.models"),
        ("cli/main.py", "import airflow.models"),
        ("__init__.py", "import airflow.models"),
    ],
)
def test_airflow_where_it_must_not_be_known_is_found(path: str, source: str) -> None:
    assert len(broken(path, source)) == 1


@pytest.mark.parametrize("layer", ["client", "exceptions", "metadata", "monitoring"])
@pytest.mark.parametrize("word", ["template_fields", "XComArg", "iter_references", "render_template_as_native_obj"])
def test_words_of_dag_files_where_airflow_must_not_be_known_are_found(layer: str, word: str) -> None:
    [found] = broken(f"{layer}/parameters.py", f"x = 1\ny = {word!r}")
    assert found.startswith(f"{layer}/parameters.py:3: {layer} knows ")
    assert broken("hooks/templating.py", f"y = {word!r}") == []


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    import x\nexcept ImportError:\n    x = None",
        "try:\n    import x\nexcept (KeyError, ModuleNotFoundError):\n    x = None",
        "from contextlib import suppress\nwith suppress(ImportError):\n    import x",
        "from airflow import __version__",
        "from airflow.version import version",
        "import airflow\nif airflow.__version__ > '3':\n    pass",
        "from importlib.metadata import version\nversion('apache-airflow')",
        "import importlib.util\nimportlib.util.find_spec('airflow.sdk')",
    ],
)
def test_a_version_question_outside_compat_is_found(source: str) -> None:
    assert len(broken("hooks/mwaa.py", source)) == 1
    assert broken("_compat.py", source) == []


def test_a_file_for_another_interpreter_may_ask_but_not_import_the_package() -> None:
    path = min(STANDALONE)
    assert broken(path, "import airflow\nif airflow.__version__ > '3':\n    pass") == []
    assert len(broken(path, f"from {PACKAGE}.local import errors")) == 1


@pytest.mark.parametrize(
    "line",
    [
        "import boto3",
        "from botocore.exceptions import ClientError",
        "import requests",
        "from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook",
        "import psycopg2.extras",
        "import pandas as pd",
        "from rich import print",
        "from kubernetes import client",
        "from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator",
    ],
)
@pytest.mark.parametrize("layer", ["operators", "sensors", "triggers", "links"])
def test_a_heavy_import_at_module_level_is_found(layer: str, line: str) -> None:
    assert len(broken(f"{layer}/dag_run.py", line)) == 1
    assert len(broken(f"{layer}/dag_run.py", f"class Operator:\n    {line}")) == 1
    assert broken(f"{layer}/dag_run.py", f"def execute():\n    {line}") == []
    assert broken(f"{layer}/dag_run.py", f"if TYPE_CHECKING:\n    {line}") == []


def test_a_class_may_have_a_heavy_base() -> None:
    line = "from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator"
    assert broken("operators/eks.py", line) == []
    assert len(broken("operators/other.py", line)) == 1
    assert len(broken("operators/eks.py", "import kubernetes")) == 1


def test_a_heavy_import_is_found_through_other_files() -> None:
    found = broken(
        "operators/dag_run.py",
        f"from {PACKAGE}.hooks.mwaa import Hook",
        hooks__mwaa=f"from {PACKAGE}.client import environment",
        client__environment="import requests",
    )
    assert [line.split(":")[0] for line in found] == ["client/environment.py"]
    assert f"{PACKAGE}.operators.dag_run" in found[0]


def test_a_file_without_its_spdx_line_is_found() -> None:
    assert len(violations({"hooks/mwaa.py": "x = 1\n"})) == 1


def test_a_long_file_is_reported_and_breaks_no_rule() -> None:
    sources = {
        f"hooks/{name}.py": SPDX + "x = 1\n" * (lines - 1) for name, lines in [("b", 700), ("c", 701), ("a", 702)]
    }
    assert violations(sources) == []
    assert long_files(sources) == [("hooks/a.py", 702), ("hooks/c.py", 701)]


@pytest.mark.parametrize(
    "back",
    [
        f"from {PACKAGE}.client.waiting import wait",
        f"import {PACKAGE}.client.waiting as waits",
        f"from {PACKAGE}.client import waiting",
        "from . import waiting",
        "from .waiting import wait",
        f"def call():\n    from {PACKAGE}.client.waiting import wait",
        f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from {PACKAGE}.client.waiting import wait",
        f"import importlib\nimportlib.import_module('{PACKAGE}.client.waiting')",
    ],
)
def test_a_circle_is_found(back: str) -> None:
    forth = f"\nfrom {PACKAGE}.client.polling import look"
    [found] = broken("client/polling.py", back, client__waiting=forth)
    assert found.startswith("client/polling.py:")
    assert "these files are a circle: client/polling.py, client/waiting.py." in found
    # Neither import alone is a circle.
    assert broken("client/polling.py", back, client__waiting="") == []
    assert broken("client/polling.py", "", client__waiting=forth) == []


def test_a_circle_of_three_is_found_once_and_by_its_files() -> None:
    sources = {
        "client/a.py": f"from {PACKAGE}.client import b",
        "client/b.py": f"x = 1\nfrom {PACKAGE}.client import c",
        "client/c.py": f"from {PACKAGE}.client import a",
        "client/above.py": f"from {PACKAGE}.client import a",
        "client/below.py": "x = 1",
        "metadata/d.py": f"from {PACKAGE}.metadata import e",
        "metadata/e.py": f"from {PACKAGE}.metadata.d import thing",
    }
    assert circles_of(sources) == {("client/a.py", "client/b.py", "client/c.py"), ("metadata/d.py", "metadata/e.py")}
    found = violations({path: SPDX + text for path, text in sources.items()})
    assert [line.split(":")[:2] for line in found] == [["client/a.py", "2"], ["metadata/d.py", "2"]]


def test_a_package_ties_its_files_only_where_one_imports_it_by_name() -> None:
    sources = {"client/__init__.py": f"{SPDX}from .polling import look", "client/models.py": SPDX}
    assert violations({**sources, "client/polling.py": f"{SPDX}from .models import Run"}) == []
    [found] = violations({**sources, "client/polling.py": f"{SPDX}from . import look"})
    assert "client/__init__.py, client/polling.py" in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("operators/dag_run.py", f"from {PACKAGE}.links.mwaa import Link\nfrom {PACKAGE}._compat import X"),
        ("hooks/mwaa.py", f"from airflow.models import Connection\nfrom {PACKAGE}.client import polling"),
        (
            "client/transports.py",
            f"import requests\nfrom .. import exceptions\nimport {PACKAGE}",
        ),
        ("cli/main.py", f"from {PACKAGE}.local import runtime\ndef f():\n    import airflow"),
        ("local/aws.py", "import importlib.util\nimportlib.util.find_spec('moto')"),
    ],
)
def test_what_the_table_allows_passes(path: str, source: str) -> None:
    assert broken(path, source) == []
