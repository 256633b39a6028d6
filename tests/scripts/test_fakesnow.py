# SPDX-License-Identifier: Apache-2.0
"""scripts/fakesnow: its own environment, created once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.scripts.clone import Clone


def test_its_python_has_fakesnow_and_no_airflow(clone: Clone) -> None:
    assert clone.run("fakesnow", "-m", "uvicorn", "fakesnow.server:app").returncode == 0
    [install] = clone.calls("uv pip install")
    assert "fakesnow[server]" in install
    assert "airflow" not in install.rpartition("/python ")[2]
    [_] = clone.calls("python -m uvicorn fakesnow.server:app")
    assert clone.run("fakesnow", "-c", "pass").returncode == 0
    assert clone.calls() == [*clone.calls("uv --version"), "python -c pass"]


def test_an_install_that_fails(clone: Clone) -> None:
    done = clone.run("fakesnow", "-m", "uvicorn", STUB_FAILS="uv pip install")
    assert done.returncode == 1
    assert "the install of the extra [fakesnow] failed" in done.stderr
    assert clone.calls("python -m uvicorn") == []


def test_help(clone: Clone) -> None:
    done = clone.run("fakesnow")
    assert done.returncode == 0
    assert "scripts/fakesnow -m uvicorn" in done.stdout
