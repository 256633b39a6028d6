# SPDX-License-Identifier: Apache-2.0
"""Explain a look-up: each source in the order in which Airflow asks, its answer, and the result.

An explanation contains no value, no password, and no keyword whose value may be one.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider._compat import AIRFLOW_V_3
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.secrets.amazon_backend import Cause
from airflow_mwaa_provider.secrets.configuration_check import problems
from airflow_mwaa_provider.secrets.configured import own_configuration
from airflow_mwaa_provider.secrets.diagnosis import connection_problem, describe
from airflow_mwaa_provider.secrets.kept_cache import KeptCache
from airflow_mwaa_provider.secrets.look_up_cache import CacheOptions, LookUpCache, amazon_keywords
from airflow_mwaa_provider.secrets.secrets_manager import why_not_looked_up
from airflow_mwaa_provider.secrets.store import ABSENT, DENIED, VALUE, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_mwaa_provider.secrets.amazon_backend import Answer
    from airflow_mwaa_provider.secrets.configuration import Configuration, ConfiguredBackend

__all__ = ["Explanation", "Found", "Kind", "Outcome", "Source", "connection_fields", "explain", "explain_here"]

_OURS = "airflow_mwaa_provider.secrets"
_STOCK = "airflow.providers.amazon.aws.secrets"
_SERVICES = {
    f"{_OURS}.secrets_manager.CachedSecretsManagerBackend": "secretsmanager",
    f"{_STOCK}.secrets_manager.SecretsManagerBackend": "secretsmanager",
    f"{_OURS}.systems_manager.CachedSystemsManagerParameterStoreBackend": "ssm",
    f"{_STOCK}.systems_manager.SystemsManagerParameterStoreBackend": "ssm",
}
_AMAZON_CLASSES = {
    "secretsmanager": f"{_STOCK}.secrets_manager.SecretsManagerBackend",
    "ssm": f"{_STOCK}.systems_manager.SystemsManagerParameterStoreBackend",
}
_TITLES = {"secretsmanager": "Secrets Manager", "ssm": "Parameter Store"}
_MOST_SIMILAR = 5
_MOST_PAGES = 10
"""Pages of 100 secrets that are searched for a name that may have been meant."""


class Kind(StrEnum):
    """What is looked up."""

    CONNECTION = "connection"
    VARIABLE = "variable"


class Outcome(StrEnum):
    """What a source answers."""

    FOUND = "found"
    NOT_THERE = "not there"
    NOT_LOOKED_UP = "not looked up"
    UNUSABLE = "unusable"
    REFUSED = "refused"
    UNAVAILABLE = "no answer"
    UNKNOWN = "not asked"


_LookUp = tuple[Kind, str, str | None]
"""The kind that is looked up, its id, and the team that asks."""
_OUTCOMES = {VALUE: Outcome.FOUND, ABSENT: Outcome.NOT_THERE, DENIED: Outcome.REFUSED}


@dataclass(frozen=True)
class Found:
    """What a source has, without its secrets."""

    fields: Mapping[str, Any]


@dataclass
class Source:
    """One of the places that Airflow asks.

    :param title: its name.
    :param process: the process that asks it.
    :param names: the names that it is asked for, in order.
    :param detail: the reason, and what to do; empty if there is nothing to report.
    :param cached: the different answer in this container's cache; empty if there is none.
    :param similar: names of secrets that may have been meant.
    :param region: the AWS region that is asked.
    :param account: the AWS account that is asked.
    :param option: the option that has its keywords.
    :param found: what it has.
    """

    title: str
    process: str
    outcome: Outcome
    names: tuple[str, ...] = ()
    detail: str = ""
    cached: str = ""
    similar: tuple[str, ...] = ()
    region: str | None = None
    account: str | None = None
    option: str | None = None
    found: Found | None = field(default=None, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return {
            "source": self.title,
            "process": self.process,
            "names": list(self.names),
            "outcome": self.outcome.value,
            "detail": self.detail,
            "cached": self.cached,
            "similar": list(self.similar),
            "region": self.region,
            "account": self.account,
            "option": self.option,
        }


@dataclass(frozen=True)
class Explanation:
    """An explained look-up.

    :param problems: mistakes in the configuration.
    """

    kind: Kind
    secret_id: str
    sources: tuple[Source, ...]
    problems: tuple[str, ...]

    @property
    def used(self) -> Source | None:
        """The source whose answer a task gets; ``None`` if it gets nothing."""
        return next((source for source in self.sources if source.outcome is Outcome.FOUND), None)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        used = self.used
        result = None
        if used is not None and used.found is not None:
            result = {"source": self.sources.index(used) + 1, **used.found.fields}
        return {
            "kind": self.kind.value,
            "id": self.secret_id,
            "sources": [source.as_dict() for source in self.sources],
            "result": result,
            "problems": list(self.problems),
        }


class _Uncached(LookUpCache):
    """Asks like a backend, and caches nothing."""

    def __init__(self, service: str, keywords: Mapping[str, Any]) -> None:
        given = dict(keywords)
        options = CacheOptions(given)
        options.log_not_found = True
        module, _, name = _AMAZON_CLASSES[service].rpartition(".")
        for parameter in inspect.signature(getattr(import_module(module), name)).parameters.values():
            if isinstance(parameter.default, str):  # prefixes and sep
                given.setdefault(parameter.name, parameter.default)
        super().__init__(_AMAZON_CLASSES[service], service, amazon_keywords(given), options)
        self._kept = MemoryStore(max_entries=100, max_bytes=2**24)

    @property
    def store(self) -> MemoryStore:
        """Memory."""
        return self._kept


def explain(
    kind: Kind,
    secret_id: str,
    configuration: Configuration,
    *,
    team: str | None = None,
    is_airflow_3: bool,
    extra_keywords: Mapping[str, Any] | None = None,
    looks_into_cache: bool = False,
    variables: Mapping[str, str] | None = None,
    metadata: Callable[[Kind, str], Source],
) -> Explanation:
    """Ask each source in Airflow's order.

    :param team: the team of the task that asks.
    :param is_airflow_3: whether tasks ask the API server last, which asks its own sources, instead of the database.
    :param extra_keywords: defaults for the backend's keywords, such as a region.
    :param looks_into_cache: whether tasks are answered from the cache of this container.
    :param variables: the environment variables of a task; ``None`` if they are unknown.
    :param metadata: asks the metadata database.
    """
    found: list[str] = list(configuration.problems)
    look_up = (kind, secret_id, team)
    task = _ask_backend(look_up, configuration.task, extra_keywords or {}, looks_into_cache, found)
    task.process = "task"
    sources = [task, _ask_variables(kind, secret_id, team, variables)]
    if is_airflow_3:
        server = task
        if configuration.server != configuration.task:
            server = _ask_backend(look_up, configuration.server, extra_keywords or {}, False, found)
        sources.append(Source(**{**vars(server), "process": "API server"}))
    last = metadata(kind, secret_id)
    last.process = "API server" if is_airflow_3 else "task"
    sources.append(last)
    if is_airflow_3:
        for source in sources:
            _want_type(kind, source)
    return Explanation(kind, secret_id, tuple(sources), tuple(dict.fromkeys(found)))


def explain_here(kind: Kind, secret_id: str, team: str | None = None) -> Explanation:
    """Ask each source as a task of this process's Airflow would."""
    return explain(
        kind,
        secret_id,
        own_configuration(),
        team=team,
        is_airflow_3=AIRFLOW_V_3,
        looks_into_cache=True,
        variables=os.environ,
        metadata=_ask_own_metadata,
    )


def _want_type(kind: Kind, source: Source) -> None:
    """Mark a connection without a type as unusable, as Airflow 3 does."""
    is_typeless = source.found is not None and not source.found.fields.get("type")
    if kind is Kind.CONNECTION and source.outcome is Outcome.FOUND and is_typeless:
        source.outcome = Outcome.UNUSABLE
        source.detail = source.detail or "The connection has no type. Give it one."


def _ask_backend(
    look_up: _LookUp,
    backend: ConfiguredBackend | None,
    extra_keywords: Mapping[str, Any],
    looks_into_cache: bool,
    found_problems: list[str],
) -> Source:
    kind, secret_id, team = look_up
    if backend is None:
        return Source(
            "secrets backend", "task", Outcome.UNKNOWN, detail="None is configured: secrets.backend is empty."
        )
    service = _SERVICES.get(backend.class_path)
    if service is None:
        return _ask_other(kind, secret_id, backend)
    title = _TITLES[service]
    source = Source(title, "task", Outcome.UNUSABLE, option=backend.option)
    try:
        cache = _Uncached(service, backend.keywords)
    except MwaaInputError as error:
        source.detail = f"The backend cannot be created: {error}"
        return source
    found_problems += (f"{problem} ({backend.option})" for problem in problems(service, cache.given))
    for name, value in extra_keywords.items():
        cache.given.setdefault(name, value)
    try:
        source.detail = why_not_looked_up(cache.given, kind, secret_id)
    except re.error:
        source.detail = f"{kind.value}s_lookup_pattern is not a regular expression, so the look-up fails. Correct it."
        return source
    if source.detail:
        source.outcome = Outcome.NOT_LOOKED_UP
        return source
    _ask_amazon(cache, source, kind, secret_id, team)
    if looks_into_cache and backend.class_path.startswith(_OURS):
        _ask_cache(cache, source, look_up)
    return source


def _ask_cache(cache: _Uncached, source: Source, look_up: _LookUp) -> None:
    """Let a source answer like the cache of this container, if that has an answer."""
    kind, secret_id, team = look_up
    try:
        kept = KeptCache(cache.options.cache_dir)
    except MwaaInputError:  # nothing is cached here
        return
    entries = [
        each for each in kept.entries(secret_id, kind) if each.identity[3] == (team or "") and cache.is_fresh(each)
    ]
    if not entries:
        return
    entry = entries[-1]
    found = _found(kind, secret_id, entry.value) if entry.value is not None else None
    is_same = source.outcome is _OUTCOMES[entry.outcome] and (entry.value is None or source.found == found)
    if is_same:
        return
    options = cache.options
    left = (options.ttl_s if entry.has_value else options.negative_ttl_s) * entry.jitter - (entry.age_s() or 0.0)
    what = {VALUE: "a value", ABSENT: "that it does not exist", DENIED: "that access was denied"}[entry.outcome]
    source.cached = (
        f"The cache of this container has an older answer, {what}, from {entry.age_s() or 0.0:.0f} s ago, and uses "
        f"it for {max(0.0, left):.0f} s more. To ask at once: airflow-mwaa secrets invalidate {secret_id}."
    )
    source.outcome = _OUTCOMES[entry.outcome] if entry.value is None or found else Outcome.UNUSABLE
    source.found = found


def _ask_amazon(cache: _Uncached, source: Source, kind: Kind, secret_id: str, team: str | None) -> None:
    identity = cache.identity(kind, secret_id, team)
    answer = cache.amazon_backend.fetch(kind, secret_id, team)
    source.names = tuple(dict.fromkeys(reply.name for reply in answer.replies))
    source.detail = describe(cache, identity, answer)
    source.region, source.account = _region(cache), None
    if source.region is not None:
        source.account = cache.amazon_backend.account()
    causes = {reply.cause for reply in answer.replies}
    if answer.outcome == VALUE:
        text = answer.value or ""
        is_bad = kind is Kind.CONNECTION and bool(source.detail)
        source.found = None if is_bad else _found(kind, secret_id, text)
        source.outcome = Outcome.UNUSABLE if source.found is None else Outcome.FOUND
        source.detail = source.detail or ("" if source.found else _unreadable(source.names[-1], kind))
    elif not answer.replies:
        source.outcome = Outcome.NOT_LOOKED_UP
        source.detail = f"The amazon provider's backend rejects the id {secret_id!r}. Rename the {kind}."
    elif answer.outcome == DENIED or causes & {Cause.ACCESS_DENIED, Cause.KMS}:
        source.outcome = Outcome.REFUSED
    elif answer.is_unavailable:
        source.outcome = Outcome.UNAVAILABLE
    elif causes <= {Cause.NOT_FOUND}:
        source.outcome = Outcome.NOT_THERE
        source.similar = _similar(cache, answer, secret_id)
    else:
        source.outcome = Outcome.UNUSABLE


def _unreadable(name: str, kind: Kind) -> str:
    return f"The secret {name} cannot be read as a {kind}. Correct it."


def _region(cache: _Uncached) -> str | None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return cache.amazon_backend.region
    except (BotoCoreError, ClientError):  # no client could be created, which the answer already shows
        return None


def _similar(cache: _Uncached, answer: Answer, secret_id: str) -> tuple[str, ...]:
    """Return names of secrets that end like the missing one, in any case and under any prefix."""
    from botocore.exceptions import BotoCoreError, ClientError

    if cache.service != "secretsmanager":
        return ()
    asked = {reply.name for reply in answer.replies}
    wanted = secret_id.casefold()
    similar: list[str] = []
    try:
        pages = cache.amazon_backend.stock.client.get_paginator("list_secrets").paginate(MaxResults=100)
        for page in islice(pages, _MOST_PAGES):
            names = (secret["Name"] for secret in page["SecretList"])
            similar += (name for name in names if name.casefold().endswith(wanted) and name not in asked)
    except (BotoCoreError, ClientError):  # a role that may not list may still read
        return ()
    return tuple(sorted(similar)[:_MOST_SIMILAR])


def _ask_other(kind: Kind, secret_id: str, backend: ConfiguredBackend) -> Source:
    """Ask a backend other than Amazon's, as far as possible from here."""
    title = backend.class_path.rpartition(".")[2]
    source = Source(title, "task", Outcome.UNKNOWN, option=backend.option)
    module, _, name = backend.class_path.rpartition(".")
    try:
        made = getattr(import_module(module or "builtins"), name)(**backend.keywords)
        text = made.get_conn_value(secret_id) if kind is Kind.CONNECTION else made.get_variable(secret_id)
    except Exception as error:  # noqa: BLE001 - it is somebody else's code, and its failure is the answer
        is_absent = isinstance(error, ModuleNotFoundError | AttributeError)
        hint = _meant(backend.class_path) if is_absent else "Check its log."
        source.outcome = Outcome.UNUSABLE
        source.detail = f"The backend {backend.class_path} fails ({type(error).__name__}). {hint}"
        return source
    return _answered(source, kind, secret_id, text)


def _meant(class_path: str) -> str:
    import difflib

    close = difflib.get_close_matches(class_path, _SERVICES, 1, 0.5)
    return f"Did you mean {close[0]}?" if close else "Correct its name, or install its package."


def _ask_variables(kind: Kind, secret_id: str, team: str | None, variables: Mapping[str, str] | None) -> Source:
    start = "AIRFLOW_CONN_" if kind is Kind.CONNECTION else "AIRFLOW_VAR_"
    names = [f"{start}{secret_id.upper()}"]
    if team:
        names.insert(0, f"{start}_{team.upper()}___{secret_id.upper()}")
    source = Source("environment variable", "task", Outcome.UNKNOWN, tuple(names))
    if variables is None:
        source.detail = "A startup script or plugin may set it, which cannot be seen from here."
        return source
    return _answered(source, kind, secret_id, next((variables[name] for name in names if name in variables), None))


def _answered(source: Source, kind: Kind, secret_id: str, text: str | None) -> Source:
    if text is None or (kind is Kind.CONNECTION and not text):
        source.outcome = Outcome.NOT_THERE
        return source
    problem = connection_problem(text) if kind is Kind.CONNECTION else ""
    source.found = None if problem else _found(kind, secret_id, text)
    source.outcome = Outcome.UNUSABLE if source.found is None else Outcome.FOUND
    if problem:
        source.detail = f"What it has {problem}"
    return source


def _found(kind: Kind, secret_id: str, text: str) -> Found | None:
    """Return the visible part of a value; ``None`` if Airflow cannot read it."""
    if kind is Kind.VARIABLE:
        return Found({"characters": len(text), "is_json": _is_json(text)})
    from airflow.secrets import BaseSecretsBackend

    try:
        connection: Any = BaseSecretsBackend().deserialize_connection(secret_id, text)
    except Exception:  # noqa: BLE001 - its message may hold the value
        return None
    return Found(connection_fields(connection, _keys(connection)))


def connection_fields(connection: Any, extra_keys: list[str]) -> dict[str, Any]:
    """Return the visible fields of a connection, this package's or Airflow's."""
    return {
        "type": connection.conn_type,
        "login": connection.login,
        "has_password": bool(getattr(connection, "password", None)),
        "host": connection.host,
        "port": connection.port,
        "schema": connection.schema,
        "extra_keys": extra_keys,
    }


def _keys(connection: Any) -> list[str]:
    try:
        return sorted(json.loads(connection.extra or "{}"))
    except (ValueError, TypeError):
        return []


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _ask_own_metadata(kind: Kind, secret_id: str) -> Source:
    """Ask the metadata database of this process's configuration."""
    source = Source("metadata database", "task", Outcome.UNKNOWN, (secret_id,))
    try:
        backend = import_module("airflow.secrets.metastore").MetastoreBackend()
        found = backend.get_connection(secret_id) if kind is Kind.CONNECTION else backend.get_variable(secret_id)
        if found is not None:
            source.found = (
                Found(connection_fields(found, _keys(found)))
                if kind is Kind.CONNECTION
                else Found({"characters": len(found), "is_json": _is_json(found)})
            )
    except Exception as error:  # noqa: BLE001 - of whichever driver, and its message may hold the address
        if type(error).__name__ == "InvalidToken":
            source.outcome = Outcome.UNUSABLE
            source.detail = "It was encrypted with another Fernet key. Restore core.fernet_key, or set it again."
        else:
            source.detail = (
                f"It cannot be asked here ({type(error).__name__}). To ask an environment's, use --env-name."
            )
        return source
    source.outcome = Outcome.NOT_THERE if source.found is None else Outcome.FOUND
    return source
