# SPDX-License-Identifier: Apache-2.0
"""Errors of the AWS side, in the shape of AWS's answers.

AwsError
  NotImplementedByLocalMwaa   an operation of the service model that the local MWAA lacks
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# Errors that every AWS service may return and that service models do not list, with their HTTP status.
# Source: "Common errors" of the MWAA API reference, and what botocore's retry handlers look for.
_COMMON_STATUS = {
    "AccessDeniedException": 403,
    "ExpiredTokenException": 403,
    "InternalServerException": 500,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "NotImplementedException": 501,
    "SerializationException": 400,
    "ServiceUnavailableException": 503,
    "ThrottlingException": 429,
    "UnknownOperationException": 404,
    "UnrecognizedClientException": 403,
    "ValidationException": 400,
}


class AwsError(Exception):
    """An error answer: a code that becomes the exception's class in boto3, an HTTP status and a message.

    :param status: not needed for codes with a known status, or for errors of the service model.
    :param members: other members of the error's shape, such as ``RestApiStatusCode``.
    """

    def __init__(
        self, code: str, message: str, *, status: int | None = None, members: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = _COMMON_STATUS[code] if status is None else status
        self.members = dict(members or {})

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.code, self.message, self.status, self.members))


class NotImplementedByLocalMwaa(AwsError):
    """The local MWAA lacks an operation of the service model, and says so instead of pretending."""

    def __init__(self, operation_name: str) -> None:
        super().__init__("NotImplementedException", f"not implemented: {operation_name}")


def _rebuild(code: str, message: str, status: int, members: Mapping[str, Any]) -> AwsError:
    return AwsError(code, message, status=status, members=members)
