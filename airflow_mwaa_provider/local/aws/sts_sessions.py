# SPDX-License-Identifier: Apache-2.0
"""Temporary credentials: those that moto's STS issues through the endpoint are also valid for MWAA.

moto issues credentials to everybody. They are valid for MWAA only if the request was signed by an identity that the
local MWAA knows and that may make it. AssumeRoleWithWebIdentity and AssumeRoleWithSAML are not signed, and moto does
not check their proofs, so their credentials are not valid.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from aiohttp import web

from airflow_mwaa_provider.local.aws.aws_errors import AwsError
from airflow_mwaa_provider.local.aws.proxy import forward
from airflow_mwaa_provider.local.aws.sigv4 import verify

if TYPE_CHECKING:
    import aiohttp

    from airflow_mwaa_provider.local.aws.identity import Identity, IdentityStore
    from airflow_mwaa_provider.local.aws.sigv4 import SignedScope

_log = logging.getLogger(__name__)

_OF_THE_CALLER = {"GetFederationToken", "GetSessionToken"}
"""Credentials from these have their caller's permissions; a role has all permissions."""
_WHO_AM_I = "GetCallerIdentity"
_WATCHED = {"AssumeRole", *_OF_THE_CALLER}


@dataclass(frozen=True)
class _Issued:
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: datetime
    arn: str


async def forward_to_sts(
    request: web.Request, http: aiohttp.ClientSession, moto_url: str, scope: SignedScope, identities: IdentityStore
) -> web.StreamResponse:
    """Pass a request that is signed for STS on to moto, and store the credentials in its answer."""
    body = await request.read()
    raw_path, _, query = request.raw_path.partition("?")
    action = (parse_qs(body.decode("utf-8", "replace")) | parse_qs(query)).get("Action", [""])[-1]
    if action not in _WATCHED and action != _WHO_AM_I:
        return await forward(request, http, moto_url, body=body)
    caller: Identity | None = None
    try:
        caller = verify(
            scope,
            identities,
            method=request.method,
            raw_path=raw_path,
            query=query,
            headers=request.headers.items(),
            body=body,
            region=scope.region,  # STS has an endpoint in every region
            now=datetime.now(UTC),
        )
    except AwsError as error:
        if action == _WHO_AM_I and scope.expires_s is not None:
            # A presigned URL proves to others, such as an EKS cluster, who its maker is.
            return _refusal(error.message, error.code)
        if action == _WHO_AM_I:
            return await forward(request, http, moto_url, body=body)
        _log.warning("%s by %s: moto's credentials will not be valid for MWAA: %s", action, scope.access_key_id, error)
    if caller is not None and not caller.may(f"sts:{action}"):
        text = f"User: {caller.arn} is not authorized to perform: sts:{action}"
        return _refusal(text)
    if caller is not None and action == _WHO_AM_I:
        return _introduce(caller)

    def remember(status: int, answer: bytes) -> None:
        issued = _read(answer) if status == 200 and caller is not None else None
        if issued is None or caller is None:
            return
        of_the_caller = action in _OF_THE_CALLER
        identities.add_session(
            issued.access_key_id,
            issued.secret_access_key,
            issued.session_token,
            issued.expires_at,
            arn=issued.arn or caller.arn,
            denied_actions=caller.denied_actions if of_the_caller else (),
            allowed_actions=caller.allowed_actions if of_the_caller else ("*",),
        )

    return await forward(request, http, moto_url, body=body, on_body=remember)


def _introduce(caller: Identity) -> web.Response:
    """Answer GetCallerIdentity; moto does not know the caller, and returns the same identity for everybody."""
    account, resource = caller.arn.split(":", 5)[4:]
    role, _, session = resource.rpartition("/")
    user_id = f"AROA{hashlib.sha256(role.encode()).hexdigest()[:17].upper()}:{session}"
    text = (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
        f"<Arn>{escape(caller.arn)}</Arn><UserId>{escape(user_id)}</UserId><Account>{account}</Account>"
        f"</GetCallerIdentityResult><ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
        "</GetCallerIdentityResponse>"
    )
    return web.Response(text=text, content_type="text/xml")


def _refusal(message: str, code: str = "AccessDenied") -> web.Response:
    """Return an error in the protocol of STS, which differs from MWAA's."""
    text = (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
        f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error></ErrorResponse>"
    )
    return web.Response(status=403, text=text, content_type="text/xml")


def _read(answer: bytes) -> _Issued | None:
    """Return the credentials in an answer of STS, in XML or, for clients that accept it, in JSON."""
    try:
        found = _from_json(json.loads(answer)) if answer.lstrip()[:1] == b"{" else _from_xml(answer)
        expires_at = _moment(found["Expiration"])
        secrets = (found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])
    except (ElementTree.ParseError, KeyError, TypeError, ValueError) as error:
        _log.warning("an answer of STS can't be read: %s", type(error).__name__)
        return None
    return _Issued(*secrets, expires_at=expires_at, arn=found.get("Arn", ""))


def _from_xml(answer: bytes) -> dict[str, Any]:
    elements = ElementTree.fromstring(answer).iter()  # noqa: S314 - moto's own answer
    return {element.tag.rpartition("}")[2]: (element.text or "").strip() for element in elements}


def _from_json(value: Any) -> dict[str, Any]:
    """Flatten nested objects; every name occurs only once in an answer of STS."""
    flat: dict[str, Any] = {}
    for name, item in value.items():
        flat.update(_from_json(item) if isinstance(item, dict) else {name: item})
    return flat


def _moment(value: Any) -> datetime:
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
