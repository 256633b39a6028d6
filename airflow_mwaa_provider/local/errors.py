# SPDX-License-Identifier: Apache-2.0
"""The one error of the local MWAA's life cycle that reaches its user."""

from __future__ import annotations


class LocalMwaaError(Exception):
    """The local MWAA cannot carry out a request; the message is one line that says what to do.

    ``log_tail`` has the last lines of the log that shows why, if there is such a log.
    ``misuse`` is true if the request itself is wrong (exit status 2 in a terminal).
    """

    def __init__(self, message: str, log_tail: str = "", *, misuse: bool = False) -> None:
        super().__init__(message)
        self.log_tail = log_tail
        self.misuse = misuse
