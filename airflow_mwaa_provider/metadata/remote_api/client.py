# SPDX-License-Identifier: Apache-2.0
"""Call the metadata API of an environment's web server, and turn the server's errors into ours."""

from __future__ import annotations

from typing import Any, Protocol

from airflow_mwaa_provider.error_documents import class_of, from_dict, read_line
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

_MAY_BE_RAISED = (MwaaInputError, MetadataError, StorageError, AccessDenied)


class Call(Protocol):
    """Calls the environment's web server, such as ``MwaaEnvironment.call_plugin``."""

    def __call__(self, method: str, path: str, json: Any = None) -> Any:
        """Return the answer's JSON."""


def ask(call: Call, label: str, method: str, path: str, json: Any = None, *, needs: str) -> dict[str, Any]:
    """Call once, and return the answer's object.

    :param label: the environment's name in messages.
    :param needs: the permissions that the caller's role needs, for the message if it lacks them.
    :raises AccessDenied: the caller lacks a permission.
    :raises MwaaError: the error that the server answered with.
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
        raise _remote_error(error, label) from error
    return answer if isinstance(answer, dict) else {}


def has_no_such_api(error: MwaaError) -> bool:
    """Return whether an error means that the path is unknown to the web server.

    For an unknown path, Airflow 3 answers a GET with 200 and the page of its UI, anything else with 405; Airflow 2
    answers 404 with another page.
    """
    if isinstance(error, UnexpectedAnswer):
        return error.status in (200, 404)
    return isinstance(error, RemoteNotFound) or (isinstance(error, AirflowError) and error.status == 405)


def _remote_error(error: AirflowError, label: str) -> MwaaError:
    """Return the error that the plugin answered with; earlier releases have it only in the detail."""
    sent = error.remote or {}
    is_whole = isinstance(sent.get("type"), str) and sent.get("message") and isinstance(sent["message"], str)
    found = sent if is_whole else read_line(error.detail)
    if found is None or not issubclass(class_of(found), _MAY_BE_RAISED):
        return error
    message = f"Route api, at {label}: {str(found.get('message')).rstrip('.')}."
    of_call = {name: getattr(error, name) for name in ("env_name", "transient", "retry_after_s")}
    return from_dict({**found, "message": message}, ambiguous=False, **of_call)  # it has answered, so nothing was lost
