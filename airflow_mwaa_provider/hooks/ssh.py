# SPDX-License-Identifier: Apache-2.0
"""SSH with a private key that is read when it is needed, and lies on no disk."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from airflow.providers.ssh.hooks.ssh import SSHHook as _SSHHook
from paramiko import AuthenticationException, BadHostKeyException

from airflow_mwaa_provider._compat import mask_secret
from airflow_mwaa_provider.client.aws.private_keys import PrivateKeySource
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.hooks.private_keys import lines_to_mask, open_private_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paramiko import PKey, SSHClient

__all__ = ["SSHHook"]


class SSHHook(_SSHHook):
    """The SSH provider's ``SSHHook``, whose private key can be in Secrets Manager or in S3.

    The key is read when the first connection is opened, not before. It is kept in memory, and its lines are masked in
    logs. Its passphrase is ``private_key_passphrase`` of the connection's Extra, as in the provider.

    If the connection has a ``host_key``, the server must prove that it has this key. Otherwise a warning shows the key
    that the server has presented, in the form for the connection's Extra.

    Also takes the parameters of the provider's hook.

    :param ssh_conn_id: a connection of type ``ssh``.
    :param private_key_from: ``secretsmanager://NAME``, ``secretsmanager://NAME#KEY`` for one value of its JSON (the
        name may be an ARN), or ``s3://BUCKET/KEY``. ``None`` uses ``private_key_from`` of the connection's Extra;
        without it, the hook works like the provider's.
    :param aws_conn_id: connection of type ``aws`` or ``mwaa`` that the key is read with. ``None`` uses the role that
        the task runs with.
    :param region_name: AWS region of the key. The default is that of the secret's ARN, then the connection's, then
        boto3's.
    :raises MwaaInputError: the key's place is not a reference, two keys are given, or ``host_key`` cannot be read.
    """

    def __init__(
        self,
        ssh_conn_id: str | None = None,
        *args: Any,
        private_key_from: str | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        extra = {} if ssh_conn_id is None else self.get_connection(ssh_conn_id).extra_dejson
        label = f"Connection {ssh_conn_id!r}"
        reference = private_key_from or extra.get("private_key_from")
        self._source = PrivateKeySource.parse(str(reference).strip()) if reference else None
        for name in ("key_file", "private_key"):
            if self._source is not None and (extra.get(name) or kwargs.get(name)):
                raise MwaaInputError(
                    f"{label}: private_key_from and {name} are both given. Remove {name}, and the file that it names."
                    if name == "key_file"
                    else f"{label}: private_key_from and {name} are both given. Remove one of them."
                )
        self._check_host_key(extra, label)
        self._passphrase = str(extra.get("private_key_passphrase") or "")
        self._aws_conn_id = aws_conn_id
        self._region_name = region_name
        super().__init__(ssh_conn_id, *args, **kwargs)

    def get_conn(self) -> SSHClient:
        """Open a connection to the server, or return the one that is open.

        :raises MwaaInputError: what is read is not a private key that can be used; the error says why.
        :raises AccessDenied: the role may not read the key, or not use its KMS key.
        :raises SecretsError: the secret does not exist, or has no such value.
        :raises StorageError: the object does not exist.
        """
        self._read_key()
        before = self.client
        try:
            client = super().get_conn()
        except BadHostKeyException:
            self.log.error(
                "The server at %s has another key than the connection's host_key. Either it was reinstalled, then "
                "correct host_key, or another machine answers in its place",
                self._address,
            )
            raise
        except AuthenticationException as error:
            raise AuthenticationException(self._rejected(str(error))) from None
        if client is not before and self.no_host_key_check:
            self._log_host_key(client)
        return client

    def get_tunnel(self, *args: Any, **kwargs: Any) -> Any:
        """Make a tunnel through the server, with the same key; see the provider's hook."""
        self._read_key()
        return super().get_tunnel(*args, **kwargs)

    def _read_key(self) -> None:
        """Read the private key, unless it has been read."""
        if self._source is None or self.pkey is not None:
            return
        # Imported here, because it imports the amazon provider.
        from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook

        source = self._source
        hook = MwaaEnvironmentHook(self._aws_conn_id, self._region_name or source.region_name)
        text = source.read(lambda service: hook.aws_client(service, connect_timeout=5, read_timeout=20, attempts=1))
        mask_secret(lines_to_mask(text))
        # dag.test() of Airflow 3.0 prints an error with the variables of its frames: none of them has the key.
        failure: MwaaInputError | None = None
        try:
            opened = open_private_key(text, self._passphrase, str(source))
        except MwaaInputError as error:
            failure = error.with_traceback(None)
        del text
        if failure is not None:
            raise failure
        mask_secret(lines_to_mask(opened))
        self.pkey = self._pkey_from_private_key(opened)
        self.log.info("%s: read the private key %s", source, fingerprint(self.pkey))

    def _check_host_key(self, extra: Mapping[str, Any], label: str) -> None:
        """Refuse a host key that this version of the provider would take for something else.

        :raises MwaaInputError: it is not of a form or type that can be read.
        """
        parts = str(extra.get("host_key") or "").split()
        if len(parts) < 2:  # none, or an RSA key without its type
            return
        readable = {"ssh-rsa", "ssh-ed25519", *(name for name in self._host_key_mappings if "-" in name)}
        if parts[0] not in readable:
            raise MwaaInputError(
                f"{label}: host_key begins with {parts[0]!r}, not with a type of key that this SSH provider reads "
                f"({', '.join(sorted(readable))}). Use the last two words that ssh-keyscan -t ed25519 HOST prints."
            )

    def _log_host_key(self, client: SSHClient) -> None:
        """Log how to check the server's key from now on."""
        transport = client.get_transport()
        if transport is None:
            return
        key = transport.get_remote_server_key()
        self.log.warning(
            "The key of the server at %s was not checked, so that another machine could answer in its place. It has "
            "the key %s. Compare it with what ssh-keygen -lf prints on the server for its key in /etc/ssh. If they are "
            'the same, add to the Extra of connection %r: "host_key": "%s %s"',
            self._address,
            fingerprint(key),
            self.ssh_conn_id,
            key.get_name(),
            key.get_base64(),
        )

    @property
    def _address(self) -> str:
        return f"{self.remote_host}:{self.port}"

    def _rejected(self, words: str) -> str:
        where = f"User {self.username!r} at {self._address}"
        if self._source is None or self.pkey is None:
            return (
                f"{where}: the server rejected the login ({words}). Check the key, or the password, of the connection."
            )
        return (
            f"{where}: the server rejected the key {fingerprint(self.pkey)} ({words}). Add its public key to "
            f"authorized_keys of that user, or correct the user, or the key. {self._source} has it."
        )


def fingerprint(key: PKey) -> str:
    """Return the type and the fingerprint of a key, as ``ssh-keygen -l`` prints them."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode("ascii").rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"
