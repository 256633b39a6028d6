# SPDX-License-Identifier: Apache-2.0
"""The cache as a backend uses it: which answers it may use, where they are stored, and whom to ask otherwise."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import sys
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.secrets.store import (
    DENIED,
    VALUE,
    Entry,
    FileStore,
    Identity,
    MemoryStore,
    Statistics,
    UnusableFolder,
    default_parent,
    environment_keys,
    is_asking_for_key,
    now_s,
)

if TYPE_CHECKING:
    from airflow_mwaa_provider.secrets.amazon_backend import AmazonBackend

    Store = FileStore | MemoryStore

__all__ = ["CacheOptions", "LookUpCache", "amazon_keywords", "as_flag", "is_parser", "log", "warn_once"]

log = logging.getLogger("airflow_mwaa_provider.secrets")

_CREDENTIALS = (
    "AIRFLOW_ENV_NAME", "AWS_ACCESS_KEY_ID", "AWS_CONFIG_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_DEFAULT_PROFILE", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL_SSM", "AWS_PROFILE", "AWS_REGION", "AWS_ROLE_ARN",
    "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
)  # fmt: skip
"""Variables that decide which secrets a process gets: processes that differ in them do not share answers."""

_TRUE = ("true", "t", "yes", "y", "1", "on")
_FALSE = ("false", "f", "no", "n", "0", "off")
_PARSER_OF_SCHEDULER = "DagFileProcessor"
_LONGEST_PARSE_S = 60.0
_FORGET_WAIT_S = 5.0
_NOTES_S = 7200.0
"""How long the cache at least keeps its own notes, such as that batches are denied."""


class CacheOptions:
    """The options of a cache, checked.

    :raises MwaaInputError: a value is invalid; the message names it.
    """

    __slots__ = (
        "access_denied_ends_search", "cache_dir", "dag_processor_ttl_s", "log_not_found", "max_bytes", "max_entries",
        "negative_ttl_s", "prefetch", "serve_stale_s", "ttl_s",
    )  # fmt: skip

    def __init__(self, given: dict[str, Any]) -> None:
        """Remove the cache's keywords from ``given``, and use their values or defaults."""
        take = given.pop
        self.ttl_s = _seconds("cache_ttl_s", take("cache_ttl_s", 300.0))
        self.negative_ttl_s = _seconds("negative_ttl_s", take("negative_ttl_s", 60.0))
        self.serve_stale_s = _seconds("serve_stale_s", take("serve_stale_s", 3600.0))
        ttl_of_parser = take("dag_processor_ttl_s", None)
        self.dag_processor_ttl_s = (
            self.ttl_s if _is_unset(ttl_of_parser) else _seconds("dag_processor_ttl_s", ttl_of_parser)
        )
        folder = take("cache_dir", None)
        self.cache_dir = None if _is_unset(folder) else str(folder)
        self.max_entries = _count("max_entries", take("max_entries", 10_000))
        self.max_bytes = _count("max_bytes", take("max_bytes", 16 * 1024 * 1024))
        self.prefetch = _names("prefetch", take("prefetch", ()))
        self.access_denied_ends_search = as_flag("access_denied_ends_search", take("access_denied_ends_search", False))
        self.log_not_found = as_flag("log_not_found", take("log_not_found", True))


class LookUpCache:
    """The cache of one configuration.

    :param amazon_class: the amazon provider's class that is asked for what is not cached.
    :param service: boto3's name of its service.
    :param given: its keywords.
    :param options: the options of the cache.
    :param is_told_by_caller: without an answer, the caller gets an exception, and no line is logged. For half a minute
        nothing else is asked then: the caller continues without, and should not wait for each secret. Its messages do
        not name what was looked up; the caller does.
    """

    def __init__(
        self,
        amazon_class: str,
        service: str,
        given: dict[str, Any],
        options: CacheOptions,
        *,
        is_told_by_caller: bool = False,
    ) -> None:
        self.service = service
        self.given = given
        self.options = options
        self.is_told_by_caller = is_told_by_caller
        self._amazon_class = amazon_class
        self._scope = ""

    def identity(self, kind: str, secret_id: str, team: str | None) -> Identity:
        """Return the identity of a look-up."""
        if not self._scope:
            environment = {name: os.environ.get(name) for name in _CREDENTIALS}
            parts = [self.service, self.given, environment]
            self._scope = hashlib.blake2b(
                json.dumps(parts, sort_keys=True, default=repr).encode(), digest_size=16
            ).hexdigest()
        return (self._scope, kind, secret_id, team or "")

    def is_fresh(self, entry: Entry) -> bool:
        """Return whether an entry may be used without asking."""
        age = entry.age_s()
        if age is None:
            return False
        if entry.outcome == VALUE:
            ttl = self.options.dag_processor_ttl_s if is_parser() else self.options.ttl_s
        else:
            ttl = self.options.negative_ttl_s
        return age < ttl * entry.jitter

    def may_be_stale(self, entry: Entry) -> bool:
        """Return whether an entry may be used while the service does not answer."""
        age = entry.age_s()
        ttl = self.options.ttl_s if entry.outcome == VALUE else self.options.negative_ttl_s
        return age is not None and entry.outcome != DENIED and age < ttl + self.options.serve_stale_s

    @property
    def store(self) -> Store:
        """Where answers are stored."""
        return self._opened()[0]

    @property
    def statistics(self) -> Statistics:
        """Where look-ups are counted."""
        return self._opened()[1]

    def _opened(self) -> tuple[Store, Statistics]:
        """Open the cache, which all backends of a process share."""
        keys = environment_keys()
        if keys is None and is_asking_for_key():
            return _in_memory(self.options)
        if keys is None:
            warn_once(
                ("no key",),
                "Secrets cache: this environment has no Fernet key (core.fernet_key), so nothing is cached on disk, "
                "and each process has its own cache. Set a key to share the cache.",
            )
            return _in_memory(self.options)
        parent = self.options.cache_dir or default_parent()
        known = _caches.get((parent, keys.folder_name))
        if known is not None:
            return known
        max_age_s = max(self.options.ttl_s, self.options.dag_processor_ttl_s, _NOTES_S) + self.options.serve_stale_s
        try:
            store = FileStore(
                parent,
                keys,
                max_entries=self.options.max_entries,
                max_bytes=self.options.max_bytes,
                max_age_s=max_age_s,
            )
        except UnusableFolder as error:
            warn_once(
                ("folder", str(error)),
                "Secrets cache: %s. Each process has its own cache. Name another folder with cache_dir.",
                error,
            )
            return _in_memory(self.options)
        made: tuple[Store, Statistics] = (store, Statistics(store.folder))
        _caches[parent, keys.folder_name] = made
        return made

    @property
    def amazon_backend(self) -> AmazonBackend:
        """The backend that asks AWS, created by the first look-up that needs it, once per process and configuration."""
        from airflow_mwaa_provider.secrets.amazon_backend import AmazonBackend

        scope = self.identity("", "", None)[0]
        found = _amazon_backends.get((os.getpid(), scope))
        if found is None:
            found = AmazonBackend(self._amazon_class, self.service, self.given)
            # Nothing is kept from before a fork: two processes must not share open connections.
            for key in [key for key in _amazon_backends if key[0] != os.getpid()]:
                del _amazon_backends[key]
            _amazon_backends[os.getpid(), scope] = found
        return found

    def pinned(self, identity: Identity) -> Entry | None:
        """Return what this process already read, if it parses a DAG file: within one file, values do not change."""
        found = _pins.get((os.getpid(), *identity))
        if found is None or now_s() - found[0] > _LONGEST_PARSE_S:
            return None
        return found[1]

    def pin(self, entry: Entry) -> None:
        """Stick to an answer, if this process parses a DAG file."""
        if is_parser() and self.pinned(entry.identity) is None:
            process = os.getpid()
            for key in [key for key in _pins if key[0] != process]:
                del _pins[key]
            _pins[process, *entry.identity] = (now_s(), entry)

    def note_given(self, entry: Entry) -> None:
        """Remember what this process was given last, to detect whether a refresh changes it."""
        if len(_given) > _MOST_GIVEN:
            _given.clear()
        _given[entry.identity] = hash((entry.outcome, entry.value))

    def was_given(self, entry: Entry) -> bool | None:
        """Return whether this process was given this answer last; ``None`` if that is unknown."""
        known = _given.get(entry.identity)
        return None if known is None else known == hash((entry.outcome, entry.value))

    def forget(self, identity: Identity) -> bool:
        """Delete an answer; return whether it existed."""
        self.unpin(identity)
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # a look-up in progress would put it back
                stack.enter_context(self.store.lock(identity, _FORGET_WAIT_S))
            return self.store.delete(identity)

    def unpin(self, identity: Identity) -> None:
        """No longer stick to an answer."""
        _pins.pop((os.getpid(), *identity), None)


def warn_once(key: tuple[str, ...], message: str, *arguments: object) -> None:
    """Log a warning, once for each key and process."""
    if key in _warned:
        return
    if len(_warned) > 10_000:
        _warned.clear()
    _warned.add(key)
    log.warning(message, *arguments)


def _in_memory(options: CacheOptions) -> tuple[Store, Statistics]:
    global _memory
    if _memory is None:
        store = MemoryStore(max_entries=options.max_entries, max_bytes=options.max_bytes)
        _memory = (store, Statistics(None))
    return _memory


def is_parser() -> bool:
    """Return whether this process parses DAG files: in the DAG processor, or forked by Airflow 2's scheduler."""
    arguments = sys.argv[1:3]
    if "dag-processor" in arguments:
        return True
    processes = sys.modules.get("multiprocessing.process")
    return (
        "scheduler" in arguments
        and processes is not None
        and str(processes.current_process().name).startswith(_PARSER_OF_SCHEDULER)
    )


def as_flag(name: str, value: Any) -> bool:
    """Return a Boolean, from a Boolean or a string."""
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise _refused(f"{name}: {value!r} must be true or false.")


def amazon_keywords(given: dict[str, Any]) -> dict[str, Any]:
    """Return keywords in the types that the amazon provider's backend takes; Airflow may pass strings.

    :raises MwaaInputError: a value is invalid.
    """
    for name in ("use_ssl", "verify"):
        if isinstance(given.get(name), str) and given[name].lower() in ("true", "false"):
            given[name] = as_flag(name, given[name])
    if "extra_conn_words" in given:
        given["extra_conn_words"] = _mapping("extra_conn_words", given["extra_conn_words"])
    return given


def _names(name: str, value: Any) -> tuple[str, ...]:
    """Return names, from a list, its JSON or a comma-separated string."""
    if _is_unset(value):
        return ()
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith("[") else value.split(",")
        except ValueError:
            value = None
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise _refused(f"{name}: must be a list of strings, or a comma-separated string.")
    return tuple(item.strip() for item in value if item.strip())


def _mapping(name: str, value: Any) -> Any:
    """Return a dictionary, from a dictionary or its JSON."""
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _refused(f"{name}: must be a JSON object.")
    return found


def _is_unset(value: Any) -> bool:
    return value is None or value in ("", "null", "None")


def _seconds(name: str, value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise _refused(f"{name}: {value!r} must be a number of seconds, at least 0.")
    return seconds


def _count(name: str, value: Any) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (1 <= number < math.inf and number == int(number)):
        raise _refused(f"{name}: {value!r} must be a whole number, at least 1.")
    return int(number)


def _refused(message: str) -> Exception:
    from airflow_mwaa_provider.exceptions import MwaaInputError  # the whole error tree, which few processes need

    return MwaaInputError(message)


_caches: dict[tuple[str, str], tuple[Store, Statistics]] = {}
_memory: tuple[Store, Statistics] | None = None
_amazon_backends: dict[tuple[int, str], AmazonBackend] = {}
_given: dict[Identity, int] = {}
_MOST_GIVEN = 10_000
_pins: dict[tuple[object, ...], tuple[float, Entry]] = {}
_warned: set[tuple[str, ...]] = set()
