# SPDX-License-Identifier: Apache-2.0
"""Route ``api`` without a web server between its ends: what they say travels as JSON, with the client's own errors."""

from __future__ import annotations

import json
from typing import Any

from airflow_mwaa_provider.client.models import TransportName
from airflow_mwaa_provider.client.rest_call import RestCaller
from airflow_mwaa_provider.client.transports import Answer
from airflow_mwaa_provider.metadata.api_protocol import PREFIX
from airflow_mwaa_provider.metadata.api_source import ApiSource
from airflow_mwaa_provider.plugins.metadata_service import MetadataService
from airflow_mwaa_provider.plugins.permissions import Caller


class Anyone:
    """An auth manager that allows everything but what is named; the real ones are in the integration tests."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused

    def __getattr__(self, name: str) -> Any:
        def allowed(*, method: str, user: Any, access_entity: Any = None, details: Any = None) -> bool:
            assert method == "GET"
            assert user is self
            # Nobody has been allowed a DAG by this name, so that only a right to all DAGs counts.
            assert name != "is_authorized_dag" or details.id.startswith("no-dag-")
            return not {name, getattr(access_entity, "name", None)} & set(self.refused)

        return allowed

    def get_name(self) -> str:
        return "somebody"


class Server:
    """A transport that ends in a service of this process."""

    name = TransportName.WEB_SESSION

    def __init__(self, lab, database, *destinations, refused=(), s3=None, **options: Any) -> None:
        client = s3 or lab.s3()
        self.service = MetadataService(lab.database(database), destinations, lambda: client, "9.9.9", **options)
        manager = Anyone(*refused)
        self.caller = Caller(manager, manager)
        self.pauses: list[float] = []
        self.requests: list[Any] = []
        self.answers: list[Any] = []

    def request(self, method: str, path: str, *, params: Any = None, json: Any = None) -> Answer:
        self.requests.append(json)
        if (method, path) == ("GET", f"{PREFIX}/schema"):
            answer = self.service.describe(self.caller)
        elif (method, path) == ("POST", f"{PREFIX}/pieces"):
            answer = self.service.write_piece(self.caller, travelled(json))
        else:
            return Answer(404, {"detail": "Not Found"})
        self.answers.append(answer)
        return Answer(answer.status, travelled(answer.body), answer.retry_after_s)

    def source(self, **options: Any) -> ApiSource:
        caller = RestCaller(self, "production", 3)
        return ApiSource(
            lambda method, path, json=None: caller.request(method, path, json=json), "'production'",
            **{"sleep": self.pauses.append, **options},
        )  # fmt: skip


def travelled(value: Any) -> Any:
    return json.loads(json.dumps(value))
