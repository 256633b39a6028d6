# SPDX-License-Identifier: Apache-2.0
"""Queries that end when the process is stopped by Ctrl-C or SIGTERM.

psycopg2 waits for an answer in C code, where Python runs no signal handler before the query has ended. So the main
thread, the only one that handles signals, lets another thread wait, and cancels the query when a handler raises.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2.extensions import cursor as psycopg2_cursor

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["InterruptibleCursor", "cancel"]

_PATIENCE_S = 5.0


class InterruptibleCursor(psycopg2_cursor):
    """A cursor whose ``execute`` a signal handler can end; ``execute`` then raises what the handler raised."""

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - its name there
        """Run a statement."""
        run = partial(super().execute, query, vars)
        if threading.current_thread() is not threading.main_thread():
            run()
            return
        _watched(self.connection, run)


def _watched(connection: Any, run: Callable[[], None]) -> None:
    errors: list[BaseException] = []
    is_over = threading.Event()

    def work() -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - raised again in the waiting thread
            errors.append(error)
        finally:
            is_over.set()

    threading.Thread(target=work, name="query", daemon=True).start()
    try:
        is_over.wait()
    except BaseException:
        cancel(connection)
        if not is_over.wait(_PATIENCE_S):
            _break_off(connection)
            is_over.wait(_PATIENCE_S)
        raise
    if errors:
        raise errors[0]


def cancel(connection: Any) -> None:
    """Ask the server to cancel a connection's query, without waiting for an answer, because a server may hang."""

    def ask() -> None:
        with suppress(psycopg2.Error):
            connection.cancel()

    threading.Thread(target=ask, name="cancel", daemon=True).start()


def _break_off(connection: Any) -> None:
    """Break off a connection whose server does not answer, so that nothing waits for it."""
    with suppress(OSError, psycopg2.Error), socket.socket(fileno=connection.fileno()) as raw:
        try:
            raw.shutdown(socket.SHUT_RDWR)
        finally:
            raw.detach()  # the descriptor belongs to psycopg2
