# SPDX-License-Identifier: Apache-2.0
"""Import and export the pools of an MWAA environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.operators.stored_objects import HiddenContent, MwaaExportOperator, MwaaImportOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["MwaaExportPoolsOperator", "MwaaImportPoolsOperator"]


class MwaaImportPoolsOperator(MwaaImportOperator):
    """Import pools into an MWAA environment, all or nothing.

    The document is ``{"name": {"slots": 4, "description": "…", "include_deferred": false}}``.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.stored_objects.MwaaImportOperator` and of
    :class:`~airflow_mwaa_provider.operators.stored_objects.MwaaStoredObjectsOperator`.

    :param pools: a dict, the path of a JSON file, or ``s3://bucket/key`` (templated).
    """

    nouns = "pools"
    template_fields: Sequence[str] = (*MwaaImportOperator.template_fields, "pools")

    def __init__(self, *, pools: Mapping[str, Any] | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pools = HiddenContent(pools) if isinstance(pools, dict) else pools


class MwaaExportPoolsOperator(MwaaExportOperator):
    """Export all pools of an MWAA environment, ``default_pool`` included, to a JSON file, on disk or in S3.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.stored_objects.MwaaExportOperator` and of
    :class:`~airflow_mwaa_provider.operators.stored_objects.MwaaStoredObjectsOperator`.
    """

    nouns = "pools"
