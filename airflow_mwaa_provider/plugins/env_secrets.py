# SPDX-License-Identifier: Apache-2.0
"""Values of secrets for environment variables: by the cache that all processes of a container share."""

from __future__ import annotations

import functools
import json

from airflow_mwaa_provider.exceptions import MwaaError
from airflow_mwaa_provider.secrets.look_up_cache import CacheOptions, LookUpCache
from airflow_mwaa_provider.secrets.secrets_manager import CachedSecretsManagerBackend

__all__ = ["read_secret"]

_KIND = "variable"


def read_secret(name: str, key: str) -> tuple[str | None, str]:
    """Return a secret's text, or one value of its JSON.

    Whoever asks first asks AWS, with the credentials and the region of the container; for five minutes all others are
    given the same answer. Where AWS does not answer, that is an older one.

    :param name: the secret's name or ARN.
    :param key: of its JSON; empty for the whole text.
    :return: the value, or ``None`` and why there is none, in a line that says what to do.
    """
    text, problem = _text(name)
    if text is None or not key:
        return text, problem
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return None, f"the secret {name} is no JSON object. Remove #{key} from the reference, or correct the secret."
    if document.get(key) is None:
        return None, f"the JSON of the secret {name} has no {key!r}. Correct the reference, or the secret."
    value = document[key]
    return (value if isinstance(value, str) else json.dumps(value)), ""


@functools.cache
def _cache() -> LookUpCache:
    backend = CachedSecretsManagerBackend
    given = {"variables_prefix": ""}  # a reference has the whole name
    options = CacheOptions({"log_not_found": False})
    return LookUpCache(backend.amazon_class, backend.service, given, options, is_told_by_caller=True)


def _text(name: str) -> tuple[str | None, str]:
    cache = _cache()
    identity = cache.identity(_KIND, name, None)
    entry = cache.store.read(identity)
    if entry is None or not cache.is_fresh(entry):
        from airflow_mwaa_provider.secrets.misses import read_through

        try:
            entry = read_through(cache, identity)
        except MwaaError as error:
            return None, _without_beginning(str(error), name)
    if entry is not None and entry.value is not None:
        return entry.value, ""
    problem = _without_beginning(entry.problem, name) if entry is not None else ""
    return None, problem or f"Secrets Manager has no secret {name}. Create it, or correct the reference."


def _without_beginning(problem: str, name: str) -> str:
    """Return what the cache says about a look-up, which it takes for that of a variable of Airflow."""
    return problem.removeprefix(f"{_KIND.capitalize()} {name!r}: ")
