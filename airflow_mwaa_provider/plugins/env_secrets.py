# SPDX-License-Identifier: Apache-2.0
"""Values of secrets for environment variables: by the cache that all processes of a container share."""

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
"""As in Airflow 3 itself. Airflow 2 would mask each letter that is a secret."""
_MOST_MASKED = 200
"""For which Airflow takes about a second in each process, and four times as long for twice as many."""
_masked: dict[str, None] = {}
"""What this process masks, shortest first of each value."""
hookimpl = HookimplMarker("airflow")


class MaskingListener:
    """Tells the process that supervises a task what to mask: it writes the task's log, and begins without a mask."""

    @hookimpl
    def on_starting(self) -> None:
        """Tell it; Airflow 3 calls this in the task's process before it reads the DAG file."""
        with never_fails("mwaa_env"):
            mask_secret(list(_masked))


masking_listener = MaskingListener()


def read_secret(name: str, key: str) -> tuple[str | None, str]:
    """Return a secret's text, or one value of its JSON; it is masked in logs.

    Whoever asks first asks AWS, with the credentials and the region of the container; for five minutes all others are
    given the same answer. Where AWS does not answer, that is an older one.

    :param name: the secret's name or ARN.
    :param key: of its JSON; empty for the whole text.
    :return: the value, or ``None`` and why there is none, in a line that says what to do.
    """
    text, problem = _text(name)
    if text is None:
        return None, problem
    document = _json(text)
    value = text
    if key:
        if not isinstance(document, dict):
            problem = f"the secret {name} is no JSON object. Remove #{key} from the reference, or correct the secret."
            return None, problem
        if document.get(key) is None:
            return None, f"the JSON of the secret {name} has no {key!r}. Correct the reference, or the secret."
        document = document[key]
        value = document if isinstance(document, str) else json.dumps(document)
        if isinstance(document, bool | int | float):
            return value, ""  # masked, 5 or true would be hidden wherever it is in a log
    masked = _to_mask(value, document)
    if len(masked) > _MOST_MASKED:
        return None, (
            f"the value has {len(masked)} lines and texts, and Airflow masks {_MOST_MASKED} in good time. Refer to one "
            "key of its JSON, or read the secret in the task that needs it."
        )
    if masked:
        _masked.update(dict.fromkeys(masked))
        keep_masked(masked)
    return value, ""


def _json(text: str) -> Any:
    """Return the JSON that a text is; ``None`` if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # the latter where it is nested too deeply
        return None


def _to_mask(value: str, document: Any) -> list[str]:
    """Return what is masked of a value, shortest first: each new text makes Airflow compile all others anew.

    Output of a task reaches logs line by line, and without the blanks at its end.

    :param document: the JSON that it is, whose texts can be shown on their own.
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
