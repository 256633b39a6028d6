# SPDX-License-Identifier: Apache-2.0
"""Many variables with a fault at a random call, and many seeds, without a network.

``test_imports_all_or_nothing`` does the same over HTTP, with fewer of both.
"""

from __future__ import annotations

import copy
import os
import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from airflow_mwaa_provider.client.collections import Variables
from airflow_mwaa_provider.client.http.retrying import call_with_retries
from airflow_mwaa_provider.client.models import RestRequest, TransportName
from airflow_mwaa_provider.client.rest.airflow_api import AirflowApi
from airflow_mwaa_provider.client.rest.transports import Answer
from airflow_mwaa_provider.client.stored.documents import variables_of
from airflow_mwaa_provider.client.stored.kinds import StoredVariables
from airflow_mwaa_provider.client.transactional_import import import_stored
from airflow_mwaa_provider.exceptions import ImportFailed, MwaaError, UnexpectedAnswer
from airflow_mwaa_provider.local.runtime import EnvironmentSpec
from tests.client.stub_airflow import StubAirflow
from tests.client.world import FakeTime

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS, SIZE = (200, 500) if os.environ.get("AIRFLOW_MWAA_TEST_FULL") == "1" else (30, 100)


@dataclass
class Fault:
    """A number of calls fail, starting from a given one, before or after they take effect."""

    first: int
    count: int
    takes_effect: bool
    status: int | None

    def hits(self, number: int) -> bool:
        return self.first <= number < self.first + self.count


class Wire:
    """Passes calls to a stub, one at a time, and fails on demand."""

    name = TransportName.WEB_SESSION

    def __init__(self, stub: StubAirflow, fault: Fault) -> None:
        self.stub, self.fault, self.calls = stub, fault, 0
        self._lock = threading.Lock()

    def send(self, request: RestRequest) -> Answer:
        with self._lock:
            self.calls += 1
            if self.fault.hits(self.calls):
                if self.fault.takes_effect:
                    self._answer(request)
                if self.fault.status is not None:
                    return Answer(self.fault.status, {"detail": "a fault"})
                raise UnexpectedAnswer("the connection broke", transient=True, ambiguous=request.is_mutating)
            return self._answer(request)

    def _answer(self, request: RestRequest) -> Answer:
        parts = [unquote(part) for part in request.path.strip("/").split("/")]
        params, body = request.params or {}, copy.deepcopy(request.json) or {}
        status, body = self.stub._answer(request.method, parts, params, body)
        return Answer(status, copy.deepcopy(body))


class Environment:
    """The part of an environment that an import uses."""

    name = "env"
    transport = TransportName.WEB_SESSION

    def __init__(self, version: str, wire: Wire, time: FakeTime) -> None:
        self.airflow_version = version
        self.backend = AirflowApi(wire, self.name, int(version[0]))
        self.time = time
        self.variables = Variables(self)  # type: ignore[arg-type]

    def call(self, send: Callable[[Any], Any], *, idempotent: bool = True) -> Any:
        return call_with_retries(
            lambda: send(self.backend),
            self.time.policy(),
            may_repeat=lambda error: error.transient and (idempotent or not error.ambiguous),
        )


@pytest.mark.parametrize("version", ["3.3.1", "2.10.3"])
def test_all_there_or_all_as_before(version: str) -> None:
    failed = whole = 0
    for seed in range(0 if version[0] == "3" else 1, SEEDS, 2):
        chance = random.Random(seed)
        spec = EnvironmentSpec(name="env", airflow_version=version, bucket="b", dag_s3_path="dags")
        stub, time = StubAirflow(spec), FakeTime()
        keys = [f"key_{n:03}" for n in range(SIZE)]
        there = {
            key: {"key": key, "value": chance.choice(["", "old", '{"a":  1}']), "description": chance.choice(["", "d"])}
            for key in chance.sample(keys, SIZE // 2)
        }
        there["unconcerned"] = {"key": "unconcerned", "value": "v", "description": None}
        stub.objects["variables"] = copy.deepcopy(there)
        document: dict[str, Any] = {key: chance.choice(["new", {"n": [seed]}, seed, None]) for key in keys}
        for key in chance.sample(keys, SIZE // 4):
            document[key] = {"value": document[key], "description": chance.choice(["", "new"])}
        # Reading takes a few calls before and after the writes.
        status, takes_effect = chance.choice([(400, False), (403, False), (None, True), (None, False), (502, True)])
        fault = Fault(chance.randrange(1, SIZE + SIZE // 20), chance.choice([1, 40]), takes_effect, status)
        kind = StoredVariables(Environment(version, Wire(stub, fault), time))  # type: ignore[arg-type]
        wanted = variables_of(document)
        error: MwaaError | None = None
        try:
            import_stored(kind, wanted, sleep=time.sleep, clock=time.clock, restore_timeout_s=3600)
        except MwaaError as caught:
            error = caught
        if error is None:
            whole += 1
            values = {key: row["value"] for key, row in stub.objects["variables"].items()}
            assert values == {"unconcerned": "v", **{key: item.value for key, item in wanted.items()}}, seed
            continue
        failed += 1
        assert stub.objects["variables"] == there, (seed, error)
        assert not isinstance(error, ImportFailed) or error.restored, (seed, error)
    assert whole + failed == SEEDS // 2
    assert failed > SEEDS // 10
    assert whole > 0
