# SPDX-License-Identifier: Apache-2.0
"""A metadata export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_mwaa_provider.metadata.export.run import ExportOptions, export_metadata

__all__ = ["ExportOptions", "export_metadata"]


def __getattr__(name: str) -> Any:
    """Import what an export needs when it is used: parsing a DAG file needs only the names of the formats."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from airflow_mwaa_provider.metadata.export import run

    return getattr(run, name)
