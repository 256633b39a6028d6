# SPDX-License-Identifier: Apache-2.0
"""What an error of the MWAA API means: boto3's exceptions turned into ours.

Source: botocore's service model ``mwaa/2020-07-01``; FACTS on the service's error shapes.
"""

from __future__ import annotations

from typing import Any

from airflow_mwaa_provider.client.http.errors import (
    causes,
    handshake_failed,
    never_connected,
    reason,
    truncate,
    unended,
    without_credentials,
)
from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    AnswerTooLarge,
    CallTimeout,
    EnvironmentNotFound,
    EnvironmentUnavailable,
    MwaaError,
    MwaaInputError,
    Throttled,
    UnexpectedAnswer,
)

# States of an environment that end automatically, usually within the time of a wait.
_PASSING = {"CREATING_SNAPSHOT", "MAINTENANCE", "PENDING", "ROLLING_BACK", "UPDATING"}

_THROTTLED = {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}
_DENIED = {"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"}
_BAD_CREDENTIALS = {
    "ExpiredTokenException",
    "ExpiredToken",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_NOT_SENT_FOR_LACK_OF_CREDENTIALS = (
    "CredentialRetrievalError",
    "NoAuthTokenError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "SSOTokenLoadError",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
)


def rest_api_answer(error: Any) -> dict[str, Any] | None:
    """Return Airflow's own answer inside an InvokeRestApi error; ``None`` if the service itself answered."""
    if error.response.get("Error", {}).get("Code") not in ("RestApiClientException", "RestApiServerException"):
        return None
    if "RestApiStatusCode" not in error.response:
        return None
    return {name: error.response.get(name) for name in ("RestApiStatusCode", "RestApiResponse")}


def service_error(operation: str, env_name: str, where: str, error: Any, *, is_mutating: bool) -> MwaaError:
    """Return the error for one that AWS answered.

    :param error: botocore's ``ClientError``.
    :param where: environment, operation and region, for the message.
    :param is_mutating: whether the call changes anything, so that a failure of the service leaves a doubt.
    """
    code = str(error.response.get("Error", {}).get("Code", ""))
    text = _words(error)
    metadata = error.response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    asked = str(metadata.get("HTTPHeaders", {}).get("retry-after", ""))
    fields: dict[str, Any] = {"env_name": env_name, "retry_after_s": float(asked) if asked.isdigit() else None}
    if error.operation_name != operation:
        return credentials_error(where, error, env_name=env_name)
    if code in _THROTTLED or status == 429:
        return Throttled(
            f"{where}: throttled ({text}). Make fewer calls at once, or allow more time.",
            **{**fields, "transient": True},
        )
    if code in _DENIED:
        action = f"airflow:{operation}"
        return AccessDenied(
            f"{where}: not permitted. Allow {action} for the caller's role in IAM. AWS says: {text}.",
            action=action,
            **fields,
        )
    if code in _BAD_CREDENTIALS and "valid region" in text:
        # The call is signed for another region than the endpoint's: a VPC endpoint, or one of a test.
        return AccessDenied(
            f"{where}: the endpoint belongs to another region ({code}: {text}). Check the region, and that of the "
            "endpoint.",
            **fields,
        )
    if code == "UnrecognizedClientException":
        # A region that the account has not enabled answers the same.
        return AccessDenied(
            f"{where}: the AWS credentials were rejected ({code}: {text}). Check the AWS connection or profile, and "
            "the region: one that the account has not enabled gives the same answer.",
            **fields,
        )
    if code in _BAD_CREDENTIALS:
        return AccessDenied(
            f"{where}: the AWS credentials were rejected ({code}: {text}). Check the AWS connection or profile, and "
            "the clock.",
            **fields,
        )
    if code == "ResourceNotFoundException":
        return EnvironmentNotFound(
            f"{where}: no such environment, or it is not ready. Check its name, the account and the region. "
            f"AWS says: {text}.",
            **fields,
        )
    if code == "ValidationException":
        return MwaaInputError(f"{where}: rejected as invalid. Correct the arguments. AWS says: {text}.", **fields)
    if status == 413:
        return AnswerTooLarge(
            f"{where}: too large ({text}). Request less at once, or use transport web_session.",
            status=status,
            **{**fields, "ambiguous": is_mutating},
        )
    doubtful = status >= 500 or status < 300 or code == "RestApiServerException"
    doubt = " It may have taken effect." if is_mutating and doubtful else ""
    # Without an answer of the API, botocore uses the HTTP status as its code.
    answer = f"HTTP {status}" if code in ("", str(status)) else f"HTTP {status}, {code}"
    return UnexpectedAnswer(
        f"{where} answered {answer} ({text}).{doubt} "
        + ("Try again later." if doubtful else "Check the endpoint, and that no proxy or firewall answers for it."),
        status=status,
        **{**fields, "transient": doubtful, "ambiguous": is_mutating and doubtful},
    )


def credentials_error(where: str, error: Any, *, env_name: str | None = None) -> MwaaError:
    """Return the error for a failed call for credentials, such as assuming a role.

    :param error: botocore's ``ClientError`` or ``BotoCoreError``.
    :param where: what they were needed for.
    """
    from botocore.exceptions import ParamValidationError

    response = getattr(error, "response", None)
    if isinstance(error, ParamValidationError):
        # Its own words repeat the values, such as an external id.
        return MwaaInputError(
            f"{where}: no AWS credentials, because boto3 rejected a parameter. Check role_arn and assume_role_kwargs "
            "of the AWS connection.",
            env_name=env_name,
        )
    if response is None:
        return UnexpectedAnswer(
            f"{where}: no AWS credentials ({reason(error)}). Check the AWS connection or profile, and "
            "the network to AWS STS.",
            env_name=env_name,
            transient=never_connected(error),
        )
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    what = f"{where}: no AWS credentials. {error.operation_name} answered {code}: {_words(error)}."
    if code in _THROTTLED or status == 429:
        return Throttled(f"{what} Make fewer calls at once, or allow more time.", env_name=env_name, transient=True)
    if status >= 500:
        return UnexpectedAnswer(f"{what} Try again later.", status=status, env_name=env_name, transient=True)
    if code in _DENIED:
        return AccessDenied(f"{what} Allow it in IAM.", action=f"sts:{error.operation_name}", env_name=env_name)
    return AccessDenied(f"{what} Check the AWS connection or profile.", env_name=env_name)


def network_error(
    env_name: str, where: str, error: Any, *, is_mutating: bool, endpoint_url: str, read_timeout_s: float
) -> MwaaError:
    """Return the error for a failure below HTTP, or for a request that boto3 refused to send.

    :param error: botocore's ``BotoCoreError``.
    """
    from botocore import exceptions as botocore_errors

    words = reason(error)
    if type(error).__name__ in _NOT_SENT_FOR_LACK_OF_CREDENTIALS:
        return AccessDenied(
            f"{where}: no AWS credentials ({unended(truncate(without_credentials(str(error))))}). Use a role, an "
            "AWS connection or a profile that has some.",
            env_name=env_name,
        )
    if isinstance(error, botocore_errors.ParamValidationError):
        # Its own words repeat the values, which may be secret.
        return MwaaInputError(
            f"{where} was not sent: boto3 rejected a parameter. Check the environment's name, the path and the body.",
            env_name=env_name,
        )
    by_proxy = isinstance(error, botocore_errors.ProxyConnectionError)
    if isinstance(error, botocore_errors.EndpointConnectionError | botocore_errors.ConnectTimeoutError) or (
        never_connected(error)
    ):
        return UnexpectedAnswer(
            f"{where}: the MWAA service at {endpoint_url} could not be reached ({words}). "
            + (
                "Check the proxy of the process (HTTPS_PROXY, NO_PROXY)."
                if by_proxy
                else "Check the region, the network, or the VPC endpoint for airflow.api / airflow.env."
            ),
            env_name=env_name,
            transient=True,
        )
    if any(isinstance(inner, FileNotFoundError | PermissionError) for inner in causes(error)):
        return MwaaInputError(
            f"{where}: the CA bundle cannot be read ({words}). Check AWS_CA_BUNDLE, and verify of the AWS connection.",
            env_name=env_name,
        )
    if handshake_failed(error):
        return UnexpectedAnswer(
            f"{where}: TLS failed ({words}). Check the CA bundle (AWS_CA_BUNDLE, or verify of the AWS connection).",
            env_name=env_name,
        )
    doubt = " It may have taken effect." if is_mutating else ""
    unsure: dict[str, Any] = {"env_name": env_name, "transient": True, "ambiguous": is_mutating}
    if isinstance(error, botocore_errors.ReadTimeoutError):
        return CallTimeout(f"{where}: no answer within {read_timeout_s:g} s.{doubt} Try again later.", **unsure)
    proxy = " Check the proxy of the process (HTTPS_PROXY, NO_PROXY)." if by_proxy else ""
    return UnexpectedAnswer(
        f"{where}: the connection was interrupted ({words}).{doubt}{proxy} Try again later.", **unsure
    )


def not_available(env_name: str, status: str, error: Any, *, ambiguous: bool) -> MwaaError:
    """Return the error for a call that was rejected because of its environment's status.

    :param error: botocore's ``ClientError``, which does not name the status.
    """
    way_out = (
        "Wait until it is AVAILABLE."
        if status in _PASSING | {"CREATING"}
        else "It does not become AVAILABLE automatically: see the environment's page in the MWAA console."
    )
    return EnvironmentUnavailable(
        f"Environment {env_name!r} is {status}, so that {error.operation_name} was rejected. {way_out} AWS says: "
        f"{_words(error)}.",
        status=status,
        env_name=env_name,
        transient=status in _PASSING,
        ambiguous=ambiguous,
    )


def _words(error: Any) -> str:
    """Return AWS's own words; a page is named and not quoted."""
    details = error.response.get("Error", {})
    text = str(details.get("Message", "") or details.get("Code", "") or "no reason given")
    if text.lstrip().startswith("<"):
        return "a page instead of the API's answer, from a proxy or load balancer"
    return unended(truncate(text, 300))
