# SPDX-License-Identifier: Apache-2.0
"""The seed of the day: tests that draw their cases use new ones every day, or repeat those of a given day.

``AIRFLOW_MWAA_TEST_SEED=20261122`` repeats the cases of that day on any date. The first process of a run sets it, and
those that it starts inherit it, so that a run past midnight has one seed.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

NAME = "AIRFLOW_MWAA_TEST_SEED"


def of_the_day() -> str:
    """Return the seed of this run."""
    return os.environ.setdefault(NAME, f"{datetime.now(UTC):%Y%m%d}")


def several(count: int) -> list[str]:
    """Return seeds for a number of cases, each derived from the run's seed."""
    return [f"{of_the_day()}-{number}" for number in range(count)]


def line() -> str:
    """Return how to repeat a run like this one."""
    return f"seed of the day: {NAME}={of_the_day()}"
