# SPDX-License-Identifier: Apache-2.0
"""Errors that a web server's plugin returns are raised as ours, with no secret in any form."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_mwaa_provider.client.models import RestRequest
from airflow_mwaa_provider.client.rest.request import RestCaller
from airflow_mwaa_provider.client.rest.transports import Answer
from airflow_mwaa_provider.exceptions import MwaaError, MwaaInputError, StorageError
from airflow_mwaa_provider.metadata.remote_api.client import ask
from airflow_mwaa_provider.metadata.remote_api.messages import PREFIX
from tests.metadata.api import Transport

pytestmark = pytest.mark.once


class Refusing(Transport):
    def __init__(self, body: Any) -> None:
        super().__init__(())
        self.body = body

    def answer(self, method: str, path: str, document: Any) -> Any:
        return Answer(422, self.body)

    def refusal(self, sent: Any = None) -> MwaaError:
        def call(method: str, path: str, json: Any = None) -> Any:
            return RestCaller(self, "production", 3).request(RestRequest(method, f"{PREFIX}{path}", json=json))

        with pytest.raises(MwaaError) as caught:
            ask(call, "'production'", "POST", "/pieces", sent, needs="export")
        return caught.value


def test_an_error_of_the_plugin_repeats_no_credentials_and_nothing_secret_that_was_sent() -> None:
    words = "could not connect to postgresql://airflow:s3cretpw@db/x, given hunter22"
    sent = {"type": "StorageError", "message": words, "fields": {"code": "hunter22", "env_name": "x"}}
    error = Refusing({"detail": "x", "error": sent}).refusal({"password": "hunter22"})
    assert type(error) is StorageError
    assert str(error) == "Route api, at 'production': could not connect to postgresql://***@db/x, given ***."
    assert error.code == "***"
    assert "hunter22" not in repr(vars(error.__cause__))


def test_an_error_of_the_plugin_is_no_longer_than_others() -> None:
    error = Refusing({"error": {"type": "StorageError", "message": "x" * 50_000}}).refusal()
    assert 1_900 < len(str(error)) < 2_100


@pytest.mark.parametrize("sent", [{"type": "MwaaInputError"}, {"type": "MwaaInputError", "message": ["b"]}, {}, "b"])
def test_an_error_in_another_form_is_read_from_its_line(sent: Any) -> None:
    error = Refusing({"detail": "MwaaInputError: a", "error": sent}).refusal()
    assert type(error) is MwaaInputError
    assert str(error) == "Route api, at 'production': a."
