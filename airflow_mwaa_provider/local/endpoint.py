# SPDX-License-Identifier: Apache-2.0
"""The local MWAA's AWS side as one object. (Signatures first; body follows.)"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.environments import EnvironmentStore
from airflow_mwaa_provider.local.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_mwaa_provider.local.runtime import RuntimeFactory
    from airflow_mwaa_provider.local.tls import CertificateAuthority


class LocalMwaa:
    """The AWS side of the local MWAA: one endpoint for all services and a TLS gateway per environment."""

    environments: EnvironmentStore

    def __init__(
        self,
        *,
        runtimes: RuntimeFactory,
        moto_url: str,
        certificates: CertificateAuthority,
        admin_token: str,
        region: str = "us-east-1",
        account_id: str = "123456789012",
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen and return the endpoint's URL. :raises OSError: naming the port when it is taken."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop the endpoint, all gateways and all runtimes."""
        raise NotImplementedError

    def add_identity(
        self, access_key_id: str, secret_access_key: str, arn: str = "", denied_actions: Iterable[str] = ()
    ) -> None:
        """Let a credential in; ``denied_actions`` like ``airflow:InvokeRestApi``, ``*`` allowed in them."""
        raise NotImplementedError
