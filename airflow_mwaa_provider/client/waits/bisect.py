# SPDX-License-Identifier: Apache-2.0
"""Reads of many objects at once, in which the error of one object must not fail all of them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_mwaa_provider.client.http.retrying import within
from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    AnswerTooLarge,
    CallTimeout,
    CliCommandNotAllowed,
    EnvironmentUnavailable,
    MwaaError,
    Throttled,
    TokenExpired,
    UnsupportedByTransport,
    WebServerUnreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

__all__ = ["Batch"]

K = TypeVar("K")
T = TypeVar("T")

# Deadline of each call that searches for the cause of an error: the call before it had time for its retries.
_SEARCH_S = 5.0
# Transient failures in one read, beyond those that it takes to find one key among all.
_SPARE_FAILURES = 4


class Batch(Generic[K]):
    """Read many objects together as long as that works; otherwise find by bisection which one causes the error.

    A permanent error costs two calls for each halving, and its object is not read again. A transient error may as well
    concern all objects, and is searched for with a few calls only; the object that was found is read separately from
    then on, until that succeeds.
    """

    def __init__(self) -> None:
        self._separate: dict[K, None] = {}
        """Keys that failed transiently when read separately; the one that was tried last is last."""

    def keep(self, keys: Collection[K]) -> None:
        """Forget keys that are no longer read."""
        self._separate = {key: None for key in self._separate if key in keys}

    def read(
        self, wanted: Sequence[K], read: Callable[[Sequence[K]], Iterable[T]]
    ) -> tuple[list[T], dict[K, MwaaError]]:
        """Read all of these, in as few calls as possible.

        :param read: reads several at once.
        :return: what could be read, and the errors of the others.
        :raises MwaaError: nothing could be read, for a reason that is unrelated to the keys.
        """
        found: list[T] = []
        errors: dict[K, MwaaError] = {}
        alone: list[K] = []
        together = [key for key in wanted if key not in self._separate]
        # A stack: those together come first, then the separate ones, the one that was tried last at the end.
        left = [*([key] for key in reversed(self._separate) if key in wanted), together]
        failures_left = len(wanted).bit_length() + _SPARE_FAILURES
        while left:
            keys = left.pop()
            if not keys:
                continue
            try:
                with contextlib.nullcontext() if keys is together else within(_SEARCH_S):
                    found += read(keys)
            except MwaaError as error:
                if _concerns_all(error):
                    raise
                # A reading call can be repeated after a time-out, then perhaps with fewer keys.
                error.transient |= isinstance(error, CallTimeout)
                failures_left -= error.transient
                if len(keys) > 1 and failures_left:
                    left += [keys[len(keys) // 2 :], keys[: len(keys) // 2]]
                    continue
                errors.update(dict.fromkeys(keys, error))
                if len(keys) == 1 and error.transient:
                    alone += keys
                if not failures_left:
                    errors.update({key: error for rest in left for key in rest})
                    break
            else:
                for key in keys:
                    self._separate.pop(key, None)
        for key in alone:
            self._separate.pop(key, None)
            self._separate[key] = None
        return found, errors


def _concerns_all(error: MwaaError) -> bool:
    """Return whether a failure is unrelated to the keys, so that reading fewer cannot help."""
    if isinstance(error, AccessDenied):
        # AWS denies the caller, Airflow may deny one DAG; and a call over another transport is denied on its own.
        used_another_transport = isinstance(error.__cause__, UnsupportedByTransport | AnswerTooLarge)
        return error.status != 403 and not used_another_transport
    if isinstance(error, EnvironmentUnavailable):
        return not isinstance(error, WebServerUnreachable)
    return isinstance(error, Throttled | TokenExpired | CliCommandNotAllowed)
