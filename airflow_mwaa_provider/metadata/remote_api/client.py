# SPDX-License-Identifier: Apache-2.0
"""One call of the metadata API of an environment's web server, with the server's refusals turned into our errors."""

from __future__ import annotations

import re
from typing import Any, Protocol

from airflow_mwaa_provider import exceptions
from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    AirflowError,
    MetadataError,
    MwaaError,
    MwaaInputError,
    RemoteNotFound,
    StorageError,
    UnexpectedAnswer,
)

__all__ = ["Call", "ask", "has_no_such_api"]

_MAY_BE_TOLD = (MwaaInputError, MetadataError, StorageError, AccessDenied)


class Call(Protocol):
    """Calls the environment's web server, such as ``MwaaEnvironment.call_plugin``."""

    def __call__(self, method: str, path: str, json: Any = None) -> Any:
        """Give the answer's JSON."""


def ask(call: Call, label: str, method: str, path: str, json: Any = None, *, needs: str) -> dict[str, Any]:
    """Call once, and give the answer's object.

    :param label: what the environment is called in messages.
    :param needs: what the caller's role must be allowed, for the message where it isn't.
    :raises AccessDenied: the caller may not; and whatever the server refused it with.
    """
    try:
        answer = call(method, path, json)
    except AccessDenied as error:
        if error.status is None:
            raise
        raise AccessDenied(
            f"Route api: {error} The caller needs a role that may {needs}.",
            status=error.status,
            env_name=error.env_name,
        ) from error
    except RemoteNotFound:
        raise
    except AirflowError as error:
        raise _told(error, label) from error
    return answer if isinstance(answer, dict) else {}


def has_no_such_api(error: MwaaError) -> bool:
    """Whether an error says that the web server doesn't know the path.

    To an unknown one Airflow 3 answers a GET with 200 and the page of its UI, anything else with 405; Airflow 2 answers
    404 with another page.
    """
    if isinstance(error, UnexpectedAnswer):
        return error.status in (200, 404)
    return isinstance(error, RemoteNotFound) or (isinstance(error, AirflowError) and error.status == 405)


def _told(error: AirflowError, label: str) -> MwaaError:
    """Make the server's error one of ours again, by what its words begin with: ``AccessDenied[s3:PutObject]: ...``."""
    found = re.match(r"([A-Z]\w+)(?:\[([\w:]+)\])?: (.+)", error.detail)
    kind = getattr(exceptions, found[1], None) if found else None
    if found is None or not (isinstance(kind, type) and issubclass(kind, _MAY_BE_TOLD)):
        return error
    fields: dict[str, Any] = {
        "env_name": error.env_name,
        "transient": error.transient,
        "retry_after_s": error.retry_after_s,
    }
    if found[2]:
        fields["action"] = found[2]
    made: MwaaError = kind(f"Route api, at {label}: {found[3].rstrip('.')}.", **fields)
    return made
