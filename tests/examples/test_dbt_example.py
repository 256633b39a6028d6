# SPDX-License-Identifier: Apache-2.0
"""Run the example with a dbt project: real dbt, on a real PostgreSQL."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.metadata.lab import Lab

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab(Path(tempfile.mkdtemp(prefix="dbt.", dir=os.environ["AIRFLOW_HOME"])))
    try:
        lab.start_postgres()
        lab.run(lab.postgres.create_database("warehouse"))
        yield lab
    finally:
        lab.stop()


def task_of(dag_id: str) -> Any:
    made = runpy.run_path(str(ROOT / "example_dags" / "dbt_tasks.py"))
    return made[dag_id.replace("-", "_")]().get_task("bash_command")


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "it's $(touch made) here"
    shutil.copytree(ROOT / "example_dags" / "dbt", folder / "dbt")
    shutil.copy(ROOT / "example_dags" / "dbt_tasks.py", folder)
    made = runpy.run_path(str(folder / "dbt_tasks.py"))
    copying, _, _ = made["dbt_tasks"]().get_task("bash_command").bash_command.partition(" && ")
    target = tmp_path / "target"
    target.mkdir()
    subprocess.run(["bash", "-c", copying], cwd=target, check=True)
    assert [path.name for path in target.iterdir()] == ["dbt"]


def test_a_project_is_built_and_tested_in_postgres(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A startup script adds only the command to PATH."""
    dbt = tmp_path / "dbt"
    dbt.write_text(f'#!/bin/sh\nexec "{ROOT}/scripts/dbt" "$@"\n')
    dbt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    connection = SimpleNamespace(
        host="127.0.0.1",
        port=lab.postgres.port,
        login="airflow_user",
        password=lab.postgres.password,
        schema="warehouse",
    )
    before = sorted((ROOT / "example_dags" / "dbt").rglob("*"))
    task = task_of("dbt_tasks")
    task.render_template_fields({"conn": SimpleNamespace(dbt_warehouse=connection)})
    assert "Done. PASS=3 WARN=0 ERROR=0" in task.execute({})
    task.subprocess_hook.sub_process.stdout.close()  # Airflow leaves it open
    with lab.connect("warehouse") as database, database.cursor() as cursor:
        cursor.execute("SELECT customer, revenue, orders FROM mwaa_dbt.revenue ORDER BY 1")
        assert [(name, float(revenue), orders) for name, revenue, orders in cursor.fetchall()] == [
            ("ann", 17.5, 2),
            ("ben", 4.25, 1),
        ]
    database.close()
    assert sorted((ROOT / "example_dags" / "dbt").rglob("*")) == before, "dbt wrote beside the project"
