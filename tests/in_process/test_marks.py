from __future__ import annotations

from itertools import pairwise

import pytest
from fakes import small_task
from torch.profiler import ProfilerActivity, profile

from bench.training import fit
from bench.worker.marks import NAME, OUTSIDE, Mark, Marks, number_of


def marked(**options):
    marks = Marks()
    fit(small_task(), 1, observer=marks, **options)
    return marks.marks


def phases(marks, stage, step):
    return [mark.phase for mark in marks if (mark.stage, mark.step) == (stage, step)]


TRAIN = ["data", "transfer", "forward", "loss", "zero_grad", "backward", "optimizer", "metrics", "other"]
EVALUATION = ["data", "transfer", "forward", "loss", "metrics", "other"]


class TestMarks:
    @pytest.mark.parametrize(
        ("stage", "step", "expected"),
        [
            ("train", 0, ["other", *TRAIN]),
            ("train", 1, TRAIN),
            ("train", 2, TRAIN),
            ("train", 3, ["data", "metrics", "other"]),  # the loader's end, and the stage's
            ("validate", 0, ["other", *EVALUATION]),
            ("validate", 1, EVALUATION),
            ("test", 1, EVALUATION),
        ],
    )
    def test_each_stretch_belongs_to_the_phase_that_it_ends(self, stage, step, expected):
        assert phases(marked(), stage, step) == expected

    def test_what_lies_before_a_stage_lies_outside_the_loop(self):
        made = marked()
        assert made[0] == OUTSIDE
        assert [after.stage for before, after in pairwise(made) if before == OUTSIDE] == [
            "train",
            "validate",
            "test",
        ]

    def test_a_validation_inside_training_takes_its_marks_and_gives_the_stage_back(self):
        made = marked(validate_every=2)
        begins = made.index(Mark("validate", 0, "other"))
        ends = max(n for n, mark in enumerate(made) if mark.stage == "validate")
        assert {mark.stage for mark in made[begins : ends + 1]} == {"validate"}
        assert made[begins - 1] == made[ends + 1] == Mark("train", 2, "other")
        assert phases(made[ends + 1 :], "train", 2) == ["other", *TRAIN]

    def test_each_is_an_event_of_the_profile_that_bears_its_number(self):
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            made = marked()
        events = sorted(profiler.events(), key=lambda event: event.time_range.start)
        numbers = [number_of(event.name) for event in events]
        assert [number for number in numbers if number is not None] == list(range(len(made)))


@pytest.mark.parametrize(
    ("event", "number"),
    [(f"{NAME}0", 0), (f"{NAME}17", 17), (NAME, None), (f"{NAME}x", None), ("aten::mm", None), ("17", None)],
)
def test_only_an_event_with_the_name_of_a_mark_has_a_number(event, number):
    assert number_of(event) == number
