# SPDX-License-Identifier: Apache-2.0
"""Objects in S3."""

from airflow_mwaa_provider.metadata.storage.bucket import Storage

__all__ = ["Storage"]
