# SPDX-License-Identifier: Apache-2.0
"""The metadata API: an environment's web server exports the metadata database that it can reach and tasks cannot.

Off until ``mwaa_provider.metadata_api_export_to`` names where exports may go. Airflow mounts a plugin's endpoints
without any authentication; each of these asks Airflow who the caller is, and whether he may read what it would give.

This module is imported by every process of Airflow: what it needs is imported where it is used.
"""

from __future__ import annotations

import logging
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.plugins.metadata_service import Answer, MetadataService

__all__ = ["MetadataApiPlugin"]

log = logging.getLogger(__name__)
_making_client = threading.Lock()

_NAME = "mwaa_metadata_api"
# Another site's page can send a form with the user's cookie, and cannot send JSON.
_NO_JSON = "MwaaInputError: the request's body is no JSON"


class _WhenConfigured:
    """An attribute of the plugin that is empty unless the plugin is turned on, and this is its Airflow."""

    def __init__(self, make: Callable[[], Any], major: int) -> None:
        self._make = make
        self._major = major

    def __get__(self, instance: object, owner: type) -> list[Any]:
        if not _option():
            return []
        from airflow_mwaa_provider._compat import AIRFLOW_V_3
        from airflow_mwaa_provider.exceptions import MwaaInputError

        if (3 if AIRFLOW_V_3 else 2) != self._major:
            return []
        try:
            return [self._make()]
        except MwaaInputError as error:
            # Raised, it would keep the web server from starting.
            log.error("The metadata API stays off: mwaa_provider.metadata_api_export_to: %s", error)
            return []


def _option() -> str:
    from airflow.configuration import conf

    return str(conf.get("mwaa_provider", "metadata_api_export_to", fallback="") or "").strip()


@cache
def _service() -> MetadataService:
    from airflow_mwaa_provider._compat import AIRFLOW_VERSION, metadata_connection
    from airflow_mwaa_provider.metadata.database import Database
    from airflow_mwaa_provider.metadata.destinations import read_destinations
    from airflow_mwaa_provider.plugins.metadata_service import MetadataService

    return MetadataService(
        Database(metadata_connection, "The environment's metadata database"),
        read_destinations(_option()),
        _s3,
        AIRFLOW_VERSION,
    )


def _s3() -> Any:
    """Give a client with the web server's own role, that gives up within the time of a request."""
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
    # Of its own: boto3's shared one must not be used by two threads at once.
    return boto3.session.Session().client("s3", config=config)


@cache
def _fastapi_app() -> dict[str, Any]:
    from fastapi import Body, Depends, FastAPI, HTTPException, Request
    from fastapi.responses import JSONResponse

    from airflow_mwaa_provider._compat import api_user, auth_manager
    from airflow_mwaa_provider.metadata.api_protocol import PREFIX
    from airflow_mwaa_provider.plugins.permissions import Caller

    service = _service()
    # No pages that describe it: they would be there for everybody.
    app = FastAPI(title="MWAA metadata API", openapi_url=None, docs_url=None, redoc_url=None)
    logged_in = Depends(api_user())

    def require_json(request: Any) -> None:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise HTTPException(415, _NO_JSON)

    require_json.__annotations__["request"] = Request  # the class itself: by its name FastAPI would not find it here

    def response(answer: Answer) -> Any:
        headers = {"Retry-After": str(answer.retry_after_s)} if answer.retry_after_s else None
        return JSONResponse(answer.body, answer.status, headers)

    # Not async: they run in a thread, for they wait for the database.
    @app.get("/schema")
    def schema(user: Any = logged_in) -> Any:
        return response(service.describe(Caller(auth_manager(), user)))

    @app.post("/pieces", dependencies=[Depends(require_json)])
    def pieces(document: Any = Body(...), user: Any = logged_in) -> Any:  # noqa: B008 - FastAPI's way
        return response(service.write_piece(Caller(auth_manager(), user), document))

    return {"app": app, "url_prefix": PREFIX, "name": _NAME}


@cache
def _blueprint() -> Any:
    from flask import Blueprint, jsonify, request

    from airflow_mwaa_provider._compat import auth_manager, exempt_from_csrf
    from airflow_mwaa_provider.metadata.api_protocol import PREFIX
    from airflow_mwaa_provider.plugins.permissions import Caller

    service = _service()
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
        return response(service.describe)

    @blueprint.post("/pieces")
    def pieces() -> Any:
        if not request.is_json:
            return jsonify(detail=_NO_JSON), 415
        document = request.get_json(silent=True)
        return response(lambda caller: service.write_piece(caller, document))

    exempt_from_csrf(blueprint)
    return blueprint


class MetadataApiPlugin(AirflowPlugin):
    """Adds the metadata API to the web server."""

    name = _NAME
    fastapi_apps = _WhenConfigured(_fastapi_app, 3)
    flask_blueprints = _WhenConfigured(_blueprint, 2)
