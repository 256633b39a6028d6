# SPDX-License-Identifier: Apache-2.0
"""Keeps boto3's requests and answers out of the log."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["values_kept_out_of_logs"]

_LOGGERS = ("botocore", "botocore.auth", "botocore.endpoint", "botocore.hooks", "botocore.parsers")
_quiet = threading.Lock()
_quiet_calls = 0
_levels: dict[str, int] = {}


@contextlib.contextmanager
def values_kept_out_of_logs() -> Iterator[None]:
    """Keep botocore from logging requests and answers. At level DEBUG it logs them whole, including the values."""
    global _quiet_calls
    with _quiet:
        if not _quiet_calls:
            for name in _LOGGERS:
                logger = logging.getLogger(name)
                _levels[name] = logger.level
                logger.setLevel(max(logger.getEffectiveLevel(), logging.INFO))
        _quiet_calls += 1
    try:
        yield
    finally:
        with _quiet:
            _quiet_calls -= 1
            if not _quiet_calls:
                for name in _LOGGERS:
                    logging.getLogger(name).setLevel(_levels[name])
