# SPDX-License-Identifier: Apache-2.0
"""The one error of the local MWAA's life cycle that reaches its user."""

from __future__ import annotations


class LocalMwaaError(Exception):
    """The local MWAA can't do what was asked; the text is one line that says what to do.

    ``log_tail`` holds the last lines of the log that says why, where there is such a log.
    ``misuse`` is true when the caller asked for something that can't be right (exit status 2 in a terminal).
    """

    def __init__(self, message: str, log_tail: str = "", *, misuse: bool = False) -> None:
        super().__init__(message)
        self.log_tail = log_tail
        self.misuse = misuse
