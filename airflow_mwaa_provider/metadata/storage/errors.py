# SPDX-License-Identifier: Apache-2.0
"""Turn S3's errors into ours, whose one line names the bucket, the call and what to do."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import AccessDenied, MwaaError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ObjectExists", "ObjectMissing", "refusal", "storage_errors"]

_MISSING = {"404", "NoSuchKey", "NotFound", "NoSuchUpload"}
_EXISTS = {"412", "PreconditionFailed", "ConditionalRequestConflict"}
_DENIED = {"403", "AccessDenied", "Forbidden", "AllAccessDisabled", "AccountProblem"}
_CREDENTIALS = {
    "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "RequestExpired", "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}  # fmt: skip
_PASSING = {
    "500", "502", "503", "504", "InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown",
    "Throttling", "ThrottlingException",
}  # fmt: skip
_REGION = {"301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}


class ObjectMissing(StorageError):
    """No such object, or no such upload, exists."""


class ObjectExists(StorageError):
    """The object exists, although it should only be written if it does not."""


@contextmanager
def storage_errors(bucket: str, key: str, action: str) -> Iterator[None]:
    """Turn botocore's errors into ours.

    :param action: the IAM action that the call needs.
    :raises AccessDenied: the role lacks the permission, or KMS denied it.
    :raises ObjectMissing: no such object, or upload, exists.
    :raises StorageError: anything else; ``transient`` if trying again may help.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        answer: dict[str, Any] = dict(error.response.get("Error", {}))
        raise refusal(answer, bucket, key, action) from error
    except BotoCoreError as error:
        words = " ".join(str(error).split()).rstrip(".")
        raise StorageError(
            f"s3://{bucket}/{key}: {action} failed: {words}. Check the region, the network, and the AWS "
            "connection or profile.",
            bucket=bucket,
            key=key,
            transient=True,
        ) from error


def refusal(error: Mapping[str, Any], bucket: str, key: str, action: str) -> MwaaError:
    """Return our error for one of S3, given its ``Code`` and ``Message``."""
    code = str(error.get("Code", ""))
    words = " ".join(str(error.get("Message", "")).split()).rstrip(".")
    where = {"code": code, "bucket": bucket, "key": key}
    if code.startswith("KMS") or "kms" in words.lower():
        return AccessDenied(
            f"s3://{bucket}/{key}: KMS refused ({code}: {words}). Allow kms:GenerateDataKey and kms:Decrypt on the "
            "bucket's key, and check that it is enabled.",
            action="kms:GenerateDataKey",
        )
    if code in _DENIED:
        return AccessDenied(
            f"s3://{bucket}/{key}: {action} was refused ({code}). Allow it on arn:aws:s3:::{bucket} and "
            f"arn:aws:s3:::{bucket}/*, in the role and in the bucket's policy; a bucket of another account must allow "
            "it too.",
            action=action,
        )
    if code in _CREDENTIALS:
        return AccessDenied(
            f"s3://{bucket}/{key}: the AWS credentials were refused ({code}). Check the AWS connection or profile."
        )
    if code == "NoSuchBucket":
        return StorageError(
            f"Bucket {bucket!r} does not exist. Check its name; where it is another account's, that account.", **where
        )
    if code in _REGION:
        region = error.get("Region")
        return StorageError(
            f"Bucket {bucket!r} is in {f'region {region}' if region else 'another region'}: use that region.",
            **where,
        )
    if code in _PASSING:
        return StorageError(
            f"s3://{bucket}/{key}: S3 answered {code} to {action} again and again: try later.", transient=True, **where
        )
    if code in _EXISTS:
        return ObjectExists(f"s3://{bucket}/{key} exists already ({code}).", **where)
    if code in _MISSING:
        return ObjectMissing(f"s3://{bucket}/{key} does not exist ({code}).", **where)
    return StorageError(f"s3://{bucket}/{key}: S3 refused {action}: {code}: {words}.", **where)
