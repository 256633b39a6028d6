# SPDX-License-Identifier: Apache-2.0
"""The parts without a network: errors, the steps of a wait, retries, what a failed connection means."""

from __future__ import annotations

import inspect
import pickle
import re
import ssl
import threading
from typing import Any

import pytest

from airflow_mwaa_provider import exceptions
from airflow_mwaa_provider.client.access import ClientSettings
from airflow_mwaa_provider.client.http.errors import handshake_failed, never_connected, reason
from airflow_mwaa_provider.client.http.retrying import MIN_ATTEMPT_S, call_with_retries, held, is_overdue, time_left_s
from airflow_mwaa_provider.client.models import DagRun, DagRunState
from airflow_mwaa_provider.client.waits.run_wait import Done, Failed, PollInterval, RunWait, Wait
from airflow_mwaa_provider.exceptions import (
    CallTimeout,
    DagRunFailed,
    DagRunNotFound,
    MwaaError,
    MwaaInputError,
    Throttled,
    WaitTimeout,
)
from tests.client.world import FakeTime

ERRORS = [getattr(exceptions, name) for name in exceptions.__all__]

# -- errors --------------------------------------------------------------------------------------------


def test_all_is_all() -> None:
    classes = [
        name
        for name, thing in vars(exceptions).items()
        if inspect.isclass(thing) and issubclass(thing, Exception) and thing.__module__ == exceptions.__name__
    ]
    assert sorted(classes) == exceptions.__all__


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in str(exceptions.__doc__).splitlines():
        found = re.match(r"    ([│ ├└─]*)(\w+)", line)
        if found and found[2] in exceptions.__all__:
            level = len(found[1]) // 4
            above[level:] = [found[2]]
            if level:
                drawn[found[2]] = above[level - 1]
    assert drawn == {error.__name__: error.__bases__[0].__name__ for error in ERRORS if error is not MwaaError}


@pytest.mark.parametrize("error_class", ERRORS)
def test_errors_are_picklable_and_one_line(error_class: Any) -> None:
    ours = [kind for kind in error_class.__mro__ if issubclass(kind, MwaaError)]
    fields = {name for kind in ours for name in _keywords(kind)} - {"fields", "message", "advice", "parameter"}
    error = error_class("two\nlines\x1b[0m and\ta tab\u2028x", **dict.fromkeys(fields, "given"))
    assert str(error) == "two lines [0m and a tab x"
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is error_class
    assert str(copy) == str(error)
    assert vars(copy) == {**dict.fromkeys(fields, "given"), "_said": str(error), "advice": "", "parameter": ""}
    assert str(error_class()) == ""


def _keywords(kind: type) -> list[str]:
    init = kind.__dict__.get("__init__")
    return [name for name in inspect.signature(init).parameters if name != "self"] if init else []


# -- waits ---------------------------------------------------------------------------------------------

RUN = DagRun("etl", "run_1", DagRunState.RUNNING)
WAIT = RunWait("env", "etl", "run_1", started_at=100.0, deadline_s=50.0)


@pytest.mark.parametrize("state", list(DagRunState))
def test_every_state_has_its_step(state: DagRunState) -> None:
    step = WAIT.step(DagRun("etl", "run_1", state), 101.0)
    expected = {DagRunState.SUCCESS: Done, DagRunState.FAILED: Failed}.get(state, Wait)
    assert type(step) is expected
    if isinstance(step, Failed):
        assert isinstance(step.error, DagRunFailed)
        assert step.error.state == "failed"


def test_other_states_may_be_wanted() -> None:
    wanted = RunWait("env", "etl", "run_1", 0, 9, frozenset({DagRunState.FAILED}), frozenset({DagRunState.RUNNING}))
    assert isinstance(wanted.step(DagRun("etl", "run_1", DagRunState.FAILED), 0), Done)
    assert isinstance(wanted.step(RUN, 0), Failed)
    # A final state in neither set would never end the wait.
    assert isinstance(wanted.step(DagRun("etl", "run_1", DagRunState.SUCCESS), 0), Failed)


@pytest.mark.parametrize(
    ("seen", "now", "expected"),
    [
        (RUN, 100.0, Wait(2.0, "running")),
        (RUN, 140.0, Wait(4.0, "running")),
        (RUN, 149.5, Wait(0.5, "running")),
        (Throttled("slow", transient=True), 100.0, Wait(2.0, "slow")),
        (Throttled("slow", transient=True, retry_after_s=7), 100.0, Wait(7, "slow")),
        (Throttled("slow", transient=True, retry_after_s=70), 100.0, Wait(50, "slow")),
    ],
)
def test_pauses(seen: Any, now: float, expected: Wait) -> None:
    assert WAIT.step(seen, now) == expected


@pytest.mark.parametrize(
    ("seen", "now", "error"),
    [
        (RUN, 150.0, WaitTimeout),
        (Throttled("slow", transient=True), 150.0, WaitTimeout),
        (MwaaInputError("no"), 100.0, MwaaInputError),
        (DagRunNotFound("no"), 100.0, DagRunNotFound),
    ],
)
def test_ends_without_success(seen: Any, now: float, error: type[MwaaError]) -> None:
    step = WAIT.step(seen, now)
    assert isinstance(step, Failed)
    assert type(step.error) is error


def test_the_pace_slows_down_or_is_fixed() -> None:
    assert [PollInterval().delay_s(age) for age in (0, 19, 100, 5000)] == [2, 2, 10, 60]
    assert PollInterval(fixed_s=7).delay_s(5000) == 7


def test_only_known_transports_are_taken() -> None:
    with pytest.raises(MwaaInputError, match="'rest_api', 'web_session', 'cli'"):
        ClientSettings(transport="smoke")


# -- retries -------------------------------------------------------------------------------------------


def attempts(*errors: MwaaError | None) -> Any:
    waiting = list(errors)

    def attempt() -> str:
        error = waiting.pop(0)
        if error is not None:
            raise error
        return "done"

    return attempt


def slow(**more: Any) -> Throttled:
    return Throttled("slow", transient=True, **more)


def test_it_is_tried_until_it_works() -> None:
    time = FakeTime()
    assert call_with_retries(attempts(slow(), slow(), slow(retry_after_s=9), None), time.policy()) == "done"
    assert time.slept == [0.5, 1.0, 9]


def test_what_is_not_transient_is_raised_at_once() -> None:
    time = FakeTime()
    with pytest.raises(MwaaInputError):
        call_with_retries(attempts(MwaaInputError("no")), time.policy())
    with pytest.raises(ZeroDivisionError):
        call_with_retries(lambda: 1 / 0, time.policy())
    assert time.slept == []


def test_pauses_are_bounded_and_fill_the_deadline() -> None:
    time = FakeTime()
    with pytest.raises(Throttled):
        call_with_retries(attempts(*[slow()] * 99), time.policy(deadline_s=100))
    assert time.slept == [0.5, 1, 2, 4, 8, 16, 20, 20, 20, 8.5]
    assert time.now == 1_100


def test_a_slow_attempt_uses_the_deadline_up() -> None:
    time = FakeTime()

    def attempt() -> None:
        time.now += 61
        raise slow()

    with pytest.raises(Throttled):
        call_with_retries(attempt, time.policy())
    assert time.slept == []


def test_no_pause_is_drawn_without_jitter() -> None:
    policy = FakeTime().policy()
    lowest = type(policy)(random=lambda: 0.0)
    assert [lowest.pause_s(n) for n in (1, 2, 99)] == [0.25, 0.5, 10]
    assert [policy.pause_s(n) for n in (1, 2, 99)] == [0.5, 1, 20]


def test_what_is_below_knows_the_deadline() -> None:
    time = FakeTime()
    seen: list[Any] = []

    def attempt() -> None:
        seen.append((time_left_s(60), is_overdue()))
        time.now += 28
        seen.append((time_left_s(60), is_overdue()))
        time.now += 3 + MIN_ATTEMPT_S
        seen.append((time_left_s(60), is_overdue()))
        # Retries within retries would multiply the time.
        with pytest.raises(Throttled):
            call_with_retries(attempts(slow(), None), time.policy())

    call_with_retries(attempt, time.policy(deadline_s=30))
    assert seen == [(30, False), (MIN_ATTEMPT_S, False), (MIN_ATTEMPT_S, True)]
    assert (time_left_s(60), is_overdue()) == (60, False)
    assert time.slept == []


def test_a_thread_that_hangs_holds_no_other_up_beyond_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_mwaa_provider.client.http import retrying

    monkeypatch.setattr(retrying, "MIN_ATTEMPT_S", 0.01)
    lock, time = threading.Lock(), FakeTime()
    lock.acquire()

    def attempt() -> None:
        with held(lock, "env", "the login"):
            raise AssertionError

    with pytest.raises(CallTimeout, match="the login, which another thread started"):
        call_with_retries(attempt, time.policy(deadline_s=0))
    lock.release()


# -- connections ---------------------------------------------------------------------------------------


def test_a_callers_own_exception_says_nothing_about_ours() -> None:
    from urllib3.exceptions import NewConnectionError

    def fail() -> None:
        try:
            raise NewConnectionError(None, "of the caller")  # type: ignore[arg-type]
        except NewConnectionError:
            raise ConnectionResetError("ours") from None

    with pytest.raises(ConnectionResetError) as caught:
        fail()
    assert caught.value.__context__ is not None
    assert not never_connected(caught.value)
    assert reason(caught.value) == "ours"


def test_tls_that_breaks_later_is_no_refused_certificate() -> None:
    assert handshake_failed(OSError(ssl.SSLCertVerificationError(1, "certificate verify failed")))
    assert handshake_failed(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"))
    assert not handshake_failed(ssl.SSLEOFError(8, "EOF occurred in violation of protocol"))
    assert not handshake_failed(ssl.SSLError(1, "[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC] bad"))
    assert not handshake_failed(ConnectionResetError())


def test_a_proxys_refusal_is_definite_and_a_broken_tunnel_is_not() -> None:
    from urllib3.exceptions import ProxyError

    assert never_connected(ProxyError("no", OSError("Tunnel connection failed: 403 Forbidden")))
    # urllib3 1.26 raises this for every socket error behind a proxy.
    assert not never_connected(ProxyError("Cannot connect to proxy.", ConnectionResetError(104, "reset")))
    assert reason(ConnectionError("see http://user:hush@host:1/x")) == "see http://***@host:1/x"
