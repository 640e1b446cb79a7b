"""Ctrl-C and SIGTERM, sent for real: they wait for a place where nothing is lost, unless they are sent twice."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess

import pytest

from bench.errors import Interrupted
from bench.system.signals import SIGNALS, clearing_away, interruptible, stoppable

both = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def handlers():
    """Python's own, which must be back in place after every test; a run in the background ignores SIGINT."""
    before = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    of_the_run = {number: signal.signal(number, handler) for number, handler in before.items()}
    yield before
    after = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in of_the_run.items():
        signal.signal(number, handler)
    assert after == before


def test_they_are_what_a_terminal_and_a_scheduler_send():
    assert set(SIGNALS) == {signal.SIGINT, signal.SIGTERM}


@both
def test_outside_a_wait_a_signal_takes_effect_at_the_next_one(number):
    reached = []
    with stoppable():
        send(number)
        reached.append("what comes after the signal")
        with pytest.raises(Interrupted) as stop, interruptible():
            reached.append("inside the wait")
    assert stop.value.signal_number == number
    assert reached == ["what comes after the signal"]


@both
def test_inside_a_wait_a_signal_takes_effect_at_once(number):
    reached = []

    def wait() -> None:
        with interruptible():
            send(number)
            reached.append("what comes after the signal")

    with stoppable(), pytest.raises(Interrupted) as stop:
        wait()
    assert stop.value.signal_number == number
    assert reached == []


@both
def test_a_signal_ends_a_wait_for_a_pipe_that_nothing_comes_through(number):
    receiver, sender = os.pipe()
    try:
        with stoppable(), selectors.DefaultSelector() as selector:
            selector.register(receiver, selectors.EVENT_READ)
            kill = subprocess.Popen(["sh", "-c", f"kill -s {number.name[3:]} {os.getpid()}"])
            with pytest.raises(Interrupted) as stop, interruptible():
                selector.select(60)
            assert kill.wait() == 0
        assert stop.value.signal_number == number
    finally:
        os.close(receiver)
        os.close(sender)


@both
def test_after_a_wait_it_is_deferred_again(number):
    with stoppable():
        with interruptible():
            pass
        send(number)
        with pytest.raises(Interrupted), interruptible():
            pass


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_the_second_takes_effect_anywhere(first, second):
    reached = []

    def work() -> None:
        send(first)
        reached.append("between")
        send(second)
        reached.append("after")

    with stoppable(), pytest.raises(Interrupted) as stop:
        work()
    assert stop.value.signal_number == second
    assert reached == ["between"]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_what_is_cleared_away_is_cleared_away_to_the_end(times):
    cleared = []
    with stoppable():
        with clearing_away():
            for _ in range(times):
                send(signal.SIGINT)
            cleared.append("all")
        with pytest.raises(Interrupted), interruptible():
            cleared.append("too much")
    assert cleared == ["all"]


def test_what_is_cleared_away_because_of_a_signal_is_too():
    cleared = []

    def wait() -> None:
        try:
            with interruptible():
                send(signal.SIGINT)
        finally:
            with clearing_away():
                send(signal.SIGINT)
                cleared.append("all")

    with stoppable(), pytest.raises(Interrupted):
        wait()
    assert cleared == ["all"]


def test_clearing_away_may_hold_another():
    with stoppable():
        with clearing_away():
            with clearing_away():
                pass
            send(signal.SIGINT)
            send(signal.SIGINT)
        with pytest.raises(Interrupted), interruptible():
            pass


def test_a_wait_goes_on_after_one_inside_it():
    reached = []

    def wait() -> None:
        with interruptible():
            with interruptible():
                pass
            send(signal.SIGINT)
            reached.append("what comes after the signal")

    with stoppable(), pytest.raises(Interrupted):
        wait()
    assert reached == []


def test_without_a_signal_nothing_happens():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stoppable(), interruptible(), clearing_away():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


class TestAfterwards:
    @both
    def test_a_signal_does_what_it_did_before(self, number):
        seen = []
        signal.signal(number, lambda *_: seen.append("before"))
        mine = signal.getsignal(number)
        with stoppable():
            assert signal.getsignal(number) is not mine
        send(number)
        assert seen == ["before"]
        assert signal.getsignal(number) is mine
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    @pytest.mark.parametrize("problem", [Interrupted(2), KeyError(), SystemExit()])
    def test_so_it_does_whatever_came_out(self, handlers, problem):
        with pytest.raises(type(problem)), stoppable():
            raise problem
        assert {number: signal.getsignal(number) for number in SIGNALS} == handlers

    def test_a_request_that_was_not_heeded_is_forgotten(self):
        with stoppable():
            send(signal.SIGTERM)
        with interruptible():
            pass
        with stoppable():
            send(signal.SIGTERM)  # the first one here
            with pytest.raises(Interrupted), interruptible():
                pass

    def test_a_wait_of_nobody_who_may_be_stopped_ends_as_any_other(self):
        with pytest.raises(KeyboardInterrupt), interruptible():
            send(signal.SIGINT)


class TestOneInsideAnother:
    def test_a_request_from_outside_holds_inside(self):
        with stoppable():
            send(signal.SIGTERM)
            with stoppable(), pytest.raises(Interrupted) as stop, interruptible():
                pass
        assert stop.value.signal_number == signal.SIGTERM

    def test_a_request_from_inside_holds_outside(self):
        with stoppable():
            with stoppable():
                send(signal.SIGTERM)
            with pytest.raises(Interrupted) as stop, interruptible():
                pass
        assert stop.value.signal_number == signal.SIGTERM

    def test_the_outer_one_still_lasts(self):
        with stoppable():
            with stoppable():
                pass
            send(signal.SIGINT)
            with pytest.raises(Interrupted), interruptible():
                pass
