# SPDX-License-Identifier: Apache-2.0
"""The secrets backend that this process is configured with."""

from __future__ import annotations

from importlib import import_module

from airflow_mwaa_provider._compat import AIRFLOW_V_3, AIRFLOW_V_3_2, AIRFLOW_VERSION, secrets_backends
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.secrets.configuration import (
    Configuration,
    read_configuration,
    single_keywords_in_variables,
)
from airflow_mwaa_provider.secrets.secrets_manager import CachedBackend

__all__ = ["configured_backend", "own_airflow_version", "own_configuration"]


def configured_backend() -> CachedBackend:
    """Return the backend.

    :raises MwaaInputError: it is not one of this package's.
    """
    for backend in secrets_backends():
        if isinstance(backend, CachedBackend):
            return backend
    raise MwaaInputError(
        "The secrets backend of this process is not one of airflow-mwaa-provider's. Set secrets.backend to "
        "airflow_mwaa_provider.secrets.secrets_manager.CachedSecretsManagerBackend."
    )


def own_airflow_version() -> str:
    """Return the Airflow version of this process."""
    return AIRFLOW_VERSION


def own_configuration() -> Configuration:
    """Return what the configuration of this process defines about secrets backends."""
    conf = import_module("airflow.configuration").conf

    def option(section: str, name: str) -> str | None:
        text = conf.get(section, name, fallback=None)
        return None if text is None else str(text)

    single = single_keywords_in_variables if AIRFLOW_V_3_2 else None
    return read_configuration(option, single, has_workers=AIRFLOW_V_3)
