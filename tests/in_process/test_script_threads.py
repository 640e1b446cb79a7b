"""What a thread of a script raises ends the script, which would wait for it."""

from __future__ import annotations

import signal
import threading

import pytest

from bench.worker.script.threads import ScriptThreads


class Told(BaseException):
    pass


def test_who_waits_for_a_thread_is_told_what_it_raised():
    def wait():
        threading.Thread(target=threads.interrupt, args=[Told()]).start()
        threading.Event().wait()  # for ever

    with ScriptThreads() as threads, pytest.raises(Told):
        wait()


def test_in_its_own_thread_there_is_nobody_to_tell():
    with ScriptThreads() as threads:
        assert threads.interrupt(Told()) is None


def test_one_that_comes_late_is_not_heard():
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    with ScriptThreads() as threads:
        assert {number: signal.getsignal(number) for number in signal.valid_signals()} != before
    late = threading.Thread(target=threads.interrupt, args=[Told()])
    late.start()
    late.join()
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before


def test_outside_of_the_main_thread_it_does_nothing():
    """No other may handle signals; a script always runs in the main one."""
    failed = []

    def enter():
        try:
            with ScriptThreads() as threads:
                other = threading.Thread(target=threads.interrupt, args=[Told()])
                other.start()
                other.join()
        except BaseException as problem:
            failed.append(problem)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert failed == []
