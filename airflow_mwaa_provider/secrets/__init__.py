# SPDX-License-Identifier: Apache-2.0
"""Secrets backends with a cache that all processes of a container share."""

from __future__ import annotations

__all__ = ["refresh"]


def refresh(conn_id: str, *, min_age_s: float = 10.0) -> bool:
    """Read a connection's secret again, because the cached one did not work.

    Call it in a task that failed to log in, then read the connection once more. A refresh that fails keeps the cached
    value.

    :param min_age_s: a value that any process read less than this many seconds ago is not read again, so a thousand
        tasks that fail at once make one call.
    :return: whether the value has changed.
    :raises MwaaInputError: the secrets backend of this process is not one of this package's.
    """
    from airflow_mwaa_provider.secrets.configured import configured_backend

    return configured_backend().refresh("connection", conn_id, min_age_s=min_age_s)
