# SPDX-License-Identifier: Apache-2.0
"""The plugin metadata_api as Airflow finds it: off until it is enabled, and cheap for processes that only load it.

And its endpoints as a framework serves them, without a database, and with this file's auth manager.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from importlib import metadata
from typing import Any

import pytest

from airflow_mwaa_provider import _compat
from airflow_mwaa_provider._compat import AIRFLOW_V_3
from airflow_mwaa_provider.metadata.remote_api.messages import PREFIX
from airflow_mwaa_provider.plugins import metadata_api
from airflow_mwaa_provider.plugins.metadata_api import MetadataApiPlugin

OPTION = "AIRFLOW__MWAA_PROVIDER__METADATA_API_EXPORT_TO"
CLEANUP = "AIRFLOW__MWAA_PROVIDER__METADATA_API_CLEANUP"
EXPORTS = {("GET", "/schema"), ("POST", "/pieces"), ("POST", "/contradiction"), ("POST", "/measures")}
CLEANUPS = {("POST", "/cleanup/units"), ("POST", "/cleanup/plan"), ("POST", "/cleanup/steps")}


@pytest.fixture(autouse=True)
def _made_anew(monkeypatch):
    monkeypatch.delenv(OPTION, raising=False)
    monkeypatch.delenv(CLEANUP, raising=False)
    for made in (metadata_api._exports, metadata_api._cleanups, metadata_api._fastapi_app, metadata_api._blueprint):
        made.cache_clear()


def test_airflow_finds_it_by_its_entry_point() -> None:
    (found,) = [point for point in metadata.entry_points(group="airflow.plugins") if point.name == "mwaa_metadata_api"]
    assert found.load() is MetadataApiPlugin


def test_it_is_off_by_default(monkeypatch) -> None:
    assert MetadataApiPlugin.fastapi_apps == []
    assert MetadataApiPlugin.flask_blueprints == []
    monkeypatch.setenv(OPTION, "  ")
    monkeypatch.setenv(CLEANUP, "False")
    assert MetadataApiPlugin.fastapi_apps + MetadataApiPlugin.flask_blueprints == []


# Of what Airflow 2's own web server imports.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("options", [{OPTION: "s3://bucket/history, s3://other"}, {CLEANUP: "True"}])
def test_it_is_on_where_a_part_of_it_is_turned_on(monkeypatch, options: dict[str, str]) -> None:
    for name, value in options.items():
        monkeypatch.setenv(name, value)
    if AIRFLOW_V_3:
        (added,) = MetadataApiPlugin.fastapi_apps
        assert added["url_prefix"] == PREFIX
        assert {(method, route.path) for route in added["app"].routes for method in route.methods} == EXPORTS | CLEANUPS
        assert MetadataApiPlugin.flask_blueprints == []
    else:
        (blueprint,) = MetadataApiPlugin.flask_blueprints
        assert blueprint.url_prefix == PREFIX
        assert MetadataApiPlugin.fastapi_apps == []


class Nobody:
    """An auth manager with one user, who has no permissions."""

    is_in = True

    def is_logged_in(self) -> bool:
        return self.is_in

    def get_user(self) -> Nobody:
        return self

    def get_name(self) -> str:
        return "nobody"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("is_authorized_"):
            return lambda **what: False
        raise AttributeError(name)


@pytest.fixture
def asked(monkeypatch):
    """Call the endpoints; return status and text."""
    manager = Nobody()
    monkeypatch.setattr(_compat, "auth_manager", lambda: manager)
    exempted: list[Any] = []
    monkeypatch.setattr(_compat, "exempt_from_csrf", exempted.append)

    def ask(method: str, path: str, *, is_in: bool = True, **more: Any) -> tuple[int, str]:
        manager.is_in = is_in
        if AIRFLOW_V_3:
            from fastapi import HTTPException

            with (
                warnings.catch_warnings()
            ):  # that it would rather have another package than the one that Airflow brings
                warnings.simplefilter("ignore")
                from starlette.testclient import TestClient

            def user() -> Nobody:
                if not manager.is_in:
                    raise HTTPException(401, "Not authenticated")
                return manager

            (added,) = MetadataApiPlugin.fastapi_apps
            added["app"].dependency_overrides[_compat.api_user()] = user
            more["content"] = more.pop("data", None)
            answer = TestClient(added["app"]).request(method, path, **more)
            return answer.status_code, answer.text
        from flask import Flask

        (blueprint,) = MetadataApiPlugin.flask_blueprints
        assert exempted == [blueprint]
        app = Flask("airflow")
        app.register_blueprint(blueprint)
        answer = app.test_client().open(f"{PREFIX}{path}", method=method, **more)
        return answer.status_code, answer.text

    return ask


QUIET = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@QUIET
@pytest.mark.parametrize("is_cleanup", [False, True])
def test_each_part_says_how_it_is_turned_on(monkeypatch, asked, is_cleanup: bool) -> None:
    monkeypatch.setenv(CLEANUP if is_cleanup else OPTION, "True" if is_cleanup else "s3://bucket")
    for method, path in EXPORTS | CLEANUPS:
        body = {"json": {"options": {}, "unit": "log", "after": None}} if method == "POST" else {}
        status, text = asked(method, path, **body)
        if is_cleanup == (path.startswith("/cleanup")):
            assert status in (400, 403), (path, text)
        else:
            name = "metadata_api_export_to to s3://BUCKET/PREFIX" if is_cleanup else "metadata_api_cleanup to True"
            assert (status, f"set the configuration option mwaa_provider.{name}" in text) == (404, True), text


@QUIET
def test_who_is_not_logged_in_or_may_nothing_gets_nothing(monkeypatch, asked) -> None:
    monkeypatch.setenv(OPTION, "s3://bucket")
    monkeypatch.setenv(CLEANUP, "True")
    options = {"now": "2026-01-01T00:00:00+00:00"}
    for method, path in EXPORTS | CLEANUPS:
        body = {"json": {"options": options, "unit": "log", "after": None}} if method == "POST" else {}
        assert asked(method, path, is_in=False, **body)[0] == 401, path
        if path != "/pieces":
            status, text = asked(method, path, **body)
            assert (status, "nobody may not read the configuration" in text) == (403, True), text
        if method == "POST":
            assert asked("GET", path)[0] == 405, path


@QUIET
def test_a_form_of_another_site_does_nothing(monkeypatch, asked) -> None:
    """A browser sends the user's cookie with such a form, but the form cannot declare itself as JSON."""
    monkeypatch.setenv(CLEANUP, "True")
    for _, path in sorted(CLEANUPS):
        for kind in (None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            headers = {"Content-Type": kind} if kind else {}
            status, _ = asked("POST", path, data=b'{"options": {}}', headers=headers)
            assert status in (415, 422), (path, kind)
        status, _ = asked("POST", path, data=b"{", headers={"Content-Type": "application/json"})
        assert status in (400, 403, 422), path


@QUIET
def test_a_wrong_option_turns_off_its_own_part_only(monkeypatch, caplog, capsys) -> None:
    monkeypatch.setenv(CLEANUP, "maybe")
    assert MetadataApiPlugin.fastapi_apps + MetadataApiPlugin.flask_blueprints == []
    logged = caplog.text + capsys.readouterr().out
    assert "mwaa_provider.metadata_api_cleanup is neither True nor False" in logged
    monkeypatch.setenv(OPTION, "s3://bucket")
    metadata_api._exports.cache_clear()
    assert len(MetadataApiPlugin.fastapi_apps + MetadataApiPlugin.flask_blueprints) == 1


def test_a_wrong_option_does_not_keep_the_web_server_from_starting(monkeypatch, caplog, capsys) -> None:
    monkeypatch.setenv(OPTION, "my-bucket/history")
    assert MetadataApiPlugin.fastapi_apps + MetadataApiPlugin.flask_blueprints == []
    logged = caplog.text + capsys.readouterr().out
    assert "The metadata API stays off" in logged
    assert "'my-bucket/history' is not an S3 URI. Write s3://BUCKET/PREFIX." in logged


def test_loading_it_costs_nothing() -> None:
    """Every process of Airflow imports it, enabled or not: schedulers, workers, each task."""
    code = (
        "import json, os, sys\n"
        "import airflow.plugins_manager\n"
        "before = set(sys.modules)\n"
        "for option in ('', 's3://bucket/history'):\n"
        f"    os.environ['{OPTION}'] = option\n"
        "    import airflow_mwaa_provider.plugins.metadata_api\n"
        "    loaded = set(sys.modules) - before\n"
        "    print(json.dumps(sorted(loaded)))\n"
        "    for name in loaded:\n"
        "        del sys.modules[name]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines()[-2:]:
        assert set(json.loads(line)) - {"airflow_mwaa_provider"} == {
            "airflow_mwaa_provider.plugins",
            "airflow_mwaa_provider.plugins.metadata_api",
        }
