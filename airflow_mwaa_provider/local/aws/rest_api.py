# SPDX-License-Identifier: Apache-2.0
"""InvokeRestApi: call an environment's Airflow REST API on the caller's behalf, within MWAA's limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from airflow_mwaa_provider.local.aws.aws_errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.local.aws.environment import Environment
    from airflow_mwaa_provider.local.aws.limits import Limits
    from airflow_mwaa_provider.local.runtime import ApiSession, Runtime

_PATH_SAFE = "/%:@!$&'()*+,;=~-._?"
_CHUNK_BYTES = 256 * 1024


class TokenBucket:
    """Admits a number of calls per second, and at most a second's worth at once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._level: float | None = None
        self._at = clock()

    def take(self, per_second: float) -> bool:
        """Admit one call; return False if the limit is reached."""
        now, capacity = self._clock(), max(per_second, 1.0)
        level = capacity if self._level is None else self._level
        level = min(capacity, level + (now - self._at) * per_second)
        self._at = now
        self._level = level - 1 if level >= 1 else level
        return level >= 1


class RestApiCaller:
    """Makes the calls of InvokeRestApi, with one login per runtime that is renewed when Airflow ends it.

    The errors for limits that are not in the service model are unproven: an answer that takes too long is a
    RestApiServerException with status 504, one that is too large a RestApiClientException with status 413 (the caller
    must request a smaller page, and a retry would not help). A call that timed out may still take effect in Airflow.
    """

    def __init__(self, http: aiohttp.ClientSession, limits: Limits, clock: Callable[[], float]) -> None:
        self._http = http
        self._limits = limits
        self._clock = clock
        self._buckets: dict[str, TokenBucket] = {}
        self._logins: dict[str, tuple[Runtime, ApiSession]] = {}
        self._login_lock = asyncio.Lock()

    def check_rate(self, env_name: str) -> None:
        """Count one call. :raises AwsError: ThrottlingException."""
        bucket = self._buckets.setdefault(env_name, TokenBucket(self._clock))
        if not bucket.take(self._limits.rest_calls_per_second):
            raise AwsError("ThrottlingException", "Rate exceeded")

    def forget(self, env_name: str) -> None:
        """Delete the state of a deleted environment."""
        self._buckets.pop(env_name, None)
        self._logins.pop(env_name, None)

    async def invoke(self, environment: Environment, request: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out a validated request; return RestApiStatusCode and RestApiResponse.

        :raises AwsError: RestApiClientException, RestApiServerException or ValidationException.
        """
        runtime = environment.runtime
        if runtime is None:
            text = f"The Airflow web server of {environment.name} is not running ({environment.status})"
            raise _rest_error("RestApiServerException", 503, {"message": text})
        url = self._url(runtime, request)
        try:
            async with asyncio.timeout(self._limits.rest_timeout_s):
                status, body = await self._call(environment.name, runtime, request, url)
        except TimeoutError:
            text = f"The Airflow REST API did not answer within {self._limits.rest_timeout_s:g} seconds"
            raise _rest_error("RestApiServerException", 504, {"message": text}) from None
        except aiohttp.ClientError as error:
            text = f"The Airflow web server can't be reached: {type(error).__name__}"
            raise _rest_error("RestApiServerException", 502, {"message": text}) from error
        value = _document(body)
        if status >= 500:
            raise _rest_error("RestApiServerException", status, value)
        if status >= 300:
            raise _rest_error("RestApiClientException", status, value)
        return {"RestApiStatusCode": status, "RestApiResponse": value}

    @staticmethod
    def _url(runtime: Runtime, request: Mapping[str, Any]) -> URL:
        path: str = request["Path"]
        # Unproven: that MWAA requires the slash. A client that sends it is right either way.
        if not path.startswith("/") or any(part in (".", "..") for part in path.split("?")[0].split("/")):
            raise AwsError("ValidationException", "Path must begin with '/' and name a path of the REST API")
        pairs = _query_pairs(request.get("QueryParameters") or {})
        address = runtime.base_url + runtime.api_prefix + quote(path, safe=_PATH_SAFE)
        if pairs:
            address += ("&" if "?" in path else "?") + urlencode(pairs)
        return URL(address, encoded=True)

    async def _call(self, env_name: str, runtime: Runtime, request: Mapping[str, Any], url: URL) -> tuple[int, bytes]:
        content: dict[str, Any] = {}
        body = request.get("Body")
        # The amazon provider's hook sends an empty body with every GET, which is not passed on to Airflow.
        if body is not None and (body or request["Method"] not in ("GET", "DELETE")):
            content = {"json": body}
        for attempt in (1, 2):
            login = await self._login(env_name, runtime)
            headers = {"Accept": "application/json", "Accept-Encoding": "identity", **login.headers}
            async with self._http.request(
                request["Method"], url, headers=headers, allow_redirects=False, **content
            ) as response:
                if response.status == 401 and attempt == 1:
                    if self._logins.get(env_name) == (runtime, login):
                        del self._logins[env_name]
                    continue
                return response.status, await self._read(response)
        raise AssertionError("unreachable: the second attempt returns")

    async def _login(self, env_name: str, runtime: Runtime) -> ApiSession:
        # One login at a time: calls that arrive together share it.
        async with self._login_lock:
            known = self._logins.get(env_name)
            if known is None or known[0] is not runtime:
                known = (runtime, await runtime.login())
                self._logins[env_name] = known
            return known[1]

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        most = self._limits.rest_response_max_bytes
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            body += chunk
            if len(body) > most:
                text = f"Response payload size exceeded maximum allowed payload size ({most} bytes)"
                raise _rest_error("RestApiClientException", 413, {"message": text})
        return bytes(body)


def _query_pairs(parameters: Any) -> list[tuple[str, str]]:
    if not isinstance(parameters, Mapping):
        raise AwsError("ValidationException", "QueryParameters must be a JSON object")
    pairs = []
    for name, value in parameters.items():
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        pairs += [(name, _query_text(name, item)) for item in values if item is not None]
    return pairs


def _query_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise AwsError("ValidationException", f"QueryParameters: {name} must be a string, a number or a list of them")


def _document(body: bytes) -> Any:
    """Return an answer of Airflow as JSON; anything else (a proxy's page) as a string."""
    if not body.strip():
        return {}
    try:
        return json.loads(body)
    except (UnicodeDecodeError, json.JSONDecodeError):
        return body.decode("utf-8", "replace")


def _rest_error(code: str, status: int, response: Any) -> AwsError:
    members = {"RestApiStatusCode": status, "RestApiResponse": response}
    return AwsError(code, f"The Airflow REST API answered {status}", status=400, members=members)
