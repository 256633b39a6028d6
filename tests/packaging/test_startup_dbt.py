# SPDX-License-Identifier: Apache-2.0
"""The dbt script: a separate environment, created once per container, and Airflow's own programs are kept."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.local.machine import processes
from airflow_mwaa_provider.packaging.startup.dbt import dbt_script
from airflow_mwaa_provider.packaging.startup.script import Component
from tests.local_airflow.test_overlay import make_wheel
from tests.packaging.startup_lab import PYTHONS, Container

pytestmark = pytest.mark.once


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    yield Container(tmp_path)
    processes.end_all(tmp_path)


@pytest.fixture
def index(tmp_path: Path) -> dict[str, str]:
    """Variables with which pip finds only replacements of dbt."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    make_wheel(folder, "dbt_core", "1.11.2", command="dbt")
    make_wheel(folder, "dbt_postgres", "1.9.1")
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}


def test_it_is_made_once_and_only_its_command_is_on_path(container: Container, index: dict[str, str]) -> None:
    script = dbt_script("1.11.2", ["postgres"])
    unusual = {"PIP_USER": "1", "PIP_CONSTRAINT": "/no/such/file", "PYTHONPATH": str(container.folder)}
    unusual |= {"PIP_ROOT": str(container.folder), "PIP_PYTHON": "/no/such/python", "PIP_REQUIREMENT": "/no/such/file"}
    file = container.home / ".config" / "pip" / "pip.conf"
    file.parent.mkdir(parents=True)
    file.write_text("[install]\nuser = true\nconstraint = /no/such/file\ndry-run = true\nrequire-hashes = true\n")
    found = container.run(f"set -eux\nIFS=,\n{script}", **index, **unusual)
    venv = container.home / "python3-virtualenv" / "dbt-env"
    assert found["DBT_VENV"] == str(venv)
    assert f"dbt-core==1.11.2 dbt-postgres: installed into {venv} in " in container.log
    for program in ("python3", "pip"):
        assert not (shutil.which(program, path=found["PATH"]) or "").startswith(str(container.home)), program
    dbt = shutil.which("dbt", path=found["PATH"])
    assert dbt
    done = subprocess.run([dbt, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == "1.11.2\n"
    assert (venv / "bin" / "python").resolve() != Path(PYTHONS)

    shutil.rmtree(index["PIP_FIND_LINKS"])  # another pip run would fail
    link = container.home / ".airflow-mwaa" / "bin" / "dbt"
    link.unlink()
    link.mkdir()
    assert container.run(script, **index) == found
    assert (link.is_symlink(), link.exists()) == (True, True)
    assert "installed into" not in container.log
    other = container.run(dbt_script("1.11.3", ["postgres"]), **index)
    assert other == {}
    assert "WARNING: dbt could not be installed, and the container starts without it" in container.log
    assert not venv.exists(), "half of an environment is worse than none"


@pytest.mark.parametrize(
    ("component", "components", "is_for"),
    [
        ("worker", (Component.WORKER,), True),
        ("hybrid", (Component.WORKER,), True),
        ("scheduler", (Component.WORKER,), False),
        ("webserver", (Component.WORKER, Component.SCHEDULER), False),
        ("scheduler", (Component.WORKER, Component.SCHEDULER), True),
    ],
)
def test_containers_that_do_not_run_it_are_left_alone(
    container: Container, component: str, components: tuple[Component, ...], is_for: bool
) -> None:
    stub = 'airflow_mwaa_install_dbt() { echo "asked for ${*:2}"; return 1; }\n'
    script = dbt_script("1.11.2", ["redshift==1.9.0", "dbt-snowflake"], components=components)
    script = script.replace("airflow_mwaa_dbt ||", f"{stub}airflow_mwaa_dbt ||")
    assert container.run(script, component) == {}
    asked = "asked for dbt-core==1.11.2 dbt-redshift==1.9.0 dbt-snowflake" in container.log
    assert (asked, f"dbt is not for this container ({component})" in container.log) == (is_for, not is_for)


def test_a_dbt_that_does_not_start_is_not_installed(container: Container) -> None:
    stub = 'airflow_mwaa_limited() { mkdir -p "$HOME/python3-virtualenv/dbt-env"; [[ $* != */dbt\\ --help ]]; }\n'
    script = dbt_script("1.11.2", ["postgres"]).replace("airflow_mwaa_dbt ||", f"{stub}airflow_mwaa_dbt ||")
    assert container.run(script) == {}
    assert "WARNING: dbt could not be installed" in container.log
    assert not (container.home / "python3-virtualenv" / "dbt-env").exists()
    script = script.replace("[[ $* != */dbt\\ --help ]]", "true")
    for _ in range(2):  # without a working Python, it is created again
        assert "DBT_VENV" in container.run(script)
        assert "installed into" in container.log


def test_no_time_that_is_left_is_no_reason_for_mwaa_to_end_the_start(container: Container) -> None:
    script = f"airflow_mwaa_deadline=1\n{dbt_script('1.11.2', ['postgres'])}export LATER=1\n"
    assert container.run(script) == {"LATER": "1"}
    assert "airflow-mwaa: no time is left for: python3" in container.log


def test_a_folder_of_the_users_is_never_taken_for_ours(container: Container) -> None:
    """If bash cannot define one of our variables, the part ends before it does anything."""
    mine = container.folder / "mine" / "kept"
    mine.mkdir(parents=True)
    for name in ("venv", "airflow_mwaa_venv", "airflow_mwaa_packages"):
        ready = f"set -eu\nreadonly {name}={mine.parent}\nairflow_mwaa_deadline=1\n"
        assert container.run(f"{ready}{dbt_script('1.11.2', ['postgres'])}export LATER=1\n") == {"LATER": "1"}
        assert mine.is_dir(), name
        assert "WARNING: dbt could not be installed, and the container starts without it" in container.log
        assert ("no time is left" in container.log) == (name == "venv")


@pytest.mark.parametrize(
    ("version", "adapters", "words"),
    [
        ("1.11; rm", ["postgres"], r"^dbt version '1\.11; rm': .* Give one such as 1\.11\.2\."),
        ("newest", ["postgres"], "^dbt version 'newest'"),
        ("1.11.2", [], "^dbt: no adapter is given"),
        ("1.11.2", ["post gres"], "^adapter 'post gres'"),
        ("1.11.2", ["--index-url=x"], "^adapter '--index-url=x'"),
        ("1.11.2", ["postgres>=1.8"], r"^adapter 'postgres>=1.8': not valid\. Give one such as "),
        (
            "1.11.2",
            ["core==1.5.0"],
            r"^adapter 'core': dbt-core is not an adapter\. Give its version only as the dbt version",
        ),
        ("1.11.2", ["DBT_Core"], "^adapter 'DBT_Core': dbt-core is not an adapter"),
        ("1.11.2", ["postgres==1.9.0", "dbt-postgres==1.9.1"], "^adapter 'dbt-postgres' is given twice"),
        ("1.11.2", ["postgres", "Postgres==1.9.1"], "^adapter 'Postgres' is given twice"),
        ("1.11.2", ["spark", "spark[PyHive]"], "^adapter 'spark' is given twice, with different versions or extras"),
        ("1.11.2", ["spark[]"], r"^adapter 'spark\[\]'"),
        ("1.11.2", ["spark[a;b]"], r"^adapter 'spark\[a;b\]'"),
        ("1.11.2", ["core[x]"], "^adapter 'core': dbt-core is not an adapter"),
        ("1.11.2", ["postgres=="], "^version of adapter postgres ''"),
        ("1.11.2", ["postgres==$(x)"], r"^version of adapter postgres '\$\(x\)'"),
    ],
)
def test_what_pip_would_not_take_is_refused(version: str, adapters: list[str], words: str) -> None:
    with pytest.raises(MwaaInputError, match=words):
        dbt_script(version, adapters)


def test_names_are_pips_and_each_is_asked_for_once() -> None:
    script = dbt_script("1.11.2", ["Postgres", "dbt_postgres", "dbt-Spark[PyHive,session]==1.9.0"])
    wanted = "dbt-core==1.11.2 dbt-postgres 'dbt-spark[PyHive,session]==1.9.0'"
    assert f"local -a airflow_mwaa_packages=({wanted}) " in script
