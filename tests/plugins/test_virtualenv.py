# SPDX-License-Identifier: Apache-2.0
"""The option for the guide's patch of virtual environments: the scheduler logs that no Airflow here needs it."""

from __future__ import annotations

import importlib.util
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3, AIRFLOW_VERSION
from airflow_mwaa_provider.plugins.virtualenv import VirtualenvPlugin
from tests.plugins.conftest import Lines

OPTION = "AIRFLOW__MWAA_PROVIDER__PATCH_VIRTUALENV"


def test_nothing_is_said_unless_it_is_on_and_in_the_scheduler(monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    monkeypatch.setenv(OPTION, "odd, and said by nobody else")
    VirtualenvPlugin.on_load()
    monkeypatch.setattr("sys.argv", ["airflow", "scheduler"])
    monkeypatch.setenv(OPTION, "False")
    VirtualenvPlugin.on_load()
    assert lines() == []


@pytest.mark.usefixtures("is_scheduler")
def test_it_says_once_that_it_is_not_needed(monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    monkeypatch.setenv(OPTION, "True")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace())
    VirtualenvPlugin.on_load()
    VirtualenvPlugin.on_load()
    (line,) = lines()
    assert line.startswith(
        f"mwaa_provider.patch_virtualenv: not needed. PythonVirtualenvOperator of Airflow {AIRFLOW_VERSION}"
    )


@pytest.mark.usefixtures("is_scheduler")
@pytest.mark.skipif(AIRFLOW_V_3, reason="Airflow 3 does without virtualenv")
def test_it_says_that_virtualenv_is_missing(monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    monkeypatch.setenv(OPTION, "true")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    VirtualenvPlugin.on_load()
    (line,) = lines()
    assert "Add virtualenv to requirements.txt" in line


@pytest.mark.usefixtures("is_scheduler")
def test_an_odd_value_is_named(monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    monkeypatch.setenv(OPTION, "maybe")
    VirtualenvPlugin.on_load()
    (line,) = lines()
    assert line.startswith("mwaa_provider.patch_virtualenv: 'maybe' is neither True nor False.")


def test_airflow_makes_environments_as_the_line_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No name on PATH is asked for, which is what the guide's patch is about; uv is taken only where it is there."""
    made: list[list[str]] = []
    package = "airflow.providers.standard.utils" if AIRFLOW_V_3 else "airflow.utils"
    module = import_module(f"{package}.python_virtualenv")
    place = "_execute_in_subprocess" if hasattr(module, "_execute_in_subprocess") else "execute_in_subprocess"
    monkeypatch.setattr(module, place, lambda command, **_: made.append(command))
    monkeypatch.setenv("PATH", "/nowhere")
    module.prepare_virtualenv(str(tmp_path), sys.executable, False)
    expected = "venv" if AIRFLOW_V_3 else "virtualenv"
    assert made[0][:3] == [sys.executable, "-m", expected]
