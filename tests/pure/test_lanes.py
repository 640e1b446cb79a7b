"""Launches on several equal cards at the same time: threads, the end of them, and what each process sees."""

from __future__ import annotations

import threading

import pytest

from bench.errors import Interrupted
from bench.machine.lock import own_spans, spans
from bench.machine.placement import Place
from bench.measurement import Device
from bench.running.lanes import ONE_CARD, Spread, at_once, conditions_on, exchanged, spread_over
from bench.suite.case import Conditions
from bench.system import signals

CARDS = [Device("A card", "cuda", index, uuid=f"uuid-{index}") for index in range(4)]


class TestAtOnce:
    def test_a_single_one_runs_in_this_thread(self):
        threads = [threading.current_thread() for _ in range(3)]
        assert list(at_once([(threading.current_thread() for _ in range(3))])) == threads
        assert list(at_once([])) == []

    def test_all_items_come_those_of_each_in_their_order(self):
        found = list(at_once([iter(range(n, 1000, 4)) for n in range(4)]))
        assert sorted(found) == list(range(1000))
        for n in range(4):
            assert [item for item in found if item % 4 == n] == list(range(n, 1000, 4))

    def test_they_run_at_the_same_time(self):
        """Each waits for all others: one behind the other, they would wait for ever."""
        meeting = threading.Barrier(4, timeout=60.0)

        def met(number):
            meeting.wait()
            yield number

        assert sorted(at_once([met(number) for number in range(4)])) == [0, 1, 2, 3]

    def test_an_item_comes_while_others_are_not_done(self):
        later = threading.Event()

        def first():
            later.wait(60.0)
            yield "first"

        found = at_once([first(), iter(["second"])])
        assert next(found) == "second"
        later.set()
        assert list(found) == ["first"]

    def test_what_one_raises_is_raised_once_the_others_have_ended(self):
        told, ended = threading.Event(), []

        def raises():
            yield 1
            raise OSError("no space left")

        def waits():
            yield 2
            told.wait(60.0)
            yield 3
            ended.append("must not come here")

        with pytest.raises(OSError, match="no space left"):
            list(at_once([raises(), waits()], interrupt=told.set))
        assert ended == []
        assert not [thread for thread in threading.enumerate() if thread.name == "lane"]

    def test_closing_it_ends_all(self):
        told = threading.Event()

        def waits(first):
            yield first
            told.wait(60.0)
            yield "never"

        found = at_once([waits(1), waits(2)], interrupt=told.set)
        assert next(found) in (1, 2)
        found.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "lane"]

    def test_a_signal_that_came_before_ends_it(self, monkeypatch):
        monkeypatch.setattr(signals._State, "requested", 2)
        told = threading.Event()

        def waits():
            told.wait(60.0)
            yield "never"

        with pytest.raises(Interrupted):
            list(at_once([waits(), waits()], interrupt=told.set))


class TestWaitsOfOtherThreads:
    @pytest.mark.parametrize("context", [signals.interruptible, signals.clearing_away])
    def test_they_change_nothing_for_the_main_thread(self, context, monkeypatch):
        monkeypatch.setattr(signals._State, "requested", 2)
        seen = []

        def wait():
            with context():
                seen.append((signals._State.waiting, signals._State.clearing))

        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
        assert seen == [(False, False)]


class TestWhatAProcessSees:
    def test_the_card_of_the_lane_takes_the_place_of_the_device_of_the_case(self):
        assert exchanged(CARDS, "cuda:0", CARDS[2]) == {
            "CUDA_VISIBLE_DEVICES": "GPU-uuid-2,GPU-uuid-1,GPU-uuid-0,GPU-uuid-3"
        }
        assert exchanged(CARDS, "cuda:1", CARDS[3]) == {
            "CUDA_VISIBLE_DEVICES": "GPU-uuid-0,GPU-uuid-3,GPU-uuid-2,GPU-uuid-1"
        }

    def test_the_card_itself_stays_where_it_is(self):
        assert exchanged(CARDS, "cuda:1", CARDS[1]) == {
            "CUDA_VISIBLE_DEVICES": "GPU-uuid-0,GPU-uuid-1,GPU-uuid-2,GPU-uuid-3"
        }

    @pytest.mark.parametrize(("threads", "here"), [(32, 8), (8, 8), (3, 3)])
    def test_its_threads_fit_its_processors(self, threads, here):
        place = Place(CARDS[0], tuple(range(8, 16)))
        found = conditions_on(place, Conditions(threads=threads, cpus=tuple(range(32))))
        assert (found.threads, found.cpus) == (here, place.cpus)


class TestSpread:
    CONDITIONS = Conditions(threads=16, cpus=tuple(range(16)))

    def test_launches_are_made_on_all_free_cards(self, monkeypatch):
        monkeypatch.setattr("bench.running.lanes.cards_in_use", lambda _: {"cuda:1": frozenset({7})})
        found = spread_over({"cuda:0": ["cuda:0", "cuda:1", "cuda:3"]}, CARDS, self.CONDITIONS)
        assert [place.card for place in found.places["cuda:0"]] == [CARDS[0], CARDS[3]]
        assert found.in_use == {"cuda:1": {7}}
        assert found.cards_at_once == 2

    def test_only_cards_that_are_wanted_are_looked_at(self, monkeypatch):
        looked: list[Device] = []
        monkeypatch.setattr("bench.running.lanes.cards_in_use", lambda cards: looked.extend(cards) or {})
        spread_over({"cuda:0": ["cuda:0", "cuda:1"]}, CARDS, self.CONDITIONS)
        assert looked == CARDS[:2]

    @pytest.mark.parametrize(
        ("spread", "cpus"), [({}, 16), ({"cuda:0": ["cuda:0", "cuda:1"]}, 2), ({"cuda:0": ["cuda:0"]}, 16)]
    )
    def test_otherwise_there_is_no_place(self, spread, cpus):
        conditions = Conditions(threads=cpus, cpus=tuple(range(cpus)))
        assert spread_over(spread, CARDS, conditions) == ONE_CARD == Spread({}, {})
        assert ONE_CARD.cards_at_once == 1


class TestLock:
    """An A/B over two cards holds both, whichever this process sees itself."""

    @pytest.fixture(autouse=True)
    def cards(self, monkeypatch):
        monkeypatch.setattr(
            "bench.machine.lock.own_cards",
            lambda environ: {"0": ["a"], "1": ["b"]}.get(environ.get("V", "0")),
        )
        monkeypatch.setattr("bench.machine.lock.shared_processors", lambda: (0, 1))

    def test_the_cards_of_all_sides_are_held(self):
        assert own_spans([{}, {"V": "1"}]) == spans((0, 1), ["a", "b"])
        assert own_spans([{}]) == spans((0, 1), ["a"])

    def test_a_side_whose_cards_are_unknown_holds_all(self):
        assert own_spans([{}, {"V": "?"}]) == spans((0, 1), None)
