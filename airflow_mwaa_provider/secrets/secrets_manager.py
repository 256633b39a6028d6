# SPDX-License-Identifier: Apache-2.0
"""The amazon provider's backend for Secrets Manager, with a cache that all processes of a container share.

A look-up that the cache answers imports nothing heavy, because tasks are new processes and most of them need no more.
What the backends have in common is also in this file: importing a module takes a tenth of a millisecond.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.secrets import BaseSecretsBackend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_mwaa_provider.secrets.look_up_cache import LookUpCache
    from airflow_mwaa_provider.secrets.store import Entry

__all__ = ["CachedBackend", "CachedSecretsManagerBackend", "has_teams", "why_not_looked_up"]

log = logging.getLogger("airflow_mwaa_provider.secrets")

_PREFIXES = {"connection": "connections", "variable": "variables", "config": "config"}
_TEAM_SEPARATOR = "--"
_COMPONENTS = ("scheduler", "dag-processor", "triggerer", "api-server", "webserver", "celery")
"""Long-running processes. Tasks check the configuration only when they need more than the cache has."""


class CachedBackend(BaseSecretsBackend):
    """Answers from the cache, and asks the amazon provider's backend for the rest.

    :param given: all keywords, of the cache and of the amazon provider's backend.
    """

    amazon_class: ClassVar[str]
    """The amazon provider's class that is asked."""
    service: ClassVar[str]
    """boto3's name of its service."""

    cache: LookUpCache

    def __init__(self, given: dict[str, Any]) -> None:
        from airflow_mwaa_provider.secrets.look_up_cache import CacheOptions, LookUpCache, amazon_keywords

        super().__init__()
        options = CacheOptions(given)
        self.cache = LookUpCache(type(self).amazon_class, type(self).service, amazon_keywords(given), options)
        if any(argument in _COMPONENTS for argument in sys.argv[1:3]):
            self._check_once()

    def __getattr__(self, name: str) -> Any:
        # What the amazon provider's backend has besides look-ups: its client, its attributes.
        if name.startswith("__") or "cache" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.cache.amazon_backend.stock, name)

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        """Return a connection in the form of its secret: a URI or JSON.

        :param team_name: the team of the task that asks, in an Airflow with several teams.
        """
        return self._look_up("connection", conn_id, team_name)

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        """Return the value of a variable."""
        return self._look_up("variable", key, team_name)

    def get_config(self, key: str) -> str | None:
        """Return the value of an Airflow configuration option."""
        return self._look_up("config", key, None)

    def refresh(self, kind: str, secret_id: str, team: str | None = None, *, min_age_s: float = 10.0) -> bool:
        """Ask again for what may be cached, unless that was done just now.

        :param kind: ``"connection"``, ``"variable"`` or ``"config"``.
        :return: whether the answer differs from the one that this process was given last.
        :raises SecretsUnavailable: no answer, and nothing is cached.
        """
        from airflow_mwaa_provider.secrets.misses import read_again

        identity = self.cache.identity(kind, secret_id, team)
        self.cache.unpin(identity)
        return read_again(self.cache, identity, min_age_s)

    def invalidate(self, kind: str, secret_id: str, team: str | None = None) -> bool:
        """Delete a cached answer; return whether it existed."""
        return self.cache.forget(self.cache.identity(kind, secret_id, team))

    def _look_up(self, kind: str, secret_id: str, team: str | None) -> str | None:
        cache = self.cache
        secret_id = str(secret_id)
        if not self._is_looked_up(kind, secret_id):
            return None
        if _TEAM_SEPARATOR in secret_id and has_teams():
            return cache.amazon_backend.refuse(kind, secret_id, team)
        identity = cache.identity(kind, secret_id, team)
        entry = cache.pinned(identity)
        if entry is not None:
            return self._answer(entry)
        cached = ""
        entry = cache.store.read(identity)
        if entry is not None and cache.is_fresh(entry):
            cache.statistics.count(**{"hits" if entry.has_value else "negative_hits": 1})
            if log.isEnabledFor(logging.DEBUG):
                log.debug("%s %r: from the cache, %.0f s old", kind.capitalize(), secret_id, entry.age_s())
            if entry.problem and not entry.has_value:
                cached = self._until_asked_again(entry)
        else:
            from airflow_mwaa_provider.secrets.misses import read_through

            self._check_once()
            entry = read_through(cache, identity)
        if entry is None:
            return None
        cache.pin(entry)
        return self._answer(entry, cached)

    def _answer(self, entry: Entry, more: str = "") -> str | None:
        """Return the value of an entry, or raise its error. Problems with it are logged once per process."""
        self.cache.note_given(entry)
        if entry.problem:
            from airflow_mwaa_provider.secrets.look_up_cache import warn_once

            warn_once((*entry.identity, entry.problem), "%s", f"{entry.problem} {more}".rstrip())
        if entry.is_denied:
            from airflow_mwaa_provider.secrets.misses import denied

            raise denied(self.cache, entry)
        return entry.value

    def _until_asked_again(self, entry: Entry) -> str:
        age = entry.age_s() or 0.0
        left = max(0.0, self.cache.options.negative_ttl_s * entry.jitter - age)
        return (
            f"This answer is {age:.0f} s old, and used for {left:.0f} s more; to ask at once: airflow-mwaa secrets "
            f"invalidate {entry.identity[2]}."
        )

    def _is_looked_up(self, kind: str, secret_id: str) -> bool:
        try:
            why = why_not_looked_up(self.cache.given, kind, secret_id)
        except re.error:
            self._check_once()
            raise
        if why and kind != "config":  # Airflow asks for dozens of options
            key = (kind, secret_id, why)
            if key not in _excluded:
                _excluded.add(key)
                self._check_once()
                log.info("%s", why)
        return not why

    def _check_once(self) -> None:
        """Log mistakes in the configuration, once per process."""
        given = self.cache.given
        key = repr(sorted(given.items()))
        if key in _checked:
            return
        _checked.add(key)
        from airflow_mwaa_provider.secrets.configuration_check import configured_problems, problems

        for problem in (*problems(type(self).service, given), *configured_problems()):
            log.warning("Secrets backend: %s", problem)


class CachedSecretsManagerBackend(CachedBackend):
    """Read connections, variables and options from Secrets Manager, each once per time to live and container.

    Accepts every keyword of the amazon provider's ``SecretsManagerBackend``, which it asks for what is not cached, and
    those below. All of them also accept strings.

    A value that was changed in Secrets Manager is used after ``cache_ttl_s`` at the latest, in each container
    separately: a DAG whose shape depends on one may be parsed with the new value while a worker still has the old one.

    :param connections_prefix: the prefix of the names of connections' secrets; ``None`` to read no connections.
    :param connections_lookup_pattern: only connections whose ids match are looked up.
    :param variables_prefix: the same for variables.
    :param variables_lookup_pattern: the same for variables.
    :param config_prefix: the same for Airflow options.
    :param config_lookup_pattern: the same for Airflow options.
    :param sep: the separator between the prefix and the id.
    :param extra_conn_words: further names for the fields of a connection in JSON.
    :param cache_ttl_s: how many seconds an answer is used, up to a tenth less at random. 0 asks every time.
    :param negative_ttl_s: the same for "no such secret" and "access denied".
    :param serve_stale_s: how many more seconds an answer is used while Secrets Manager does not answer.
    :param cache_dir: the folder for the cache; by default in shared memory.
    :param dag_processor_ttl_s: replaces ``cache_ttl_s`` where DAG files are parsed.
    :param max_entries: the number of answers that the cache keeps.
    :param max_bytes: the space that the cache may take.
    :param prefetch: prefixes of names; all secrets under them are read with the first look-up, 20 per request.
    :param access_denied_ends_search: whether Airflow asks none of its other sources after access was denied; Airflow
        3.3 and newer.
    :param log_not_found: whether a secret that does not exist is logged as a warning.
    :param kwargs: extra fields of an AWS connection, such as ``region_name`` and ``role_arn``.
    :raises MwaaInputError: an option of the cache is invalid.
    """

    amazon_class = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend"
    service = "secretsmanager"

    def __init__(
        self,
        connections_prefix: str | None = "airflow/connections",
        connections_lookup_pattern: str | None = None,
        variables_prefix: str | None = "airflow/variables",
        variables_lookup_pattern: str | None = None,
        config_prefix: str | None = "airflow/config",
        config_lookup_pattern: str | None = None,
        sep: str = "/",
        extra_conn_words: dict[str, list[str]] | str | None = None,
        *,
        cache_ttl_s: float | str = 300.0,
        negative_ttl_s: float | str = 60.0,
        serve_stale_s: float | str = 3600.0,
        cache_dir: str | None = None,
        dag_processor_ttl_s: float | str | None = None,
        max_entries: int | str = 10_000,
        max_bytes: int | str = 16 * 1024 * 1024,
        prefetch: list[str] | str = (),  # type: ignore[assignment]
        access_denied_ends_search: bool | str = False,
        log_not_found: bool | str = True,
        **kwargs: Any,
    ) -> None:
        given = {
            "connections_prefix": connections_prefix,
            "connections_lookup_pattern": connections_lookup_pattern,
            "variables_prefix": variables_prefix,
            "variables_lookup_pattern": variables_lookup_pattern,
            "config_prefix": config_prefix,
            "config_lookup_pattern": config_lookup_pattern,
            "sep": sep,
            "extra_conn_words": extra_conn_words,
            "cache_ttl_s": cache_ttl_s,
            "negative_ttl_s": negative_ttl_s,
            "serve_stale_s": serve_stale_s,
            "cache_dir": cache_dir,
            "dag_processor_ttl_s": dag_processor_ttl_s,
            "max_entries": max_entries,
            "max_bytes": max_bytes,
            "prefetch": prefetch,
            "access_denied_ends_search": access_denied_ends_search,
            "log_not_found": log_not_found,
            **kwargs,
        }
        super().__init__(given)


def why_not_looked_up(given: Mapping[str, Any], kind: str, secret_id: str) -> str:
    """Return why the keywords exclude a look-up, in a sentence; empty if they do not.

    :raises re.error: the pattern is invalid.
    """
    name = _PREFIXES[kind]
    what = f"{kind.capitalize()} {secret_id!r} is not looked up by the secrets backend:"
    if given.get(f"{name}_prefix", "") is None:
        return f"{what} {name}_prefix is null. If it should be a secret, set {name}_prefix."
    pattern = given.get(f"{name}_lookup_pattern")
    if pattern and re.match(pattern, secret_id, re.IGNORECASE) is None:
        return (
            f"{what} {name}_lookup_pattern {pattern!r} excludes it. If it should be a secret, change the pattern "
            "in the backend's keywords."
        )
    return ""


def has_teams() -> bool:
    """Return whether this Airflow has several teams, each with its own names of secrets."""
    from airflow.configuration import conf

    return bool(conf.getboolean("core", "multi_team", fallback=False))


_checked: set[str] = set()
_excluded: set[tuple[str, str, str]] = set()
