# SPDX-License-Identifier: Apache-2.0
"""What the backends have in common: look-ups that are answered from a cache as long as they can be.

A look-up that the cache answers imports nothing heavy, because tasks are fresh processes and most of them need no more.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.secrets import BaseSecretsBackend

if TYPE_CHECKING:
    from airflow_mwaa_provider.secrets.entry import Entry
    from airflow_mwaa_provider.secrets.look_up_cache import LookUpCache

__all__ = ["CachedBackend"]

log = logging.getLogger("airflow_mwaa_provider.secrets")

_PREFIXES = {"connection": "connections", "variable": "variables", "config": "config"}
_TEAM_SEPARATOR = "--"
_UNREMARKABLE = (
    None, "/", "airflow/connections", "airflow/variables", "airflow/config", "/airflow/connections",
    "/airflow/variables", "/airflow/config",
)  # fmt: skip
"""Values that nothing is wrong with under any keyword but an unknown one."""


class CachedBackend(BaseSecretsBackend):
    """Answers from the cache, and asks the amazon provider's backend for what that lacks.

    :param given: all keywords: those about the cache, and those for the amazon provider's backend.
    """

    amazon_class: ClassVar[str]
    """The class of the amazon provider that is asked."""
    service: ClassVar[str]
    """Its service, by boto3's name."""

    cache: LookUpCache

    def __init__(self, given: dict[str, Any]) -> None:
        from airflow_mwaa_provider.secrets.look_up_cache import CacheOptions, LookUpCache, as_flag, as_mapping

        super().__init__()
        options = CacheOptions(given)
        for name in ("use_ssl", "verify"):
            if isinstance(given.get(name), str) and given[name].lower() in ("true", "false"):
                given[name] = as_flag(name, given[name])
        if "extra_conn_words" in given:
            given["extra_conn_words"] = as_mapping("extra_conn_words", given["extra_conn_words"])
        self.cache = LookUpCache(type(self).amazon_class, type(self).service, given, options)
        self._check_once()

    def __getattr__(self, name: str) -> Any:
        # What the amazon provider's backend has beside look-ups: its client, its attributes.
        if name.startswith("__") or "cache" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.cache.amazon_backend.stock, name)

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        """Return a connection as the secret has it: a URI, or JSON.

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
        """Ask again for what the cache may have, unless that was done just now.

        :param kind: ``"connection"``, ``"variable"`` or ``"config"``.
        :return: whether the answer is another one now.
        :raises SecretsUnavailable: nobody answered, and the cache has nothing to answer with.
        """
        from airflow_mwaa_provider.secrets.misses import read_again

        identity = self.cache.identity(kind, secret_id, team)
        self.cache.unpin(identity)
        return read_again(self.cache, identity, min_age_s)

    def invalidate(self, kind: str, secret_id: str, team: str | None = None) -> bool:
        """Forget what the cache has; return whether there was something."""
        return self.cache.forget(self.cache.identity(kind, secret_id, team))

    def _look_up(self, kind: str, secret_id: str, team: str | None) -> str | None:
        cache = self.cache
        if not self._is_looked_up(kind, secret_id):
            return None
        if _TEAM_SEPARATOR in secret_id and _has_teams():
            return cache.amazon_backend.refuse(kind, secret_id, team)
        identity = cache.identity(kind, secret_id, team)
        entry = cache.pinned(identity)
        if entry is not None:
            return self._answer(entry)
        entry = cache.store.read(identity)
        if entry is not None and cache.is_fresh(entry):
            cache.statistics.count(**{"hits" if entry.has_value else "negative_hits": 1})
            if log.isEnabledFor(logging.DEBUG):
                log.debug("%s %r: from the cache, %.0f s old", kind.capitalize(), secret_id, entry.age_s())
        else:
            from airflow_mwaa_provider.secrets.misses import read_through

            entry = read_through(cache, identity)
        if entry is None:
            return None
        cache.pin(entry)
        return self._answer(entry)

    def _answer(self, entry: Entry) -> str | None:
        """Return the value of an entry, or raise what it stands for; what is wrong with it is logged once a process."""
        if entry.problem:
            from airflow_mwaa_provider.secrets.look_up_cache import warn_once

            warn_once((*entry.identity, entry.problem), "%s", entry.problem)
        if entry.is_denied:
            from airflow_mwaa_provider.secrets.misses import denied

            raise denied(self.cache, entry)
        return entry.value

    def _is_looked_up(self, kind: str, secret_id: str) -> bool:
        prefix, pattern = (
            self.cache.given.get(f"{_PREFIXES[kind]}_{what}", "") for what in ("prefix", "lookup_pattern")
        )
        return prefix is not None and (not pattern or re.match(pattern, secret_id, re.IGNORECASE) is not None)

    def _check_once(self) -> None:
        """Say once a process what of the configuration cannot be meant so."""
        given = self.cache.given
        if all(value in _UNREMARKABLE for value in given.values()):
            return
        key = repr(sorted(given.items()))
        if key in _checked:
            return
        _checked.add(key)
        from airflow_mwaa_provider.secrets.configuration_check import problems

        for problem in problems(type(self).service, given):
            log.warning("Secrets backend: %s", problem)


def _has_teams() -> bool:
    from airflow.configuration import conf

    return bool(conf.getboolean("core", "multi_team", fallback=False))


_checked: set[str] = set()
