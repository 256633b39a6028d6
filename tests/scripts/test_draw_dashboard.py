# SPDX-License-Identifier: Apache-2.0
"""The picture of a dashboard in the docs is what its script draws from metrics of a local MWAA."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest

from airflow_mwaa_provider.monitoring.alarms import ALARMS
from airflow_mwaa_provider.monitoring.dashboard import GRAPHS
from scripts.lib import draw_dashboard

pytestmark = pytest.mark.once

RECORDED = json.loads((draw_dashboard.ASSETS / "dashboard.json").read_text(encoding="utf-8"))


def test_the_picture_is_that_of_the_recorded_values() -> None:
    """If it differs, run python scripts/lib/draw_dashboard.py."""
    assert draw_dashboard.draw(RECORDED) == (draw_dashboard.ASSETS / "dashboard.svg").read_text(encoding="utf-8")


def test_it_shows_graphs_of_the_dashboard_in_their_order() -> None:
    titles = [graph.title for graph in GRAPHS]
    shown = [graph["title"] for graph in RECORDED["graphs"]]
    assert shown == sorted(shown, key=titles.index)
    assert len(shown) >= 12
    thresholds = {alarm.key: alarm.threshold for alarm in ALARMS}
    for graph, recorded in ((titles.index(each["title"]), each) for each in RECORDED["graphs"]):
        assert recorded["threshold"] == thresholds.get(GRAPHS[graph].alarm)
        assert {len(line["values"]) for line in recorded["lines"]} == {RECORDED["periods"]}


def test_each_line_is_drawn_within_its_panel() -> None:
    root = ElementTree.fromstring(draw_dashboard.draw(RECORDED))
    panels = [group for group in root.iter() if "translate" in group.get("transform", "")]
    assert len(panels) == len(RECORDED["graphs"])
    for panel, graph in zip(panels, RECORDED["graphs"], strict=True):
        curves = [each for each in panel if each.tag.endswith(("polyline", "circle"))]
        assert len(curves) >= len(graph["lines"])
        numbers = [pair.split(",") for each in curves for pair in (each.get("points") or "").split()]
        for x, y in numbers:
            assert draw_dashboard.LEFT <= float(x) <= draw_dashboard.PANEL_WIDTH - draw_dashboard.RIGHT
            assert draw_dashboard.TOP <= float(y) <= draw_dashboard.PANEL_HEIGHT - draw_dashboard.BOTTOM


def test_a_gap_breaks_a_line_and_a_value_alone_is_a_dot() -> None:
    drawn = list(draw_dashboard.curve([1.0, 2.0, None, 3.0, None, 4.0, 5.0], 7, "#000000", lambda value: value))
    assert [re.match(r"<(\w+)", each)[1] for each in drawn] == ["polyline", "circle", "polyline"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 1), (0.3, 0.4), (1, 1), (3, 4), (5, 10), (95, 100), (1800, 2000), (2001, 4000)]
)
def test_an_axis_ends_at_a_round_number(value: float, expected: float) -> None:
    assert draw_dashboard.rounded_up(value, 1) == pytest.approx(expected)
