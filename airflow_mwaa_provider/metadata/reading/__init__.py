# SPDX-License-Identifier: Apache-2.0
"""Read an export."""

from airflow_mwaa_provider.metadata.reading.export import Batch, Export, open_export

__all__ = ["Batch", "Export", "open_export"]
