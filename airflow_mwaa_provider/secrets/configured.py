# SPDX-License-Identifier: Apache-2.0
"""The secrets backend that this process is configured with."""

from __future__ import annotations

from airflow_mwaa_provider._compat import secrets_backends
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.secrets.cached_backend import CachedBackend

__all__ = ["configured_backend"]


def configured_backend() -> CachedBackend:
    """Return it.

    :raises MwaaInputError: it is none of ours.
    """
    for backend in secrets_backends():
        if isinstance(backend, CachedBackend):
            return backend
    raise MwaaInputError(
        "The secrets backend of this process is none of airflow-mwaa-provider's. Set secrets.backend to "
        "airflow_mwaa_provider.secrets.secrets_manager.CachedSecretsManagerBackend."
    )
