# SPDX-License-Identifier: Apache-2.0
"""Reads of many things at once, in which one thing's own error must not become everyone's."""

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

# Deadline of each call that looks for whose error it is: the call before it had its time to be tried again.
_SEARCH_S = 5.0
# Transient failures in one read beyond those that it takes to find one key among all.
_SPARE_FAILURES = 4


class Batch(Generic[K]):
    """Reads many things together as long as that works; where it doesn't, finds out by halving whose error it is.

    An error that isn't transient costs two calls for each halving, and what it belongs to is not asked for again. One
    that is transient may as well be everyone's, and is searched for a few calls only; what it was found to belong to is
    read by itself from then on, until that succeeds.
    """

    def __init__(self) -> None:
        self._apart: dict[K, None] = {}
        """What failed for a time when it was read by itself; what was tried last stands last."""

    def keep(self, keys: Collection[K]) -> None:
        """Forget what isn't read any more."""
        self._apart = {key: None for key in self._apart if key in keys}

    def read(
        self, wanted: Sequence[K], read: Callable[[Sequence[K]], Iterable[T]]
    ) -> tuple[list[T], dict[K, MwaaError]]:
        """Read all of these, in as few calls as it takes.

        :param read: reads several at once.
        :return: what could be read, and the errors of what couldn't.
        :raises MwaaError: nothing could be read, for a reason that has nothing to do with what was asked for.
        """
        found: list[T] = []
        errors: dict[K, MwaaError] = {}
        alone: list[K] = []
        together = [key for key in wanted if key not in self._apart]
        # A stack: those together come first, then what is apart, the one that was tried last at the end.
        left = [*([key] for key in reversed(self._apart) if key in wanted), together]
        failures_left = len(wanted).bit_length() + _SPARE_FAILURES
        while left:
            keys = left.pop()
            if not keys:
                continue
            try:
                with contextlib.nullcontext() if keys is together else within(_SEARCH_S):
                    found += read(keys)
            except MwaaError as error:
                if _is_everyones(error):
                    raise
                # What only reads can be asked again after a time-out, then perhaps with less at once.
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
                    self._apart.pop(key, None)
        for key in alone:
            self._apart.pop(key, None)
            self._apart[key] = None
        return found, errors


def _is_everyones(error: MwaaError) -> bool:
    """Whether a failure has nothing to do with what was asked for, so that to ask for less cannot help."""
    if isinstance(error, AccessDenied):
        # AWS refuses the caller, Airflow may refuse one DAG; and a call that goes its own way is refused by itself.
        went_its_own_way = isinstance(error.__cause__, UnsupportedByTransport | AnswerTooLarge)
        return error.status != 403 and not went_its_own_way
    if isinstance(error, EnvironmentUnavailable):
        return not isinstance(error, WebServerUnreachable)
    return isinstance(error, Throttled | TokenExpired | CliCommandNotAllowed)
