# SPDX-License-Identifier: Apache-2.0
"""Verify AWS signatures, version 4, by recomputing them with botocore's own signer."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from airflow_mwaa_provider.local.aws.aws_errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_mwaa_provider.local.aws.identity import Identity, IdentityStore

_ALGORITHM = "AWS4-HMAC-SHA256"
_MAX_SKEW = timedelta(minutes=15)
_MAX_PRESIGNED_S = 7 * 24 * 3600
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access"
    " Key and signing method. Consult the service documentation for details."
)


@dataclass(frozen=True)
class SignedScope:
    """The claims of a signature, read from the request; not verified yet."""

    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    content_sha256: str | None
    expires_s: int | None = None
    """For a presigned URL; None if the signature is in the Authorization header."""
    session_token: str | None = field(default=None, repr=False)
    """Of temporary credentials."""


def read_scope(headers: Mapping[str, str], query: str) -> SignedScope | None:
    """Return the signature of a request, or None if it has none that can be read.

    :param query: the raw query string, which contains the signature of a presigned URL.
    """
    authorization = headers.get("Authorization", "")
    if authorization.startswith(_ALGORITHM):
        pairs = (part.strip().partition("=") for part in authorization[len(_ALGORITHM) :].split(","))
        fields = {name: value for name, _, value in pairs}
        timestamp = headers.get("X-Amz-Date", "")
        scope = _scope(fields.get("Credential", ""), fields, timestamp, headers.get("X-Amz-Content-SHA256"), None)
        return scope and replace(scope, session_token=headers.get("X-Amz-Security-Token"))
    if "X-Amz-Credential=" in query:
        values = {name: found[-1] for name, found in parse_qs(query, keep_blank_values=True).items()}
        fields = {name: values.get(f"X-Amz-{name}", "") for name in ("SignedHeaders", "Signature")}
        expires = values.get("X-Amz-Expires", "")
        # AWS also allows at most seven days.
        expires_s = min(int(expires), _MAX_PRESIGNED_S) if expires.isdigit() else 0
        scope = _scope(values["X-Amz-Credential"], fields, values.get("X-Amz-Date", ""), None, expires_s)
        return scope and replace(scope, session_token=values.get("X-Amz-Security-Token"))
    return None


def _scope(
    credential: str, fields: Mapping[str, str], timestamp: str, content_sha256: str | None, expires_s: int | None
) -> SignedScope | None:
    parts = credential.split("/")
    if len(parts) != 5 or parts[4] != "aws4_request":
        return None
    return SignedScope(
        access_key_id=parts[0],
        date=parts[1],
        region=parts[2],
        service=parts[3],
        signed_headers=tuple(fields.get("SignedHeaders", "").lower().split(";")),
        signature=fields.get("Signature", ""),
        timestamp=timestamp,
        content_sha256=content_sha256,
        expires_s=expires_s,
    )


class _Verifier(SigV4Auth):
    """botocore's signer for the headers that the client has signed."""

    def __init__(self, identity: Identity, scope: SignedScope) -> None:
        credentials = Credentials(identity.access_key_id, identity.secret_access_key)
        super().__init__(credentials, scope.service, scope.region)
        self._signed_headers = scope.signed_headers

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        """Return the headers of the signature, instead of those that botocore would sign."""
        chosen = HTTPHeaders()
        for name in self._signed_headers:
            for value in request.headers.get_all(name, []):
                chosen[name] = value
        return chosen


def verify(
    scope: SignedScope | None,
    identities: IdentityStore,
    *,
    method: str,
    raw_path: str,
    query: str,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    region: str,
    now: datetime,
) -> Identity:
    """Return the identity that signed a request.

    :param raw_path: the path as sent; what was signed is the encoded form.
    :raises AwsError: MissingAuthenticationTokenException, UnrecognizedClientException, ExpiredTokenException or
        InvalidSignatureException, all with HTTP 403 and AWS's messages.
    """
    if scope is None:
        raise AwsError("MissingAuthenticationTokenException", "Missing Authentication Token")
    identity = identities.get(scope.access_key_id, scope.session_token)
    if identity is None:
        raise AwsError("UnrecognizedClientException", "The security token included in the request is invalid.")
    if scope.region != region:
        raise AwsError("InvalidSignatureException", "Credential should be scoped to a valid region.")
    _check_time(scope, now)
    if "host" not in scope.signed_headers:
        raise AwsError("InvalidSignatureException", "'Host' must be a 'SignedHeader' in the AWS Authorization.")
    body_sha256 = hashlib.sha256(body).hexdigest()
    if scope.content_sha256 is not None and scope.content_sha256 != body_sha256:
        # UNSIGNED-PAYLOAD is for services whose model says so; MWAA's does not.
        raise AwsError("InvalidSignatureException", _MISMATCH)
    unsigned_query = "&".join(pair for pair in query.split("&") if not pair.startswith("X-Amz-Signature="))
    # The scheme only prevents botocore from leaving the body unsigned; the actual host is in the headers.
    request = AWSRequest(method, f"http://localhost{raw_path}?{unsigned_query}", data=body)
    for name, value in headers:
        request.headers[name] = value
    request.context["timestamp"] = scope.timestamp
    signer = _Verifier(identity, scope)
    expected = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    if not hmac.compare_digest(expected, scope.signature):
        raise AwsError("InvalidSignatureException", _MISMATCH)
    if identity.expires_at is not None and now >= identity.expires_at:
        raise AwsError("ExpiredTokenException", "The security token included in the request is expired")
    return identity


def _check_time(scope: SignedScope, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(scope.timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise AwsError("InvalidSignatureException", "Date must be in ISO-8601 'basic format'") from error
    if scope.timestamp[:8] != scope.date:
        raise AwsError("InvalidSignatureException", "Date in Credential scope does not match the request's date")
    # STS accepts a presigned URL for 15 minutes, whatever X-Amz-Expires is.
    fixed = scope.expires_s is None or scope.service == "sts"
    lifetime = _MAX_SKEW if fixed else timedelta(seconds=scope.expires_s or 0)
    now_text = now.strftime("%Y%m%dT%H%M%SZ")
    if now - signed_at > lifetime:
        text = f"Signature expired: {scope.timestamp} is now earlier than {now_text} - {lifetime}"
        raise AwsError("InvalidSignatureException", text)
    if signed_at - now > _MAX_SKEW:
        text = f"Signature not yet current: {scope.timestamp} is still later than {now_text} + {_MAX_SKEW}"
        raise AwsError("InvalidSignatureException", text)
