"""The search for the largest batch: which size comes next, where it ends and why, whatever there is to find."""

from __future__ import annotations

import dataclasses

import pytest
from fakes import failure, measurement, stage
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.run.largest_batch import (
    DATA,
    ENOUGH,
    FAILED,
    LOADER,
    MOST,
    NOTHING,
    SHARE,
    VALIDATE_EVERY,
    Search,
    Try,
    attempt,
    resolved,
    searches,
)
from bench.measurement import SEARCHED
from bench.suite.case import MAX, Case

CASE = Case("fake", {"device": "cpu", "batch_size": MAX, "mode": "train"})


def found(most: int, data: int | None = None, case: Case = CASE, given: int | None = None) -> Search:
    """The search where sizes up to `most` fit; the loader gives no more than `given` samples, if that is a number."""
    search = Search(case)
    while (size := search.next) is not None:
        assert size not in [one.size for one in search.tries]
        samples = min(size, *(number for number in (data, given) if number is not None), MOST)
        fits = Try(size, samples, data)
        tried = fits if size <= most else Try(size, failure="out_of_memory", message="no")
        search = dataclasses.replace(search, tries=(*search.tries, tried))
    return search


def sizes(search: Search) -> list[int]:
    return [one.size for one in search.tries]


class TestSizes:
    def test_all_of_the_data_are_the_end(self):
        search = found(10**6, data=1079)
        assert sizes(search) == [16, 32, 64, 128, 256, 512, 1024, 1079]
        assert (search.batch_size, search.why) == (1079, DATA)

    def test_up_by_doubling_then_the_gap_is_halved(self):
        search = found(100, data=5000)
        assert sizes(search) == [16, 32, 64, 128, 96, 112, 104, 100, 102]
        assert (search.batch_size, search.why) == (100, FAILED)
        assert search.failing[0].size == 102

    def test_where_the_first_does_not_fit_it_goes_down(self):
        search = found(5, data=5000)
        assert sizes(search) == [16, 8, 4, 6, 5]
        assert search.batch_size == 5

    def test_where_not_even_one_fits_it_is_one(self):
        search = found(0)
        assert sizes(search) == [16, 8, 4, 2, 1]
        assert (search.batch_size, search.why, search.fitting, search.fastest) == (1, NOTHING, [], None)

    def test_no_batch_is_larger_than_few_data(self):
        search = found(10**6, data=10)
        assert sizes(search) == [16, 10]
        assert (search.batch_size, search.why) == (10, DATA)

    def test_data_without_a_length_end_where_the_loader_gives_no_more(self):
        search = found(10**6, given=300)
        assert (search.batch_size, search.why) == (300, LOADER)
        assert max(sizes(search)) == 512

    def test_a_loader_that_never_gave_as_many_as_it_was_asked_for_does_not_count_in_samples(self):
        """Batches of so many tokens have fewer rows."""
        search = Search(CASE, [Try(16, 1, 1000), Try(32, 2, 1000)])
        assert search.next == 64

    def test_endless_data_end_somewhere(self):
        search = found(10**9)
        assert (search.batch_size, search.why) == (MOST, ENOUGH)

    def test_an_epoch_keeps_the_steps_between_two_validations(self):
        case = Case("fake", {**CASE.axes, "validate_every": 10})
        search = found(10**6, data=1079, case=case)
        assert (search.batch_size, search.why) == (107, VALIDATE_EVERY)
        evaluation = Case("fake", {**case.axes, "mode": "no_grad"})
        assert found(10**6, data=1079, case=evaluation).batch_size == 1079


@given(st.integers(0, 3000), st.none() | st.integers(1, 3000))
def test_whatever_fits_is_found_to_a_thirtysecond(most, data):
    search = found(most, data)
    right = max(1, min(most, MOST if data is None else data))
    assert search.batch_size <= right or not most
    assert right - search.batch_size < max(1, right * SHARE) + 1
    assert len(search.tries) <= 24


@given(st.integers(0, 3000), st.integers(1, 3000), st.randoms())
def test_a_search_that_was_cut_off_goes_on_whatever_the_order_of_its_records(most, data, random):
    whole = found(most, data)
    for number in range(len(whole.tries)):
        known = list(whole.tries[:number])
        random.shuffle(known)
        assert Search(CASE, known).next == whole.tries[number].size


class TestRecords:
    def test_the_stage_that_matters_tells_how_fast_it_is_by_its_fastest_step(self):
        steps = (stage("train", 0, (2.0, 0.5, 1.0)), stage("test", 0, (0.1,)))
        made = measurement(kind=SEARCHED, stages=steps, conditions={"data_samples": 12})
        assert attempt(made) == Try(4, samples=4, data=12, throughput=8.0, memory=2**20)

    def test_of_an_evaluation_it_is_the_test(self):
        case = Case("fake", {"batch_size": 8, "mode": "eval"})
        steps = (
            stage("validate", 0, (1.0,), samples=(8,)),
            stage("test", 0, (0.5,), samples=(5,)),
        )
        made = attempt(measurement(case=case, kind=SEARCHED, stages=steps, conditions={}))
        assert (made.samples, made.data, made.throughput) == (8, None, 10.0)

    def test_of_training_the_batches_of_its_evaluations_do_not_count(self):
        steps = (stage("train", 0, (1.0,), samples=(4,)), stage("test", 0, (1.0,), samples=(64,)))
        made = measurement(kind=SEARCHED, stages=steps, conditions={"data_samples": 1})
        assert (attempt(made).samples, attempt(made).data) == (4, 1)
        assert attempt(measurement(kind=SEARCHED, conditions={"data_samples": 0})).data is None

    def test_a_step_without_time_has_no_throughput(self):
        assert attempt(measurement(kind=SEARCHED, stages=(stage("train", 0, (0.0,)),))).throughput is None

    def test_memory_is_the_devices_own_where_there_is_one(self):
        made = measurement(kind=SEARCHED, memory={"peak_rss": 1, "peak_allocated": 2})
        assert attempt(made).memory == 2

    def test_a_failure_keeps_its_message(self):
        made = attempt(failure(kind=SEARCHED, failure="timeout", message="too long"))
        assert (made.fits, made.failure, made.message) == (False, "timeout", "too long")

    def test_what_is_damaged_says_nothing(self):
        made = measurement(kind=SEARCHED, stages=(), memory={}, conditions={"data_samples": "many"})
        assert attempt(made) == Try(4)

    def test_records_of_one_search_are_those_of_a_case_but_for_its_size(self):
        other = Case("fake", {"device": "cpu", "batch_size": 32, "optimizer": "adam", "mode": "train"})
        records = [
            measurement(kind=SEARCHED),
            failure(kind=SEARCHED, case=other),
            measurement(kind=SEARCHED, case=other.sized(16)),
            measurement(case=other.sized(64)),
        ]
        first, second = searches(records)
        assert first.case.id == "fake/device=cpu/batch_size=max/optimizer=sgd/mode=train"
        assert second.case == other.sized(MAX)
        assert [(one.size, one.fits) for one in second.tries] == [(32, False), (16, True)]

    def test_the_fastest_is_the_smaller_of_equal_ones(self):
        tries = [Try(16, throughput=5.0), Try(32, throughput=9.0), Try(64, throughput=9.0), Try(128)]
        assert Search(CASE, tries).fastest == 32


class TestResolved:
    def test_cases_that_fall_together_are_one(self):
        cases = [CASE.sized(64), CASE, CASE.sized(128)]
        assert resolved(cases, {CASE.id: 64}) == [CASE.sized(64), CASE.sized(128)]

    @pytest.mark.parametrize("known", [{}, {"another": 7}])
    def test_what_was_not_found_is_still_sought(self, known):
        assert resolved([CASE], known) == [CASE]
