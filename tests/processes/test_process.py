"""What plain Python allows a script to do to its process, which a launch must allow too."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.utils.data import DataLoader

from bench.worker.script.run import Left, Process
from bench.worker.script.writes import Stopped


def nothing():
    pass


class TestEnds:
    def test_os_exit_says_its_code_and_the_process_lives_on(self):
        with pytest.raises(Left) as left, Process().watched():
            os._exit(3)
        assert left.value.code == 3

    def test_a_forked_child_ends_by_it_as_always(self):
        with Process().watched():
            child = os.fork()
            if child == 0:
                os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7

    def test_another_program_in_its_place_is_stopped(self):
        with (
            pytest.raises(Stopped, match=r"replaces itself with python.* .*NAME=VALUE bench run"),
            Process().watched(),
        ):
            os.execv(sys.executable, [sys.executable, "-c", "pass"])

    def test_afterwards_everything_is_as_it_was(self):
        before = os._exit, multiprocessing.process.BaseProcess.start
        with Process().watched():
            assert os._exit is not before[0]
        assert (os._exit, multiprocessing.process.BaseProcess.start) == before


class TestThreads:
    def test_those_that_are_no_daemons_are_waited_for(self):
        process, go, done = Process(), threading.Event(), []

        def work():
            go.wait()
            done.append(True)

        threading.Thread(target=work).start()
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        go.set()
        process.wait()
        assert done == [True]

    def test_the_idle_ones_of_an_executor_are_let_go(self):
        process = Process()
        executor = ThreadPoolExecutor(1)
        thread = executor.submit(threading.current_thread).result()
        process.wait()
        assert not thread.is_alive()
        assert ThreadPoolExecutor(1).submit(nothing).result() is None  # who comes later may have one again


class TestChildren:
    def test_they_are_named_and_those_of_a_loader_are_not(self):
        process = Process()
        with process.watched():
            fork = multiprocessing.get_context("fork")
            child = fork.Process(target=nothing)
            child.start()
            child.join()
            list(DataLoader(torch.zeros(2), num_workers=1, multiprocessing_context=fork))
        assert process.children == ["nothing"]
