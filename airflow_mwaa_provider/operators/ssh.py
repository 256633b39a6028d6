# SPDX-License-Identifier: Apache-2.0
"""Run a command on another machine, by a private key that lies on no disk."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.ssh.operators.ssh import SSHOperator as _SSHOperator

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.hooks.templating import TextTemplates

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow.providers.ssh.hooks.ssh import SSHHook

__all__ = ["SSHOperator"]


class SSHOperator(TextTemplates, _SSHOperator):
    """The SSH provider's ``SSHOperator``, whose private key can be in Secrets Manager or in S3.

    Changing the import line of an existing DAG is enough. The key is read when the task runs, and kept in memory; it
    is neither in the log, nor in XCom, nor in a rendered field, nor in an error. See
    :class:`~airflow_mwaa_provider.hooks.ssh.SSHHook`.

    Also takes the parameters of the provider's operator.

    :param private_key_from: ``secretsmanager://NAME``, ``secretsmanager://NAME#KEY`` for one value of its JSON (the
        name may be an ARN), or ``s3://BUCKET/KEY`` (templated). The default is ``private_key_from`` of the connection's
        Extra; without it, the operator works like the provider's. Airflow hides this field of a rendered task, as all
        whose names contain ``private_key``.
    :param aws_conn_id: connection of type ``aws`` or ``mwaa`` that the key is read with (templated). ``None`` uses the
        role that the task runs with.
    :param region_name: AWS region of the key (templated). The default is that of the secret's ARN, then the
        connection's, then boto3's.
    """

    template_fields: Sequence[str] = (*_SSHOperator.template_fields, "private_key_from", "aws_conn_id", "region_name")
    text_fields: ClassVar[Collection[str]] = ("private_key_from", "aws_conn_id", "region_name")
    native_fields: ClassVar[Collection[str]] = _SSHOperator.template_fields

    def __init__(
        self,
        *,
        private_key_from: str | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.private_key_from = private_key_from
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        if private_key_from and kwargs.get("ssh_hook"):
            raise MwaaInputError("private_key_from and ssh_hook are both given. Give private_key_from to the hook.")

    @cached_property
    def ssh_hook(self) -> SSHHook:
        """The hook that the command is run with; it has no key before it connects."""
        from airflow_mwaa_provider.hooks.ssh import SSHHook

        if not self.ssh_conn_id:
            return super().ssh_hook
        return SSHHook(
            self.ssh_conn_id,
            remote_host=self.remote_host or "",
            conn_timeout=self.conn_timeout,
            cmd_timeout=self.cmd_timeout,
            banner_timeout=self.banner_timeout,
            private_key_from=self.private_key_from,
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
        )

    def execute(self, context: Any = None) -> bytes | str:
        """Run the command.

        :return: its standard output, encoded as base64; as bytes if XComs are pickled.
        """
        self.read_rendered(required=())
        return super().execute(context)
