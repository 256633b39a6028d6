# SPDX-License-Identifier: Apache-2.0
"""Private keys that are kept in Secrets Manager or in S3: read into memory, never onto a disk. No error repeats one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.aws.calls import AwsCalls, aws_error
from airflow_mwaa_provider.client.aws.secrets_manager import SecretsManager, SecretState
from airflow_mwaa_provider.client.http.retrying import RetryPolicy
from airflow_mwaa_provider.exceptions import AccessDenied, AwsError, MwaaInputError, SecretsError, StorageError
from airflow_mwaa_provider.quiet_logs import values_kept_out_of_logs
from airflow_mwaa_provider.s3_uri import S3Uri

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PrivateKeySource"]

_SECRET = "secretsmanager://"  # noqa: S105 - the start of a reference
_ARN_FIELDS = 7  # in the ARN of a secret
_MOST_BYTES = 65_536
"""As much as a secret holds. An RSA key of 16,384 bits has 13,000."""
_POLICY = RetryPolicy(deadline_s=60.0)
_MISSING = {"404", "NoSuchBucket", "NoSuchKey", "NotFound"}


@dataclass(frozen=True)
class PrivateKeySource:
    """Where a private key is kept.

    :param place: the name or ARN of a secret, or the address of an object in S3.
    :param key: the key in the secret's JSON; empty for the whole string.
    """

    place: str | S3Uri
    key: str = ""

    @classmethod
    def parse(cls, reference: str) -> PrivateKeySource:
        """Read ``secretsmanager://NAME``, ``secretsmanager://NAME#KEY`` (the name may be an ARN) or ``s3://BUCKET/KEY``.

        :raises MwaaInputError: it is none of these. The reference may be a key by mistake, and is not repeated.
        """
        if reference.startswith(_SECRET):
            name, _, key = reference.removeprefix(_SECRET).partition("#")
            if name and "\n" not in name:
                return cls(name, key)
        uri = S3Uri.parse(reference)
        if uri is not None and uri.names_object:
            return cls(uri)
        raise MwaaInputError(
            "private_key_from is not a reference. Write secretsmanager://NAME, secretsmanager://NAME#KEY for one value "
            "of its JSON, or s3://BUCKET/KEY."
        )

    def __str__(self) -> str:
        """Name the secret or the object, in other words than the reference, which Airflow may mask."""
        if isinstance(self.place, S3Uri):
            return f"Object {self.place.key!r} in bucket {self.place.bucket!r}"
        return f"Secret {self.place!r}" + (f", key {self.key!r}" if self.key else "")

    @property
    def service(self) -> str:
        """boto3's name of the service."""
        return "s3" if isinstance(self.place, S3Uri) else "secretsmanager"

    @property
    def region_name(self) -> str | None:
        """The region that an ARN names."""
        fields = self.place.split(":") if isinstance(self.place, str) else []
        return fields[3] if len(fields) == _ARN_FIELDS and fields[0] == "arn" else None

    def read(self, make_client: Callable[[str], Any]) -> str:
        """Read what is kept there.

        :param make_client: makes the boto3 client of a service, without retries of its own.
        :raises AccessDenied: the role may not read it, or not use its KMS key.
        :raises SecretsError: the secret does not exist, or has no such value.
        :raises StorageError: the object does not exist, or is too large.
        :raises AwsError: AWS did not answer.
        """
        client = make_client(self.service)
        with values_kept_out_of_logs():
            return self._of_secret(client) if isinstance(self.place, str) else self._of_object(client, self.place)

    def _of_secret(self, client: Any) -> str:
        name = str(self.place)
        secret = SecretsManager(client, policy=_POLICY).read([name])[name]
        if secret.state is SecretState.ABSENT:
            raise self._wrong_secret("it does not exist. Create it, or correct private_key_from and the region.")
        if secret.state is SecretState.TO_BE_DELETED:
            raise self._wrong_secret("it is scheduled for deletion. Restore it, or name another one.")
        if secret.text is None:
            raise self._wrong_secret("it has no string. Store the key as one: --secret-string file://KEY.")
        if not self.key:
            return secret.text
        value, problem = _of_json(secret.text, self.key)
        if value is None:
            raise self._wrong_secret(problem)
        return value

    def _wrong_secret(self, words: str) -> SecretsError:
        return SecretsError(f"{self}: {words}", secret=str(self.place))

    def _of_object(self, client: Any, uri: S3Uri) -> str:
        from botocore.exceptions import BotoCoreError

        named = {"bucket": uri.bucket, "key": uri.key}
        calls = AwsCalls(client, "S3", "s3", policy=_POLICY)
        try:
            answer = calls.call("GetObject", str(self), Bucket=uri.bucket, Key=uri.key)
        except AwsError as error:
            if error.code not in _MISSING:
                raise StorageError(str(error), code=error.code, transient=error.transient, **named) from None
            raise StorageError(
                f"{self}: it does not exist ({error.code}). Upload it, or correct private_key_from.",
                code=error.code,
                **named,
            ) from None
        except AccessDenied as error:
            if error.action != "s3:GetObject":
                raise
            raise AccessDenied(
                f"{error} Without s3:ListBucket, S3 answers so for an object that does not exist as well.",
                action=error.action,
            ) from None
        body = answer["Body"]
        try:
            content = bytes(body.read(_MOST_BYTES + 1))
        except BotoCoreError as error:
            raise aws_error(f"{self}: GetObject", "S3", error, action="s3:GetObject", is_mutating=False) from None
        finally:
            body.close()
        if len(content) > _MOST_BYTES:
            raise StorageError(f"{self}: it is larger than {_MOST_BYTES:,} bytes, and no private key.", **named)
        return content.decode("utf-8", "replace")


def _of_json(text: str, key: str) -> tuple[str | None, str]:
    """Return one string of a JSON object, or ``None`` and the reason. It raises nothing: its variables are secret."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return None, f"it is not a JSON object. Remove #{key} from private_key_from."
    value = document.get(key)
    if not isinstance(value, str):
        return None, "its JSON has no such string. Correct private_key_from, or the secret."
    return value, ""
