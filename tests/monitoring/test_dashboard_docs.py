# SPDX-License-Identifier: Apache-2.0
"""The docs describe the alarms that the package has."""

from __future__ import annotations

import re

from airflow_mwaa_provider.monitoring.alarms import ALARMS, alarm_requests
from tests.monitoring.doc_tables import DOCS, row, rows


def test_the_table_of_alarms() -> None:
    wanted = [row(f"`{alarm.key}`", alarm.condition(), alarm.why) for alarm in ALARMS]
    written = [line for line in rows("dashboards.md") if re.match(r"\| `[a-z-]+` \| (above|at least|below) ", line)]
    assert written == wanted


def test_what_the_alarms_cost_is_counted_right() -> None:
    requests = alarm_requests(["prod"], max_workers={"prod": 10})
    looked_at = sum(
        sum("MetricStat" in part for part in request["Metrics"]) if "Metrics" in request else 1 for request in requests
    )
    assert f"The {len(requests)} alarms of an\n  environment look at {looked_at}" in (DOCS / "dashboards.md").read_text(
        encoding="utf-8"
    )
