# SPDX-License-Identifier: Apache-2.0
"""The answers of the metadata API's parts, and how errors become answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_mwaa_provider.error_documents import as_dict, as_line
from airflow_mwaa_provider.exceptions import DatabaseRefused, MwaaError, MwaaInputError, NoMetadataRoute

__all__ = ["BUDGET_S", "CANCELLED", "Answer", "refusal", "status_of", "turned_off"]

BUDGET_S = 8.0
"""Time of one request, so that neither a load balancer nor another user of the web server waits for it."""
CANCELLED = "57014"
"""PostgreSQL's code for a statement that took longer than it may."""
_LOCKED = "55P03"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: dict[str, Any]
    retry_after_s: int | None = None


def refusal(status: int, error: MwaaError, retry_after_s: int | None = None) -> Answer:
    """Return the answer from which the other end makes the error again; earlier releases read ``detail``."""
    return Answer(status, {"detail": as_line(error), "error": as_dict(error)}, retry_after_s)


def status_of(error: MwaaError) -> int:
    """Return the status with which an error is answered."""
    if isinstance(error, MwaaInputError):
        return 400
    # Locked, or without time for the first queries; fewer rows would not help.
    is_passing = isinstance(error, DatabaseRefused) and error.sqlstate in (CANCELLED, _LOCKED)
    return 503 if error.transient or is_passing else 422


def turned_off(what: str, option: str) -> Answer:
    """Return the answer of a part of the API that the configuration does not turn on.

    :param what: that part, as the beginning of a sentence.
    :param option: what turns it on, and how.
    """
    return refusal(404, NoMetadataRoute(f"{what} is turned off here: set the configuration option {option}"))
