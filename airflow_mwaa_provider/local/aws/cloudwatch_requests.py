# SPDX-License-Identifier: Apache-2.0
"""Parse requests to CloudWatch in each of its three protocols, and write errors in them.

``query`` is used by boto3 up to about 1.40 and by ``curl``; ``json`` and ``rpc-v2-cbor`` by newer SDKs. Error codes are
always the query protocol's: newer SDKs read them from the header ``x-amzn-query-error``.

Source: botocore's service model; AWS's and Smithy's descriptions of the protocols.
"""

from __future__ import annotations

import json
import re
import uuid
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from aiohttp import web
from botocore.loaders import Loader
from botocore.model import ServiceModel

from airflow_mwaa_provider.local.aws import cbor

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNING_NAME = "monitoring"
ANY_REQUEST_MAX_BYTES = 8 * 1024 * 1024
"""The limit for decompressed data in memory; the limits of operations are far below."""
_NAMESPACE = "http://monitoring.amazonaws.com/doc/2010-08-01/"
_CBOR_PATH = re.compile(r"/service/[^/]+/operation/(\w+)")
_JSON_TYPE = "application/x-amz-json-1.0"
_GZIP = 16 + zlib.MAX_WBITS
_ERROR_PREFIX = "com.amazonaws.cloudwatch.v2010_08_01#"


class Protocol(Enum):
    """CloudWatch's protocols."""

    QUERY = "query"
    JSON = "json"
    CBOR = "rpc-v2-cbor"


class CloudWatchError(Exception):
    """An error of CloudWatch.

    :param code: the query protocol's code: ``InvalidParameterValue``.
    :param messages: for a dashboard's body: ``{"DataPath": …, "Message": …}`` each.
    """

    def __init__(self, code: str, message: str, *, status: int = 400, messages: list[dict[str, str]] | None = None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.messages = messages or []


@dataclass(frozen=True)
class CloudWatchRequest:
    """A request, before it is validated."""

    operation: str
    protocol: Protocol
    content: bytes
    """The decompressed body, truncated if it is too large; for a GET request, its query string."""
    was_compressed: bool = False

    @property
    def members(self) -> dict[str, Any]:
        """Read the members, in the types of the service model.

        :raises CloudWatchError: they cannot be read.
        """
        shape = service_model().operation_model(self.operation).input_shape
        try:
            if self.protocol is Protocol.QUERY:
                return _typed(shape, _tree(self.content)) or {}
            value = json.loads(self.content or b"{}") if self.protocol is Protocol.JSON else cbor.loads(self.content)
            return _typed(shape, value) or {}
        except (ValueError, TypeError, AttributeError, OverflowError, OSError) as error:
            raise CloudWatchError("SerializationException", f"The request can't be read: {error}") from error

    def refusal(self, error: CloudWatchError) -> web.Response:
        """Return an error in the caller's protocol."""
        request_id = str(uuid.uuid4())
        headers = {"x-amzn-RequestId": request_id, "x-amzn-query-error": f"{error.code};Sender"}
        if self.protocol is Protocol.QUERY:
            return web.Response(status=error.status, text=_as_xml(error, request_id), content_type="text/xml")
        messages = {"dashboardValidationMessages": error.messages} if error.messages else {}
        shape_name = _ERROR_PREFIX + _shape_name(error.code)
        document: dict[str, Any] = {"__type": shape_name, "message": error.message, **messages}
        if self.protocol is Protocol.JSON:
            headers["Content-Type"] = _JSON_TYPE
            return web.Response(status=error.status, body=json.dumps(document).encode(), headers=headers)
        headers |= {"Content-Type": "application/cbor", "smithy-protocol": Protocol.CBOR.value}
        return web.Response(status=error.status, body=cbor.dumps(document), headers=headers)


@lru_cache(maxsize=1)
def service_model() -> ServiceModel:
    """Return the installed botocore's model of CloudWatch."""
    return ServiceModel(Loader().load_service_model("cloudwatch", "service-2"), "cloudwatch")


def read(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> CloudWatchRequest | None:
    """Return the parsed request; ``None`` if the model has no such operation.

    :param query: the raw query string.
    :param body: the body as it was sent; compressed if the headers say so.
    """
    was_compressed = headers.get("Content-Encoding", "").strip().lower() == "gzip"
    if was_compressed:
        try:
            body = zlib.decompressobj(_GZIP).decompress(body, ANY_REQUEST_MAX_BYTES + 1)
        except zlib.error:
            return None  # moto reports what is wrong with it
    at_path = _CBOR_PATH.fullmatch(path)
    target = headers.get("X-Amz-Target", "")
    if at_path is not None:
        found = CloudWatchRequest(at_path[1], Protocol.CBOR, body, was_compressed)
    elif target:
        found = CloudWatchRequest(target.rpartition(".")[2], Protocol.JSON, body, was_compressed)
    else:
        content = body if method == "POST" and body else query.encode()
        found = CloudWatchRequest(_action(content), Protocol.QUERY, content, was_compressed)
    return found if found.operation in service_model().operation_names else None


def _action(content: bytes) -> str:
    found = re.search(rb"(?:\A|&)Action=(\w+)", content)
    return found[1].decode() if found else ""


def _tree(content: bytes) -> dict[str, Any]:
    """Return a form's fields, ``MetricData.member.1.Value``, as nested dictionaries."""
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(content.decode("utf-8", "replace"), keep_blank_values=True):
        *folders, last = name.split(".")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
    return tree


# Shapes are Any: botocore creates their members at run time, and its stubs do not distinguish the kinds.
def _typed(shape: Any, value: Any) -> Any:
    """Return a value in the type of its shape; members that the shape lacks are left out."""
    if value is None or shape is None:
        return None
    if shape.type_name == "structure":
        read_members = {name: _typed(member, value.get(name)) for name, member in shape.members.items()}
        return {name: item for name, item in read_members.items() if item is not None}
    if shape.type_name == "list":
        return [_typed(shape.member, item) for item in _listed(value)]
    if shape.type_name == "map":
        return value
    if shape.type_name in ("double", "float"):
        return float(value)
    if shape.type_name in ("integer", "long"):
        return int(value)
    if shape.type_name == "boolean":
        return value if isinstance(value, bool) else str(value).lower() == "true"
    if shape.type_name == "timestamp":
        return _moment(value)
    return str(value)


def _listed(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    numbered = value.get("member", {}) if isinstance(value, dict) else {}
    return [numbered[number] for number in sorted(numbered, key=int)] if numbered else []


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        except ValueError:
            value = float(value)
    return datetime.fromtimestamp(value, UTC)


def _shape_name(code: str) -> str:
    """Return the shape of an error in the model; the code itself if it has none."""
    for shape in service_model().error_shapes:
        if (shape.metadata.get("error") or {}).get("code") == code:
            return str(shape.name)
    return code


def _as_xml(error: CloudWatchError, request_id: str) -> str:
    messages = "".join(
        f"<member><DataPath>{escape(each['DataPath'])}</DataPath><Message>{escape(each['Message'])}</Message></member>"
        for each in error.messages
    )
    listed = f"<dashboardValidationMessages>{messages}</dashboardValidationMessages>" if messages else ""
    return (
        f'<ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>Sender</Type><Code>{error.code}</Code>'
        f"<Message>{escape(error.message)}</Message>{listed}</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
