# SPDX-License-Identifier: Apache-2.0
"""The AWS side of the local MWAA as one object: an endpoint for all services and a gateway per environment."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.aws.admin import ADMIN_PREFIX, AdminApi
from airflow_mwaa_provider.local.aws.aws_resources import AwsResources
from airflow_mwaa_provider.local.aws.call_log import CallLog
from airflow_mwaa_provider.local.aws.cloudwatch_proxy import forward_to_cloudwatch
from airflow_mwaa_provider.local.aws.cloudwatch_requests import SIGNING_NAME as CLOUDWATCH
from airflow_mwaa_provider.local.aws.control_plane import ControlPlane
from airflow_mwaa_provider.local.aws.environments import EnvironmentStore
from airflow_mwaa_provider.local.aws.faults import FaultPlan
from airflow_mwaa_provider.local.aws.gateway import Gateway, GatewayServices
from airflow_mwaa_provider.local.aws.http_server import serve
from airflow_mwaa_provider.local.aws.identity import IdentityStore
from airflow_mwaa_provider.local.aws.limits import Limits
from airflow_mwaa_provider.local.aws.loopback import HTTPS_PORT, listen, listen_apart, listen_on_https_port
from airflow_mwaa_provider.local.aws.proxy import client_session, forward
from airflow_mwaa_provider.local.aws.rest_api import RestApiCaller
from airflow_mwaa_provider.local.aws.service_model import MwaaServiceModel
from airflow_mwaa_provider.local.aws.sigv4 import read_scope
from airflow_mwaa_provider.local.aws.sts_sessions import forward_to_sts
from airflow_mwaa_provider.local.aws.tokens import SessionStore, TokenStore
from airflow_mwaa_provider.local.aws.vpc_endpoints import VpcEndpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import aiohttp
    from aiohttp import web

    from airflow_mwaa_provider.local.aws.environment import Environment
    from airflow_mwaa_provider.local.aws.tls import CertificateAuthority
    from airflow_mwaa_provider.local.runtime import RuntimeFactory

_log = logging.getLogger(__name__)

_SIGNING_NAME = "airflow"


class LocalMwaa:
    """The AWS side of the local MWAA.

    One plain-HTTP endpoint serves every AWS service: requests signed for ``airflow`` are for MWAA, those under
    ``/_local/`` for the admin API, and all others are passed on to moto, except those that CloudWatch would reject.
    Credentials that moto's STS issues to a known caller are also valid for MWAA. Each environment has its own TLS
    gateway.

    :param runtimes: creates the Airflow of an environment.
    :param moto_url: the base URL of a moto server: ``http://127.0.0.1:5000``.
    :param certificates: signs the gateways' certificates.
    :param admin_token: the required value of the header ``X-Local-Admin``.
    :param wants_https_port: gateways without a given port use that of HTTPS, if the machine permits it.
    :param limits: by default MWAA's own; changes take effect at once.
    :param clock: a monotonic clock in seconds, for tokens, sessions and rates.
    """

    environments: EnvironmentStore
    """All environments; available after :meth:`start`."""

    def __init__(
        self,
        *,
        runtimes: RuntimeFactory,
        moto_url: str,
        certificates: CertificateAuthority,
        admin_token: str,
        region: str = "us-east-1",
        account_id: str = "123456789012",
        wants_https_port: bool = False,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits or Limits()
        self.faults = FaultPlan()
        self.calls = CallLog()
        self._runtimes = runtimes
        self._moto_url = moto_url.rstrip("/")
        self._certificates = certificates
        self._admin_token = admin_token
        self._region = region
        self._account_id = account_id
        self._wants_https_port = wants_https_port
        self._clock = clock
        self._identities = IdentityStore(account_id)
        self._tokens = TokenStore(self.limits, clock)
        self._sessions = SessionStore(self.limits, clock)
        self._runner: web.AppRunner | None = None
        self._http: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"LocalMwaa(region={self._region!r}, account_id={self._account_id!r})"

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen and return the endpoint's URL.

        :param host: a loopback address.
        :param port: 0 for a free one.
        :raises OSError: the port is in use; the message names it.
        """
        listener = listen(host, port)
        self._http = client_session()
        self._rest_api = RestApiCaller(self._http, self.limits, self._clock)
        resources = AwsResources(self._http, self._moto_url, self._region)
        self.environments = EnvironmentStore(
            runtimes=self._runtimes,
            open_gateway=self._open_gateway,
            forget=self._forget,
            wait_for_endpoints=VpcEndpoints(resources, self._region).wait_for,
            limits=self.limits,
            region=self._region,
            account_id=self._account_id,
        )
        self._control_plane = ControlPlane(
            model=MwaaServiceModel(),
            environments=self.environments,
            resources=resources,
            identities=self._identities,
            tokens=self._tokens,
            rest_api=self._rest_api,
            limits=self.limits,
            faults=self.faults,
            calls=self.calls,
            region=self._region,
            account_id=self._account_id,
        )
        self._admin = AdminApi(
            token=self._admin_token,
            environments=self.environments,
            identities=self._identities,
            faults=self.faults,
            limits=self.limits,
            calls=self.calls,
            tokens=self._tokens,
            sessions=self._sessions,
        )
        self._runner = await serve(self._handle, listener)
        address, bound_port = listener.getsockname()[:2]
        url = f"http://[{address}]:{bound_port}" if ":" in address else f"http://{address}:{bound_port}"
        _log.info("the local MWAA listens on %s", url)
        return url

    async def stop(self) -> None:
        """Stop the endpoint, all gateways and all Airflows. Do nothing if already stopped."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
            await self.environments.stop()
        if self._http is not None:
            await self._http.close()
            self._http = None

    def add_identity(
        self, access_key_id: str, secret_access_key: str, arn: str = "", denied_actions: Iterable[str] = ()
    ) -> None:
        """Add a credential.

        :param arn: by default an assumed role of this account.
        :param denied_actions: such as ``airflow:InvokeRestApi``; ``*`` matches as in IAM.
        """
        self._identities.add(access_key_id, secret_access_key, arn, denied_actions)

    def _open_gateway(self, environment: Environment, port: int) -> Gateway:
        assert self._http is not None
        taken = {other.address.partition(":")[0] for other in self.environments.all()}
        listener = listen_on_https_port(taken) if port in (0, HTTPS_PORT) and self._wants_https_port else None
        services = GatewayServices(
            tokens=self._tokens,
            sessions=self._sessions,
            limits=self.limits,
            faults=self.faults,
            calls=self.calls,
            certificates=self._certificates,
            http=self._http,
        )
        return Gateway(environment, listener or listen_apart(port, taken), services)

    def _forget(self, env_name: str) -> None:
        """Delete what belonged to a deleted environment: another one of the same name does not inherit it."""
        self._rest_api.forget(env_name)
        self._tokens.expire(env_name)
        self._sessions.expire(env_name)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith(ADMIN_PREFIX):
            return await self._admin.handle(request)
        raw_path, _, query = request.raw_path.partition("?")
        scope = read_scope(request.headers, query)
        ours = self._control_plane.knows(request.method, raw_path) if scope is None else scope.service == _SIGNING_NAME
        if ours:
            return await self._control_plane.handle(request)
        started = time.perf_counter()
        assert self._http is not None
        if scope is not None and scope.service == "sts":
            response = await forward_to_sts(request, self._http, self._moto_url, scope, self._identities)
        elif scope is not None and scope.service == CLOUDWATCH:
            response = await forward_to_cloudwatch(request, self._http, self._moto_url)
        else:
            response = await forward(request, self._http, self._moto_url)
        self.calls.record(
            target=f"aws:{scope.service if scope else 'unsigned'}",
            environment=None,
            method=request.method,
            path=request.path,
            status=response.status,
            seconds=time.perf_counter() - started,
        )
        return response
