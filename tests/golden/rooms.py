# SPDX-License-Identifier: Apache-2.0
"""What the golden files' tests use of the package's private modules: a module that moves changes this file alone."""

from __future__ import annotations

from airflow_mwaa_provider.client.models import DagRun, DagRunState
from airflow_mwaa_provider.client.polling import Done, Failed
from airflow_mwaa_provider.metadata.cleaning.archived import run_archived_cleanup
from airflow_mwaa_provider.triggers.events import event_of

__all__ = ["DagRun", "DagRunState", "Done", "Failed", "event_of", "run_archived_cleanup"]
