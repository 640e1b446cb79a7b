"""Tables on the terminal: values with their units, what is constant said once, caveats in words."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace

import pytest
from fakes import CONTAMINATED, counts, environment, failure, guards, measurement, stage, stages
from rich.console import Console

from bench.analysis.run.largest_batch import Search, Try
from bench.measurement import COUNTED, SEARCHED, Device
from bench.report.caveat_texts import RunSettings, caveat_text
from bench.report.reason_words import search_line
from bench.report.terminal.overview import caveat_settings, device_name, metrics, overview, run_description
from bench.results.journal import Records
from bench.results.tables import build, choose
from bench.suite.case import Case, Schedule

TRAIN = Case("s", {"device": "cpu", "batch_size": 64, "optimizer": "adam", "mode": "train"})
LARGE = Case("s", {"device": "cpu", "batch_size": 256, "optimizer": "adam", "mode": "train"})
EVALUATION = Case("s", {"device": "cpu", "batch_size": 64, "optimizer": "adam", "mode": "eval"})


def launches(case: Case, step: float = 0.002, number: int = 6, **changes):
    """So many launches of a case, of which the middle one takes steps of `step` seconds."""
    names = ("train", "validate", "test") if case.mode == "train" else ("validate", "test")
    for round in range(1, number + 1):
        duration = step * (1 + (round - (number + 1) / 2) / 100)
        records = tuple(
            stage(name, epoch, (duration, duration), metrics={"accuracy": 0.75} if name == "test" else {})
            for epoch in (0, 1)
            for name in names
        )
        yield measurement(**{"case": case, "round": round, "stages": records, **changes})


def tables_of(*records, plan=None, environment=None):
    gathered = Records()
    for record in records:
        gathered.add(record)
    return build(gathered, plan, environment)


def text_of(pages, width: int = 160) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    for page in pages:
        console.print(page)
    return console.file.getvalue()


def shown(*records, **facts) -> str:
    return text_of(overview(tables_of(*records, **facts)))


def cells(text: str, head: str) -> list[str]:
    """What ends where this head of a column ends: the unit where it has one, then a cell for each case."""
    lines = text.splitlines()
    table = next(number for number, line in enumerate(lines) if not line)
    top = next(number for number in range(table, len(lines)) if head in lines[number])
    end = lines[top].index(head) + len(head)
    below = lines[top + 1 : lines.index("", top)]
    return [re.split(r"\s{2,}", line.ljust(end)[:end])[-1].strip() for line in below]


class TestValues:
    def test_units_stand_in_the_head_and_rows_hold_bare_numbers(self):
        text = shown(*launches(TRAIN), *launches(LARGE, 0.004))
        assert cells(text, "step") == ["ms", "2.00", "4.00"]
        assert cells(text, "train") == ["samples/s", "2,000", "1,000"]
        assert cells(text, "epoch") == ["ms", "12.0", "24.0"]
        assert cells(text, "memory") == ["MiB", "1.00", "1.00"]
        assert cells(text, "accuracy") == ["0.750", "0.750"]
        assert cells(text, "launches") == ["6", "6"]

    def test_a_column_has_one_unit_so_that_its_rows_compare(self):
        text = shown(*launches(TRAIN, 2e-6), *launches(LARGE, 0.5))
        assert cells(text, "step") == ["ms", "0.00200", "500"]

    def test_half_the_interval_stands_beside_as_a_share(self):
        text = shown(*launches(TRAIN))
        assert cells(text, "95 %")[:2] == ["interval", "±2.5 %"]

    def test_without_an_interval_there_is_no_column_of_them(self):
        assert "detectable" not in shown(*launches(TRAIN, number=5))
        assert "95 %\n" not in shown(*launches(TRAIN, number=5)).replace(" ", "")
        assert "interval" not in shown(*launches(TRAIN, number=5)).split("few launches:")[0]

    def test_what_change_a_row_would_reveal_stands_beside(self):
        text = shown(*launches(TRAIN), *launches(LARGE, number=5))
        assert cells(text, "detectable") == ["from", "5.1 %", ""], "about twice the half interval"

    def test_how_many_launches_were_contaminated_is_said_where_any_was(self):
        assert "contaminated" not in shown(*launches(TRAIN, guards=guards()))
        contaminated = measurement(case=TRAIN, round=7, guards=CONTAMINATED)
        text = shown(*launches(TRAIN), contaminated, contaminated, *launches(LARGE))
        assert cells(text, "contaminated") == ["2", ""]
        assert cells(text, "launches") == ["6", "6"], "they do not count"

    def test_what_a_case_does_not_have_is_blank(self):
        text = shown(*launches(TRAIN), *launches(EVALUATION))
        assert cells(text, "step") == ["ms", "2.00", ""]
        assert cells(text, "train") == ["samples/s", "2,000", ""]
        assert cells(text, "validate") == ["samples/s", "2,000", "2,000"]
        assert "nan" not in text.lower()

    def test_what_no_case_has_is_no_column(self):
        text = shown(*launches(EVALUATION))
        assert "step" not in text
        assert "device memory" not in text
        assert "validate" in text

    def test_the_quality_of_a_model_that_was_never_trained_is_left_out(self):
        text = shown(*launches(TRAIN), *launches(EVALUATION))
        assert cells(text, "accuracy") == ["0.750", ""]
        assert "accuracy" not in shown(*launches(EVALUATION))

    def test_a_suite_that_declares_no_mode_trains(self):
        plain = Case("plain", {"device": "cpu", "width": 8})
        text = shown(*launches(EVALUATION), *launches(plain))
        assert text.count("accuracy") == 1
        assert "accuracy" in text[text.index("plain") :]

    @pytest.mark.parametrize(("number", "word"), [(math.inf, "inf"), (-math.inf, "-inf"), (math.nan, "")])
    def test_a_number_that_is_none_breaks_no_table(self, number, word):
        odd = measurement(case=TRAIN, stages=stages(metrics={"accuracy": number}))
        sound = measurement(case=LARGE, stages=stages(metrics={"accuracy": 0.5}))
        assert cells(shown(odd, sound), "accuracy") == [word, "0.500"]

    def test_on_a_device_its_memory_has_a_column(self):
        device = Case("s", {"device": "cuda:0", "batch_size": 64, "optimizer": "adam", "mode": "train"})
        memory = {"peak_rss": 2**20, "peak_allocated": 3 * 2**30, "peak_reserved": 2**32}
        text = shown(*launches(TRAIN), *launches(device, memory=memory))
        assert cells(text, "device") == ["memory", "GiB", "", "3.00"]


class TestHead:
    def test_axes_that_do_not_vary_are_said_once_and_the_others_are_columns(self):
        text = shown(*launches(TRAIN), *launches(LARGE))
        lines = text.splitlines()
        assert lines[1] == "every case: device=cpu, optimizer=adam, mode=train"
        assert [line.split()[0] for line in lines[3:5]] == ["batch", "size"]
        assert [line.split()[0] for line in lines[5:7]] == ["64", "256"]
        assert text.count("adam") == 1

    def test_an_axis_that_some_cases_do_not_use_is_not_said_of_every_case(self):
        lines = shown(*launches(TRAIN), *launches(EVALUATION)).splitlines()
        assert lines[1] == "every case: device=cpu, batch_size=64"
        assert [line.split()[:2] for line in lines[4:6]] == [["optimizer", "mode"], ["adam", "train"]]
        assert lines[6].split()[0] == "eval"

    def test_a_single_case_has_nothing_but_constants(self):
        lines = shown(*launches(TRAIN)).splitlines()
        assert lines[1] == "every case: device=cpu, batch_size=64, optimizer=adam, mode=train"

    def test_values_are_spelled_as_flags_take_them(self):
        cases = [Case("s", {"amp": amp, "rate": rate}) for amp in (True, False) for rate in (1e-3, 0.5)]
        lines = shown(*(record for case in cases for record in launches(case))).splitlines()
        assert [line.split()[:2] for line in lines[4:8]] == [
            ["true", "0.001"],
            ["true", "0.5"],
            ["false", "0.001"],
            ["false", "0.5"],
        ]

    def test_each_suite_has_a_table_of_its_own_with_its_own_axes(self):
        one = Case("one", {"device": "cpu", "width": 8})
        other = Case("other", {"device": "cpu", "depth": 2})
        text = shown(*launches(one), *launches(other))
        heads = [line for line in text.splitlines() if line.startswith("every case")]
        assert heads == ["every case: device=cpu, width=8", "every case: device=cpu, depth=2"]
        assert text.index("one") < text.index("other")

    def test_machine_threads_allocator_torch_label_and_day_are_said(self):
        plan = {"name": "before", "started": "2026-01-02T03:04:05+00:00"}
        made = tables_of(*launches(TRAIN), plan=plan, environment=environment())
        assert run_description(made) == (
            "before, A processor + A card, 4 threads, pinned allocator, torch 2.9.0, 2026-01-02"
        )
        assert text_of(overview(made)).splitlines()[0] == f"s  {run_description(made)}"

    def test_what_is_not_known_of_a_run_is_not_said(self):
        assert run_description(tables_of(*launches(TRAIN))) == ""
        assert (
            run_description(tables_of(*launches(TRAIN), plan={"name": None, "started": "2026-01-02T"}))
            == "2026-01-02"
        )

    def test_equal_cards_are_named_once_with_their_number(self):
        cards = tuple(Device("A card", "cuda", index) for index in range(4))
        assert device_name(environment(devices=cards)) == "A processor + 4 x A card"
        assert device_name(environment(devices=cards[:1])) == "A processor + A card"
        assert device_name(environment(devices=())) == "A processor"


class TestCards:
    UUIDS = tuple(f"uuid-{number}" for number in range(6))

    def text(self, slow: float) -> str:
        """A run whose fourth round is on a card that takes `slow` times as long."""
        card = Case("s", {"device": "cuda:0", "batch_size": 64})
        made = []
        for number, uuid in enumerate(self.UUIDS, start=1):
            step = (slow if number == 4 else 1.0) * (1 + number / 1e4)
            (record,) = launches(card, step, number=1, conditions={"card": uuid})
            made.append(replace(record, round=number))
        cards = tuple(Device("A card", "cuda", number, uuid=uuid) for number, uuid in enumerate(self.UUIDS))
        return shown(*made, environment=environment(devices=cards, cards_at_once=6))

    def test_a_slow_one_is_named_with_its_interval(self):
        text = " ".join(self.text(1.05).split())
        assert (
            "cuda:3 is 5.0 % slower than the other cards of its kind (4.9 % to 5.1 %): look for heat" in text
        )
        assert "6 cards at once" in text

    def test_equal_ones_are_not_named(self):
        assert "other cards of its kind" not in self.text(1.0)


class TestCaveats:
    def test_they_stand_on_their_rows_by_name_and_below_once_in_words(self):
        spawned = {"start_method": "spawn"}
        text = shown(
            *launches(TRAIN, number=2, conditions=spawned),
            *launches(LARGE, number=2),
            *launches(EVALUATION),
        )
        rows = [line for line in text.splitlines() if line.split()[:1] in (["64"], ["256"])]
        assert rows[0].rstrip().endswith("few launches, spawned")
        assert rows[1].rstrip().endswith("few launches")
        assert rows[2].rstrip().endswith("6")
        assert text.count(f"few launches: {caveat_text('few_launches', RunSettings())}") == 1
        assert text.count(f"spawned: {caveat_text('spawned', RunSettings())}") == 1
        assert "work differs" not in text

    def test_without_any_there_is_no_column_of_them(self):
        assert "caveats" not in shown(*launches(TRAIN))

    def test_their_words_know_the_settings_of_the_run(self):
        faults = {"page_faults": guards(minor_faults=1e9), "machine_busy": guards(others=9.0)}
        for name, counted in faults.items():
            for facts in ({"threads": 1, "allocator": "system"}, {"threads": 4, "allocator": "pinned"}):
                text = shown(*launches(TRAIN, guards=counted), environment=environment(**facts))
                assert f"{name.replace('_', ' ')}: {caveat_text(name, RunSettings(**facts))}" in " ".join(
                    text.split()
                )

    def test_a_name_of_another_version_stands_on_its_row_without_words(self):
        made = tables_of(*launches(TRAIN))
        made.summary["caveats"] = "of_tomorrow;spawned"
        text = text_of(overview(made))
        assert "of tomorrow, spawned" in text
        assert "of tomorrow:" not in text


class TestSettings:
    """What caveats depend on, as far as plan and environment say it."""

    def of(self, schedule=None, **facts) -> RunSettings:
        return caveat_settings(
            tables_of(plan={"schedule": schedule} if schedule else {}, environment=environment(**facts))
        )

    def test_they_are_those_of_the_run(self):
        schedule = Schedule(launches=6, max_launches=30, tolerance=0.01, time_budget=60.0).to_json()
        found = self.of(schedule, threads=3, allocator="system", governor="powersave")
        assert found == RunSettings(3, "system", 0.01, 30, True, "powersave")

    def test_a_number_of_launches_alone_is_the_most(self):
        assert self.of(Schedule(launches=8).to_json()).max_launches == 8

    def test_what_is_not_known_is_as_by_default(self):
        assert caveat_settings(tables_of()) == RunSettings()

    @pytest.mark.parametrize("value", ["x", None, [1], {}])
    @pytest.mark.parametrize("name", ["tolerance", "max_launches", "launches"])
    def test_what_cannot_be_is_as_by_default_too(self, name, value):
        found = self.of({"launches": None, name: value})
        assert (found.tolerance, found.max_launches) == (RunSettings().tolerance, RunSettings().max_launches)


class TestCountsAlone:
    """As after `bench run --launches 0` or `bench profile`."""

    COUNTED = measurement(case=TRAIN, kind=COUNTED, stages=(), counts=counts())

    def test_what_was_counted_is_shown_where_nothing_was_timed(self):
        text = shown(self.COUNTED)
        assert cells(text, "operators") == ["a step", "2"]
        assert cells(text, "FLOPs") == ["FLOP/step", "50.0"]
        assert cells(text, "tensors") == ["KiB", "180"]

    def test_beside_times_it_is_left_to_those_who_ask(self):
        assert "operators" not in shown(*launches(TRAIN), self.COUNTED)


class TestFailures:
    def test_each_is_a_line_with_the_users_own_line(self):
        lost = failure(case=EVALUATION, failure="out_of_memory", message="no room\nfor it", where="mine.py:3")
        text = shown(*launches(TRAIN), lost)
        assert text.splitlines()[-1] == f"out_of_memory: {EVALUATION.id}: no room for it (mine.py:3)"
        assert "launches failed" not in text, "the case that failed has no row to be doubted"

    def test_where_nobody_knows_the_line_none_is_said(self):
        text = shown(failure(case=EVALUATION, failure="timeout", message="no result within 5 s", where=""))
        assert text == f"timeout: {EVALUATION.id}: no result within 5 s\n"

    def test_the_same_failure_of_a_case_is_said_once(self):
        text = shown(*(failure(case=TRAIN, round=round) for round in (1, 2)), failure(case=LARGE))
        assert len(text.splitlines()) == 2

    def test_a_case_with_some_failures_keeps_its_row_and_its_doubt(self):
        text = shown(*launches(TRAIN), failure(case=TRAIN))
        assert cells(text, "launches")[0] == "6"
        assert f"launches failed: {caveat_text('launches_failed', RunSettings())}" in text

    def test_a_run_without_any_record_shows_nothing(self):
        assert shown() == ""
        assert shown(plan={"cases": [TRAIN.to_json()]}) == ""


class TestMetrics:
    def chosen(self, patterns, *records) -> str:
        return text_of(metrics(choose(tables_of(*records), patterns)))

    def test_chosen_metrics_have_a_column_each_with_its_interval(self):
        text = self.chosen(["epoch.time", "train.step_time"], *launches(TRAIN), *launches(LARGE, 0.004))
        assert cells(text, "step_time") == ["ms", "2.00", "4.00"]
        assert text.count("interval") == 2
        assert "samples/s" not in text

    def test_many_metrics_leave_out_their_intervals(self):
        text = self.chosen(["train.*"], *launches(TRAIN, stages=stages(phases={"data": 1.0, "loss": 1.0})))
        assert "step_mean" in text
        assert "interval" not in text

    def test_failures_are_left_to_the_overview(self):
        assert "no such thing" not in self.chosen(["epoch.time"], *launches(TRAIN), failure(case=LARGE))

    def test_a_chosen_quality_is_shown_whatever_the_mode(self):
        assert cells(self.chosen(["quality.test_accuracy"], *launches(EVALUATION)), "accuracy")[0] == "0.750"


MARKUP = ("[red]", "[/]", "[/nothing]", "[bold]x[/bold]", "[link=http://x]", ":smile:", "\\[", "[")


class TestForeignText:
    @pytest.mark.parametrize("text", MARKUP)
    def test_values_of_axes_are_shown_literally(self, text):
        cases = [Case("s", {"same": text, "mine": value}) for value in (text, "other")]
        made = shown(*(record for case in cases for record in launches(case)))
        assert f"every case: same={text}" in made
        assert made.splitlines()[5].split()[0] == text

    @pytest.mark.parametrize("text", MARKUP)
    def test_messages_labels_and_machines_are_shown_literally(self, text):
        lost = failure(case=LARGE, message=f"no {text} thing", where=f"{text}.py:3")
        made = shown(*launches(TRAIN), lost, plan={"name": text}, environment=environment(cpu=f"A {text}"))
        assert f"s  {text}, A {text} + A card" in made
        assert f"no {text} thing ({text}.py:3)" in made

    @pytest.mark.parametrize("text", MARKUP)
    def test_names_of_the_users_own_metrics_are_shown_literally(self, text):
        made = tables_of(measurement(stages=stages(metrics={text: 1.0})))
        assert f"test_{text}" in text_of(metrics(choose(made, [f"quality.test_{text}"])))


@pytest.mark.parametrize("width", [1, 20, 60])
def test_a_narrow_terminal_breaks_no_table(width):
    made = tables_of(*launches(TRAIN), *launches(LARGE), failure(case=EVALUATION))
    assert text_of(overview(made), width)


@pytest.mark.parametrize("width", [20, 60, 400])
@pytest.mark.parametrize("text", ["a\n::error::b", "::error::c", "##[error]d", "\x1b[31mred"])
def test_no_text_of_a_user_is_an_order_to_a_terminal_or_a_server(text, width):
    cases = [Case(text, {"mine": value, "same": text, text: 1}) for value in (text, "other")]
    found = tables_of(
        *(record for case in cases for record in launches(case)),
        measurement(case=cases[0], round=7, stages=stages(metrics={text: 1.0})),
        failure(case=cases[1], round=8, message=text, where=text),
        plan={"name": text},
    )
    for pages in (overview(found), metrics(choose(found, ["*"]))):
        lines = text_of(pages, width).split("\n")
        assert not any(line.lstrip().startswith("::") for line in lines)
        assert not any("##[" in line for line in lines)
        assert all(letter.isprintable() for line in lines for letter in line)


FITS = [Try(16, 16, throughput=5.0), Try(32, 32, throughput=9.0), Try(33, 33, throughput=8.0)]
OF = {"device": "cpu", "batch_size": "max", "mode": "train"}

# What a search has come to: axes that differ, its tries, and what is said behind the case.
SEARCHES = {
    "all of the data": (
        {},
        [*FITS[:2], Try(33, 33, 33, 8.0)],
        "33 (all of the training data; 3 launches tried)",
    ),
    "of an evaluation": (
        {"mode": "eval"},
        [*FITS[:2], Try(33, 33, 33, 8.0)],
        "33 (all of the evaluation data; 3 launches tried)",
    ),
    "memory": (
        {},
        [*FITS, Try(34, failure="out_of_memory", message="oh")],
        "33 (34 runs out of memory; 4 launches tried)",
    ),
    "time": (
        {},
        [*FITS, Try(34, failure="timeout", message="oh")],
        "33 (34 does not end in time; 4 launches tried)",
    ),
    "an error": (
        {},
        [*FITS, Try(34, failure="error", message="E: oh\x1b")],
        "33 (34 fails, error: E: oh\\x1b; 4 launches tried)",
    ),
    "validation": (
        {"validate_every": 2},
        [*FITS[:2], Try(33, 33, 67, 8.0)],
        "33 (validate_every=2 leaves no larger one; 3 launches tried)",
    ),
    "its loader": ({}, [*FITS, Try(64, 33)], "33 (its loader gives no larger one; 4 launches tried)"),
}


class TestSearched:
    @pytest.mark.parametrize("what", SEARCHES)
    def test_it_is_one_line_with_the_reason_and_the_fastest(self, what):
        axes, tries, said = SEARCHES[what]
        case = Case("s", {**OF, **axes})
        line = text_of(overview(tables_of(*records_of(case, tries))), width=1000).strip()
        assert line == f"largest batch of {case.id}: {said}; the most samples/s at 32"

    def test_what_does_not_fit_at_all_is_said_to_be_measured(self):
        tries = [Try(size, failure="crash", message="killed") for size in (16, 8, 4, 2, 1)]
        assert search_line(Search(Case("s", OF), tries)).endswith(
            ": none fits (1 fails, crash: killed; 5 launches tried); measured at batch_size=1"
        )

    @pytest.mark.parametrize(
        ("tries", "said"),
        [
            ([Try(16)], "not found yet (16 fits; 1 launch tried)"),
            ([Try(16, failure="error")], "not found yet (none fits so far; 1 launch tried)"),
        ],
    )
    def test_one_that_was_cut_off_says_so(self, tries, said):
        assert search_line(Search(Case("s", OF), tries)).endswith(f": {said}")

    def test_a_run_without_one_says_nothing(self):
        assert "largest" not in shown(*launches(TRAIN))


def records_of(case: Case, tries):
    """The records that these tries are read from."""
    for one in tries:
        place = {"case": case.sized(one.size), "kind": SEARCHED}
        if not one.fits:
            yield failure(**place, failure=one.failure, message=one.message)
            continue
        seconds = one.samples / (one.throughput or 1.0)
        name = "train" if case.mode == "train" else "test"
        yield measurement(
            **place,
            stages=(stage(name, 0, (seconds,), samples=(one.samples,)),),
            conditions={"data_samples": one.data},
        )
