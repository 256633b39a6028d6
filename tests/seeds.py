# SPDX-License-Identifier: Apache-2.0
"""The seed of the day: tests that draw their cases try others every day, and the same ones wherever they are told to.

``AIRFLOW_MWAA_TEST_SEED=20261122`` repeats the cases of that day, whatever the date. The first process of a run settles
it, and those that it starts inherit it, so that a run over midnight has one seed.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

NAME = "AIRFLOW_MWAA_TEST_SEED"


def of_the_day() -> str:
    """Return the seed of this run."""
    return os.environ.setdefault(NAME, f"{datetime.now(UTC):%Y%m%d}")


def several(count: int) -> list[str]:
    """Return seeds for as many cases, each of which names the run's."""
    return [f"{of_the_day()}-{number}" for number in range(count)]


def line() -> str:
    """Return how a run like this one is repeated."""
    return f"seed of the day: {NAME}={of_the_day()}"
