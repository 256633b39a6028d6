# SPDX-License-Identifier: Apache-2.0
"""Import and export the variables of an MWAA environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.operators.stored_objects import HiddenContent, MwaaExportOperator, MwaaImportOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["MwaaExportVariablesOperator", "MwaaImportVariablesOperator"]


class MwaaImportVariablesOperator(MwaaImportOperator):
    """Import variables into an MWAA environment, all or nothing.

    The document is ``{"key": value}``, or ``{"key": {"value": …, "description": …}}``. A string is stored as it is, any
    other value as JSON. A description that is not mentioned is kept.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.stored_objects.MwaaImportOperator` and of
    :class:`~airflow_mwaa_provider.operators.stored_objects.MwaaStoredObjectsOperator`.

    :param variables: a dict, the path of a JSON file, or ``s3://bucket/key`` (templated).
    """

    nouns = "variables"
    template_fields: Sequence[str] = (*MwaaImportOperator.template_fields, "variables")

    def __init__(self, *, variables: Mapping[str, Any] | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variables = HiddenContent(variables) if isinstance(variables, dict) else variables


class MwaaExportVariablesOperator(MwaaExportOperator):
    """Export all variables of an MWAA environment to a JSON file, on disk or in S3.

    Importing the file stores the same strings again, except for the spacing of JSON, which Airflow 3 rewrites.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.stored_objects.MwaaExportOperator` and of
    :class:`~airflow_mwaa_provider.operators.stored_objects.MwaaStoredObjectsOperator`.
    """

    nouns = "variables"
