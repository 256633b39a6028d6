# SPDX-License-Identifier: Apache-2.0
"""The base of operators that call AWS: how it is reached, declared and documented once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_mwaa_provider._compat import BaseOperator
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.hooks.settings import HookSettings
from airflow_mwaa_provider.hooks.templating import TextTemplates

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["MwaaOperator"]


class MwaaOperator(TextTemplates, BaseOperator):
    """Base of operators that call AWS.

    A class that is derived from it adds its own fields to ``template_fields`` and ``text_fields``.

    :param aws_conn_id: connection of type ``aws`` or ``mwaa`` (templated); ``None`` uses the role that the task runs
        with. See :class:`~airflow_mwaa_provider.hooks.mwaa.MwaaEnvironmentHook`.
    :param region_name: AWS region (templated); if not given, the connection's, else boto3's.
    :param region: older name of ``region_name``, as the amazon provider's operators take it.
    :param verify: ``False`` or the path of a CA bundle (templated).
    :param botocore_config: keywords of botocore's ``Config``.
    """

    template_fields: Sequence[str] = ("aws_conn_id", "region_name", "verify")
    text_fields: ClassVar[Collection[str]] = ("aws_conn_id", "region_name")
    ui_color = "#d6cef2"

    def __init__(
        self,
        *,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        region: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if region_name and region and region_name != region:
            raise MwaaInputError(
                f"region={region!r} and region_name={region_name!r} name two regions: give region_name alone."
            )
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name or region
        self.verify = verify
        self.botocore_config = botocore_config

    @property
    def hook_settings(self) -> HookSettings:
        """How the hooks of this operator reach AWS, and an environment where it has one."""
        return HookSettings.of(self)
