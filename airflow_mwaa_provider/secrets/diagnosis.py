# SPDX-License-Identifier: Apache-2.0
"""What is wrong with an answer, and what to do: in one line, and never with the value."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_mwaa_provider.secrets.amazon_backend import Cause
from airflow_mwaa_provider.secrets.entry import ABSENT, VALUE, Entry

if TYPE_CHECKING:
    from airflow_mwaa_provider.secrets.amazon_backend import Answer, Reply
    from airflow_mwaa_provider.secrets.entry import Identity
    from airflow_mwaa_provider.secrets.look_up_cache import LookUpCache

__all__ = ["connection_problem", "describe", "describe_stale"]

_PREFIXES = {"connection": "connections_prefix", "variable": "variables_prefix", "config": "config_prefix"}
_SERVICES = {"secretsmanager": "Secrets Manager", "ssm": "Parameter Store"}
_ACTIONS = {"secretsmanager": "secretsmanager:GetSecretValue", "ssm": "ssm:GetParameter"}
_ARNS = {"secretsmanager": "secret:{}-*", "ssm": "parameter{}"}
_TYPE_WORDS = ("conn_type", "conn_id", "connection_type", "engine")
_ACCOUNT_S = 24 * 3600.0
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+._-]*://")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def describe(cache: LookUpCache, identity: Identity, answer: Answer) -> str:
    """Return what is wrong with an answer, in one line; empty if nothing is, or nobody wants to know."""
    _, kind, secret_id, _ = identity
    what = f"{kind.capitalize()} {secret_id!r}"
    service = _SERVICES[cache.service]
    if answer.outcome == VALUE:
        text = answer.replies[-1].text if answer.replies else None
        problem = connection_problem(text, cache.given.get("extra_conn_words")) if kind == "connection" and text else ""
        return f"{what}: the secret {answer.replies[-1].name} {problem}" if problem else ""
    if not answer.replies:
        return ""
    for cause in (Cause.ACCESS_DENIED, Cause.KMS, Cause.UNAVAILABLE, Cause.BINARY, Cause.TO_BE_DELETED, Cause.BAD_NAME):
        for reply in answer.replies:
            if reply.cause is cause:
                return f"{what}: {_refusal(cache, identity, reply)}"
    if answer.error is not None and answer.replies[-1].cause is None:
        text = answer.replies[-1].text or ""
        problem = connection_problem(text, cache.given.get("extra_conn_words")) or (
            f"cannot be read as a {kind} ({type(answer.error).__name__}). Correct it"
        )
        return f"{what}: the secret {answer.replies[-1].name} {problem}"
    if not cache.options.log_not_found:
        return ""
    names = " or ".join(reply.name for reply in answer.replies)
    return (
        f"{what}: {service} has no {names} in {_place(cache, identity)}. Airflow asks its other sources next; if it is "
        f"meant to be a secret, create it under that name, or correct {_PREFIXES[kind]}."
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
        return f"{service} did not answer for {reply.name} ({reply.code}). Try again, or check network and quotas."
    if reply.cause is Cause.BINARY:
        return f"the secret {reply.name} is binary or has no value. Store text in SecretString."
    if reply.cause is Cause.TO_BE_DELETED:
        return f"the secret {reply.name} is scheduled for deletion, or cannot be read as it is. Restore it."
    return (
        f"{service} refuses the name {reply.name!r}: letters, digits and /_+=.@- are allowed. Rename the {identity[1]}."
    )


def describe_stale(cache: LookUpCache, entry: Entry, problem: str) -> str:
    """Return why an answer is given that is past its time to live, and for how long it will be."""
    _, kind, secret_id, _ = entry.identity
    age = entry.age_s() or 0.0
    ttl = cache.options.ttl_s if entry.outcome == VALUE else cache.options.negative_ttl_s
    left = max(0.0, ttl + cache.options.serve_stale_s - age)
    why = problem or f"{kind.capitalize()} {secret_id!r}: {_SERVICES[cache.service]} did not answer lately."
    return f"{why} The answer of {age:.0f} s ago is used, for {left:.0f} s more."


def connection_problem(text: str, extra_words: Any = None) -> str:
    """Return what is wrong with a stored connection, in words that follow "the secret NAME"; empty if nothing is."""
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
        return f"is no valid JSON ({where}). Correct it."
    words = [*_TYPE_WORDS, *((extra_words or {}).get("conn_type", ()) if isinstance(extra_words, dict) else ())]
    if not any(fields.get(word) for word in words):
        return f"is JSON without conn_type, so Airflow cannot tell what to connect to. Add conn_type (or {words[-1]})."
    return ""


def _uri_problem(text: str) -> str:
    advice = "Encode each part with airflow-mwaa secrets uri, or store JSON."
    if not _SCHEME.match(text):
        return f"is neither JSON nor a URI that begins with a connection type and ://. {advice}"
    rest = text.partition("://")[2].partition("?")[0].partition("#")[0]
    if rest.count("@") > 1 or "@" in rest.partition("/")[2]:
        return f"has a user or password with a character that must be encoded (@ or /). {advice}"
    if _BAD_ESCAPE.search(text):
        return f"has a % that does not begin an encoded character (write %25). {advice}"
    try:
        urlsplit(text).port  # noqa: B018 - it is read to see whether it can be
    except ValueError:
        return f"has a port that is no number, or a character that must be encoded before it. {advice}"
    return ""


def _place(cache: LookUpCache, identity: Identity) -> str:
    return f"{cache.amazon_backend.region}, account {_account(cache, identity) or 'unknown'}"


def _arn(cache: LookUpCache, identity: Identity, reply: Reply) -> str:
    account = _account(cache, identity) or "ACCOUNT"
    name = _ARNS[cache.service].format(reply.name)
    partition = cache.amazon_backend.stock.client.meta.partition
    return f"arn:{partition}:{cache.service}:{cache.amazon_backend.region}:{account}:{name}"


def _account(cache: LookUpCache, identity: Identity) -> str | None:
    """Return the account that is asked, which a container finds out once a day."""
    whose = (identity[0], "account", "", "")
    known = cache.store.read(whose)
    age = known.age_s() if known is not None else None
    if known is not None and age is not None and age < _ACCOUNT_S:
        return known.value
    account = cache.amazon_backend.account()
    with contextlib.suppress(OSError):
        cache.store.write(Entry(whose, VALUE if account else ABSENT, account))
    return account
