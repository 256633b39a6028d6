# SPDX-License-Identifier: Apache-2.0
"""What happens when the cache has no fresh answer: one process asks, the others wait for it."""

from __future__ import annotations

import contextlib
import itertools
import random
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import AccessDenied, SecretsUnavailable
from airflow_mwaa_provider.secrets.amazon_backend import Cause, Reply, cause_of
from airflow_mwaa_provider.secrets.diagnosis import describe, describe_problem, describe_stale, subject
from airflow_mwaa_provider.secrets.look_up_cache import log, warn_once
from airflow_mwaa_provider.secrets.store import ABSENT, DENIED, VALUE, Entry, now_s

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mwaa_provider.secrets.amazon_backend import Answer
    from airflow_mwaa_provider.secrets.look_up_cache import LookUpCache
    from airflow_mwaa_provider.secrets.store import Identity

__all__ = ["denied", "read_again", "read_through"]

_WAIT_S = 20.0
_RETRY_AFTER_S = 30.0
"""How long no process asks again after a request without an answer: if a stale answer can be used, or for any secret if
callers are notified."""
_BATCH = 20
_LOOKED_AT = 200
_REVALIDATED_EARLY = 0.8
"""The share of its time to live after which an entry is read again together with others."""
_NO_BATCH_S = 3600.0
_JITTER = 0.1


def read_through(cache: LookUpCache, identity: Identity) -> Entry | None:
    """Return an answer: a fresh one if possible, otherwise one past its time to live.

    :return: ``None`` if the amazon provider's backend treats the result as "not found" without being sure.
    :raises SecretsUnavailable: no answer, now or for another look-up of this kind in the last half minute.
    """
    cache.statistics.count(misses=1)
    began_s = now_s()
    with contextlib.ExitStack() as stack:
        is_locked = _lock(stack, cache, identity)
        entry = cache.store.read(identity)
        if entry is not None:
            # The process that held the lock has read it. Even an answer that may be used only once serves all who wait.
            if cache.is_fresh(entry) or (entry.age_s() is not None and entry.read_at_s >= began_s):
                return entry
            if cache.may_be_stale(entry) and (not is_locked or _failed_lately(entry)):
                return _stale(cache, entry)
        if cache.is_told_by_caller:
            silence = _silence(cache, identity)
            if silence and entry is not None and cache.may_be_stale(entry):
                return _stale(cache, entry)
            if silence:
                raise SecretsUnavailable(silence)
        return _ask(cache, identity, entry)


def read_again(cache: LookUpCache, identity: Identity, min_age_s: float) -> bool:
    """Read an answer again, unless that was done just now; return whether it has changed."""
    with contextlib.ExitStack() as stack:
        _lock(stack, cache, identity)
        entry = cache.store.read(identity)
        age = entry.age_s() if entry is not None else None
        if entry is not None and age is not None and age < min_age_s:
            found: Entry | None = entry
        else:
            found = _ask(cache, identity, entry, is_alone=True)
    if found is None:
        return False
    was_given = cache.was_given(found)
    if was_given is not None:
        return not was_given
    return entry is None or (entry.outcome, entry.value) != (found.outcome, found.value)


def denied(cache: LookUpCache, entry: Entry) -> Exception:
    """Return the exception for an entry whose outcome is "denied"."""
    if cache.options.access_denied_ends_search:
        from airflow_mwaa_provider._compat import secrets_access_denied

        ending = secrets_access_denied()
        if ending is not None:
            return ending(entry.problem)
    return AccessDenied(entry.problem)


def _lock(stack: contextlib.ExitStack, cache: LookUpCache, identity: Identity) -> bool:
    try:
        return stack.enter_context(cache.store.lock(identity, _WAIT_S))
    except OSError:
        return True  # there are no locks here, so each process asks


def _failed_lately(entry: Entry) -> bool:
    return bool(entry.failed_at_s) and 0 <= now_s() - entry.failed_at_s < _RETRY_AFTER_S


def _ask(
    cache: LookUpCache,
    identity: Identity,
    before: Entry | None,
    *,
    is_alone: bool = False,
) -> Entry | None:
    """Ask AWS, and cache the answer."""
    _, kind, secret_id, team = identity
    prepared: dict[str, Reply] = {}
    others: list[Entry] = []
    began_s = now_s()
    if not is_alone and before is None:
        prepared = _prefetch(cache, identity)
    elif not is_alone and before is not None:
        prepared, others = _revalidate(cache, before)
    answer = cache.amazon_backend.fetch(kind, secret_id, team or None, prepared)
    cache.statistics.count(calls=sum(reply.name not in prepared for reply in answer.replies))
    for other in others:
        _keep_prepared(cache, other.identity, prepared, began_s)
    if answer.is_unavailable:
        return _without_answer(cache, identity, before, answer)
    if answer.outcome is None:
        if answer.error is not None:
            raise answer.error
        return None  # nothing was requested, by a rule of the amazon provider's backend that is unknown here
    return _keep(cache, identity, answer, began_s)


def _keep(cache: LookUpCache, identity: Identity, answer: Answer, read_at_s: float) -> Entry:
    """Cache an answer."""
    assert answer.outcome is not None
    entry = Entry(
        identity,
        answer.outcome,
        answer.value,
        names=tuple(reply.name for reply in answer.replies),
        problem=describe(cache, identity, answer),
        jitter=1.0 - _JITTER * random.random(),  # noqa: S311 - spreads load
        read_at_s=read_at_s,
    )
    _write(cache, entry)
    return entry


def _write(cache: LookUpCache, entry: Entry) -> None:
    try:
        cache.store.write(entry)
    except OSError as error:
        cache.statistics.count(not_cached=1)
        warn_once(
            ("write", str(error.errno)),
            "Secrets cache: an answer could not be cached (%s), so it is requested every time. Make room in the "
            "folder, or name another one with cache_dir.",
            error.strerror or type(error).__name__,
        )


def _without_answer(
    cache: LookUpCache,
    identity: Identity,
    before: Entry | None,
    answer: Answer,
) -> Entry | None:
    cache.statistics.count(errors=1)
    cause = describe_problem(cache, identity, answer)
    problem = f"{subject(identity)}: {cause}" if cause else ""
    if cache.is_told_by_caller:
        _write(cache, Entry(_silence_identity(identity), DENIED, problem=cause))
    if before is not None and cache.may_be_stale(before):
        before.failed_at_s = now_s()
        _write(cache, before)
        return _stale(cache, before, problem)
    if cache.is_told_by_caller:
        raise SecretsUnavailable(cause) from answer.error
    warn_once((*identity, problem), "%s", problem)
    if answer.error is not None:
        # In one line; the amazon provider's backend raises boto3's error.
        raise SecretsUnavailable(problem) from answer.error
    return None


def _silence_identity(identity: Identity) -> Identity:
    return (identity[0], "silence", "", "")


def _silence(cache: LookUpCache, identity: Identity) -> str:
    """Return why AWS is not asked now: it has just not answered, for any secret; empty if it may be asked."""
    noted = cache.store.read(_silence_identity(identity))
    age = noted.age_s() if noted is not None else None
    if noted is None or age is None or age >= _RETRY_AFTER_S:
        return ""
    return f"not requested within {_RETRY_AFTER_S:.0f} s of a failure: {noted.problem}"


def _stale(cache: LookUpCache, entry: Entry, problem: str = "") -> Entry:
    cache.statistics.count(stale=1)
    warn_once((*entry.identity, "stale"), "%s", describe_stale(cache, entry, problem))
    return entry


def _revalidate(cache: LookUpCache, before: Entry) -> tuple[dict[str, Reply], list[Entry]]:
    """Read what was requested, and other secrets in use that are about to expire, in one request."""
    if cache.service != "secretsmanager" or not cache.options.ttl_s or _batch_is_denied(cache, before.identity):
        return {}, []
    names = dict.fromkeys(before.names)
    others = []
    for entry in _ending(cache, before):
        more = dict.fromkeys([*names, *entry.names])
        if len(more) > _BATCH:
            break
        names = more
        others.append(entry)
    if not others:
        return {}, []
    try:
        cache.statistics.count(batch_calls=1)
        found = cache.amazon_backend.read_batch(list(names))
    except Exception as error:  # noqa: BLE001 - what it means is found out
        reply = _note_batch(cache, before.identity, error)
        if reply.cause is Cause.UNAVAILABLE and cache.may_be_stale(before):
            # A service that does not answer this will not answer the next request, and a cached answer is available.
            return {name: Reply(name, cause=reply.cause, code=reply.code) for name in before.names}, []
        return {}, []  # each is read separately, which shows what is wrong
    return found, [other for other in others if set(other.names) <= set(found)]


def _ending(cache: LookUpCache, before: Entry) -> Iterator[Entry]:
    # Oldest first: after some young entries, hardly any more are about to expire.
    for entry in itertools.islice(cache.store.entries(used_since_written=True), _LOOKED_AT):
        is_alike = entry.identity[0] == before.identity[0] and entry.identity != before.identity
        age = entry.age_s()
        if not is_alike or not entry.names or entry.outcome not in (VALUE, ABSENT) or age is None:
            continue
        ttl = cache.options.ttl_s if entry.outcome == VALUE else cache.options.negative_ttl_s
        if age >= ttl * entry.jitter * _REVALIDATED_EARLY:
            yield entry


def _batch_identity(identity: Identity) -> Identity:
    return (identity[0], "batch", "", "")


def _batch_is_denied(cache: LookUpCache, identity: Identity) -> bool:
    noted = cache.store.read(_batch_identity(identity))
    age = noted.age_s() if noted is not None else None
    return age is not None and age < _NO_BATCH_S


def _note_batch(cache: LookUpCache, identity: Identity, error: Exception) -> Reply:
    """Note that batches are denied, unless that may be temporary; return what the exception means."""
    cache.statistics.count(errors=1)
    reply = cause_of("", error)
    if reply.cause is Cause.UNAVAILABLE:
        return reply
    _write(cache, Entry(_batch_identity(identity), DENIED))
    log.info(
        "Secrets cache: BatchGetSecretValue is denied (%s), so secrets are read one by one. Allow the execution role "
        "secretsmanager:BatchGetSecretValue on * to save calls.",
        reply.code,
    )
    return reply


def _keep_prepared(cache: LookUpCache, identity: Identity, prepared: dict[str, Reply], read_at_s: float) -> None:
    _, kind, secret_id, team = identity
    answer = cache.amazon_backend.fetch(kind, secret_id, team or None, prepared)
    if answer.outcome in (VALUE, ABSENT):
        _keep(cache, identity, answer, read_at_s)


def _prefetch(cache: LookUpCache, identity: Identity) -> dict[str, Reply]:
    """Read all secrets under the configured prefixes, once per time to live."""
    found: dict[str, Reply] = {}
    began_s = now_s()
    if cache.service != "secretsmanager" or _batch_is_denied(cache, identity):
        return found
    for prefix in cache.options.prefetch:
        marker = (identity[0], "prefetch", prefix, "")
        noted = cache.store.read(marker)
        if noted is not None and cache.is_fresh(noted):
            continue
        _write(cache, Entry(marker, VALUE, ""))
        try:
            for page in cache.amazon_backend.read_prefix(prefix, cache.options.max_entries):
                cache.statistics.count(batch_calls=1)
                found.update(page)
        except Exception as error:  # noqa: BLE001 - then each is read for itself, and says what is wrong
            _note_batch(cache, identity, error)
            with contextlib.suppress(OSError):
                cache.store.delete(marker)  # so that another look-up can try
            break
    for name in found:
        for other in _named(cache, identity, name):
            if other != identity:
                _keep_prepared(cache, other, found, began_s)
    return found


def _named(cache: LookUpCache, identity: Identity, name: str) -> Iterator[Identity]:
    """Return the look-ups that a secret with this name answers."""
    stock = cache.amazon_backend.stock
    for kind, prefix in (
        ("connection", stock.connections_prefix),
        ("variable", stock.variables_prefix),
        ("config", stock.config_prefix),
    ):
        if prefix and name.startswith(f"{prefix}{stock.sep}"):
            yield (identity[0], kind, name.removeprefix(f"{prefix}{stock.sep}"), "")
