# SPDX-License-Identifier: Apache-2.0
"""One REST call to an environment's Airflow, with Airflow's refusals turned into our errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_mwaa_provider.exceptions import AccessDenied, AirflowError, RemoteConflict, RemoteNotFound, Throttled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_mwaa_provider.client.transports import Transport


class RestCaller:
    """Calls the REST API of one environment's Airflow; repeats nothing.

    :param major: Airflow's major version, 2 or 3.
    """

    def __init__(self, transport: Transport, env_name: str, major: int) -> None:
        self._transport = transport
        self._env_name = env_name
        self.major = major

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        what: str | None = None,
        not_found: type[RemoteNotFound] = RemoteNotFound,
    ) -> Any:
        """Send one call and give its JSON body.

        :param path: without the ``/api/v…`` prefix, percent-encoded.
        :param what: the subject in an error's words: ``"DAG 'x'"``.
        :raises AirflowError: for any status of 400 and above, or the fitting subclass.
        """
        answer = self._transport.request(method, path, params=params, json=json)
        if answer.status < 400:
            return answer.body
        detail = _detail(answer.body)
        where = f"Environment {self._env_name!r}: {method} {path}" + (f" ({what})" if what else "")
        fields: dict[str, Any] = {"env_name": self._env_name}
        if answer.status in (401, 403):
            raise AccessDenied(
                f"{where}: Airflow refused it (HTTP {answer.status}: {detail}). The role needs that permission in "
                "Airflow: see the roles page of its UI.",
                **fields,
            )
        if answer.status == 429:
            raise Throttled(f"{where}: throttled ({detail}). Make fewer calls.", transient=True, **fields)
        fields |= {"status": answer.status, "detail": detail}
        if answer.status == 404:
            raise not_found(
                f"{where}: not found: {detail}. Check the id, and that the DAG is deployed there.", **fields
            )
        if answer.status == 409:
            raise RemoteConflict(f"{where}: already there: {detail}", **fields)
        if answer.status >= 500:
            raise AirflowError(
                f"{where}: Airflow failed with HTTP {answer.status}: {detail}",
                transient=True,
                ambiguous=method not in ("GET", "HEAD"),
                **fields,
            )
        raise AirflowError(f"{where}: Airflow refused it with HTTP {answer.status}: {detail}", **fields)


def quoted(part: str) -> str:
    """Percent-encode one part of a path, with as few characters as it takes."""
    return quote(part, safe="~:+")


def _detail(body: Any, length: int = 300) -> str:
    """Airflow's own words about an error, without the input that it repeats (which may hold a secret)."""
    detail = body.get("detail") or body.get("title") or body.get("error") if isinstance(body, dict) else body
    if isinstance(detail, list):
        detail = "; ".join(
            f"{'.'.join(map(str, item.get('loc', ())))}: {item.get('msg')}" if isinstance(item, dict) else str(item)
            for item in detail
        )
    elif isinstance(detail, dict):
        detail = detail.get("message") or detail.get("reason") or "no reason given"
    text = " ".join(str(detail or "no reason given").split())
    return text if len(text) <= length else text[: length - 1] + "…"
