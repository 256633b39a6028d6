# SPDX-License-Identifier: Apache-2.0
"""Secrets Manager as a migration uses it: each call retried within a deadline, each error in one line of our own."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_mwaa_provider.client.http.errors import reason
from airflow_mwaa_provider.client.http.retrying import RetryPolicy, call_with_retries
from airflow_mwaa_provider.exceptions import AccessDenied, MwaaError, SecretsError, Throttled
from airflow_mwaa_provider.quiet_logs import values_kept_out_of_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

T = TypeVar("T")

__all__ = [
    "MAX_DESCRIPTION_CHARS",
    "Secret",
    "SecretState",
    "Vault",
    "problem_of_name",
    "problem_of_text",
    "vault_error",
]

MAX_SECRET_BYTES = 65_536
MAX_DESCRIPTION_CHARS = 2048
_BATCH = 20
_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_THROTTLED = {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}
_DENIED = {"AccessDeniedException", "AccessDenied"}
_BAD_CREDENTIALS = {
    "ExpiredTokenException", "InvalidClientTokenId", "InvalidSignatureException", "UnrecognizedClientException",
}  # fmt: skip
_KMS = {"DecryptionFailure", "EncryptionFailure", "InvalidKeyId", "KMSAccessDeniedException"}
_ACTIONS = {
    "BatchGetSecretValue": "secretsmanager:BatchGetSecretValue and secretsmanager:GetSecretValue",
    "CreateSecret": "secretsmanager:CreateSecret (and TagResource for tags)",
}


class SecretState(StrEnum):
    """Whether there is a secret, and what it holds."""

    ABSENT = "absent"
    TEXT = "text"
    NO_TEXT = "no text"
    TO_BE_DELETED = "scheduled for deletion"


@dataclass(frozen=True)
class Secret:
    """A secret as it is now."""

    name: str
    state: SecretState
    text: str | None = field(default=None, repr=False)


class Vault:
    """Reads and writes secrets.

    :param client: boto3's client of Secrets Manager.
    :param tags: tags of the secrets that are created.
    :param kms_key_id: the key that they are encrypted with; ``None``: the account's own for Secrets Manager.
    :param policy: how long, and how patiently, a call is repeated.
    """

    def __init__(
        self,
        client: Any,
        *,
        tags: Mapping[str, str] | None = None,
        kms_key_id: str | None = None,
        policy: RetryPolicy | None = None,
    ) -> None:
        self.client = client
        self._tags = dict(tags or {})
        self._kms_key_id = kms_key_id
        self._policy = policy or RetryPolicy(deadline_s=120.0)
        self._batches = hasattr(client, "batch_get_secret_value")

    def read(self, names: Collection[str]) -> dict[str, Secret]:
        """Read secrets, 20 a request; one by one where batches are not permitted."""
        wanted = list(dict.fromkeys(names))
        found: dict[str, Secret] = {}
        for start in range(0, len(wanted), _BATCH):
            some = wanted[start : start + _BATCH]
            if self._batches and len(some) > 1:
                found |= self._read_batch(some)
            for name in some:
                if name not in found:
                    found[name] = self._read_one(name)
        return found

    def list(self, prefix: str) -> dict[str, str]:
        """Return the names of all secrets that begin so, each with its description."""
        found: dict[str, str] = {}
        more: dict[str, Any] = {}
        while True:
            page = self._call(
                "ListSecrets", prefix, Filters=[{"Key": "name", "Values": [prefix]}], MaxResults=100, **more
            )
            for secret in page.get("SecretList", ()):
                if secret["Name"].startswith(prefix) and not secret.get("DeletedDate"):
                    found[secret["Name"]] = secret.get("Description") or ""
            if not page.get("NextToken"):
                return dict(sorted(found.items()))
            more = {"NextToken": page["NextToken"]}

    def create(self, name: str, text: str, description: str | None) -> bool:
        """Create a secret; return ``False`` where one of that name is there already."""
        more: dict[str, Any] = {"ClientRequestToken": str(uuid.uuid4())}
        if description:
            more["Description"] = description[:MAX_DESCRIPTION_CHARS]
        if self._tags:
            more["Tags"] = [{"Key": key, "Value": value} for key, value in self._tags.items()]
        if self._kms_key_id:
            more["KmsKeyId"] = self._kms_key_id
        try:
            self._call("CreateSecret", name, Name=name, SecretString=text, **more)
        except SecretsError as error:
            if error.code != "ResourceExistsException":
                raise
            return False
        return True

    def replace(self, name: str, text: str) -> None:
        """Give a secret another value. Its tags, its key and its description stay."""
        token = str(uuid.uuid4())
        self._call("PutSecretValue", name, SecretId=name, SecretString=text, ClientRequestToken=token)

    def restore(self, name: str) -> None:
        """Take back that a secret is to be deleted."""
        self._call("RestoreSecret", name, SecretId=name)

    def repeated(self, attempt: Callable[[], T], *, deadline_s: float) -> T:
        """Call until it succeeds, fails for good, or the deadline passes."""
        return call_with_retries(attempt, replace(self._policy, deadline_s=deadline_s))

    def _read_batch(self, names: Collection[str]) -> dict[str, Secret]:
        try:
            answer = self._call("BatchGetSecretValue", ", ".join(names), SecretIdList=list(names))
        except AccessDenied:
            self._batches = False
            return {}
        found = {}
        for value in answer.get("SecretValues", ()):
            found[value["Name"]] = _secret(value["Name"], value)
        for error in answer.get("Errors", ()):
            if error.get("ErrorCode") == "ResourceNotFoundException":
                found[error["SecretId"]] = Secret(error["SecretId"], SecretState.ABSENT)
        return found  # what is not in it is read alone, and says what is wrong

    def _read_one(self, name: str) -> Secret:
        try:
            return _secret(name, self._call("GetSecretValue", name, SecretId=name))
        except SecretsError as error:
            if error.code == "ResourceNotFoundException":
                return Secret(name, self._state_without_value(name))
            if error.code == "InvalidRequestException":
                return Secret(name, SecretState.TO_BE_DELETED)
            raise

    def _state_without_value(self, name: str) -> SecretState:
        """Tell a secret that is not there from one that has no value: both answer alike."""
        try:
            self._call("DescribeSecret", name, SecretId=name)
        except SecretsError as error:
            if error.code != "ResourceNotFoundException":
                raise
            return SecretState.ABSENT
        except AccessDenied:
            return SecretState.ABSENT  # creating it will tell
        return SecretState.NO_TEXT

    def _call(self, operation: str, name: str, **request: Any) -> Any:
        from botocore import xform_name
        from botocore.exceptions import BotoCoreError, ClientError

        method = getattr(self.client, xform_name(operation))

        def attempt() -> Any:
            with values_kept_out_of_logs():
                try:
                    return method(**request)
                except (BotoCoreError, ClientError) as error:
                    found = vault_error(operation, name, error, value=request.get("SecretString", ""))
            # Not raised within the except: botocore's own exception of a refused parameter repeats the value.
            raise found

        return call_with_retries(attempt, self._policy)


def problem_of_name(name: str) -> str:
    """Return why Secrets Manager refuses a name; an empty text if it does not."""
    if _NAME.fullmatch(name):
        return ""
    if len(name) > 512:
        return f"the name of its secret has {len(name)} characters, and Secrets Manager takes 512"
    refused = sorted(set(re.sub(r"[A-Za-z0-9/_+=.@-]", "", name)))
    return f"Secrets Manager takes only letters, digits and /_+=.@- in a name, and not {' '.join(map(repr, refused))}"


def problem_of_text(text: str) -> str:
    """Return why Secrets Manager refuses a value; an empty text if it does not."""
    if not text:
        return "it is empty, and Secrets Manager stores no empty text"
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_SECRET_BYTES:
        return f"it has {size:,} bytes, and a secret holds {MAX_SECRET_BYTES:,}"
    return ""


def vault_error(operation: str, name: str, error: Any, *, value: str = "") -> MwaaError:
    """Judge an error of boto3's; nothing of a value is in what is returned.

    :param name: the secret, or what was asked for.
    :param value: what the secret was to hold; a reason that repeats it is left out.
    """
    where = f"{name.count(', ') + 1} secrets: {operation}" if ", " in name else f"Secret {name!r}: {operation}"
    response = getattr(error, "response", None)
    if response is None:
        kind = type(error).__name__
        if kind in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "NoRegionError"):
            return AccessDenied(f"{where}: no AWS credentials or region ({kind}). Check the AWS connection or profile.")
        if kind == "ParamValidationError":  # its own words repeat the value
            return SecretsError(f"{where}: boto3 refused a parameter. Check names and tags.", secret=name, code=kind)
        return SecretsError(
            f"{where}: Secrets Manager did not answer ({reason(error)}). Check the network, and try again.",
            secret=name,
            code=kind,
            transient=True,
        )
    details = response.get("Error", {})
    code, words = str(details.get("Code", "")), _words(details, value)
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400))
    if code in _THROTTLED or status == 429:
        return Throttled(f"{where}: throttled ({words}). Make fewer calls at once, or try again later.", transient=True)
    if code in _KMS or (code in _DENIED and "kms" in words.lower()):
        return AccessDenied(
            f"{where}: the KMS key may not be used ({code}: {words}). Allow kms:GenerateDataKey and kms:Decrypt on it.",
            action="kms:GenerateDataKey, kms:Decrypt",
        )
    if code in _DENIED:
        action = _ACTIONS.get(operation, f"secretsmanager:{operation}")
        return AccessDenied(f"{where}: access denied. Allow {action}. AWS says: {words}.", action=action)
    if code in _BAD_CREDENTIALS:
        return AccessDenied(f"{where}: the AWS credentials were refused ({code}). Check the AWS connection or profile.")
    is_passing = status >= 500 or code in ("InternalServiceError", "InternalServiceErrorException")
    advice = "Try again later." if is_passing else "Correct that, and run it again."
    return SecretsError(f"{where} answered {code} ({words}). {advice}", secret=name, code=code, transient=is_passing)


def _secret(name: str, answer: Mapping[str, Any]) -> Secret:
    text = answer.get("SecretString")
    return Secret(name, SecretState.NO_TEXT if text is None else SecretState.TEXT, text)


def _words(details: Mapping[str, Any], value: str) -> str:
    if value and value in str(details.get("Message", "")):
        return "its reason repeats the value"
    return " ".join(str(details.get("Message", "") or "no reason given").split()).rstrip(". ")[:300]
