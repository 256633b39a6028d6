# SPDX-License-Identifier: Apache-2.0
"""What the Lambda handlers share: the remaining time, clients that warm invocations reuse, and the log."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.aws.control_plane import ControlPlane
from airflow_mwaa_provider.exceptions import MwaaInputError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["account_of", "control_plane", "function_of", "let_info_through", "request_id_of", "time_left"]

# Reserved for the answer, because Lambda counts a function that is slightly late as failed.
RESERVE_S = 1.0

_control_planes: dict[str | None, ControlPlane] = {}


def control_plane(region_name: str | None) -> ControlPlane:
    """Return the MWAA API of a region, which is made once and kept for further invocations.

    :param region_name: ``None`` for the function's own region.
    """
    if region_name not in _control_planes:
        _control_planes[region_name] = ControlPlane(region_name=region_name)
    return _control_planes[region_name]


def time_left(context: Any) -> Callable[[], float]:
    """Return a function that returns the remaining seconds of an invocation; infinity without a context."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    if remaining is None:
        return lambda: math.inf
    return lambda: _milliseconds(remaining()) / 1000 - RESERVE_S


def _milliseconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise MwaaInputError(
            f"The context's get_remaining_time_in_millis() returned {value!r}, which is not a number of milliseconds. "
            "Pass the context on unchanged."
        )
    return float(value)


def request_id_of(context: Any) -> str | None:
    """Return the invocation's id, which is the same when Lambda retries."""
    return str(getattr(context, "aws_request_id", None) or "") or None


def account_of(context: Any) -> str | None:
    """Return the account that the function runs in."""
    parts = str(getattr(context, "invoked_function_arn", None) or "").split(":")
    return parts[4] if len(parts) > 5 else None


def function_of(context: Any) -> str | None:
    """Return the ARN of the function, without its version or alias, which an upgrade changes."""
    parts = str(getattr(context, "invoked_function_arn", None) or "").split(":")
    return ":".join(parts[:7]) if len(parts) > 6 else None


def let_info_through() -> None:
    """Log this package's lines at level INFO, unless another level was set. Lambda's default is WARNING."""
    logger = logging.getLogger(__package__)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
