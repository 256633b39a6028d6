# SPDX-License-Identifier: Apache-2.0
"""The boto3 ``mwaa`` API: environments, tokens and InvokeRestApi, with its errors turned into ours.

botocore's own retries are off, because it repeats POSTs, and a repeated InvokeRestApi could act twice. The layers above
decide what may be repeated, because they know the meaning of the call.

Source: botocore's service model ``mwaa/2020-07-01``.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_mwaa_provider.client.aws.errors import network_error, rest_api_answer, service_error
from airflow_mwaa_provider.client.http.errors import unended, without_credentials
from airflow_mwaa_provider.exceptions import MwaaInputError, UnexpectedAnswer, UnsupportedByTransport
from airflow_mwaa_provider.quiet_logs import values_kept_out_of_logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.client.models import RestRequest


class _AnotherShape(Exception):
    """An answer lacks a part that the service model promises."""


@dataclass(frozen=True)
class WebServerToken:
    """A token, valid for 60 seconds, and the web server that accepts it."""

    value: str = field(repr=False)
    host: str


class ControlPlane:
    """The MWAA service API of one account and region.

    Thread-safe: one boto3 client, created at first use.

    :param session: a boto3 session; ``None`` uses boto3's default credentials and region.
    :param region_name: AWS region; ``None`` leaves it to the session.
    :param verify: ``False``, or the path of a CA bundle, for the service's endpoint.
    :param config: botocore's ``Config``, or a dict of its keywords. Its retries are ignored; see the module.
    :param endpoint_url: another endpoint, such as a VPC endpoint or the local MWAA.
    :param connect_timeout_s: limit for connecting.
    :param read_timeout_s: limit for one answer; InvokeRestApi itself ends after 10 s. Fixed for all calls, because
        botocore cannot set it per call: a call's deadline can be exceeded by this much.
    """

    def __init__(
        self,
        session: Any = None,
        *,
        region_name: str | None = None,
        verify: bool | str | None = None,
        config: Any = None,
        endpoint_url: str | None = None,
        connect_timeout_s: float = 5.0,
        read_timeout_s: float = 15.0,
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
        """The AWS region of the calls."""
        return str(self._client.meta.region_name)

    @property
    def supports_invoke_rest_api(self) -> bool:
        """Whether the installed boto3 has InvokeRestApi; in images before Airflow 2.11 it does not."""
        return "InvokeRestApi" in self._client.meta.service_model.operation_names

    def list_environments(self) -> list[str]:
        """List the names of all environments of the account in this region."""
        return list(self._call("ListEnvironments", "*", _all_environments)["Environments"])

    def get_environment(self, env_name: str) -> dict[str, Any]:
        """Describe an environment: the ``Environment`` structure of GetEnvironment."""
        answer = self._call(
            "GetEnvironment", env_name, lambda c: _with_members(c.get_environment(Name=env_name), "Environment")
        )
        return dict(answer["Environment"])

    def create_cli_token(self, env_name: str) -> WebServerToken:
        """Create a token for the environment's CLI endpoint."""
        return self._token("CreateCliToken", env_name, lambda c: c.create_cli_token(Name=env_name), "CliToken")

    def create_web_login_token(self, env_name: str) -> WebServerToken:
        """Create a token that the environment's web server exchanges for a session of 12 hours."""
        return self._token(
            "CreateWebLoginToken", env_name, lambda c: c.create_web_login_token(Name=env_name), "WebToken"
        )

    def invoke_rest_api(self, env_name: str, request: RestRequest) -> tuple[int, Any]:
        """Call Airflow's REST API through the service; sent once, never repeated here.

        :param request: with a path of at most 64 characters.
        :return: Airflow's HTTP status, 4xx and 5xx included, and its body.
        :raises UnsupportedByTransport: the installed boto3 has no InvokeRestApi.
        """
        if not self.supports_invoke_rest_api:
            raise UnsupportedByTransport(
                f"Environment {env_name!r}: the installed boto3 has no InvokeRestApi. Use transport "
                "web_session or cli, let it be chosen automatically, or upgrade boto3 to 1.35.43 or later.",
                env_name=env_name,
            )
        keywords: dict[str, Any] = {"Name": env_name, "Method": request.method, "Path": request.path}
        if request.params:
            keywords["QueryParameters"] = dict(request.params)
        if request.json is not None:
            keywords["Body"] = request.json
        answer = self._call(
            "InvokeRestApi",
            env_name,
            lambda c: _with_members(c.invoke_rest_api(**keywords), "RestApiStatusCode"),
            is_mutating=request.is_mutating,
            carrying=f" ({request})",
        )
        return int(answer["RestApiStatusCode"]), answer.get("RestApiResponse")

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

        def make(config: Config) -> Any:
            return (self._session or boto3.Session()).client(
                "mwaa",
                region_name=self._region_name,
                verify=self._verify,
                endpoint_url=self._endpoint_url,
                config=config,
            )

        try:
            given = Config(**self._config) if isinstance(self._config, dict) else self._config
            own = Config(connect_timeout=self._connect_timeout_s, read_timeout=self._read_timeout_s)
            own = own.merge(given or Config()).merge(Config(retries={"total_max_attempts": 1}))
            client = make(own)
            # The model's host prefixes (env., api.) belong to AWS's own host names only. With a VPC endpoint's name or
            # an address, the resulting host does not exist.
            host = urlsplit(client.meta.endpoint_url).hostname or ""
            if not host.startswith(("airflow.", "airflow-fips.")):
                client = make(own.merge(Config(inject_host_prefix=False)))
        except (BotoCoreError, TypeError, ValueError) as error:
            words = unended(without_credentials(str(error)))
            raise MwaaInputError(
                f"The AWS client for MWAA cannot be created: {words}. Check the region, the endpoint URL, and the AWS "
                "connection or profile."
            ) from error
        return client

    def _call(
        self,
        operation: str,
        env_name: str,
        send: Callable[[Any], Any],
        *,
        is_mutating: bool = False,
        carrying: str = "",
    ) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        client = self._client
        whose = f"Environment {env_name!r}, " if env_name != "*" else ""
        where = f"{whose}{operation}{carrying} in {self.region_name}"
        try:
            with values_kept_out_of_logs():
                return send(client)
        except ClientError as error:
            rest_answer = rest_api_answer(error)
            if rest_answer is not None:
                return rest_answer
            raise service_error(operation, env_name, where, error, is_mutating=is_mutating) from error
        except BotoCoreError as error:
            raise network_error(
                env_name,
                where,
                error,
                is_mutating=is_mutating,
                endpoint_url=client.meta.endpoint_url,
                read_timeout_s=client.meta.config.read_timeout,
            ) from None
        except (ResponseParserError, _AnotherShape) as error:
            lack = f"without {error}" if isinstance(error, _AnotherShape) else "in a form that boto3 cannot read"
            raise UnexpectedAnswer(
                f"{where}: the answer is {lack}, so it is not from the MWAA service. Check the endpoint, and that no "
                "proxy answers for it.",
                env_name=env_name,
                ambiguous=is_mutating,
            ) from None

    def _token(self, operation: str, env_name: str, send: Callable[[Any], dict[str, Any]], name: str) -> WebServerToken:
        answer = self._call(operation, env_name, lambda c: _with_members(send(c), name, "WebServerHostname"))
        return WebServerToken(answer[name], answer["WebServerHostname"])


def _with_members(answer: dict[str, Any], *names: str) -> dict[str, Any]:
    """Check that an answer has its parts: botocore returns whatever a proxy's page parses to."""
    for name in names:
        if name not in answer:
            raise _AnotherShape(name)
    return answer


def _all_environments(client: Any) -> dict[str, Any]:
    pages = client.get_paginator("list_environments").paginate()
    return {"Environments": [name for page in pages for name in _with_members(page, "Environments")["Environments"]]}
