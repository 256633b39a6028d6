# SPDX-License-Identifier: Apache-2.0
"""Import and export the connections of an MWAA environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.operators.stored_objects import HiddenContent, MwaaExportOperator, MwaaImportOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["MwaaExportConnectionsOperator", "MwaaImportConnectionsOperator"]


class MwaaImportConnectionsOperator(MwaaImportOperator):
    """Import connections into an MWAA environment, all or nothing.

    The document is ``{"conn_id": {"conn_type": …, "host": …, …}}``, or has the connection's URI instead of its fields.
    A password that is missing or null is kept; all other fields are replaced. Changing the password of an existing
    connection requires ``overwrite_hidden``.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.stored_objects.MwaaImportOperator` and of
    :class:`~airflow_mwaa_provider.operators.stored_objects.MwaaStoredObjectsOperator`.

    :param connections: a dict, the path of a JSON file, or ``s3://bucket/key`` (templated).
    """

    nouns = "connections"
    template_fields: Sequence[str] = (*MwaaImportOperator.template_fields, "connections")

    def __init__(self, *, connections: Mapping[str, Any] | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.connections = HiddenContent(connections) if isinstance(connections, dict) else connections


class MwaaExportConnectionsOperator(MwaaExportOperator):
    """Export all connections of an MWAA environment to a JSON file, on disk or in S3.

    Airflow never returns passwords, so the file contains none.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.stored_objects.MwaaExportOperator` and of
    :class:`~airflow_mwaa_provider.operators.stored_objects.MwaaStoredObjectsOperator`.
    """

    nouns = "connections"
