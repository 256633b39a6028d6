# SPDX-License-Identifier: Apache-2.0
"""A process that ends is restarted: at once if this is rare, after increasing delays if it keeps happening."""

from __future__ import annotations

import asyncio

import pytest

from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine import supervision

pytestmark = pytest.mark.once


class Enough(Exception):
    """The scenario is over."""


class Ends:
    """A process that lives for some seconds of the clock."""

    def __init__(self, scenario, lives_s):
        self.scenario = scenario
        self.lives_s = lives_s
        self.stopped = 0

    async def wait(self):
        self.scenario.now += self.lives_s
        return 137

    async def stop(self, grace_s):
        self.stopped += 1


class Scenario:
    """Processes with given lifetimes; ``None`` is one that cannot be started."""

    def __init__(self, *lives_s):
        self.now = 0.0
        self.pauses = []
        self.ended = 0
        first, *self.coming = lives_s
        self.first = Ends(self, first)

    async def sleep(self, seconds):
        self.pauses.append(seconds)

    async def start(self):
        if not self.coming:
            raise Enough
        lives_s = self.coming.pop(0)
        if lives_s is None:
            raise LocalMwaaError("no room")
        return Ends(self, lives_s)

    def count(self):
        self.ended += 1

    def play(self):
        with pytest.raises(Enough):
            asyncio.run(
                supervision.keep_running(
                    "it", self.first, self.start, ended=self.count, sleep=self.sleep, clock=lambda: self.now
                )
            )
        return self.pauses


def test_the_first_end_is_answered_soon():
    scenario = Scenario(1000)
    assert scenario.play() == [3]
    assert (scenario.ended, scenario.first.stopped) == (1, 1)


def test_what_keeps_ending_is_started_ever_later():
    assert Scenario(*[1] * 7).play() == [3, 6, 12, 24, 48, 60, 60]


def test_what_has_lived_for_a_while_is_started_soon_again():
    assert Scenario(1, 1, 1, 100, 1).play() == [3, 6, 12, 3, 6]


def test_what_can_not_be_started_is_tried_again(caplog):
    scenario = Scenario(100, None, None, 100)
    assert scenario.play() == [3, 6, 12, 3]
    assert scenario.ended == 2
    assert "it can't be started: no room; trying again in 6 s" in caplog.text
