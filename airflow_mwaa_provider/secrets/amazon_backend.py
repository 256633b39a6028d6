# SPDX-License-Identifier: Apache-2.0
"""Ask AWS through the amazon provider's own backend, and record what AWS answered.

That backend decides which names are asked for and how answers are used; it turns most errors into "not found". Here its
client is watched, to distinguish a missing secret from a key that may not be used.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.quiet_logs import values_kept_out_of_logs
from airflow_mwaa_provider.secrets.store import ABSENT, DENIED, VALUE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["AmazonBackend", "Answer", "Cause", "Reply", "cause_of"]

_METHODS = {"connection": "get_conn_value", "variable": "get_variable", "config": "get_config"}
_READS = {"secretsmanager": ("get_secret_value", "SecretId"), "ssm": ("get_parameter", "Name")}
_CONNECT_TIMEOUT_S = 3
_READ_TIMEOUT_S = 5
_ATTEMPTS = 3
_SESSION = "mwaa_session"


class Cause(StrEnum):
    """Why there is no value."""

    NOT_FOUND = "not found"
    TO_BE_DELETED = "scheduled for deletion"
    BAD_NAME = "a name that cannot be"
    BINARY = "binary"
    ACCESS_DENIED = "access denied"
    KMS = "KMS refused"
    UNAVAILABLE = "unavailable"


_CAUSES = {
    "ResourceNotFoundException": Cause.NOT_FOUND,
    "ParameterNotFound": Cause.NOT_FOUND,
    "InvalidRequestException": Cause.TO_BE_DELETED,
    "InvalidParameterException": Cause.BAD_NAME,
    "ValidationException": Cause.BAD_NAME,
    "DecryptionFailure": Cause.KMS,
    "InvalidKeyId": Cause.KMS,
    "AccessDeniedException": Cause.ACCESS_DENIED,
    "AccessDenied": Cause.ACCESS_DENIED,
    "UnrecognizedClientException": Cause.ACCESS_DENIED,
    "InvalidClientTokenId": Cause.ACCESS_DENIED,
    "InvalidSignatureException": Cause.ACCESS_DENIED,
}


class Reply:
    """What AWS answered to one request.

    :param name: the name that was requested.
    :param cause: why there is no value; ``None`` if there is one.
    :param code: AWS's own name for an error, or the exception's.
    :param message: AWS's own message for an error.
    :param text: the value as it is stored.
    """

    __slots__ = ("cause", "code", "message", "name", "text")

    def __init__(
        self, name: str, *, cause: Cause | None = None, code: str = "", message: str = "", text: str | None = None
    ) -> None:
        self.name = name
        self.cause = cause
        self.code = code
        self.message = message
        self.text = text

    def __repr__(self) -> str:
        return f"<Reply {self.name!r}: {self.cause or 'a value'}>"


class Answer:
    """The result of a look-up.

    :param outcome: one of an entry's outcomes; ``None`` if nothing was requested, or there was no answer.
    :param replies: the replies, in the order of the requests.
    :param error: what the amazon provider's backend raised.
    """

    __slots__ = ("error", "outcome", "replies", "value")

    def __init__(
        self, outcome: str | None, value: str | None, replies: list[Reply], error: Exception | None = None
    ) -> None:
        self.outcome = outcome
        self.value = value
        self.replies = replies
        self.error = error

    def __repr__(self) -> str:
        return f"<Answer {self.outcome}: {self.replies}>"

    @property
    def is_unavailable(self) -> bool:
        """Whether a service did not answer that may answer another time."""
        return self.value is None and any(reply.cause is Cause.UNAVAILABLE for reply in self.replies)


class AmazonBackend:
    """The amazon provider's backend with a watched client.

    :param class_path: the backend's class.
    :param service: boto3's name of its service.
    :param given: its keywords.
    """

    def __init__(self, class_path: str, service: str, given: Mapping[str, Any]) -> None:
        module, _, name = class_path.rpartition(".")
        self._service = service
        self._asked = threading.local()
        self.stock: Any = _watched(getattr(import_module(module), name), service, self._asked)(**given)

    def fetch(self, kind: str, secret_id: str, team: str | None, prepared: Mapping[str, Reply] | None = None) -> Answer:
        """Look up an id.

        :param prepared: replies, by name, that need not be requested again.
        """
        with self._watching(prepared or {}) as replies:
            try:
                value = self._call(kind, secret_id, team)
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller raises it or answers without
                if not replies:  # there is no client, because there is no region or no such profile
                    replies.append(cause_of(secret_id, error))
                return Answer(_outcome(None, replies, error), None, replies, error)
        return Answer(_outcome(value, replies, None), value, replies)

    def refuse(self, kind: str, secret_id: str, team: str | None) -> str | None:
        """Let the amazon provider's backend decide about an id, bypassing the cache."""
        with self._watching({}):
            return self._call(kind, secret_id, team)

    def _call(self, kind: str, secret_id: str, team: str | None) -> str | None:
        method = getattr(self.stock, _METHODS[kind])
        if team and "team_name" in inspect.signature(method).parameters:
            found: str | None = method(secret_id, team_name=team)
        else:
            found = method(secret_id)
        return found

    @contextlib.contextmanager
    def _watching(self, prepared: Mapping[str, Reply]) -> Iterator[list[Reply]]:
        replies: list[Reply] = []
        before = self._asked.__dict__.copy()  # a look-up may need another one, for an Airflow option
        self._asked.__dict__.update(replies=replies, prepared=prepared)
        try:
            yield replies
        finally:
            self._asked.__dict__.clear()
            self._asked.__dict__.update(before)

    @property
    def region(self) -> str:
        """The region of the requests."""
        return str(self.stock.client.meta.region_name)

    def account(self) -> str | None:
        """Return the account whose secrets are read; ``None`` if that cannot be found out at once."""
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        session = self.stock.__dict__.get(_SESSION)
        if session is None:
            return None
        config = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1})
        try:
            found = session.client("sts", region_name=self.region, config=config).get_caller_identity()["Account"]
        except (BotoCoreError, ClientError):
            return None
        return str(found)

    def read_batch(self, names: list[str]) -> dict[str, Reply]:
        """Read up to 20 secrets in one request.

        :return: replies by name; a secret that is missing in the answer is missing here.
        :raises botocore.exceptions.ClientError: the request was rejected.
        """
        with values_kept_out_of_logs():
            return self._replies_of(self.stock.client.batch_get_secret_value(SecretIdList=names))

    def read_prefix(self, prefix: str, max_secrets: int) -> Iterator[dict[str, Reply]]:
        """Read all secrets whose names begin with a prefix, 20 per request. boto3 has no paginator for this."""
        more: dict[str, Any] = {}
        count = 0
        while count < max_secrets:
            with values_kept_out_of_logs():
                page = self.stock.client.batch_get_secret_value(
                    Filters=[{"Key": "name", "Values": [prefix]}], MaxResults=20, **more
                )
            found = self._replies_of(page)
            count += len(found)
            yield found
            if not page.get("NextToken"):
                return
            more = {"NextToken": page["NextToken"]}

    def _replies_of(self, page: Mapping[str, Any]) -> dict[str, Reply]:
        found = {}
        for secret in page.get("SecretValues", ()):
            text = secret.get("SecretString")
            cause = Cause.BINARY if text is None else None
            found[secret["Name"]] = Reply(secret["Name"], cause=cause, text=text)
        for error in page.get("Errors", ()):
            name, code = error["SecretId"], error.get("ErrorCode", "")
            message = error.get("Message", "")
            found[name] = Reply(name, cause=_cause(code, 400, message), code=code, message=message)
        return found


def _outcome(value: str | None, replies: list[Reply], error: Exception | None) -> str | None:
    causes = {reply.cause for reply in replies}
    if value is not None:
        return VALUE
    if not replies or Cause.UNAVAILABLE in causes:
        return None
    # What counts as "not found" for the amazon provider's backend still does.
    return DENIED if error is not None and causes & {Cause.ACCESS_DENIED, Cause.KMS} else ABSENT


def _watched(stock_class: type[Any], service: str, asked: threading.local) -> type[Any]:
    """Return the class with a watched client that does not wait for minutes."""

    class Watched(stock_class):  # type: ignore[misc]
        @property
        def client(self) -> Any:
            if isinstance(inspect.getattr_static(stock_class, "client"), functools.cached_property):
                if "client" not in self.__dict__:
                    self.__dict__["client"] = _make_client(self, service)
                return _WatchedClient(self.__dict__["client"], service, asked)
            return _WatchedClient(super().client, service, asked)

    # The backend uses these to name its connection and its logger.
    Watched.__name__ = Watched.__qualname__ = stock_class.__name__
    Watched.__module__ = stock_class.__module__
    return Watched


def _make_client(stock: Any, service: str) -> Any:
    """Create the client like the amazon provider's backend, except for timeouts and retries."""
    from airflow.providers.amazon.aws.hooks import base_aws
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper
    from botocore.config import Config

    conn_id = f"{type(stock).__name__}__connection"
    connection = AwsConnectionWrapper.from_connection_metadata(conn_id=conn_id, extra=stock.kwargs)
    arguments = {
        "region_name": connection.region_name,
        "verify": connection.verify,
        "endpoint_url": connection.endpoint_url,
        "api_version": stock.api_version,
        "use_ssl": stock.use_ssl,
    }
    bounds = Config(
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
    )
    session = base_aws.SessionFactory(conn=connection, config=bounds).create_session()  # for assuming a role
    session._session.set_default_client_config(bounds)
    stock.__dict__[_SESSION] = session
    return session.client(
        service_name=service, **{name: value for name, value in arguments.items() if value is not None}
    )


class _WatchedClient:
    """A client whose reads are recorded, or answered with what is already known."""

    def __init__(self, client: Any, service: str, asked: threading.local) -> None:
        self._client = client
        self._asked = asked
        self._service = service

    def __getattr__(self, name: str) -> Any:
        method, parameter = _READS[self._service]
        found = getattr(self._client, name)
        if name != method or not hasattr(self._asked, "replies"):
            return found
        return functools.partial(self._read, found, parameter)

    def _read(self, method: Any, parameter: str, **request: Any) -> Any:
        name = request[parameter]
        prepared = self._asked.prepared.get(name)
        if prepared is not None:
            self._asked.replies.append(prepared)
            return self._answer_with(prepared)
        try:
            with values_kept_out_of_logs():
                response = method(**request)
        except Exception as error:
            self._asked.replies.append(cause_of(name, error))
            raise
        is_ssm = self._service == "ssm"
        holder, field = (response.get("Parameter", {}), "Value") if is_ssm else (response, "SecretString")
        text = holder.get(field)
        reply = Reply(name, text=text)
        if text is None:
            # An answer with neither is not from the service, but from something in front of it.
            is_answer = field in holder or "SecretBinary" in holder
            reply.cause = Cause.BINARY if is_answer else Cause.UNAVAILABLE
            reply.code = "" if is_answer else "an unexpected answer"
        self._asked.replies.append(reply)
        return response

    def _answer_with(self, reply: Reply) -> Any:
        if reply.cause in (None, Cause.BINARY):
            return {"Name": reply.name, "SecretString": reply.text}
        from botocore.exceptions import ClientError

        error = {"Error": {"Code": reply.code, "Message": reply.message}}
        exceptions = self._client.exceptions
        raise getattr(exceptions, reply.code, ClientError)(error, "GetSecretValue")


def cause_of(name: str, error: Exception) -> Reply:
    """Return what a boto3 exception means."""
    response = getattr(error, "response", None)
    if type(error).__name__ == "ParamValidationError":  # boto3's own: an empty name, one that is too long
        return Reply(name, cause=Cause.BAD_NAME, code=type(error).__name__)
    if not isinstance(response, dict):
        return Reply(name, cause=Cause.UNAVAILABLE, code=type(error).__name__, message=str(error))
    code = str(response.get("Error", {}).get("Code", ""))
    message = str(response.get("Error", {}).get("Message", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    return Reply(name, cause=_cause(code, status, message), code=code, message=message)


def _cause(code: str, status: int, message: str) -> Cause:
    if code == "AccessDeniedException" and "KMS" in message:
        return Cause.KMS
    known = _CAUSES.get(code)
    if known is not None and status < 500:
        return known
    # Throttling, service errors, expired tokens: all of these may be over in a moment.
    return Cause.UNAVAILABLE
