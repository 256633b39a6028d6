# SPDX-License-Identifier: Apache-2.0
"""Tests that run on one Airflow only, because what they test does not depend on Airflow."""

from __future__ import annotations

import os

import pytest

from airflow_mwaa_provider._compat import AIRFLOW_V_3

FULL = os.environ.get("AIRFLOW_MWAA_TEST_FULL") == "1"
KNOWS_NO_AIRFLOW = pytest.mark.skipif(
    not AIRFLOW_V_3 and not FULL, reason="the suite of Airflow 3 does it; what is tried knows no Airflow"
)
