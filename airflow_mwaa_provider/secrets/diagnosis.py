# SPDX-License-Identifier: Apache-2.0
"""What is wrong with an answer and what to do about it, in one line that never contains the value."""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_mwaa_provider.secrets.amazon_backend import Cause
from airflow_mwaa_provider.secrets.store import ABSENT, VALUE, Entry

if TYPE_CHECKING:
    from airflow_mwaa_provider.secrets.amazon_backend import Answer, Reply
    from airflow_mwaa_provider.secrets.look_up_cache import LookUpCache
    from airflow_mwaa_provider.secrets.store import Identity

__all__ = ["connection_problem", "describe", "describe_problem", "describe_stale", "subject"]

_PREFIXES = {"connection": "connections_prefix", "variable": "variables_prefix", "config": "config_prefix"}
_SERVICES = {"secretsmanager": "Secrets Manager", "ssm": "Parameter Store"}
_ACTIONS = {"secretsmanager": "secretsmanager:GetSecretValue", "ssm": "ssm:GetParameter"}
_ARNS = {"secretsmanager": "secret:{}-*", "ssm": "parameter{}"}
_TYPE_WORDS = ("conn_type", "conn_id", "connection_type", "engine")
_VARIABLES = {"connection": "AIRFLOW_CONN_", "variable": "AIRFLOW_VAR_"}
_THROTTLED = ("ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown")
_UNREACHED = (
    "ConnectTimeoutError", "ReadTimeoutError", "EndpointConnectionError", "ConnectionClosedError",
    "ProxyConnectionError", "SSLError", "HTTPClientError",
)  # fmt: skip
_EXPIRED = ("ExpiredTokenException", "ExpiredToken", "RequestExpired", "TokenRefreshRequired")
_WITHOUT_CLIENT = {
    "NoRegionError": "no AWS region is configured. Set region_name in the backend's keywords, or AWS_DEFAULT_REGION.",
    "InvalidRegionError": "region_name is not the name of a region. Correct it.",
    "ProfileNotFound": "no such AWS profile. Correct profile_name; MWAA has no profiles.",
    "NoCredentialsError": "no AWS credentials were found. Give the process a role, or log in.",
    "PartialCredentialsError": "the AWS credentials are incomplete. Set both the key and the secret, or neither.",
}
"""What prevents a client from being created."""
_ACCOUNT_S = 24 * 3600.0
_NOT_FOR_ONE_LINE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+._-]*://")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def describe(cache: LookUpCache, identity: Identity, answer: Answer) -> str:
    """Return what is wrong with an answer, in one line; empty if nothing is, or if it is not to be reported.

    It begins with what was looked up, unless the caller of the cache names that itself.
    """
    problem = describe_problem(cache, identity, answer)
    return f"{subject(identity)}: {problem}" if problem and not cache.is_told_by_caller else problem


def subject(identity: Identity) -> str:
    """Return what was looked up, as messages name it."""
    return f"{identity[1].capitalize()} {identity[2]!r}"


def describe_problem(cache: LookUpCache, identity: Identity, answer: Answer) -> str:
    """Return the same as :func:`describe`, without naming what was looked up."""
    return _NOT_FOR_ONE_LINE.sub(" ", _problem(cache, identity, answer))


def _problem(cache: LookUpCache, identity: Identity, answer: Answer) -> str:
    _, kind, secret_id, _ = identity
    service = _SERVICES[cache.service]
    if answer.outcome == VALUE:
        text = answer.replies[-1].text if answer.replies else None
        if kind != "connection" or text is None:
            return ""
        problem = connection_problem(text, cache.given.get("extra_conn_words"))
        return f"the secret {answer.replies[-1].name} {problem}" if problem else ""
    if not answer.replies:
        return ""
    operation = getattr(answer.error, "operation_name", "")
    if operation.startswith("AssumeRole"):
        return _no_role(cache, operation, answer.replies[-1])
    for cause in (Cause.ACCESS_DENIED, Cause.KMS, Cause.UNAVAILABLE, Cause.BINARY, Cause.TO_BE_DELETED, Cause.BAD_NAME):
        for reply in answer.replies:
            if reply.cause is cause:
                return _refusal(cache, identity, reply)
    if answer.error is not None and answer.replies[-1].cause is None:
        text = answer.replies[-1].text or ""
        problem = connection_problem(text, cache.given.get("extra_conn_words")) or (
            f"cannot be read as a {kind} ({type(answer.error).__name__}). Correct it"
        )
        return f"the secret {answer.replies[-1].name} {problem}"
    if not cache.options.log_not_found:
        return ""
    names = " or ".join(reply.name for reply in answer.replies)
    return (
        f"{service} has no {names} in {_place(cache, identity)}. {_next_source(kind, secret_id)} If it should "
        f"be a secret, create it under exactly that name there, or correct {_PREFIXES[kind]}, region_name or "
        "role_arn."
    )


def _next_source(kind: str, secret_id: str) -> str:
    variable = f"{_VARIABLES.get(kind, '')}{secret_id.upper()}"
    if kind in _VARIABLES and variable in os.environ:
        return f"The environment variable {variable} is used instead."
    return "Airflow asks its other sources next."


def _no_role(cache: LookUpCache, operation: str, reply: Reply) -> str:
    role = cache.given.get("role_arn") or "of the backend's keywords"
    return (
        f"the role {role} could not be assumed ({reply.code}). Allow the execution role sts:{operation} on it, and "
        "name the execution role in its trust policy."
    )


def _refusal(cache: LookUpCache, identity: Identity, reply: Reply) -> str:
    service = _SERVICES[cache.service]
    if reply.cause is Cause.ACCESS_DENIED:
        arn = _arn(cache, identity, reply)
        action = _ACTIONS[cache.service]
        return f"access to {reply.name} was denied ({reply.code}). Allow the execution role {action} on {arn}."
    if reply.cause is Cause.KMS:
        return (
            f"KMS refused to decrypt {reply.name} ({reply.code}). Allow the execution role kms:Decrypt on the key of "
            "the secret, in the role's policy and in the key's."
        )
    if reply.cause is Cause.UNAVAILABLE:
        return _no_answer(cache, reply)
    if reply.cause is Cause.BINARY:
        return f"the secret {reply.name} is binary or has no value. Store text in SecretString."
    if reply.cause is Cause.TO_BE_DELETED:
        return (
            f"the secret {reply.name} is scheduled for deletion, or cannot be read as it is ({reply.code}). Restore "
            f"it: aws secretsmanager restore-secret --secret-id {reply.name}."
        )
    return (
        f"{service} rejects the name {reply.name!r}: letters, digits and /_+=.@- are allowed. Rename the {identity[1]}."
    )


def _no_answer(cache: LookUpCache, reply: Reply) -> str:
    if reply.code in _WITHOUT_CLIENT:
        return _WITHOUT_CLIENT[reply.code]
    what = f"{_SERVICES[cache.service]} did not answer for {reply.name} ({reply.code})."
    if reply.code in _THROTTLED:
        return f"{what} The request was throttled: raise cache_ttl_s, or move look-ups from parse time to run time."
    if reply.code in _UNREACHED:
        endpoint = f"com.amazonaws.{_region_if_known(cache)}.{cache.service}"
        return f"{what} It could not be reached: check the VPC endpoint {endpoint}, its security group, or the NAT."
    if reply.code in _EXPIRED:
        return f"{what} The credentials have expired. Check where they come from, and the clock."
    return f"{what} Try again, or check network and quotas."


def _region_if_known(cache: LookUpCache) -> str:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return cache.amazon_backend.region
    except (BotoCoreError, ClientError):  # assuming the role had no answer, so there is no client
        return "REGION"


def describe_stale(cache: LookUpCache, entry: Entry, problem: str) -> str:
    """Return why an answer past its time to live is used, and for how much longer."""
    age = entry.age_s() or 0.0
    ttl = cache.options.ttl_s if entry.outcome == VALUE else cache.options.negative_ttl_s
    left = max(0.0, ttl + cache.options.serve_stale_s - age)
    why = problem or f"{subject(entry.identity)}: {_SERVICES[cache.service]} has not answered recently."
    return f"{why} Using the answer from {age:.0f} s ago, for {left:.0f} s more."


def connection_problem(text: str, extra_words: Any = None) -> str:
    """Return what is wrong with a stored connection, to follow "the secret NAME"; empty if nothing is."""
    stripped = text.strip()
    if not stripped:
        return "is empty. Store a URI or JSON in it."
    if stripped.startswith("{"):
        return _json_problem(stripped, extra_words)
    if stripped[0] in "\"'" and stripped[-1] == stripped[0]:
        return "has quotation marks around it. Store it without them."
    return _uri_problem(stripped)


def _json_problem(text: str, extra_words: Any) -> str:
    try:
        fields = json.loads(text)
    except RecursionError:
        return "is JSON that is nested too deeply. Correct it."
    except ValueError as error:
        where = f"line {getattr(error, 'lineno', 1)}, column {getattr(error, 'colno', 1)}"
        return f"is not valid JSON ({where}). Correct it."
    if not isinstance(fields, dict):
        return "is JSON, but not an object. Store an object with conn_type, or a URI."
    words = [*_TYPE_WORDS, *((extra_words or {}).get("conn_type", ()) if isinstance(extra_words, dict) else ())]
    if not any(fields.get(word) for word in words):
        return f"is JSON without conn_type, so Airflow cannot tell what to connect to. Add conn_type (or {words[-1]})."
    first = next(word for word in fields if word in words)
    if first != "conn_type" and fields.get("conn_type") not in (None, fields[first]):
        return f"is JSON with {first} before conn_type, which is taken for the type. Remove {first}."
    port = fields.get("port")
    if port is not None and not re.fullmatch(r"\d*", str(port)):
        return "is JSON whose port is not a number. Correct it."
    return ""


def _uri_problem(text: str) -> str:
    advice = "Encode each part with airflow-mwaa secrets uri, or store JSON."
    if not _SCHEME.match(text):
        return f"is neither JSON nor a URI that begins with a connection type and ://. {advice}"
    rest, _, query = text.partition("://")[2].partition("#")[0].partition("?")
    is_cut = "@" not in rest and ("@" in query.partition("=")[0] or "@" in text.partition("#")[2])
    if is_cut or rest.count("@") > 1 or "@" in rest.partition("/")[2]:
        return f"has a user or password with a character that must be encoded (@, /, ? or #). {advice}"
    if _BAD_ESCAPE.search(text):
        return f"has a % that does not begin an encoded character (write %25). {advice}"
    try:
        urlsplit(text).port  # noqa: B018 - it is read to see whether it can be
    except ValueError:
        return f"has a port that is not a number, or a character that must be encoded before it. {advice}"
    return ""


def _place(cache: LookUpCache, identity: Identity) -> str:
    return f"{cache.amazon_backend.region}, account {_account(cache, identity) or 'unknown'}"


def _arn(cache: LookUpCache, identity: Identity, reply: Reply) -> str:
    account = _account(cache, identity) or "ACCOUNT"
    name = _ARNS[cache.service].format(reply.name)
    partition = cache.amazon_backend.stock.client.meta.partition
    return f"arn:{partition}:{cache.service}:{cache.amazon_backend.region}:{account}:{name}"


def _account(cache: LookUpCache, identity: Identity) -> str | None:
    """Return the account that is asked; a container finds it out once a day."""
    whose = (identity[0], "account", "", "")
    known = cache.store.read(whose)
    age = known.age_s() if known is not None else None
    if known is not None and age is not None and age < _ACCOUNT_S:
        return known.value
    account = cache.amazon_backend.account()
    with contextlib.suppress(OSError):
        cache.store.write(Entry(whose, VALUE if account else ABSENT, account))
    return account
