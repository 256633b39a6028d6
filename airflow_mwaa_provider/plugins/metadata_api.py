# SPDX-License-Identifier: Apache-2.0
"""The metadata API: an environment's web server exports and cleans the metadata database, which tasks cannot reach.

It is off until a configuration option turns on a part of it: ``mwaa_provider.metadata_api_export_to`` names the places
to export to, and ``mwaa_provider.metadata_api_cleanup`` lets it delete old rows. Airflow mounts a plugin's endpoints
without authentication, so each of these asks Airflow who the caller is, and whether they are allowed to do this.

Every Airflow process imports this module, so it imports what it needs where it is used.
"""

from __future__ import annotations

import logging
import threading
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.metadata.database import Database
    from airflow_mwaa_provider.plugins.answers import Answer
    from airflow_mwaa_provider.plugins.cleanup_service import CleanupService
    from airflow_mwaa_provider.plugins.metadata_service import MetadataService
    from airflow_mwaa_provider.plugins.permissions import Caller

__all__ = ["MetadataApiPlugin"]

log = logging.getLogger(__name__)
_making_client = threading.Lock()

_NAME = "mwaa_metadata_api"
# A page of another site can send a form with the user's cookie, but not JSON.
_NO_JSON = "MwaaInputError: the request's body is not JSON"
# As Airflow reads its own options.
_YES, _NO = ("true", "t", "1"), ("", "false", "f", "0")


class _WhenConfigured:
    """An attribute of the plugin that is empty unless the plugin is turned on, and Airflow has this major version."""

    def __init__(self, make: Callable[[], Any], major: int) -> None:
        self._make = make
        self._major = major

    def __get__(self, instance: object, owner: type) -> list[Any]:
        if not _option("metadata_api_export_to") and _option("metadata_api_cleanup").lower() in _NO:
            return []
        from airflow_mwaa_provider._compat import AIRFLOW_V_3

        if (3 if AIRFLOW_V_3 else 2) != self._major or not (_exports() or _cleanups()):
            return []
        return [self._make()]


def _option(name: str) -> str:
    from airflow.configuration import conf

    return str(conf.get("mwaa_provider", name, fallback="") or "").strip()


def _database() -> Database:
    from airflow_mwaa_provider._compat import metadata_connection
    from airflow_mwaa_provider.metadata.database import Database

    return Database(metadata_connection, "The environment's metadata database")


@cache
def _exports() -> MetadataService | None:
    """Return the part that exports; ``None`` if the configuration does not turn it on."""
    from airflow_mwaa_provider._compat import AIRFLOW_VERSION
    from airflow_mwaa_provider.exceptions import MwaaInputError
    from airflow_mwaa_provider.metadata.storage.destinations import read_destinations
    from airflow_mwaa_provider.plugins.metadata_service import MetadataService

    option = _option("metadata_api_export_to")
    try:
        return MetadataService(_database(), read_destinations(option), _s3, AIRFLOW_VERSION) if option else None
    except MwaaInputError as error:
        # If it were raised, the web server would not start.
        log.error("The metadata API stays off: mwaa_provider.metadata_api_export_to: %s", error)
        return None


@cache
def _cleanups() -> CleanupService | None:
    """Return the part that cleans; ``None`` if the configuration does not turn it on."""
    from airflow_mwaa_provider.plugins.cleanup_service import CleanupService

    option = _option("metadata_api_cleanup").lower()
    if option in _YES:
        return CleanupService(_database())
    if option not in _NO:
        log.error("The metadata API does not clean: mwaa_provider.metadata_api_cleanup is neither True nor False")
    return None


def _exported(work: Callable[[MetadataService], Answer]) -> Answer:
    from airflow_mwaa_provider.plugins.answers import turned_off

    service = _exports()
    if service is None:
        return turned_off("The export", "mwaa_provider.metadata_api_export_to to s3://BUCKET/PREFIX")
    return work(service)


def _cleaned(work: Callable[[CleanupService], Answer]) -> Answer:
    from airflow_mwaa_provider.plugins.answers import turned_off

    service = _cleanups()
    if service is None:
        return turned_off("The cleanup", "mwaa_provider.metadata_api_cleanup to True")
    return work(service)


def _posts() -> dict[str, Callable[[Caller, Any], Answer]]:
    """Return the handlers of POST requests by path."""
    from airflow_mwaa_provider.metadata.cleaning.routes.api_messages import PLAN, STEPS, UNITS
    from airflow_mwaa_provider.metadata.remote_api.messages import CONTRADICTION, MEASURES

    return {
        "/pieces": lambda caller, document: _exported(lambda service: service.write_piece(caller, document)),
        CONTRADICTION: lambda caller, document: _exported(lambda service: service.find_contradiction(caller, document)),
        MEASURES: lambda caller, _: _exported(lambda service: service.measure(caller)),
        UNITS: lambda caller, document: _cleaned(lambda service: service.units(caller, document)),
        PLAN: lambda caller, document: _cleaned(lambda service: service.plan(caller, document)),
        STEPS: lambda caller, document: _cleaned(lambda service: service.step(caller, document)),
    }


def _describe(caller: Caller) -> Answer:
    return _exported(lambda service: service.describe(caller))


def _s3() -> Any:
    """Return a client with the web server's own role, which gives up within the time of a request."""
    with _making_client:
        return _s3_client()


@cache
def _s3_client() -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=2,
        read_timeout=4,
        retries={"total_max_attempts": 2, "mode": "standard"},
        max_pool_connections=20,
    )
    # A separate session, because two threads must not use boto3's shared one at the same time.
    return boto3.session.Session().client("s3", config=config)


@cache
def _fastapi_app() -> dict[str, Any]:
    from fastapi import Body, Depends, FastAPI, HTTPException, Request
    from fastapi.responses import JSONResponse

    from airflow_mwaa_provider._compat import api_user, auth_manager
    from airflow_mwaa_provider.metadata.remote_api.messages import PREFIX
    from airflow_mwaa_provider.plugins.permissions import Caller

    # No pages that describe it, because everyone could read them.
    app = FastAPI(title="MWAA metadata API", openapi_url=None, docs_url=None, redoc_url=None)
    logged_in = Depends(api_user())

    def require_json(request: Any) -> None:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise HTTPException(415, _NO_JSON)

    require_json.__annotations__["request"] = Request  # the class itself, because FastAPI cannot resolve its name here

    def response(answer: Answer) -> Any:
        headers = {"Retry-After": str(answer.retry_after_s)} if answer.retry_after_s else None
        return JSONResponse(answer.body, answer.status, headers)

    # Not async, so that they run in a thread, because they wait for the database.
    @app.get("/schema")
    def schema(user: Any = logged_in) -> Any:
        return response(_describe(Caller(auth_manager(), user)))

    def add(path: str, work: Callable[[Caller, Any], Answer]) -> None:
        @app.post(path, dependencies=[Depends(require_json)])
        def post(document: Any = Body(...), user: Any = logged_in) -> Any:  # noqa: B008 - FastAPI's way
            return response(work(Caller(auth_manager(), user), document))

    for path, work in _posts().items():
        add(path, work)
    return {"app": app, "url_prefix": PREFIX, "name": _NAME}


@cache
def _blueprint() -> Any:
    from flask import Blueprint, jsonify, request

    from airflow_mwaa_provider._compat import auth_manager, exempt_from_csrf
    from airflow_mwaa_provider.metadata.remote_api.messages import PREFIX
    from airflow_mwaa_provider.plugins.permissions import Caller

    blueprint = Blueprint(_NAME, __name__, url_prefix=PREFIX)

    def response(work: Callable[[Caller], Answer]) -> Any:
        manager = auth_manager()
        if not manager.is_logged_in():
            return jsonify(detail="Not authenticated"), 401
        answer = work(Caller(manager, manager.get_user()))
        headers = {"Retry-After": str(answer.retry_after_s)} if answer.retry_after_s else {}
        return jsonify(answer.body), answer.status, headers

    @blueprint.get("/schema")
    def schema() -> Any:
        return response(_describe)

    def post(work: Callable[[Caller, Any], Answer]) -> Any:
        if not request.is_json:
            return jsonify(detail=_NO_JSON), 415
        document = request.get_json(silent=True)
        return response(lambda caller: work(caller, document))

    for path, work in _posts().items():
        blueprint.add_url_rule(
            path, endpoint=path[1:].replace("/", "_"), view_func=partial(post, work), methods=["POST"]
        )
    exempt_from_csrf(blueprint)
    return blueprint


class MetadataApiPlugin(AirflowPlugin):
    """Adds the metadata API to the web server."""

    name = _NAME
    fastapi_apps = _WhenConfigured(_fastapi_app, 3)
    flask_blueprints = _WhenConfigured(_blueprint, 2)
