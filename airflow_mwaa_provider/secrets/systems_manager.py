# SPDX-License-Identifier: Apache-2.0
"""The amazon provider's backend for Parameter Store, with a cache that all processes of a container share."""

from __future__ import annotations

from typing import Any

from airflow_mwaa_provider.secrets.secrets_manager import CachedBackend

__all__ = ["CachedSystemsManagerParameterStoreBackend"]


class CachedSystemsManagerParameterStoreBackend(CachedBackend):
    """Read connections, variables and options from Parameter Store, each once per time to live and container.

    Accepts every keyword of the amazon provider's ``SystemsManagerParameterStoreBackend``, and those about the cache of
    :class:`~airflow_mwaa_provider.secrets.secrets_manager.CachedSecretsManagerBackend`, except ``prefetch``.
    Parameters are read one by one: a request for several would not show which of them was denied, and why.
    """

    amazon_class = "airflow.providers.amazon.aws.secrets.systems_manager.SystemsManagerParameterStoreBackend"
    service = "ssm"

    def __init__(
        self,
        connections_prefix: str | None = "/airflow/connections",
        connections_lookup_pattern: str | None = None,
        variables_prefix: str | None = "/airflow/variables",
        variables_lookup_pattern: str | None = None,
        config_prefix: str | None = "/airflow/config",
        config_lookup_pattern: str | None = None,
        **kwargs: Any,
    ) -> None:
        given = {
            "connections_prefix": connections_prefix,
            "connections_lookup_pattern": connections_lookup_pattern,
            "variables_prefix": variables_prefix,
            "variables_lookup_pattern": variables_lookup_pattern,
            "config_prefix": config_prefix,
            "config_lookup_pattern": config_lookup_pattern,
            **kwargs,
        }
        super().__init__(given)
