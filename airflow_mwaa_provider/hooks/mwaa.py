# SPDX-License-Identifier: Apache-2.0
"""From an Airflow connection to MWAA environments."""

from __future__ import annotations

import logging
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider._compat import BaseHook, connection_not_found
from airflow_mwaa_provider.client.access import ClientSettings
from airflow_mwaa_provider.client.aws.control_plane import ControlPlane
from airflow_mwaa_provider.client.aws.errors import credentials_error
from airflow_mwaa_provider.client.environment import MwaaEnvironment
from airflow_mwaa_provider.client.http.errors import reason
from airflow_mwaa_provider.client.http.web_server import WebServerSettings
from airflow_mwaa_provider.exceptions import MwaaError, MwaaInputError
from airflow_mwaa_provider.provider_info import CONNECTION_FIELDS, HIDDEN_FIELDS

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

    from airflow_mwaa_provider.client.states import TransportName


log = logging.getLogger(__name__)

AWS_TYPES = ("aws",)
"""Types of connections that hold AWS credentials; one without a type counts as such."""


def aws_connection(conn_id: str | None, types: tuple[str, ...], *, named_by: str | None = None) -> Any:
    """Look up the connection to AWS.

    :param types: the allowed types of the connection.
    :param named_by: what names the connection, if that is not a parameter.
    :return: ``None`` if no id is given, and for an ``aws_default`` that is not defined. boto3's own rules then apply.
    :raises MwaaInputError: the connection does not exist, or has another type. It is never replaced by the task's own
        role, which may belong to another account.
    """
    if not conn_id:
        return None
    label = f"Connection {conn_id!r}" + (f", which {named_by} names," if named_by else "")
    try:
        connection: Any = BaseHook.get_connection(conn_id)
    except connection_not_found():
        if conn_id == MwaaEnvironmentHook.default_conn_name:
            _log_default_chain()
            return None
        raise MwaaInputError(
            f"{label} is not defined, or may not be read. Define it, or use None for the role that the task runs with."
        ) from None
    if (connection.conn_type or AWS_TYPES[0]) not in types:
        raise MwaaInputError(
            f"{label} is of type {connection.conn_type!r}, which holds no AWS credentials. Use one of type "
            f"{' or '.join(types)}."
        )
    return connection


@cache
def _log_default_chain() -> None:
    """Log this once per process, because every task, and every wait of a triggerer, looks up the connection."""
    log.info(
        "Connection 'aws_default' is not defined. Using boto3's default credentials, which on MWAA are those of the "
        "environment's role"
    )


class MwaaEnvironmentHook(BaseHook):
    """Connects to MWAA environments, with the credentials of an ``aws`` connection or the settings of an ``mwaa`` one.

    :param aws_conn_id: a connection of type ``aws`` (credentials, region, endpoint), or of type ``mwaa``, which names
        such a connection and adds how to reach web servers (transport, proxy, CA bundle). ``None`` uses boto3's own
        rules, which on MWAA means the role of the environment. So does ``aws_default`` if it is not defined, as in the
        amazon provider. Any other connection that does not exist, or has another type, is refused.
    :param region_name: region of the environments. ``None`` uses the connection's, then boto3's.
    :param verify: ``False``, or the path of a CA bundle, for AWS's API and for web servers; overrides the connections.
        ``None`` uses the connections' settings.
    :param botocore_config: keyword arguments of botocore's ``Config``.
    """

    conn_name_attr = "aws_conn_id"
    default_conn_name = "aws_default"
    conn_type = "mwaa"
    hook_name = "Amazon MWAA"

    def __init__(
        self,
        aws_conn_id: str | None = default_conn_name,
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        # An empty path would disable verification, in boto3 and in requests.
        self.verify = None if verify == "" else verify
        self.botocore_config = botocore_config
        self._environments: dict[tuple[str, str | None, int | None], MwaaEnvironment] = {}

    def environment(
        self, env_name: str, *, transport: TransportName | str | None = None, airflow_major: int | None = None
    ) -> MwaaEnvironment:
        """Return the environment of that name, and the same object the next time. No call is made.

        :param transport: ``"rest_api"``, ``"web_session"`` or ``"cli"``. ``None`` uses the connection's transport, or
            chooses one automatically.
        :param airflow_major: the Airflow version to assume where the role may not call GetEnvironment.
        """
        key = (env_name, transport, airflow_major)
        if key not in self._environments:
            settings = ClientSettings(
                transport=transport or self._extra.get("transport") or None,
                web_server=self._web_server_settings(),
                airflow_major=airflow_major,
            )
            self._environments[key] = MwaaEnvironment(self.control_plane, env_name, settings)
        return self._environments[key]

    def get_conn(self) -> ControlPlane:
        """Return the MWAA API, which is this hook's connection in Airflow's terms."""
        return self.control_plane

    @cached_property
    def control_plane(self) -> ControlPlane:
        """The MWAA API of the connection's account and region.

        :raises AccessDenied: the connection's role cannot be assumed.
        """
        aws = self._aws_hook
        return ControlPlane(
            self._session(),
            region_name=self.region_name or self._extra.get("region_name") or aws.region_name,
            verify=aws.verify,
            config=aws.conn_config.botocore_config,
            endpoint_url=self._extra.get("endpoint_url") or aws.conn_config.get_service_endpoint_url("mwaa"),
        )

    def aws_client(
        self,
        service: str,
        *,
        connect_timeout: float = 10.0,
        read_timeout: float = 60.0,
        attempts: int = 4,
        endpoint_url: str | None = None,
    ) -> Any:
        """Make a boto3 client of another AWS service, with the same credentials and region.

        :param service: boto3's name of the service, such as ``"s3"``.
        :param connect_timeout: limit for connecting, in seconds.
        :param read_timeout: limit for one answer, in seconds.
        :param attempts: how often boto3 itself tries a call; 1 if the caller decides what may be repeated.
        :param endpoint_url: URL of the service's endpoint. The default is the connection's, then boto3's.
        :raises AccessDenied: the connection's role cannot be assumed.
        :raises MwaaInputError: boto3 cannot make a client with this configuration, such as an unknown region.
        """
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        retries = Config(retries={"total_max_attempts": attempts})
        config = Config(connect_timeout=connect_timeout, read_timeout=read_timeout).merge(retries)
        try:
            aws = self._aws_hook
            if aws.conn_config.botocore_config:
                config = config.merge(aws.conn_config.botocore_config)
            if attempts == 1:  # must not be overridden, because the caller relies on it
                config = config.merge(retries)
            return self._session().client(
                service,
                endpoint_url=endpoint_url or aws.conn_config.get_service_endpoint_url(service),
                verify=aws.verify,
                config=config,
            )
        except MwaaError:
            raise
        except (BotoCoreError, TypeError, ValueError) as error:
            raise MwaaInputError(
                f"Connection {self.aws_conn_id!r}: boto3 cannot make a client of {service} ({type(error).__name__}: "
                f"{reason(error)}). Check the region, the endpoint and botocore_config."
            ) from None

    def _session(self) -> Any:
        """Make boto3's session. If the connection names a role, it is assumed here."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return self._aws_hook.get_session(region_name=self.region_name or self._extra.get("region_name") or None)
        except ClientError as error:
            raise credentials_error(f"Connection {self.aws_conn_id!r}", error) from error
        except BotoCoreError as error:
            raise credentials_error(f"Connection {self.aws_conn_id!r}", error) from None

    def test_connection(self) -> tuple[bool, str]:
        """List environments, for the connection form's test button."""
        try:
            names = self.control_plane.list_environments()
        except MwaaError as error:
            return False, str(error)
        return True, f"{len(names)} environment(s) in {self.control_plane.region_name}: {', '.join(names) or 'none'}"

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Hide the standard fields, for Airflow versions that do not read this from the provider's info."""
        return {"hidden_fields": HIDDEN_FIELDS, "relabeling": {}}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's own fields, for Airflow versions that do not read them from the provider's info."""
        from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
        from wtforms import PasswordField, StringField

        return {
            # Airflow recognizes by the class which value it must not show again.
            name: PasswordField(field["label"], description=field["description"], widget=BS3PasswordFieldWidget())
            if field["schema"].get("format") == "password"
            else StringField(field["label"], description=field["description"], widget=BS3TextFieldWidget())
            for name, field in CONNECTION_FIELDS.items()
        }

    @cached_property
    def _extra(self) -> dict[str, Any]:
        """Settings of an ``mwaa`` connection; empty for any other connection."""
        connection = aws_connection(self.aws_conn_id, (*AWS_TYPES, self.conn_type))
        if connection is None or connection.conn_type != self.conn_type:
            return {}
        extra = dict(connection.extra_dejson)
        unknown = sorted(set(extra) - set(CONNECTION_FIELDS))
        if unknown:
            raise MwaaInputError(
                f"Connection {self.aws_conn_id!r}: unknown field {unknown[0]!r} in extra. The fields are "
                f"{', '.join(CONNECTION_FIELDS)}."
            )
        return {"aws_conn_id": None, **extra}

    @cached_property
    def _aws_hook(self) -> AwsGenericHook[Any]:
        from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

        conn_id = (self._extra.get("aws_conn_id") or None) if self._extra else self.aws_conn_id
        # If the connection does not exist, the amazon provider's hook would only warn, and use the task's own role.
        named_by = f"connection {self.aws_conn_id!r}" if self._extra else None
        is_there = aws_connection(conn_id, AWS_TYPES, named_by=named_by) is not None
        return AwsGenericHook(
            aws_conn_id=conn_id if is_there else None,
            client_type="mwaa",
            region_name=self.region_name or self._extra.get("region_name") or None,
            verify=self.verify,
            config=self.botocore_config,
        )

    def _web_server_settings(self) -> WebServerSettings:
        proxy, login, password = (
            str(self._extra[name]) if self._extra.get(name) else None
            for name in ("proxy", "proxy_login", "proxy_password")
        )
        return WebServerSettings(
            proxy=proxy,
            proxy_login=login,
            proxy_password=password,
            ca_bundle=(self._extra.get("ca_bundle") or True) if self.verify is None else self.verify,
        )
