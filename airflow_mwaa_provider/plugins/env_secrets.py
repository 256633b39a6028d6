# SPDX-License-Identifier: Apache-2.0
"""Values of secrets for environment variables, from the cache that all processes of a container share."""

from __future__ import annotations

import functools
import json
from typing import Any

from pluggy import HookimplMarker

from airflow_mwaa_provider._compat import keep_masked, mask_secret
from airflow_mwaa_provider.exceptions import MwaaError
from airflow_mwaa_provider.plugins.options import never_fails
from airflow_mwaa_provider.secrets.look_up_cache import CacheOptions, LookUpCache
from airflow_mwaa_provider.secrets.secrets_manager import CachedSecretsManagerBackend

__all__ = ["masking_listener", "read_secret"]

_KIND = "variable"
_SHORTEST_MASKED = 5
"""As in Airflow 3 itself. Airflow 2 would mask even a single letter."""
_MOST_MASKED = 200
"""Airflow takes about a second for them in each process, and four times as long for twice as many."""
_masked: dict[str, None] = {}
"""What this process masks; for each value, the shortest first."""
hookimpl = HookimplMarker("airflow")


class MaskingListener:
    """Sends what to mask to the process that supervises a task: it writes the task's log, and starts without a mask."""

    @hookimpl
    def on_starting(self) -> None:
        """Send it; Airflow 3 calls this in the task's process before it parses the DAG file."""
        with never_fails("mwaa_env"):
            mask_secret(list(_masked))


masking_listener = MaskingListener()


def read_secret(name: str, key: str) -> tuple[str | None, str]:
    """Return a secret's string, or one value of its JSON; it is masked in logs.

    The first process calls AWS, with the credentials and the region of the container; for five minutes, all others get
    the same answer. If AWS does not answer, an older answer is returned.

    :param name: the secret's name or ARN.
    :param key: a key of its JSON; empty for the whole string.
    :return: the value, or ``None`` and one line with the reason and what to do.
    """
    text, problem = _text(name)
    if text is None:
        return None, problem
    document = _json(text)
    value = text
    if key:
        if not isinstance(document, dict):
            problem = (
                f"the secret {name} is not a JSON object. Remove #{key} from the reference, or correct the secret."
            )
            return None, problem
        if document.get(key) is None:
            return None, f"the JSON of the secret {name} has no {key!r}. Correct the reference, or the secret."
        document = document[key]
        value = document if isinstance(document, str) else json.dumps(document)
        if isinstance(document, bool | int | float):
            return value, ""  # masking would hide 5 or true everywhere in a log
    masked = _to_mask(value, document)
    if len(masked) > _MOST_MASKED:
        return None, (
            f"the value has {len(masked)} lines and strings, but Airflow masks at most {_MOST_MASKED} in good time. "
            "Refer to one key of its JSON, or read the secret in the task that needs it."
        )
    if masked:
        _masked.update(dict.fromkeys(masked))
        keep_masked(masked)
    return value, ""


def _json(text: str) -> Any:
    """Parse JSON; return ``None`` if the text is not valid."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # the latter if it is nested too deeply
        return None


def _to_mask(value: str, document: Any) -> list[str]:
    """Return the strings to mask for a value, shortest first: for each new one, Airflow recompiles all others.

    Output of a task is logged line by line, without trailing blanks.

    :param document: the parsed JSON of the value, whose strings can be shown separately.
    """
    found: set[str] = set()
    rest = [value, document]
    while rest:
        part = rest.pop()
        if isinstance(part, str):
            found.update((part, part.strip()), map(str.strip, part.splitlines()), map(str.strip, part.split("\n")))
        elif isinstance(part, dict):
            rest.extend(part.values())
        elif isinstance(part, list):
            rest.extend(part)
    return sorted((text for text in found if len(text) >= _SHORTEST_MASKED), key=len)


@functools.cache
def _cache() -> LookUpCache:
    backend = CachedSecretsManagerBackend
    given = {"variables_prefix": ""}  # a reference contains the whole name
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
            return None, str(error)
    if entry is not None and entry.value is not None:
        return entry.value, ""
    problem = entry.problem if entry is not None else ""
    return None, problem or f"Secrets Manager has no secret {name}. Create it, or correct the reference."
