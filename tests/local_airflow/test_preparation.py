# SPDX-License-Identifier: Apache-2.0
"""What an environment's Airflow is started with, without starting it."""

from __future__ import annotations

import asyncio
import os
import sys
import zipfile
from pathlib import Path

import pytest

from airflow_mwaa_provider.local.airflow.interpreter import Interpreter
from airflow_mwaa_provider.local.airflow.preparation import Preparation
from airflow_mwaa_provider.local.airflow.startup_script import Component
from airflow_mwaa_provider.local.machine.mwaa_home import AirflowHome
from airflow_mwaa_provider.local.machine.state import EnvironmentFolder
from airflow_mwaa_provider.local.runtime import FileKind, S3File

INTERPRETER = Interpreter(Path(sys.executable), Path(sys.prefix), "3.12.1", "3.3.1", None, None)


@pytest.fixture
def folder(tmp_path):
    folder = EnvironmentFolder(tmp_path / "source")
    folder.create()
    return folder


@pytest.fixture
def prepare(folder):
    """Prepare with copies of these files, by kind; return what to start with, and the messages."""

    def prepare(**files):
        found = {}
        for kind, content in files.items():
            (folder.files / f"{kind}-sha").write_bytes(content)
            found[FileKind(kind)] = S3File(kind, None, "sha")
        said = []
        preparation = Preparation(
            files=found,
            folder=folder,
            home=AirflowHome(folder.airflow_home),
            interpreter=INTERPRETER,
            variables={"PATH": os.environ["PATH"], "KEY": "a-secret", "ONE": "1"},
            overridable={"PATH", "ONE"},
            secrets=["a-secret"],
        )
        return asyncio.run(preparation.carry_out(said.append)), said

    return prepare


def zipped(tmp_path, name):
    path = tmp_path / "made.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(name, "1")
    return path.read_bytes()


def test_without_files_nothing_is_made(prepare, folder):
    prepared, said = prepare()
    assert (prepared.interpreter, prepared.requirements_error, said) == (INTERPRETER, None, [])
    assert not folder.overlay.exists()
    assert prepared.variables[Component.SCHEDULER]["MWAA_AIRFLOW_COMPONENT"] == "scheduler"
    assert prepared.changes(Component.WORKER, Component.WEBSERVER) == {
        "MWAA_AIRFLOW_COMPONENT": "webserver",
        "MWAA_COMMAND": "webserver",
    }


def test_plugins_alone_need_no_overlay_and_go_with_their_file(prepare, folder, tmp_path):
    prepared, said = prepare(plugins=zipped(tmp_path, "plugin.py"))
    assert (prepared.interpreter, said) == (INTERPRETER, ["unpacking plugins"])
    assert [path.name for path in folder.plugins.iterdir()] == ["plugin.py"]
    prepare()
    assert list(folder.plugins.iterdir()) == []


def test_requirements_that_ask_for_nothing_need_no_overlay(prepare, folder):
    prepared, _ = prepare(requirements=b"# none any more\n")
    assert prepared.interpreter == INTERPRETER
    assert not folder.overlay.exists()


def test_changes_name_what_goes_as_well(prepare):
    prepared, _ = prepare()
    prepared.variables[Component.WORKER]["ONLY_WORKER"] = "1"
    assert prepared.changes(Component.WORKER, Component.SCHEDULER)["ONLY_WORKER"] is None
    assert prepared.changes(Component.SCHEDULER, Component.WORKER)["ONLY_WORKER"] == "1"
