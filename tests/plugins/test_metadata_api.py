# SPDX-License-Identifier: Apache-2.0
"""The plugin metadata_api as Airflow finds it: off until it is turned on, and no burden to those who only load it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata

import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3
from airflow_mwaa_provider.metadata.api_protocol import PREFIX
from airflow_mwaa_provider.plugins import metadata_api
from airflow_mwaa_provider.plugins.metadata_api import MetadataApiPlugin

OPTION = "AIRFLOW__MWAA_PROVIDER__METADATA_API_EXPORT_TO"


@pytest.fixture(autouse=True)
def _made_anew(monkeypatch):
    monkeypatch.delenv(OPTION, raising=False)
    for made in (metadata_api._service, metadata_api._fastapi_app, metadata_api._blueprint):
        made.cache_clear()


def test_airflow_finds_it_by_its_entry_point() -> None:
    (found,) = [point for point in metadata.entry_points(group="airflow.plugins") if point.name == "mwaa_metadata_api"]
    assert found.load() is MetadataApiPlugin


def test_it_is_off_by_default(monkeypatch) -> None:
    assert MetadataApiPlugin.fastapi_apps == []
    assert MetadataApiPlugin.flask_blueprints == []
    monkeypatch.setenv(OPTION, "  ")
    assert MetadataApiPlugin.fastapi_apps + MetadataApiPlugin.flask_blueprints == []


# Of what Airflow 2's own web server imports.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_is_on_where_it_is_told_to_write_somewhere(monkeypatch) -> None:
    monkeypatch.setenv(OPTION, "s3://bucket/history, s3://other")
    if AIRFLOW_V_3:
        (added,) = MetadataApiPlugin.fastapi_apps
        assert added["url_prefix"] == PREFIX
        assert {(path, *methods) for path, methods in routes(added["app"])} == {("/schema", "GET"), ("/pieces", "POST")}
        assert MetadataApiPlugin.flask_blueprints == []
    else:
        (blueprint,) = MetadataApiPlugin.flask_blueprints
        assert blueprint.url_prefix == PREFIX
        assert MetadataApiPlugin.fastapi_apps == []


def routes(app):
    return [(route.path, sorted(route.methods)) for route in app.routes]


def test_a_wrong_option_does_not_keep_the_web_server_from_starting(monkeypatch, caplog, capsys) -> None:
    monkeypatch.setenv(OPTION, "my-bucket/history")
    assert MetadataApiPlugin.fastapi_apps + MetadataApiPlugin.flask_blueprints == []
    logged = caplog.text + capsys.readouterr().out
    assert "The metadata API stays off" in logged
    assert "'my-bucket/history' is no place in S3; write s3://BUCKET/PREFIX." in logged


@pytest.mark.parametrize("option", ["", "s3://bucket/history"])
def test_loading_it_costs_nothing(option: str) -> None:
    """Every process of Airflow imports it: schedulers, workers, each task."""
    code = (
        "import json, sys\n"
        "import airflow.plugins_manager\n"
        "before = set(sys.modules)\n"
        "import airflow_mwaa_provider.plugins.metadata_api\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, OPTION: option}, capture_output=True, text=True, check=True
    )
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert set(loaded) - {"airflow_mwaa_provider"} == {
        "airflow_mwaa_provider.plugins",
        "airflow_mwaa_provider.plugins.metadata_api",
    }
