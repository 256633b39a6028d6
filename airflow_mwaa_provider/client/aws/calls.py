# SPDX-License-Identifier: Apache-2.0
"""Calls of any AWS service: retried within a deadline, with every error in one line that includes what to do.

botocore's own retries must be off in the clients used here, because it repeats what may already have taken effect.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.http.errors import (
    bundle_unreadable,
    handshake_failed,
    never_connected,
    reason,
    truncate,
    unended,
)
from airflow_mwaa_provider.client.http.retrying import RetryPolicy, call_with_retries
from airflow_mwaa_provider.exceptions import AccessDenied, AwsError, MwaaError, MwaaInputError, Throttled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["AnotherAnswered", "AwsCalls", "aws_error"]

_THROTTLED = {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}
_DENIED = {"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"}
_BAD_CREDENTIALS = {
    "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "InvalidSignatureException",
    "MissingAuthenticationToken", "SignatureDoesNotMatch", "UnrecognizedClientException",
}  # fmt: skip
_KMS = {"DecryptionFailure", "EncryptionFailure", "InvalidKeyId", "KMSAccessDeniedException"}
# AWS's message also has the names of the caller and of the resource, which may be "KMS".
_NOT_ALLOWED = re.compile(r"not authorized to perform:? (\S+)")
_OF_KMS = re.compile(r"\bAccess to KMS\b|\bKMS key\b|\bkms:[A-Z]")
_KMS_ACTIONS = ("kms:GenerateDataKey", "kms:Decrypt")
_WITHOUT_CREDENTIALS = ("CredentialRetrievalError", "NoCredentialsError", "NoRegionError", "PartialCredentialsError")
_HTML = re.compile(
    rb"\xef?\xbb?\xbf?(?:<\?[^>]*+>|<!--(?>.*?-->)|\s)*+<(?:!doctype\s+)?html\b", re.DOTALL | re.IGNORECASE
)
_UNSENT = ("ConnectTimeoutError", "EndpointConnectionError", "ProxyConnectionError")
_INVALID = ("InvalidFormat", "InvalidParameter", "Malformed", "Missing", "Validation")


class AnotherAnswered(Exception):
    """An answer is not from the service."""


class _InvalidRequest(MwaaInputError):
    """A request that the service, or boto3, rejects as invalid.

    :param code: the service's own code, or boto3's name of the error.
    """

    def __init__(self, message: str = "", *, code: str | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.code = code


class AwsCalls:
    """Calls operations of one AWS service.

    :param client: boto3's client, without retries of its own.
    :param service: the service's name, for errors.
    :param prefix: what its actions begin with in IAM, such as ``"cloudwatch"``.
    :param policy: how long, and with which pauses, a call is repeated.
    """

    def __init__(self, client: Any, service: str, prefix: str, *, policy: RetryPolicy | None = None) -> None:
        self.client = client
        client.meta.events.register("response-received", _check_body, unique_id="airflow-mwaa-check-body")
        self._service = service
        self._prefix = prefix
        self._policy = policy or RetryPolicy(deadline_s=60.0)

    def call(
        self,
        operation: str,
        what: str,
        *,
        is_mutating: bool = False,
        repeat_unsure: bool = False,
        member: str | None = None,
        action: str | None = None,
        hidden: str = "",
        **request: Any,
    ) -> Any:
        """Call an operation until it succeeds, fails permanently, or the deadline passes.

        :param operation: its name in the API, such as ``"PutMetricData"``.
        :param what: what it is about, for errors.
        :param is_mutating: whether doing it twice differs from doing it once.
        :param repeat_unsure: repeat it nevertheless if it is unknown whether it was done.
        :param member: a part that the service's answer always has; without it, something else has answered.
        :param action: the IAM action that allows it, if that has another name.
        :param hidden: a secret value in the request; a reason that repeats it is left out of the error.
        :raises MwaaError: it failed; ``ambiguous`` if it may have been done nevertheless.
        """
        from botocore import xform_name
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        method = getattr(self.client, xform_name(operation))
        allowing = action or f"{self._prefix}:{operation}"

        def attempt() -> Any:
            where = f"{what}: {operation}"
            try:
                answer = method(**request)
                # A mutating call often has an empty answer; then only the request's id shows that the service answered.
                is_answer = not is_mutating or answer.get("ResponseMetadata", {}).get("RequestId")
                if is_answer and (member is None or member in answer):
                    return answer
                found: MwaaError = _no_answer(where, self._service, is_mutating=is_mutating)
            except (AnotherAnswered, ResponseParserError, KeyError):  # KeyError: botocore's, for unexpected XML
                found = _no_answer(where, self._service, is_mutating=is_mutating)
            except (BotoCoreError, ClientError) as error:
                found = aws_error(where, self._service, error, action=allowing, is_mutating=is_mutating, hidden=hidden)
            # Outside of the except, because botocore's own words may repeat what was sent.
            raise found

        return call_with_retries(
            attempt, self._policy, may_repeat=lambda error: error.transient and (repeat_unsure or not error.ambiguous)
        )

    def pages(self, operation: str, what: str, *, next_part: str = "NextToken", **request: Any) -> Iterator[Any]:
        """Call a reading operation until it has no more pages; some of them can be empty.

        :param operation: its name in the API.
        :param what: what it is about, for errors.
        :param next_part: name of the part that holds the next page's token, in requests and answers.
        :raises MwaaError: a call failed, or the pages never end.
        """
        seen = set()
        more: dict[str, Any] = {}
        while True:
            page = self.call(operation, what, **request, **more)
            yield page
            if not page.get(next_part):
                return
            if page[next_part] in seen:
                raise AwsError(
                    f"{what}: {operation}: {self._service} returned the same page again, so that the pages would "
                    "never end. Try again later."
                )
            seen.add(page[next_part])
            more = {next_part: page[next_part]}


def aws_error(where: str, service: str, error: Any, *, action: str, is_mutating: bool, hidden: str = "") -> MwaaError:
    """Return the error for one of boto3's; it repeats nothing that was sent.

    :param where: what was called, for the message.
    :param service: the service's name.
    :param error: botocore's ``ClientError`` or ``BotoCoreError``, or :class:`AnotherAnswered`.
    :param action: the IAM action of the call.
    :param is_mutating: whether a failure leaves a doubt that matters.
    :param hidden: a secret value that was sent; a reason that repeats it is left out.
    """
    if isinstance(error, AnotherAnswered):
        return _no_answer(where, service, is_mutating=is_mutating)
    response = getattr(error, "response", None)
    if response is None:
        return _unanswered(where, service, error, is_mutating=is_mutating)
    details = response.get("Error", {})
    code = str(details.get("Code", ""))
    words = _words(details, hidden)
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400))
    if code in _THROTTLED or status == 429:
        return Throttled(f"{where}: throttled ({words}). Make fewer calls at once, or try again later.", transient=True)
    if code in _KMS or (code in _DENIED and _concerns_kms(words)):
        return AccessDenied(
            f"{where}: the KMS key may not be used ({code}: {words}). Allow {' and '.join(_KMS_ACTIONS)} on it.",
            action=", ".join(_KMS_ACTIONS),
        )
    if code in _DENIED:
        return AccessDenied(f"{where}: access denied. Allow {action}. AWS says: {words}.", action=action)
    if code in _BAD_CREDENTIALS:
        return AccessDenied(
            f"{where}: the AWS credentials were rejected ({code}). Check the AWS connection or profile."
        )
    if status >= 500 or status < 300 or status == 408 or code == "RequestTimeout":
        doubt = " It may have taken effect." if is_mutating else ""
        return AwsError(
            f"{where}: {service} answered HTTP {status} ({words}).{doubt} Try again later.",
            code=code, transient=True, ambiguous=is_mutating,
        )  # fmt: skip
    if code.startswith(_INVALID):
        return _InvalidRequest(f"{where}: {service} rejected it as invalid ({words}). Correct it.", code=code)
    return AwsError(f"{where}: {service} answered {code} ({words}). Correct that, and try again.", code=code)


def _concerns_kms(words: str) -> bool:
    found = _NOT_ALLOWED.search(words)
    return found[1].startswith("kms:") if found else bool(_OF_KMS.search(words))


def _unanswered(where: str, service: str, error: Any, *, is_mutating: bool) -> MwaaError:
    kind = type(error).__name__
    if kind in _WITHOUT_CREDENTIALS:
        return AccessDenied(f"{where}: no AWS credentials or region ({kind}). Check the AWS connection or profile.")
    if kind == "ParamValidationError":  # its own words repeat the values
        return _InvalidRequest(f"{where}: boto3 rejected a parameter. Correct it.", code=kind)
    if bundle_unreadable(error):
        return MwaaInputError(
            f"{where}: the CA bundle cannot be read ({reason(error)}). Check verify of the AWS connection and "
            "AWS_CA_BUNDLE."
        )
    unsent = never_connected(error) or handshake_failed(error) or kind in _UNSENT
    doubt = " It may have taken effect." if is_mutating and not unsent else ""
    return AwsError(
        f"{where}: {service} did not answer ({reason(error)}).{doubt} Check the network and try again.",
        code=kind, transient=True, ambiguous=is_mutating and not unsent,
    )  # fmt: skip


def _check_body(response_dict: Mapping[str, Any] | None = None, **_: Any) -> None:
    """Refuse a page with a status of success, which botocore reads as an answer without any of its parts.

    Neither its content type nor a missing request id identifies it: stand-ins for AWS label XML as HTML, and have none.

    :raises AnotherAnswered: it is one.
    """
    if response_dict is None or response_dict["status_code"] >= 300:
        return
    body = response_dict["body"]
    if isinstance(body, bytes) and _HTML.match(body):
        raise AnotherAnswered


def _no_answer(where: str, service: str, *, is_mutating: bool) -> MwaaError:
    """Return the error for a successful answer that is not from the service."""
    doubt = " It may have taken effect." if is_mutating else ""
    return AwsError(
        f"{where}: what answered is not {service}: it sent a page, or another unknown form.{doubt} Check the endpoint, "
        "and that no proxy or firewall answers for it.",
        ambiguous=is_mutating,
    )


def _words(details: Mapping[str, Any], hidden: str) -> str:
    """Return AWS's own words; neither a page nor a secret value is quoted."""
    text = str(details.get("Message", "") or details.get("Code", "") or "no reason given")
    if hidden and hidden in text:
        return "its reason repeats the value"
    if text.lstrip().startswith("<"):
        return "a page instead of the service's answer, from a proxy or load balancer"
    return unended(truncate(text, 300))
