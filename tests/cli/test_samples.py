# SPDX-License-Identifier: Apache-2.0
"""The catalogue of samples, and ``airflow-mwaa local demo`` where it starts nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from airflow_mwaa_provider.cli.local import sample_demo
from airflow_mwaa_provider.cli.local.samples.catalogue import SAMPLES
from airflow_mwaa_provider.cli.local.samples.sample import Sample
from airflow_mwaa_provider.cli.main import main
from airflow_mwaa_provider.local.errors import LocalMwaaError
from tests.cli.terminal import runner

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=[*SAMPLES])
def test_a_sample_names_a_file_and_its_dag(sample: Sample) -> None:
    text = (ROOT / "example_dags" / f"{sample.name}.py").read_text(encoding="utf-8")
    assert re.search(rf'dag_id="{sample.dag_id}"|def {sample.dag_id}\(', text)


def test_all_samples_run_in_one_environment() -> None:
    """No two of them want an option to have another value."""
    wanted: dict[str, set[str]] = {}
    for sample in SAMPLES.values():
        for option, value in sample.options.items():
            wanted.setdefault(option, set()).add(value)
    assert {option: values for option, values in wanted.items() if len(values) > 1} == {}


def test_the_list_has_each_of_them() -> None:
    rows = json.loads(runner().invoke(main, ["local", "demo", "--list", "--output", "json"]).stdout)
    assert [row["name"] for row in rows] == [*SAMPLES]
    printed = runner().invoke(main, ["local", "demo", "--list"]).stdout
    assert all(name in printed for name in SAMPLES)


def test_an_unknown_sample_is_refused_with_the_nearest_one() -> None:
    done = runner().invoke(main, ["local", "demo", "time_zone"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "There is no sample 'time_zone'. The nearest to sample 'time_zone': 'time_zones'." in done.stderr


def test_a_package_that_a_sample_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = {"no_such_module": "no-such-package>=1"}
    monkeypatch.setitem(SAMPLES, "needs", Sample("needs", "x", "", "", "", SAMPLES["time_zones"].prepare, {}, needs))
    with pytest.raises(LocalMwaaError, match=re.escape("Install it: pip install 'no-such-package>=1'")):
        sample_demo.find_sample("needs")
