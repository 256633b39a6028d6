# SPDX-License-Identifier: Apache-2.0
"""What the golden files' tests use of the package's private modules: a module that moves changes this file alone."""

from __future__ import annotations

from airflow_mwaa_provider.client.models import DagRun, DagRunState
from airflow_mwaa_provider.client.polling import Done, Failed
from airflow_mwaa_provider.metadata.cleaning.api_route import ApiCleanup
from airflow_mwaa_provider.metadata.cleaning.archived import run_archived_cleanup
from airflow_mwaa_provider.plugins.answers import refusal, status_of, turned_off
from airflow_mwaa_provider.triggers.events import event_of

__all__ = [
    "ApiCleanup", "DagRun", "DagRunState", "Done", "Failed", "event_of", "refusal", "run_archived_cleanup", "status_of",
    "turned_off",
]  # fmt: skip
