# SPDX-License-Identifier: Apache-2.0
"""One REST call to an environment's Airflow, with Airflow's errors turned into ours."""

from __future__ import annotations

import json as jsonlib
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_mwaa_provider.client.backend import Backend, kind_of
from airflow_mwaa_provider.client.http.errors import mask_secrets, truncate, unended
from airflow_mwaa_provider.client.http.retrying import is_overdue
from airflow_mwaa_provider.client.models import RestRequest
from airflow_mwaa_provider.client.rest.pages import PAGE_ROWS, Page, pages
from airflow_mwaa_provider.client.rest.transports import PLUGIN_PREFIX, SLOW_DOWN, whose_page
from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    AirflowError,
    CallTimeout,
    MwaaInputError,
    RemoteConflict,
    RemoteNotFound,
    Throttled,
    UnexpectedAnswer,
    UnsupportedByTransport,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_mwaa_provider.client.rest.transports import Answer, Transport

_DETAIL = 300
# Our own errors, which end with what to do.
_LONG_DETAIL = 2_000
# Fields whose values Airflow may repeat in an error, and which may be secret.
_MAY_BE_SECRET = ("conf", "extra", "login", "password", "value")


class RestCaller(Backend):
    """Calls the REST API of one environment's Airflow; repeats nothing."""

    def __init__(self, transport: Transport, env_name: str, major: int) -> None:
        super().__init__(env_name, major)
        self._transport = transport

    def _unsupported(self, what: str) -> UnsupportedByTransport:
        return UnsupportedByTransport(
            f"Environment {self._env_name!r}: {what} cannot go through Airflow's REST API. Use transport cli, or "
            "let it be chosen automatically.",
            env_name=self._env_name,
        )

    def request(
        self,
        request: RestRequest,
        *,
        what: str | None = None,
        not_found: type[RemoteNotFound] = RemoteNotFound,
    ) -> Any:
        """Send one call and return its JSON body.

        :param what: what the call is about, for an error: ``"DAG 'x'"``.
        :raises MwaaInputError: the body cannot be written as JSON; nothing was sent.
        :raises AirflowError: for any status of 400 and above, or the matching subclass.
        """
        where = f"Environment {self._env_name!r}: {request}" + (f" ({what})" if what else "")
        if is_overdue():
            raise CallTimeout(
                f"{where} was not sent: the pages before it used up the deadline. Request less at once.",
                env_name=self._env_name,
            )
        body = _plain_json(request.json, self._env_name)
        answer = self._transport.send(replace(request, params=_plain_params(request.params), json=body))
        if answer.status < 300 and not _is_page(answer.body):
            return answer.body
        from_plugin = request.path.startswith(PLUGIN_PREFIX)
        sent = list(_secrets(request.json))
        detail = mask_secrets(_detail(answer.body, _LONG_DETAIL if from_plugin else _DETAIL), sent)
        refusal = _refusal(answer, where, self._env_name, not_found, request.is_mutating, detail)
        if isinstance(refusal, AirflowError) and from_plugin and isinstance(answer.body, dict):
            remote = answer.body.get("error")
            refusal.remote = _masked(remote, sent) if isinstance(remote, dict) else None
        raise refusal

    def request_fields(self, request: RestRequest, *fields: str, **keywords: Any) -> dict[str, Any]:
        """Send one call whose answer is an object with these fields.

        :raises UnexpectedAnswer: it is something else.
        """
        answer = self.request(request, **keywords)
        return self.checked(answer, str(request), *fields, ambiguous=request.is_mutating)

    def rows_of(self, path: str, name: str, key: str, *fields: str, order_by: str) -> list[dict[str, Any]]:
        """List all rows below a path, each once; rows that are added or deleted meanwhile may be missing.

        :param name: the field of the answer that holds the rows.
        :param key: the field that identifies a row.
        :param fields: other fields that each row must have.
        """

        def ask(offset: int) -> Page[dict[str, Any]]:
            params = {"limit": PAGE_ROWS, "offset": offset, "order_by": order_by}
            answer = self.request_fields(RestRequest("GET", path, params=params), name)
            rows = [self.checked(row, f"a row of GET {path}", key, *fields) for row in self.list_in(answer, name)]
            return Page(rows, answer.get("total_entries"))

        return list({row[key]: row for page in pages(ask) for row in page.rows}.values())

    def list_in(self, answer: dict[str, Any], name: str, *, ambiguous: bool = False) -> list[Any]:
        """Return the list in a field of an answer.

        :raises UnexpectedAnswer: it is something else.
        """
        found = answer[name]
        if isinstance(found, list):
            return found
        raise self._unrecognized(name, TypeError(f"expected a list, got {kind_of(found)}"), ambiguous=ambiguous)

    def checked(self, value: Any, where: str, *fields: str, ambiguous: bool = False) -> dict[str, Any]:
        """Return an object that has these fields.

        :param where: method and path of the call that returned it.
        :raises UnexpectedAnswer: it is something else.
        """
        if isinstance(value, dict) and all(name in value for name in fields):
            return value
        raise UnexpectedAnswer(
            f"Environment {self._env_name!r}: {where} was answered without {', '.join(fields)}. Either the answer "
            f"is not from Airflow {self.major}, or its API has changed: upgrade airflow-mwaa-provider.",
            env_name=self._env_name,
            ambiguous=ambiguous,
        )


def quoted(part: str) -> str:
    """Percent-encode one part of a path, and no more characters than necessary.

    :raises MwaaInputError: the part would change the path: it is empty, ``.`` or ``..``.
    """
    if part in ("", ".", ".."):
        raise MwaaInputError(f"{part!r} cannot be an id or a key in a call of the REST API. Use another name.")
    try:
        return quote(part, safe="~:+")
    except UnicodeEncodeError:
        raise MwaaInputError("An id or key contains half a surrogate pair, which UTF-8 cannot encode.") from None


def _refusal(
    answer: Answer, where: str, env_name: str, not_found: type[RemoteNotFound], is_mutating: bool, detail: str
) -> Exception:
    status = answer.status
    fields: dict[str, Any] = {"env_name": env_name, "retry_after_s": answer.retry_after_s}
    if status == 429:
        return Throttled(f"{where}: throttled (HTTP 429). {SLOW_DOWN}", transient=True, **fields)
    if status < 400 or _is_page(answer.body):
        doubtful = status >= 500 or status < 300
        what = "a redirect" if 300 <= status < 400 else "a page instead of JSON"
        doubt = "It may have taken effect. " if is_mutating and doubtful else ""
        return UnexpectedAnswer(
            f"{where} answered HTTP {status} with {what}, {whose_page(status)}. {doubt}Try again later. If it "
            "persists, check the path and what is in front of the web server.",
            status=status,
            transient=status >= 500,
            ambiguous=is_mutating and doubtful,
            **fields,
        )
    if status in (401, 403):
        return AccessDenied(
            f"{where}: Airflow denied it with HTTP {status}: {detail}. The role needs that permission in Airflow: see "
            "the roles page of its UI.",
            status=status,
            **fields,
        )
    fields |= {"status": status, "detail": detail}
    if status == 404:
        advice = (
            "Check the name."
            if not_found is RemoteNotFound
            else "Check the ids, that the DAG is deployed there, and that the role may see it."
        )
        return not_found(f"{where} answered HTTP 404: {detail}. {advice}", **fields)
    if status == 409:
        return RemoteConflict(
            f"{where}: already exists (HTTP 409: {detail}). Use another id or date, or the existing one.", **fields
        )
    if status >= 500:
        doubt = " It may have taken effect." if is_mutating else ""
        return AirflowError(
            f"{where}: Airflow failed with HTTP {status}: {detail}.{doubt} Try again later, and see the log of its web "
            "server.",
            transient=True,
            ambiguous=is_mutating,
            **fields,
        )
    return AirflowError(f"{where}: Airflow rejected it with HTTP {status}: {detail}. Correct the call.", **fields)


def _plain_json(value: Any, env_name: str) -> Any:
    """Return what :mod:`json` makes of a value, without NaN, so that every transport sends the same."""
    if value is None:
        return None
    try:
        return jsonlib.loads(jsonlib.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise MwaaInputError(
            f"Environment {env_name!r}: the call's body cannot be written as JSON ({error}); nothing was sent.",
            env_name=env_name,
        ) from None


def _plain_params(params: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not params:
        return None
    plain: dict[str, Any] = {}
    for name, value in params.items():
        values = value if isinstance(value, list | tuple | set | frozenset) else [value]
        texts = [_plain_param(item) for item in values if item is not None]
        if texts:
            plain[name] = texts if isinstance(value, list | tuple | set | frozenset) else texts[0]
    return plain


def _plain_param(value: Any) -> str | int | float:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, int | float) else str(value)


def _is_page(body: Any) -> bool:
    """Return whether an answer is HTML, which only something in front of Airflow sends."""
    return isinstance(body, str) and body.lstrip()[:15].lower().startswith(
        ("<!doctype html", "<html", "<head", "<?xml")
    )


def _secrets(json: Any) -> Iterator[str]:
    for name in _MAY_BE_SECRET if isinstance(json, dict) else ():
        yield from _texts(json.get(name))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _masked(value: Any, secrets: list[str]) -> Any:
    """Return an error that the plugin sent, its strings masked and shortened like a detail."""
    if isinstance(value, str):
        return mask_secrets(truncate(value, _LONG_DETAIL), secrets)
    if isinstance(value, dict):
        return {name: _masked(item, secrets) for name, item in value.items()}
    return [_masked(item, secrets) for item in value] if isinstance(value, list) else value


def _detail(body: Any, longest: int) -> str:
    """Return Airflow's own words about an error, without the input that it repeats, which may be secret."""
    detail = (
        body.get("detail") or body.get("title") or body.get("error") or body.get("message")
        if (isinstance(body, dict))
        else body
    )
    if isinstance(detail, list):
        detail = "; ".join(
            f"{'.'.join(map(str, item.get('loc', ())))}: {item.get('msg')}" if isinstance(item, dict) else str(item)
            for item in detail
        )
    elif isinstance(detail, dict):
        detail = detail.get("message") or detail.get("reason")
    return unended(truncate(str(detail or "no reason given"), longest))
