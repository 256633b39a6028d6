# SPDX-License-Identifier: Apache-2.0
"""A CodeArtifact token in a secret: created, renewed, and stored nowhere else."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest

from airflow_mwaa_provider.exceptions import AccessDenied, MwaaInputError, SecretsError
from airflow_mwaa_provider.operators.code_artifact import CodeArtifactTokenOperator
from scripts.lib import canary
from tests.local.conftest import moto_url
from tests.packaging.startup_lab import CodeArtifact, code_artifact

__all__ = ["moto_url"]


@pytest.fixture
def server(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[CodeArtifact]:
    with code_artifact() as server:
        for name, value in {
            **server.variables,
            "AWS_DEFAULT_REGION": "us-west-2",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": moto_url,
        }.items():
            monkeypatch.setenv(name, value)
        yield server


def operator(**keywords: Any) -> CodeArtifactTokenOperator:
    given: dict[str, Any] = {"domain": "amazon", "domain_owner": "112233445566", "aws_conn_id": None, **keywords}
    return CodeArtifactTokenOperator(task_id="renew", **given)


def test_a_secret_is_created_and_then_renewed(server: CodeArtifact, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    name = f"airflow/variables/{uuid.uuid4().hex}"
    secrets = boto3.client("secretsmanager")
    versions = set()
    for _ in range(2):
        result = operator(secret_name=name, token_lifetime=timedelta(hours=1)).execute({})  # type: ignore[typeddict-item]
        found = secrets.get_secret_value(SecretId=name)
        assert found["SecretString"] == canary.value()
        versions.add(found["VersionId"])
        assert result["secret_name"] == name
        assert result["expires_at"].startswith("20")
        assert canary.form_in(json.dumps(result).encode()) is None
    assert len(versions) == 2
    assert [asked["duration"] for asked in server.asked] == ["3600", "3600"]
    written = [record.getMessage() for record in caplog.records if record.name.startswith("botocore")]
    secrets.close()
    assert not any("authorizationToken" in line for line in written)


@pytest.mark.parametrize("domain_region", [None, "eu-west-1"])
def test_the_domains_region_is_not_that_of_the_secret(server: CodeArtifact, domain_region: str | None) -> None:
    name = f"airflow/variables/{uuid.uuid4().hex}"
    operator(secret_name=name, region_name="us-east-2", domain_region=domain_region).execute({})  # type: ignore[typeddict-item]
    assert server.regions == [domain_region or "us-east-2"]
    secrets = boto3.client("secretsmanager", region_name="us-east-2")
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == canary.value()
    secrets.close()


def test_a_refusal_names_the_action(server: CodeArtifact) -> None:
    server.refusal = "AccessDeniedException"
    with pytest.raises(AccessDenied, match="Allow codeartifact:GetAuthorizationToken") as caught:
        operator().execute({})  # type: ignore[typeddict-item]
    assert caught.value.action == "codeartifact:GetAuthorizationToken"


def test_an_endpoint_that_repeats_the_token_brings_it_into_no_error(
    server: CodeArtifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    with code_artifact() as echo:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", echo.url)
        words = f"Value '{canary.value()}' at 'secretString' failed to satisfy constraint"
        echo.faults["POST"] = (400, json.dumps({"__type": "ValidationException", "message": words}))
        with pytest.raises(SecretsError, match=r"rejected it as invalid \(its reason repeats the value\)") as caught:
            operator().execute({})  # type: ignore[typeddict-item]
    assert caught.value.code == "ValidationException"
    assert server.asked
    assert canary.form_in(str(caught.value).encode()) is None


@pytest.mark.parametrize("lifetime", [timedelta(minutes=14), timedelta(hours=13), 3600])
def test_a_lifetime_that_codeartifact_does_not_give(lifetime: Any) -> None:
    with pytest.raises(MwaaInputError, match="must be a timedelta of 15 minutes to 12 hours"):
        operator(token_lifetime=lifetime)
