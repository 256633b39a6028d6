# SPDX-License-Identifier: Apache-2.0
"""Causes of "isn't defined", each reproduced for real, and the expected reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.secrets.conftest import CANARY, SecretsService, error

Prepare = Callable[[SecretsService], None]
CLASS = "airflow_mwaa_provider.secrets.secrets_manager.CachedSecretsManagerBackend"
SECRET = f"postgres://me:{CANARY}@h:5432/db"
ROLE = "arn:aws:iam::999999999999:role/secrets"


def put(name: str, text: str = SECRET) -> Prepare:
    return lambda service: service.put(name, text)


def nothing(service: SecretsService) -> None:
    """Do not change the service."""


def put_binary(service: SecretsService) -> None:
    service.client().create_secret(Name="airflow/connections/db", SecretBinary=CANARY.encode())


def delete_later(service: SecretsService) -> None:
    service.put("airflow/connections/db", SECRET)
    service.client().delete_secret(SecretId="airflow/connections/db", RecoveryWindowInDays=7)


def fail(code: str, message: str = "", action: str = "GetSecretValue", status: int = 400) -> Prepare:
    def prepare(service: SecretsService) -> None:
        service.put("airflow/connections/db", SECRET)
        service.fault = lambda asked, request: error(code, message, status) if asked == action else None

    return prepare


def refuse_roles(service: SecretsService) -> None:
    service.refuses_roles = True


def put_elsewhere(service: SecretsService) -> None:
    service.client(region_name="us-east-1").create_secret(Name="airflow/connections/db", SecretString=SECRET)


@dataclass(frozen=True)
class Mistake:
    """One way.

    :param name: its row in the docs.
    :param says: what the log and ``explain`` must both report.
    :param do: what they must advise.
    :param prepare: creates secrets, or faults.
    :param keywords: of the backend.
    :param options: environment variables.
    :param explains: what ``explain`` reports in addition.
    :param is_intended: so that it is logged as information.
    """

    name: str
    says: str
    do: str
    prepare: Prepare = nothing
    keywords: dict[str, Any] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    conn_id: str = "db"
    variable: bool = False
    team: str | None = None
    explains: str = ""
    is_intended: bool = False
    is_found: bool = False


MISTAKES = [
    Mistake(
        "wrong prefix",
        "Secrets Manager has no airflow/connections/db in eu-west-1, account 123456789012",
        "correct connections_prefix",
        put("airflow/connection/db"),
        explains="airflow/connection/db",
    ),
    Mistake(
        "prefix null",
        "connections_prefix is null",
        "set connections_prefix",
        put("airflow/connections/db"),
        {"connections_prefix": None},
        is_intended=True,
    ),
    Mistake(
        "slash at the end of the prefix, with another separator",
        "names begin with 'airflow/connections/-'",
        "Leave out the slash, or sep",
        put("airflow/connections-db"),
        {"connections_prefix": "airflow/connections/", "sep": "-"},
    ),
    Mistake(
        "excluded by MWAA's preset",
        "connections_lookup_pattern '^(?!aws_default$).*$' excludes it",
        "change the pattern",
        put("airflow/connections/aws_default"),
        {"connections_lookup_pattern": "^(?!aws_default$).*$"},
        conn_id="aws_default",
        is_intended=True,
    ),
    Mistake(
        "prefix in the pattern",
        "with the prefix in it, none can match",
        "Leave the prefix out of it",
        put("airflow/connections/db"),
        {"connections_lookup_pattern": "^airflow/connections/.*"},
    ),
    Mistake(
        "invalid regular expression",
        "is not a regular expression",
        "Correct it",
        put("airflow/connections/db"),
        {"connections_lookup_pattern": "*db"},
    ),
    Mistake(
        "wrong region",
        "has no airflow/connections/db in eu-west-1",
        "region_name",
        put_elsewhere,
    ),
    Mistake(
        "role that cannot be assumed",
        f"the role {ROLE} could not be assumed (AccessDenied)",
        "Allow the execution role sts:AssumeRole on it",
        refuse_roles,
        {"role_arn": ROLE},
    ),
    Mistake(
        "wrong account",
        "account 999999999999",
        "role_arn",
        put("airflow/connections/db"),
        {"role_arn": ROLE},
    ),
    Mistake(
        "access denied",
        "access to airflow/connections/db was denied (AccessDeniedException)",
        "GetSecretValue on arn:aws:secretsmanager:eu-west-1:123456789012:secret:airflow/connections/db-*",
        fail("AccessDeniedException", "no identity-based policy allows it"),
    ),
    Mistake(
        "KMS denied",
        "KMS refused to decrypt airflow/connections/db",
        "Allow the execution role kms:Decrypt",
        fail("AccessDeniedException", "Access to KMS is not allowed"),
    ),
    Mistake(
        "not reached",
        "Secrets Manager did not answer for airflow/connections/db (EndpointConnectionError). It could not be reached",
        "endpoint com.amazonaws.eu-west-1.secretsmanager",
        options={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
    ),
    Mistake(
        "throttled",
        "(ThrottlingException). The request was throttled",
        "raise cache_ttl_s",
        fail("ThrottlingException", "Rate exceeded"),
    ),
    Mistake(
        "expired credentials",
        "(ExpiredTokenException). The credentials have expired",
        "the clock",
        fail("ExpiredTokenException", "The security token included in the request is expired"),
    ),
    Mistake(
        "scheduled for deletion",
        "airflow/connections/db is scheduled for deletion",
        "aws secretsmanager restore-secret --secret-id airflow/connections/db",
        delete_later,
    ),
    Mistake("binary", "is binary or has no value", "Store text in SecretString", put_binary),
    Mistake("blank", "is empty", "Store a URI or JSON in it", put("airflow/connections/db", " \n")),
    Mistake(
        "malformed JSON",
        "is not valid JSON (line 1, column 27)",
        "Correct it",
        put("airflow/connections/db", '{"conn_type": "postgres", password: "' + CANARY + '"}'),
    ),
    Mistake(
        "JSON without conn_type",
        "is JSON without conn_type",
        "Add conn_type",
        put("airflow/connections/db", json.dumps({"host": "h", "password": CANARY})),
    ),
    Mistake(
        "JSON with conn_id before conn_type",
        "is JSON with conn_id before conn_type",
        "Remove conn_id",
        put("airflow/connections/db", json.dumps({"conn_id": "db", "conn_type": "postgres", "password": CANARY})),
    ),
    Mistake(
        "port that is not a number",
        "is JSON whose port is not a number",
        "Correct it",
        put("airflow/connections/db", json.dumps({"conn_type": "postgres", "port": "x", "password": CANARY})),
    ),
    Mistake(
        "quotation marks",
        "has quotation marks around it",
        "Store it without them",
        put("airflow/connections/db", f'"{SECRET}"'),
    ),
    Mistake(
        "slash in the password",
        "has a user or password with a character that must be encoded",
        "airflow-mwaa secrets uri",
        put("airflow/connections/db", f"postgres://me:1/{CANARY}@h/db"),
    ),
    Mistake(
        "question mark in the password",
        "has a user or password with a character that must be encoded",
        "airflow-mwaa secrets uri",
        put("airflow/connections/db", f"postgres://me:1?{CANARY}@h/db"),
    ),
    Mistake(
        "percent sign in the password",
        "has a % that does not begin an encoded character",
        "write %25",
        put("airflow/connections/db", f"postgres://me:%z{CANARY}@h/db"),
    ),
    Mistake(
        "no type in the URI",
        "is neither JSON nor a URI",
        "store JSON",
        put("airflow/connections/db", CANARY),
    ),
    Mistake(
        "name that is rejected",
        "Secrets Manager rejects the name 'airflow/connections/my db'",
        "Rename the connection",
        fail("ValidationException", "Invalid name. Must be a valid name"),
        conn_id="my db",
    ),
    Mistake(
        "keywords that are not JSON",
        "secrets.backend_kwargs is ignored, and the backend is created without keywords: it is not valid JSON (line 1",
        "Write \" instead of '",
        put("prod/db"),
        options={"AIRFLOW__SECRETS__BACKEND_KWARGS": "{'connections_prefix': 'prod'}"},
    ),
    Mistake(
        "keywords quoted twice",
        "secrets.backend_kwargs is ignored, and the backend is created without keywords: it is JSON inside a string",
        "Leave out the outer quotation marks",
        put("prod/db"),
        options={"AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps('{"connections_prefix": "prod"}')},
    ),
    Mistake(
        "keywords of the workers",
        "Tasks use the backend in workers.secrets_backend_kwargs, all other processes the one in "
        "secrets.backend_kwargs, and the two differ (connections_lookup_pattern, connections_prefix)",
        "Remove workers.secrets_backend, or set both to the same values",
        put("prod/db"),
        options={
            "AIRFLOW__SECRETS__BACKEND_KWARGS": '{"connections_prefix": "prod"}',
            "AIRFLOW__WORKERS__SECRETS_BACKEND": CLASS,
            "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS": '{"connections_lookup_pattern": "^(?!aws_default$).*$"}',
        },
    ),
    Mistake(
        "unknown keyword",
        "unknown keyword 'connection_prefix'",
        "Did you mean connections_prefix?",
        put("prod/db"),
        {"connection_prefix": "prod"},
    ),
    Mistake(
        "quotation marks around the prefix",
        "connections_prefix has quotation marks around it",
        "Remove them",
        put("prod/db"),
        {"connections_prefix": "'prod'"},
    ),
    Mistake(
        "secret of a team",
        "Secrets Manager has no airflow/connections/db in",
        "create it under exactly that name",
        put("airflow/connections/red--db"),
        explains="airflow/connections/red--db",
    ),
    Mistake(
        "case of the name",
        "Secrets Manager has no airflow/connections/db in",
        "create it under exactly that name",
        put("airflow/connections/DB"),
        explains="airflow/connections/DB",
    ),
    Mistake(
        "variable that is stored as a connection",
        "Secrets Manager has no airflow/variables/db in",
        "correct variables_prefix",
        put("airflow/connections/db"),
        variable=True,
        explains="airflow/connections/db",
    ),
    Mistake(
        "shadowed by an environment variable",
        "Secrets Manager has no airflow/connections/db in",
        "The environment variable AIRFLOW_CONN_DB is used instead",
        options={"AIRFLOW_CONN_DB": SECRET},
        is_found=True,
    ),
]
