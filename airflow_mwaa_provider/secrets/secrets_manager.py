# SPDX-License-Identifier: Apache-2.0
"""The amazon provider's backend for Secrets Manager, with a cache that all processes of a container share."""

from __future__ import annotations

from typing import Any

from airflow_mwaa_provider.secrets.cached_backend import CachedBackend

__all__ = ["CachedSecretsManagerBackend"]


class CachedSecretsManagerBackend(CachedBackend):
    """Read connections, variables and options from Secrets Manager, each once a time to live and container.

    Takes every keyword of the amazon provider's ``SecretsManagerBackend``, which it asks for what the cache lacks, and
    those below. All take text too.

    A value that was changed in Secrets Manager is seen after ``cache_ttl_s`` at the latest, in each container for
    itself: a DAG whose shape depends on one may be parsed with the new value while a worker still has the old one.

    :param connections_prefix: what names of connections' secrets begin with; ``None`` to read none.
    :param connections_lookup_pattern: only connections whose ids match are looked up.
    :param variables_prefix: the same for variables.
    :param variables_lookup_pattern: the same for variables.
    :param config_prefix: the same for options of Airflow.
    :param config_lookup_pattern: the same for options of Airflow.
    :param sep: what stands between the prefix and the id.
    :param extra_conn_words: further names of the fields of a connection in JSON.
    :param cache_ttl_s: for how many seconds an answer is used; a tenth less at random. 0 asks each time.
    :param negative_ttl_s: the same for the answer that there is no such secret, or no access.
    :param serve_stale_s: for how many seconds more an answer is used while Secrets Manager does not answer.
    :param cache_dir: the folder for the cache; by default in shared memory.
    :param dag_processor_ttl_s: ``cache_ttl_s`` where DAG files are parsed, if it shall be another one there.
    :param max_entries: the cache keeps this many answers.
    :param max_bytes: the cache takes no more space than this.
    :param prefetch: prefixes of names; what they name is read along with the first look-up, 20 secrets a request.
    :param access_denied_ends_search: whether Airflow asks none of its other sources after access was denied; Airflow
        3.3 and later.
    :param log_not_found: whether a secret that is not there is worth a warning.
    :param kwargs: extra fields of an AWS connection, such as ``region_name`` and ``role_arn``.
    :raises MwaaInputError: an option about the cache cannot be what it is.
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
