# SPDX-License-Identifier: Apache-2.0
"""The boto3 ``mwaa`` API: environments, tokens and InvokeRestApi, with its errors told apart.

botocore's own retries are off: it repeats POSTs, and a repeated InvokeRestApi could act twice. What may be
repeated is decided above, where the meaning of the call is known.

Source: botocore's service model ``mwaa/2020-07-01``; FACTS on the service's error shapes.
"""

from __future__ import annotations

import functools
import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    CallTimeout,
    EnvironmentNotFound,
    EnvironmentUnavailable,
    MwaaError,
    MwaaInputError,
    Throttled,
    UnexpectedAnswer,
)

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

_THROTTLED = {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded", "429"}
_DENIED = {"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"}
_BAD_CREDENTIALS = {
    "ExpiredTokenException",
    "ExpiredToken",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}


@dataclass(frozen=True)
class WebServerToken:
    """A short-lived token and the web server that takes it. Lives 60 seconds."""

    value: str = field(repr=False)
    host: str


class ControlPlane:
    """The MWAA service API of one account and region.

    Thread-safe: one boto3 client, made at first use.

    :param session: a boto3 session; ``None`` uses boto3's default credentials and region.
    :param region_name: AWS region; ``None`` leaves it to the session.
    :param verify: ``False``, or the path of a CA bundle, for the service's endpoint.
    :param config: botocore's ``Config``, or a dict of its keywords. Its retries are ignored: see the module.
    :param endpoint_url: another endpoint, such as a VPC endpoint or the local MWAA.
    :param connect_timeout_s: bound on connecting.
    :param read_timeout_s: bound on one answer; InvokeRestApi itself ends after 10 s.
    """

    def __init__(
        self,
        session: Any = None,
        *,
        region_name: str | None = None,
        verify: bool | str | None = None,
        config: Any = None,
        endpoint_url: str | None = None,
        connect_timeout_s: float = 10.0,
        read_timeout_s: float = 30.0,
    ) -> None:
        self._session = session
        self._region_name = region_name
        self._verify = verify
        self._config = config
        self._endpoint_url = endpoint_url
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._made: Any = None
        self._lock = threading.Lock()

    @property
    def region_name(self) -> str:
        """The region that is spoken to."""
        return str(self._client.meta.region_name)

    @property
    def supports_invoke_rest_api(self) -> bool:
        """Whether the installed boto3 knows InvokeRestApi; that of images before Airflow 2.11 does not."""
        return "InvokeRestApi" in self._client.meta.service_model.operation_names

    def list_environments(self) -> list[str]:
        """List the names of all environments of the account in this region."""
        names: list[str] = []
        token: dict[str, str] = {}
        while True:
            answer = self._call("ListEnvironments", "*", functools.partial(_list_page, token))
            names += answer["Environments"]
            if not answer.get("NextToken"):
                return names
            token = {"NextToken": answer["NextToken"]}

    def get_environment(self, env_name: str) -> dict[str, Any]:
        """Describe an environment: the ``Environment`` structure of GetEnvironment."""
        answer: dict[str, Any] = self._call("GetEnvironment", env_name, lambda c: c.get_environment(Name=env_name))
        return dict(answer["Environment"])

    def create_cli_token(self, env_name: str) -> WebServerToken:
        """Make a token for the environment's CLI endpoint."""
        answer = self._call("CreateCliToken", env_name, lambda c: c.create_cli_token(Name=env_name))
        return WebServerToken(answer["CliToken"], answer["WebServerHostname"])

    def create_web_login_token(self, env_name: str) -> WebServerToken:
        """Make a token that the environment's web server exchanges for a session of 12 hours."""
        answer = self._call("CreateWebLoginToken", env_name, lambda c: c.create_web_login_token(Name=env_name))
        return WebServerToken(answer["WebToken"], answer["WebServerHostname"])

    def invoke_rest_api(
        self,
        env_name: str,
        *,
        method: str,
        path: str,
        params: dict[str, Any] | None = None,
        body: Any = None,
    ) -> tuple[int, Any]:
        """Call Airflow's REST API through the service; sent once, never repeated here.

        :param path: without the ``/api/v…`` prefix, at most 64 characters.
        :return: Airflow's HTTP status, 4xx and 5xx included, and its body.
        """
        keywords: dict[str, Any] = {"Name": env_name, "Method": method, "Path": path}
        if params:
            keywords["QueryParameters"] = params
        if body is not None:
            keywords["Body"] = body
        answer = self._call(
            "InvokeRestApi",
            env_name,
            lambda c: c.invoke_rest_api(**keywords),
            acts=method not in ("GET", "HEAD"),
        )
        return int(answer.get("RestApiStatusCode", 200)), answer.get("RestApiResponse")

    @property
    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make_client()
            return self._made

    def _make_client(self) -> Any:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        session = self._session or boto3.Session()
        given = Config(**self._config) if isinstance(self._config, dict) else self._config
        own = Config(connect_timeout=self._connect_timeout_s, read_timeout=self._read_timeout_s)
        own = own.merge(given or Config()).merge(Config(retries={"total_max_attempts": 1}))

        def make(config: Config) -> Any:
            return session.client(
                "mwaa",
                region_name=self._region_name,
                verify=self._verify,
                endpoint_url=self._endpoint_url,
                config=config,
            )

        try:
            client = make(own)
            # The model's host prefixes (env., api.) belong to AWS's own host names only: before a VPC endpoint's
            # name or an address they make a host that doesn't exist.
            host = urlsplit(client.meta.endpoint_url).hostname or ""
            if not host.startswith("airflow."):
                client = make(own.merge(Config(inject_host_prefix=False)))
        except (BotoCoreError, ValueError) as error:
            raise MwaaInputError(
                f"The AWS client for MWAA cannot be made: {error}. Check region_name and the AWS connection."
            ) from error
        return client

    def _call(
        self, operation: str, env_name: str, send: Callable[[Any], dict[str, Any]], *, acts: bool = False
    ) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        client = self._client
        try:
            return send(client)
        except ClientError as error:
            rest_answer = _rest_api_answer(error)
            if rest_answer is not None:
                return rest_answer
            raise self._service_error(operation, env_name, error, acts=acts) from error
        except BotoCoreError as error:
            raise self._network_error(operation, env_name, error, acts=acts) from error

    def _service_error(self, operation: str, env_name: str, error: Any, *, acts: bool) -> MwaaError:
        code = str(error.response.get("Error", {}).get("Code", ""))
        text = str(error.response.get("Error", {}).get("Message", "") or code)
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        where = f"Environment {env_name!r}, {operation} in {self.region_name}"
        if code in _THROTTLED or status == 429:
            return Throttled(
                f"{where}: throttled ({text}). Make fewer calls, or wait longer.",
                env_name=env_name,
                transient=True,
            )
        if code in _DENIED:
            action = f"airflow:{operation}"
            return AccessDenied(
                f"{where}: not permitted. Allow {action} for the environment's role in IAM. AWS says: {text}",
                action=action,
                env_name=env_name,
            )
        if code in _BAD_CREDENTIALS:
            return AccessDenied(
                f"{where}: the AWS credentials were refused ({code}: {text}). Check the AWS connection and the clock.",
                env_name=env_name,
            )
        if code == "ResourceNotFoundException" or status == 404:
            return EnvironmentNotFound(
                f"{where}: no such environment, or it isn't ready. Check its name, the account and region_name. "
                f"AWS says: {text}",
                env_name=env_name,
            )
        if status >= 500 or code in ("InternalServerException", "ServiceUnavailableException"):
            return UnexpectedAnswer(
                f"{where}: the service answered HTTP {status} ({_first_line(text)}). Try again later.",
                status=status,
                env_name=env_name,
                transient=True,
                ambiguous=acts,
            )
        if code == "ValidationException":
            return MwaaInputError(f"{where}: refused as invalid: {text}", env_name=env_name)
        return EnvironmentUnavailable(f"{where}: {code}: {_first_line(text)}", env_name=env_name)

    def _network_error(self, operation: str, env_name: str, error: Any, *, acts: bool) -> MwaaError:
        from botocore import exceptions as botocore_errors

        where = f"Environment {env_name!r}, {operation}"
        if isinstance(error, botocore_errors.NoCredentialsError | botocore_errors.CredentialRetrievalError):
            return AccessDenied(
                f"{where}: no AWS credentials ({error}). Give the task a role, or set the AWS connection.",
                env_name=env_name,
            )
        if isinstance(error, botocore_errors.ParamValidationError):
            return MwaaInputError(f"{where}: {error}", env_name=env_name)
        if isinstance(error, botocore_errors.ConnectTimeoutError | botocore_errors.EndpointConnectionError):
            return UnexpectedAnswer(
                f"{where}: the MWAA service at {self._client.meta.endpoint_url} could not be reached. "
                "Check the network, or the VPC endpoint for airflow.api / airflow.env.",
                env_name=env_name,
                transient=True,
            )
        if isinstance(error, botocore_errors.ReadTimeoutError):
            return CallTimeout(
                f"{where}: no answer within {self._read_timeout_s:g} s. It may have taken effect.",
                env_name=env_name,
                transient=True,
                ambiguous=acts,
            )
        if isinstance(error, botocore_errors.SSLError):
            return UnexpectedAnswer(
                f"{where}: TLS failed: {_first_line(str(error))}. Check the CA bundle (verify, AWS_CA_BUNDLE).",
                env_name=env_name,
            )
        return UnexpectedAnswer(
            f"{where}: {type(error).__name__}: {_first_line(str(error))}",
            env_name=env_name,
            transient=True,
            ambiguous=acts,
        )


def _list_page(token: dict[str, str], client: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.list_environments(**token)
    return answer


def _rest_api_answer(error: Any) -> dict[str, Any] | None:
    """Airflow's own answer inside an InvokeRestApi error; ``None`` when the service itself answered."""
    if error.response.get("Error", {}).get("Code") not in (
        "RestApiClientException",
        "RestApiServerException",
    ):
        return None
    if "RestApiStatusCode" not in error.response:
        return None
    return {
        "RestApiStatusCode": error.response["RestApiStatusCode"],
        "RestApiResponse": error.response.get("RestApiResponse"),
    }


def _first_line(text: str, length: int = 200) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
