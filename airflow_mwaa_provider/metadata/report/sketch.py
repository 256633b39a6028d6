# SPDX-License-Identifier: Apache-2.0
"""Quantiles of any number of durations in bounded memory."""

from __future__ import annotations

import math

__all__ = ["RELATIVE_ERROR", "DurationSketch"]

RELATIVE_ERROR = 0.02
_LEAST_S = 1e-3
_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_SCALE = 1 / math.log(_GROWTH)


class DurationSketch:
    """Count durations in classes, each 4% wider than the previous one: some 600 between a millisecond and a year.

    A quantile is accurate to 2%, or to a millisecond. Count and sum are exact.
    """

    __slots__ = ("_classes", "count", "total_s")

    def __init__(self) -> None:
        self.count = 0
        self.total_s = 0.0
        self._classes: dict[int, int] = {}

    def add(self, seconds: float) -> None:
        """Add a duration."""
        self.count += 1
        self.total_s += seconds
        place = math.ceil(math.log(seconds / _LEAST_S) * _SCALE) if seconds > _LEAST_S else 0
        classes = self._classes
        classes[place] = classes.get(place, 0) + 1

    def merge(self, other: DurationSketch) -> None:
        """Add everything that another one has counted."""
        self.count += other.count
        self.total_s += other.total_s
        for place, count in other._classes.items():
            self._classes[place] = self._classes.get(place, 0) + count

    def quantile(self, share: float) -> float | None:
        """Return the shortest duration that at least this share does not exceed; ``None`` if there is none."""
        if not self.count:
            return None
        wanted = max(1, math.ceil(share * self.count))
        reached = 0
        for place in sorted(self._classes):
            reached += self._classes[place]
            if reached >= wanted:
                return 0.0 if place == 0 else _LEAST_S * _GROWTH**place * 2 / (1 + _GROWTH)
        raise AssertionError("the classes hold as many as were counted")
