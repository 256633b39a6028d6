# SPDX-License-Identifier: Apache-2.0
"""Bases of the operators and sensors that call AWS: their shared parameters are declared and documented here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_mwaa_provider._compat import BaseOperator
from airflow_mwaa_provider.client.parameters import check_transport
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.hooks.templating import TextTemplates

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from airflow_mwaa_provider.hooks.settings import HookSettings

__all__ = ["MwaaEnvironmentOperator", "MwaaOperator"]


def given(other: tuple[str, Any], first: tuple[str, Any], default_args: Mapping[str, Any] | None) -> tuple[str, Any]:
    """Return the one that is given of two names for a parameter.

    A value from the task itself wins over one from ``default_args``, which may be meant for other operators. If both
    are from there, ``first`` wins.

    :return: the name and the value; the other name and ``None`` if neither is given.
    :raises MwaaInputError: the task itself sets both, and they differ.
    """
    both = [(name, value) for name, value in (first, other) if value is not None]
    own = [(name, value) for name, value in both if value != (default_args or {}).get(name)]
    if len(own) > 1 and own[0][1] != own[1][1]:
        raise MwaaInputError(f"{other[0]} and {first[0]} are two names of one parameter, and differ. Give one of them.")
    return (*own, *both, (other[0], None))[0]


class MwaaOperator(TextTemplates, BaseOperator):
    """Base of all operators and sensors that call AWS.

    A subclass adds its own fields to ``template_fields`` and ``text_fields``.

    :param aws_conn_id: connection of type ``aws`` or ``mwaa`` (templated). ``None`` uses the role that the task runs
        with. See :class:`~airflow_mwaa_provider.hooks.mwaa.MwaaEnvironmentHook`.
    :param region_name: AWS region (templated). The default is the connection's region, then boto3's.
    :param region: older name of ``region_name``, which the amazon provider's operators accept as well.
    :param verify: ``False``, or the path of a CA bundle (templated).
    :param botocore_config: keyword arguments of botocore's ``Config``.
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
        self.aws_conn_id = aws_conn_id
        _, self.region_name = given(
            ("region", region or None), ("region_name", region_name or None), kwargs.get("default_args")
        )
        self.verify = verify
        self.botocore_config = botocore_config

    @property
    def hook_settings(self) -> HookSettings:
        """How the hooks of this operator reach AWS and, where it calls one, an environment."""
        from airflow_mwaa_provider.hooks.settings import HookSettings

        return HookSettings.of(self)


class MwaaEnvironmentOperator(MwaaOperator):
    """Base of the operators and sensors that call an MWAA environment by any transport.

    Also takes the parameters of :class:`MwaaOperator`.

    :param airflow_version: major version of Airflow in the environment, 2 or 3 (templated). Used only where the role
        may not call GetEnvironment.
    :param transport: ``"rest_api"``, ``"web_session"`` or ``"cli"``. ``None`` uses the connection's transport, or
        chooses one automatically.
    """

    template_fields: Sequence[str] = (*MwaaOperator.template_fields, "airflow_version")

    def __init__(
        self, *, airflow_version: int | str | None = None, transport: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.airflow_version = airflow_version
        self.transport = transport
        check_transport(transport)
