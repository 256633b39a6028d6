# SPDX-License-Identifier: Apache-2.0
"""Secrets Manager: read, list and write secrets. No error repeats a value."""

from __future__ import annotations

import contextlib
import re
import uuid
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_mwaa_provider.client.aws.calls import AwsCalls, aws_error
from airflow_mwaa_provider.client.http.retrying import RetryPolicy, call_with_retries
from airflow_mwaa_provider.exceptions import AccessDenied, AwsError, MwaaError, MwaaInputError, SecretsError
from airflow_mwaa_provider.quiet_logs import values_kept_out_of_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

T = TypeVar("T")

__all__ = [
    "MAX_DESCRIPTION_CHARS",
    "Secret",
    "SecretState",
    "SecretsManager",
    "problem_of_name",
    "problem_of_value",
    "read_error",
]

MAX_SECRET_BYTES = 65_536
MAX_DESCRIPTION_CHARS = 2048
_SERVICE = "Secrets Manager"
_BATCH = 20
_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_ACTIONS = {
    "BatchGetSecretValue": "secretsmanager:BatchGetSecretValue and secretsmanager:GetSecretValue",
    "CreateSecret": "secretsmanager:CreateSecret (and TagResource for tags)",
}


class SecretState(StrEnum):
    """Whether a secret exists, and what it holds."""

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


class SecretsManager:
    """Reads and writes secrets, each call retried within a deadline.

    :param client: a boto3 client for Secrets Manager, without retries of its own.
    :param tags: tags for secrets that are created.
    :param kms_key_id: the KMS key for secrets that are created; ``None``: the account's default key for Secrets
        Manager.
    :param policy: how calls are retried.
    """

    def __init__(
        self,
        client: Any,
        *,
        tags: Mapping[str, str] | None = None,
        kms_key_id: str | None = None,
        policy: RetryPolicy | None = None,
    ) -> None:
        self._tags = dict(tags or {})
        self._kms_key_id = kms_key_id
        self._policy = policy or RetryPolicy(deadline_s=120.0)
        self._calls = AwsCalls(client, _SERVICE, "secretsmanager", policy=self._policy)
        self._batches = hasattr(client, "batch_get_secret_value")

    def read(self, names: Collection[str]) -> dict[str, Secret]:
        """Read secrets, 20 per request, or one by one if the role may not read batches."""
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
        """Return the names of all secrets that begin with a prefix, with their descriptions."""
        found: dict[str, str] = {}
        filters = [{"Key": "name", "Values": [prefix]}]
        with _own_errors(prefix), values_kept_out_of_logs():
            for page in self._calls.pages("ListSecrets", _where(prefix), Filters=filters, MaxResults=100):
                for secret in page.get("SecretList", ()):
                    if secret["Name"].startswith(prefix) and not secret.get("DeletedDate"):
                        found[secret["Name"]] = secret.get("Description") or ""
        return dict(sorted(found.items()))

    def put(self, name: str, text: str, description: str | None = None) -> None:
        """Set a secret's value; create the secret, with the description, if it does not exist."""
        try:
            self.replace(name, text)
        except SecretsError as error:
            if error.code != "ResourceNotFoundException":
                raise
            if not self.create(name, text, description):
                self.replace(name, text)  # it was created in the meantime

    def create(self, name: str, text: str, description: str | None) -> bool:
        """Create a secret; return ``False`` if one of that name already exists."""
        more: dict[str, Any] = {"ClientRequestToken": str(uuid.uuid4())}
        if description:
            more["Description"] = description[:MAX_DESCRIPTION_CHARS]
        if self._tags:
            more["Tags"] = [{"Key": key, "Value": value} for key, value in self._tags.items()]
        if self._kms_key_id:
            more["KmsKeyId"] = self._kms_key_id
        try:
            self._call("CreateSecret", name, hidden=text, Name=name, SecretString=text, **more)
        except SecretsError as error:
            if error.code != "ResourceExistsException":
                raise
            return False
        return True

    def replace(self, name: str, text: str) -> None:
        """Set a new value. The secret keeps its tags, its key and its description."""
        token = str(uuid.uuid4())
        self._call("PutSecretValue", name, hidden=text, SecretId=name, SecretString=text, ClientRequestToken=token)

    def restore(self, name: str) -> None:
        """Cancel the deletion of a secret that is scheduled for it."""
        self._call("RestoreSecret", name, SecretId=name)

    def repeated(self, attempt: Callable[[], T], *, deadline_s: float) -> T:
        """Call until it succeeds, fails for good, or the deadline passes."""
        return call_with_retries(attempt, replace(self._policy, deadline_s=deadline_s))

    def _read_batch(self, names: Collection[str]) -> dict[str, Secret]:
        try:
            answer = self._call(
                "BatchGetSecretValue", ", ".join(names), where=f"{len(names)} secrets", SecretIdList=list(names)
            )
        except AccessDenied:
            self._batches = False
            return {}
        found = {}
        for value in answer.get("SecretValues", ()):
            found[value["Name"]] = _secret(value["Name"], value)
        for error in answer.get("Errors", ()):
            if error.get("ErrorCode") == "ResourceNotFoundException":
                found[error["SecretId"]] = Secret(error["SecretId"], SecretState.ABSENT)
        return found  # the others are read one by one, which shows what is wrong with each

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
        """Tell a secret that does not exist from one without a value: GetSecretValue answers both alike."""
        try:
            self._call("DescribeSecret", name, SecretId=name)
        except SecretsError as error:
            if error.code != "ResourceNotFoundException":
                raise
            return SecretState.ABSENT
        except AccessDenied:
            return SecretState.ABSENT  # creating it will show
        return SecretState.NO_TEXT

    def _call(self, operation: str, name: str, *, where: str = "", hidden: str = "", **request: Any) -> Any:
        action = _ACTIONS.get(operation)
        with _own_errors(name), values_kept_out_of_logs():
            return self._calls.call(operation, where or _where(name), action=action, hidden=hidden, **request)


def problem_of_name(name: str) -> str:
    """Return why Secrets Manager rejects a name; an empty string if it does not."""
    if _NAME.fullmatch(name):
        return ""
    if len(name) > 512:
        return f"the name of its secret has {len(name)} characters, and Secrets Manager accepts 512"
    refused = sorted(set(re.sub(r"[A-Za-z0-9/_+=.@-]", "", name)))
    return f"Secrets Manager accepts only letters, digits and /_+=.@- in a name, not {' '.join(map(repr, refused))}"


def problem_of_value(text: str) -> str:
    """Return why Secrets Manager rejects a value; an empty string if it does not."""
    if not text:
        return "it is empty, and Secrets Manager stores no empty string"
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_SECRET_BYTES:
        return f"it has {size:,} bytes, and a secret holds {MAX_SECRET_BYTES:,}"
    return ""


def read_error(name: str, error: Any) -> MwaaError:
    """Return the error for a secret that another client could not read.

    :param error: as :func:`~airflow_mwaa_provider.client.aws.calls.aws_error` takes it.
    """
    found = aws_error(
        f"{_where(name)}: GetSecretValue", _SERVICE, error, action="secretsmanager:GetSecretValue", is_mutating=False
    )
    return _own_error(name, found)


@contextlib.contextmanager
def _own_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (AwsError, MwaaInputError) as error:
        raise _own_error(name, error) from None


def _own_error(name: str, error: MwaaError) -> MwaaError:
    if not isinstance(error, AwsError | MwaaInputError):
        return error
    return SecretsError(str(error), secret=name, code=getattr(error, "code", None), transient=error.transient)


def _where(name: str) -> str:
    return f"Secret {name!r}"


def _secret(name: str, answer: Mapping[str, Any]) -> Secret:
    text = answer.get("SecretString")
    return Secret(name, SecretState.NO_TEXT if text is None else SecretState.TEXT, text)
