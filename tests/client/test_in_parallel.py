# SPDX-License-Identifier: Apache-2.0
"""A few calls in parallel: results in order, and an immediate end if calls that only read are interrupted."""

from __future__ import annotations

import _thread
import signal
import threading

import pytest

from airflow_mwaa_provider.client.in_parallel import AT_ONCE, read_all

pytestmark = pytest.mark.once


def test_results_are_in_order_and_so_many_calls_are_under_way() -> None:
    together = threading.Barrier(AT_ONCE)

    def call(number: int) -> int:
        together.wait(10)
        return number * 10

    assert read_all(call, range(2 * AT_ONCE)) == [number * 10 for number in range(2 * AT_ONCE)]
    assert read_all(call, []) == []


def test_an_error_of_a_call_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        read_all(lambda number: 1 // number, [1, 0, 2])


def test_interrupted_it_waits_for_no_call() -> None:
    is_over = threading.Event()
    # If the tests run in the background of a script, they ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def call(number: int) -> None:
        if number == 1:
            _thread.interrupt_main()
        is_over.wait()

    try:
        with pytest.raises(KeyboardInterrupt):
            read_all(call, [0, 1, 2])
    finally:
        is_over.set()
        signal.signal(signal.SIGINT, before)
