# SPDX-License-Identifier: Apache-2.0
"""Route ``api`` without a web server between its ends: messages are passed as JSON, with the client's own errors."""

from __future__ import annotations

import json
from typing import Any

from airflow_mwaa_provider.client.models import RestRequest, TransportName
from airflow_mwaa_provider.client.rest.request import RestCaller
from airflow_mwaa_provider.client.rest.transports import Answer
from airflow_mwaa_provider.metadata.api_source import ApiSource
from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
from airflow_mwaa_provider.metadata.cleaning.routes.api import ApiCleanup
from airflow_mwaa_provider.metadata.cleaning.routes.api_messages import PLAN, STEPS, UNITS
from airflow_mwaa_provider.metadata.remote_api.messages import CONTRADICTION, MEASURES, PREFIX
from airflow_mwaa_provider.plugins.cleanup_service import CleanupService
from airflow_mwaa_provider.plugins.metadata_service import MetadataService
from airflow_mwaa_provider.plugins.permissions import Caller


class Anyone:
    """An auth manager that allows everything except what is named; the integration tests use real ones."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused

    def __getattr__(self, name: str) -> Any:
        def allowed(*, method: str, user: Any, access_entity: Any = None, details: Any = None) -> bool:
            assert method in ("GET", "DELETE")
            assert user is self
            # No user has access to a DAG by this name, so only a permission for all DAGs counts.
            assert name != "is_authorized_dag" or details.id.startswith("no-dag-")
            entity = getattr(access_entity, "name", None)
            return not {name, entity, f"{method} {entity or name}"} & set(self.refused)

        return allowed

    def get_name(self) -> str:
        return "somebody"


class Transport:
    """A transport that ends in this process, with JSON in both directions."""

    name = TransportName.WEB_SESSION

    def __init__(self, refused: Any) -> None:
        manager = Anyone(*refused)
        self.caller = Caller(manager, manager)
        self.pauses: list[float] = []
        self.requests: list[Any] = []
        self.answers: list[Any] = []

    def send(self, request: RestRequest) -> Answer:
        return self.request(request.method, request.path, params=request.params, json=request.json)

    def request(self, method: str, path: str, *, params: Any = None, json: Any = None) -> Answer:
        self.requests.append(json)
        answer = self.answer(method, path.removeprefix(PREFIX), travelled(json))
        if answer is None:
            return Answer(404, {"detail": "Not Found"})
        self.answers.append(answer)
        return Answer(answer.status, travelled(answer.body), answer.retry_after_s)

    def answer(self, method: str, path: str, document: Any) -> Any:
        raise NotImplementedError

    def call(self, method: str, path: str, json: Any = None) -> Any:
        return RestCaller(self, "production", 3).request(RestRequest(method, path, json=json))


class Server(Transport):
    """A web server that exports."""

    def __init__(self, lab, database, *destinations, refused=(), s3=None, **options: Any) -> None:
        super().__init__(refused)
        client = s3 or lab.s3()
        self.service = MetadataService(lab.database(database), destinations, lambda: client, "9.9.9", **options)

    def answer(self, method: str, path: str, document: Any) -> Any:
        if (method, path) == ("GET", "/schema"):
            return self.service.describe(self.caller)
        if (method, path) == ("POST", "/pieces"):
            return self.service.write_piece(self.caller, document)
        if (method, path) == ("POST", CONTRADICTION):
            return self.service.find_contradiction(self.caller, document)
        if (method, path) == ("POST", MEASURES):
            return self.service.measure(self.caller)
        return None

    def source(self, **options: Any) -> ApiSource:
        return ApiSource(self.call, "'production'", **{"sleep": self.pauses.append, **options})


class CleaningServer(Transport):
    """A web server that cleans."""

    def __init__(self, lab, database, *, refused=(), **options: Any) -> None:
        super().__init__(refused)
        self.service = CleanupService(lab.database(database), **options)

    def answer(self, method: str, path: str, document: Any) -> Any:
        works = {UNITS: self.service.units, PLAN: self.service.plan, STEPS: self.service.step}
        return works[path](self.caller, document) if method == "POST" and path in works else None

    def cleanup(self, options: CleanupOptions, **more: Any) -> ApiCleanup:
        return ApiCleanup(self.call, "'production'", options, **{"sleep": self.pauses.append, **more})


def travelled(value: Any) -> Any:
    return json.loads(json.dumps(value))
