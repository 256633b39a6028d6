# SPDX-License-Identifier: Apache-2.0
"""MWAA's own service model from botocore: routes, requests, answers and errors.

The form of operations is not written by hand: a newer botocore adds its new members, limits and operations. With an old
botocore, operations that its model lacks do not exist here, either (InvokeRestApi was added in botocore 1.35.43).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, unquote

import botocore
from botocore.loaders import Loader
from botocore.model import ServiceModel

from airflow_mwaa_provider.local.aws.aws_errors import AwsError
from airflow_mwaa_provider.local.aws.validation import validate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from botocore.model import OperationModel

_LABEL = re.compile(r"\{(\w+)\+?\}")


@dataclass(frozen=True)
class _Route:
    method: str
    pattern: re.Pattern[str]
    operation_name: str


class MwaaServiceModel:
    """The operations of the ``mwaa`` service, read from the installed botocore."""

    def __init__(self) -> None:
        self._model = ServiceModel(Loader().load_service_model("mwaa", "service-2"), "mwaa")
        self._routes = [self._route(self._model.operation_model(name)) for name in self._model.operation_names]

    @property
    def operation_names(self) -> list[str]:
        """Return the names of all operations of the model."""
        return list(self._model.operation_names)

    @staticmethod
    def _route(operation: OperationModel) -> _Route:
        pieces = _LABEL.split(operation.http["requestUri"])
        # Every other piece is a label. A label never contains a slash: clients send it percent-encoded.
        pattern = "".join(
            f"(?P<{piece}>[^/]+)" if index % 2 else re.escape(piece) for index, piece in enumerate(pieces)
        )
        return _Route(operation.http["method"], re.compile(pattern + "/?"), operation.name)

    def match(self, method: str, raw_path: str) -> tuple[OperationModel, dict[str, str]] | None:
        """Return the operation of a request, and the labels of its path.

        :param raw_path: the path as sent, percent-encoded and without the query.
        """
        for route in self._routes:
            found = route.pattern.fullmatch(raw_path) if route.method == method else None
            if found:
                labels = {name: unquote(value) for name, value in found.groupdict().items()}
                return self._model.operation_model(route.operation_name), labels
        return None

    def parse_request(
        self,
        operation: OperationModel,
        labels: Mapping[str, str],
        query: str,
        body: bytes,
        max_lengths: Mapping[str, int] | None = None,
    ) -> dict[str, Any]:
        """Return a request's members by name, validated against the model.

        A member that the model lacks is rejected: AWS would ignore it, but a newer model may have it.

        :param max_lengths: lengths that replace those of the model, by the name of the shape.
        :raises AwsError: SerializationException for invalid JSON, ValidationException for the rest.
        """
        shape = cast("Any", operation.input_shape)
        if shape is None:
            return {}
        document = _json_object(body)
        query_values = parse_qs(query, keep_blank_values=True)
        unknown = [*_unknown_members(shape, document), *_unknown_in_query(shape, query_values)]
        if unknown:
            text = (
                f"{', '.join(unknown)}: unknown to botocore {botocore.__version__}, whose model the local MWAA "
                "uses. Remove it, or install a newer boto3 beside airflow-mwaa."
            )
            raise AwsError("ValidationException", text)
        members: dict[str, Any] = {}
        for name, member in shape.members.items():
            location = member.serialization.get("location")
            wire_name = member.serialization.get("name", name)
            if location == "uri":
                members[name] = labels[wire_name]
            elif location == "querystring":
                if wire_name in query_values:
                    members[name] = _from_query(member, name, query_values[wire_name])
            elif document.get(wire_name) is not None:
                members[name] = document[wire_name]
        validate(shape, members, max_lengths or {})
        return members

    def serialize_response(self, operation: OperationModel, members: Mapping[str, Any]) -> bytes:
        """Return an answer's body, without members that the model lacks."""
        shape = operation.output_shape
        return json.dumps({} if shape is None else _to_wire(shape, members)).encode("utf-8")

    def modelled_error(self, code: str, message: str, **members: Any) -> AwsError:
        """Return an error of the model with its HTTP status; other errors get their common status."""
        for shape in self._model.error_shapes:
            if shape.name == code:
                return AwsError(code, message, status=shape.metadata["error"]["httpStatusCode"], members=members)
        return AwsError(code, message, members=members)

    def serialize_error(self, error: AwsError) -> bytes:
        """Return an error's body: its message under the name in its shape, and its members."""
        body: dict[str, Any] = {"message": error.message}
        for shape in cast("list[Any]", self._model.error_shapes):
            if shape.name == error.code:
                text_name = next((name for name in shape.members if name.lower() == "message"), None)
                # Errors without a message member (RestApiClientException) answer one all the same: botocore
                # and the AWS CLI print it.
                body = {text_name or "message": error.message}
        return json.dumps({**body, **error.members}).encode("utf-8")


def _unknown_members(shape: Any, value: Any, path: str = "") -> Iterator[str]:
    """Return the members of a document that a shape lacks, at any depth."""
    if getattr(shape, "is_document_type", False):
        return
    if shape.type_name == "structure" and isinstance(value, dict):
        known = {member.serialization.get("name", name): member for name, member in shape.members.items()}
        for name, item in value.items():
            if name not in known:
                yield path + name
            elif item is not None:
                yield from _unknown_members(known[name], item, f"{path}{name}.")
    elif shape.type_name == "list" and isinstance(value, list):
        for item in value:
            yield from _unknown_members(shape.member, item, path)


def _unknown_in_query(shape: Any, values: Mapping[str, Any]) -> list[str]:
    known = {
        member.serialization.get("name", name)
        for name, member in shape.members.items()
        if member.serialization.get("location") == "querystring"
    }
    # A request may be signed there.
    return sorted(name for name in values if name not in known and not name.startswith("X-Amz-"))


def _json_object(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        document = json.loads(body)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise AwsError("SerializationException", "The request body isn't JSON") from error
    if not isinstance(document, dict):
        raise AwsError("SerializationException", "The request body isn't a JSON object")
    return document


def _from_query(shape: Any, name: str, values: list[str]) -> Any:
    if shape.type_name == "list":
        return values
    value = values[-1]
    if shape.type_name in ("integer", "long"):
        if not re.fullmatch(r"-?[0-9]{1,18}", value):
            raise AwsError("SerializationException", f"{name} must be a whole number")
        return int(value)
    return value


def _to_wire(shape: Any, value: Any) -> Any:
    """Convert a value to JSON according to its shape; times become seconds since 1970, as in rest-json."""
    if value is None or getattr(shape, "is_document_type", False):
        return value
    if shape.type_name == "structure":
        wire = {}
        for name, member in shape.members.items():
            if value.get(name) is not None:
                wire[member.serialization.get("name", name)] = _to_wire(member, value[name])
        return wire
    if shape.type_name == "list":
        return [_to_wire(shape.member, item) for item in value]
    if shape.type_name == "map":
        return {key: _to_wire(shape.value, item) for key, item in value.items()}
    if shape.type_name == "timestamp" and isinstance(value, datetime):
        return round(value.timestamp(), 3)
    return value
