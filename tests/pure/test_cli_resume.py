"""Resuming a run: only unchanged. Every change is named, with what it was and what it is now."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from fakes import CASE, environment, failure, measurement

from bench.cli.command import command
from bench.cli.options import RunOptions
from bench.cli.run_request import (
    Earlier,
    RunRequest,
    check_cases,
    check_code,
    check_environment,
    check_options,
    earlier,
)
from bench.errors import ResultsError, UsageError
from bench.measurement import Device
from bench.results import sources
from bench.results.folder import RunFolder
from bench.results.journal import Journal
from bench.suite.case import Case, Conditions, Schedule
from bench.suite.script import Script

CASES = [CASE, Case("fake", {**CASE.axes, "optimizer": "adam"})]
SCHEDULE = Schedule(
    launches=3, max_launches=9, tolerance=0.05, repeats=2, time_budget=60.0, timeout=30.0, seed=7
)
CONDITIONS = Conditions(threads=2, cpus=(0, 2), allocator="system", start_method="spawn", data_root="/data")
RECORDS = [measurement(round=1), failure(round=2), measurement(round=3)]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a suite and the module that it loads."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("suite = ...")
    Path("layers.py").write_text("class Layer: ...")
    return tmp_path


@pytest.fixture
def request_(here):
    return RunRequest(
        files=[str(here / "mine.py")],
        keyword="adam or sgd",
        overrides={"batch_size": [4, 8], "optimizer": ["sgd", None]},
        schedule=SCHEDULE,
        conditions=CONDITIONS,
    )


@pytest.fixture
def code(here):
    """The files behind the run."""
    return {str(here / "mine.py"), str(here / "layers.py")}


@pytest.fixture
def plan(request_, code):
    """What plan.json holds, as `bench run` writes it."""
    return {
        "name": "nightly",
        "note": "after the update",
        "version": "0.1.0",
        "request": request_.to_json(),
        "conditions": CONDITIONS.to_json(),
        "spawned_because": "",
        "sources": sources.digests(code),
        "harness": sources.harness(),
        "cases": [case.to_json() for case in CASES],
        "files": {"fake": request_.files[0]},
        "schedule": SCHEDULE.to_json(),
    }


@pytest.fixture
def folder(here, plan):
    """The folder of a run that was cut off."""
    folder = RunFolder(Path("results") / "cut-off")
    folder.logs.mkdir(parents=True)
    folder.write_json("plan.json", plan)
    folder.write_json("environment.json", environment().to_json())
    journal = Journal(folder.journal)
    for record in RECORDS:
        journal.append(record)
    journal.close()
    return folder


@pytest.fixture
def run(folder) -> Earlier:
    return earlier("cut-off")


def refusal(check, *arguments) -> list[str]:
    """The changes that a check names; it must do so in one line that says which run, and what to do."""
    with pytest.raises(UsageError) as caught:
        check(*arguments)
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    worded = re.fullmatch(
        r"results/cut-off cannot be resumed, since it has changed: (.+)\. "
        r"Undo that, or measure again: bench run",
        said,
    )
    assert worded, said
    return worded[1].split("; ")


class TestEarlier:
    def test_a_run_is_what_was_asked_and_what_it_has_come_to(self, run, folder, request_, plan):
        assert run.folder == folder
        assert run.request == request_
        assert run.plan == json.loads(json.dumps(plan))
        assert sorted(run.records, key=lambda record: record.round) == RECORDS
        assert list(run.notes) == []

    @pytest.mark.parametrize("name", ["cut-off", "cut", "latest", "results/cut-off", "results/cut-off/"])
    def test_it_is_found_as_every_verb_finds_it(self, folder, name):
        assert earlier(name).folder.path.resolve() == folder.path.resolve()

    def test_a_run_that_is_not_there_is_said_to_be_none(self, folder):
        with pytest.raises(
            ResultsError, match=r"^there is no run 'other'; results holds 1, the latest is cut-off$"
        ):
            earlier("other")

    def test_one_that_was_cut_off_before_its_first_launch_has_come_to_nothing(self, folder):
        folder.journal.write_bytes(b"")
        assert list(earlier("cut-off").records) == []

    def test_a_line_that_was_torn_off_is_left_out_and_noted(self, folder):
        whole = folder.journal.read_bytes()
        folder.journal.write_bytes(whole[:-20])
        found = earlier("cut-off")
        assert sorted(record.round for record in found.records) == [1, 2]
        assert len(found.notes) == 1
        assert "line 3 is incomplete" in found.notes[0]


# What makes of a plan.json one that says nothing, or too little: damaged, or an older version's.
DAMAGES = {
    "no request": lambda plan: plan.pop("request"),
    "no cases": lambda plan: plan.pop("cases"),
    "no schedule": lambda plan: plan.pop("schedule"),
    "no conditions": lambda plan: plan.pop("conditions"),
    "no sources": lambda plan: plan.pop("sources"),
    "a request without its files": lambda plan: plan["request"].pop("files"),
    "a request without its keyword": lambda plan: plan["request"].pop("keyword"),
    "a request without its overrides": lambda plan: plan["request"].pop("overrides"),
    "a request that is none": lambda plan: plan.update(request=7),
    "overrides that are none": lambda plan: plan["request"].update(overrides=["batch_size"]),
    "overrides without values": lambda plan: plan["request"].update(overrides={"batch_size": None}),
    "the schedule of an older version": lambda plan: plan["schedule"].update(rounds=3),
    "a schedule that cannot be kept": lambda plan: plan["schedule"].update(launches=-1),
    "a schedule in words": lambda plan: plan["schedule"].update(launches="three"),
    "the conditions of an older version": lambda plan: plan["conditions"].update(interop_threads=3),
    "conditions that cannot be had": lambda plan: plan["conditions"].update(allocator="mine"),
    "cases that are none": lambda plan: plan.update(cases=[7]),
    "cases without axes": lambda plan: plan["cases"][0].pop("axes"),
    "a case that cannot be": lambda plan: plan["cases"][0]["axes"].update(batch_size=0),
    "sources that are none": lambda plan: plan.update(sources=["mine.py"]),
    "a memory limit in words": lambda plan: plan["request"].update(memory_limit="2GiB"),
    "a memory limit of nothing": lambda plan: plan["request"].update(memory_limit=0),
    "largest batches that are none": lambda plan: plan.update(largest=[64]),
    "a largest batch that cannot be": lambda plan: plan.update(largest={"a/batch_size=max": 0}),
}


class TestDamagedPlan:
    @pytest.mark.parametrize("damage", DAMAGES)
    def test_it_is_one_line_that_names_the_run_and_the_remedy(self, folder, plan, damage):
        DAMAGES[damage](plan)
        folder.write_json("plan.json", plan)
        with pytest.raises(ResultsError) as caught:
            earlier("cut-off")
        assert str(caught.value) == (
            "results/cut-off cannot be resumed: its plan.json is missing, damaged or of an older version; "
            "measure again: bench run"
        )

    def test_so_is_one_that_is_missing(self, folder):
        (folder.path / "plan.json").unlink()
        with pytest.raises(
            ResultsError, match=r"^results/cut-off cannot be resumed: its plan\.json is missing"
        ):
            earlier("cut-off")

    @pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"request"', "\x00", "[" * 100_000])
    def test_one_that_is_no_json_object_is_named(self, folder, text):
        (folder.path / "plan.json").write_text(text)
        with pytest.raises(ResultsError, match=r"^results/cut-off/plan\.json cannot be read: ") as caught:
            earlier("cut-off")
        assert len(str(caught.value).splitlines()) == 1


class TestRequest:
    def test_it_goes_through_json(self, request_):
        there = json.loads(json.dumps(request_.to_json()))
        assert RunRequest(**there, schedule=SCHEDULE, conditions=CONDITIONS) == request_

    def test_a_memory_limit_is_part_of_it(self, folder, plan):
        asked = RunRequest(["a.py"], None, {}, SCHEDULE, CONDITIONS, memory_limit=2048)
        folder.write_json("plan.json", {**plan, "request": asked.to_json()})
        assert earlier("cut-off").request == asked

    def test_one_without_flags_does_too(self, folder, plan):
        plan["request"] = RunRequest(["a.py"], None, {}, SCHEDULE, CONDITIONS).to_json()
        folder.write_json("plan.json", plan)
        assert earlier("cut-off").request == RunRequest(["a.py"], None, {}, SCHEDULE, CONDITIONS)


def typed(*words: str) -> RunOptions:
    """The options of a command line of `bench run`."""
    taken = []

    def main(options: RunOptions) -> int:
        taken.append(options)
        return 0

    command(main, "run", "")(list(words), standalone_mode=False)
    return taken[0]


# Options with another value than the run has: the words, the value of the run, the value as it is named.
OTHER_OPTIONS = {
    "--launches": (["4"], "3", "4"),
    "--max-launches": (["20"], "9", "20"),
    "--tolerance": (["2%"], "0.05", "0.02"),
    "--repeats": (["0"], "2", "0"),
    "--timeout": (["10m"], "30.0", "600.0"),
    "--memory-limit": (["2KiB"], "none", "2048"),
    "--seed": (["0"], "7", "0"),
    "--threads": (["1"], "2", "1"),
    "--allocator": (["pinned"], "system", "pinned"),
    "--start-method": (["fork"], "spawn", "fork"),
    "--data": (["/elsewhere"], "/data", "/elsewhere"),
    "--in-place": ([], "False", "True"),
    "--name": (["other"], "nightly", "other"),
    "--note": ([""], "after the update", "none"),
    "-k": (["adam"], "adam or sgd", "adam"),
    "--axis": (
        ["batch_size=4", "--axis", "amp=true"],
        "batch_size=4,8, optimizer=sgd,none",
        "batch_size=4, amp=True",
    ),
    "--out": (["new"], "none", "new"),
}


class TestOptions:
    @pytest.mark.parametrize(
        "words",
        [
            ["--resume", "cut-off"],
            ["--resume", "x", "--time-budget", "1h", "--download", "--no-wait", "-q", "--json", "--debug"],
        ],
    )
    def test_those_that_are_no_part_of_a_run_may_have_any_value(self, run, words):
        check_options(typed(*words), run)

    def test_those_of_the_run_may_be_given_again(self, run):
        words = ["mine.py", "-k", "adam or sgd", "--axis", "batch_size=4,8", "--axis", "optimizer=sgd,none"]
        words += ["--launches", "3", "--max-launches", "9", "--tolerance", "5%", "--repeats", "2"]
        words += ["--timeout", "30s", "--seed", "7", "--threads", "2", "--allocator", "system"]
        words += ["--start-method", "spawn", "--data", "/data", "--name", "nightly"]
        check_options(typed(*words, "--note", "after the update"), run)

    @pytest.mark.parametrize("option", OTHER_OPTIONS)
    def test_another_value_is_named_with_both(self, run, option):
        words, before, now = OTHER_OPTIONS[option]
        assert refusal(check_options, typed(option, *words), run) == [f"{option}: {before}, now {now}"]

    def test_devices_are_the_axis_of_that_name(self, run, folder, plan):
        axes = ["--axis", "batch_size=4,8", "--axis", "optimizer=sgd,none", "--devices", "all"]
        (named,) = refusal(check_options, typed(*axes), run)
        assert named.endswith("now batch_size=4,8, optimizer=sgd,none, device=all")
        plan["request"]["overrides"]["device"] = ["all"]
        folder.write_json("plan.json", plan)
        check_options(typed(*axes), earlier("cut-off"))
        assert len(refusal(check_options, typed("--devices", "cpu"), earlier("cut-off"))) == 1

    def test_a_default_that_is_typed_is_a_value(self, run):
        assert refusal(check_options, typed("--repeats", "6"), run) == ["--repeats: 2, now 6"]

    def test_other_suites_are_named(self, run, request_, here):
        other = here / "other.py"
        other.touch()
        named = refusal(check_options, typed("other.py"), run)
        assert named == [f"SUITE: {request_.files[0]}, now {other}"]

    def test_arguments_of_a_script_are_named(self, run):
        assert refusal(check_options, typed("--", "--lr", "1"), run) == ["--: none, now --lr,1"]

    def test_each_is_named_and_many_are_counted(self, run):
        words = [word for option, (value, _, _) in OTHER_OPTIONS.items() for word in (option, *value)]
        named = refusal(check_options, typed(*words), run)
        assert [text.split(":")[0] for text in named[:5]] == list(OTHER_OPTIONS)[:5]
        assert named[5:] == [f"and {len(OTHER_OPTIONS) - 5} more"]

    def test_five_are_all_named(self, run):
        five = list(OTHER_OPTIONS)[:5]
        words = [word for option in five for word in (option, *OTHER_OPTIONS[option][0])]
        assert [text.split(":")[0] for text in refusal(check_options, typed(*words), run)] == five


class TestCases:
    def test_the_same_ones_in_any_order_are_the_run(self, run):
        check_cases(CASES, run)
        check_cases(CASES[::-1], run)

    def test_one_that_is_gone_is_named(self, run):
        assert refusal(check_cases, CASES[:1], run) == [f"the suite no longer has {CASES[1].id}"]

    def test_one_that_came_is_named(self, run):
        new = Case("fake", {**CASE.axes, "optimizer": "adamw"})
        assert refusal(check_cases, [*CASES, new], run) == [f"the suite now has {new.id}"]

    def test_a_changed_value_is_both(self, run):
        new = Case("fake", {**CASE.axes, "batch_size": 5})
        assert refusal(check_cases, [new, CASES[1]], run) == [
            f"the suite no longer has {CASE.id}",
            f"the suite now has {new.id}",
        ]

    def test_the_device_that_a_script_chose_is_found_again_later(self, folder, plan):
        chosen = [case.on("cuda:0").to_json() for case in CASES]
        folder.write_json("plan.json", {**plan, "cases": chosen})
        assert len(refusal(check_cases, CASES, earlier("cut-off"))) > 1
        plan["request"]["script"] = Script("/train.py").to_json()
        folder.write_json("plan.json", {**plan, "cases": chosen})
        check_cases(CASES, earlier("cut-off"))
        plan["request"]["overrides"]["device"] = ["cuda:0"]
        folder.write_json("plan.json", {**plan, "cases": chosen})
        assert len(refusal(check_cases, CASES, earlier("cut-off"))) > 1

    def test_what_was_found_of_max_is_the_case_now(self, run, folder, plan):
        sought = CASE.sized("max")
        assert len(refusal(check_cases, [sought, CASES[1]], run)) == 2
        folder.write_json("plan.json", {**plan, "largest": {sought.id: CASE.batch_size}})
        check_cases([sought, CASES[1]], earlier("cut-off"))

    def test_what_is_still_sought_is_the_same_case(self, folder, plan):
        sought = CASE.sized("max")
        folder.write_json("plan.json", {**plan, "cases": [sought.to_json()]})
        check_cases([sought], earlier("cut-off"))

    def test_many_are_counted(self, run):
        many = [Case("fake", {"width": width}) for width in range(10)]
        assert refusal(check_cases, many, run)[-1] == "and 7 more"


class TestCode:
    def test_the_same_code_is_the_run(self, run, code):
        check_code(code, run)

    def test_a_changed_file_is_named(self, run, code, here):
        Path("layers.py").write_text("class Layer: pass")
        assert refusal(check_code, code, run) == [f"{here / 'layers.py'} changed"]

    def test_one_that_is_gone_is_named_though_it_is_still_asked_for(self, run, code, here):
        Path("layers.py").unlink()
        assert refusal(check_code, code, run) == [f"{here / 'layers.py'} changed"]

    def test_one_that_is_no_longer_used_is_named(self, run, here):
        assert refusal(check_code, {str(here / "mine.py")}, run) == [f"{here / 'layers.py'} changed"]

    def test_one_that_came_is_named(self, run, code, here):
        Path("new.py").touch()
        assert refusal(check_code, {*code, str(here / "new.py")}, run) == [f"{here / 'new.py'} changed"]

    def test_what_was_written_back_has_not_changed(self, run, code):
        text = Path("mine.py").read_text()
        Path("mine.py").write_text("")
        Path("mine.py").write_text(text)
        check_code(code, run)

    @pytest.mark.parametrize("harness", ["another", None, ""])
    def test_another_epochbench_is_named(self, folder, plan, code, harness):
        plan["harness"] = harness
        folder.write_json("plan.json", plan)
        assert refusal(check_code, code, earlier("cut-off")) == ["Epochbench itself changed"]

    def test_an_older_one_that_did_not_say_is_another(self, folder, plan, code):
        del plan["harness"]
        folder.write_json("plan.json", plan)
        assert refusal(check_code, code, earlier("cut-off")) == ["Epochbench itself changed"]


CARD = Device("Another card", "cuda", 0, 2**34)

# What changes times, and how it is said.
OTHER_MACHINES = {
    "cpu": ("Another processor", "cpu: A processor, now Another processor"),
    "cpus": ((0, 1), "cpus: 0,1,2,3, now 0,1"),
    "threads": (2, "threads: 4, now 2"),
    "openmp": ({"OMP_WAIT_POLICY": "ACTIVE"}, "openmp: OMP_WAIT_POLICY=PASSIVE, now OMP_WAIT_POLICY=ACTIVE"),
    "allocator": ("system", "allocator: pinned, now system"),
    "start_method": ("spawn", "start_method: fork, now spawn"),
    "loader_start_method": ("spawn", "loader_start_method: fork, now spawn"),
    "devices": ((), f"devices: {environment().devices[0]}, now none"),
    "driver": (None, "driver: 570.1, now none"),
    "torch": ("2.10.0", "torch: 2.9.0, now 2.10.0"),
    "cuda": ("13.0", "cuda: 12.8, now 13.0"),
    "cudnn": ("91100", "cudnn: 91002, now 91100"),
    "python": ("3.13.0", "python: 3.12.1, now 3.13.0"),
    "flags": ({"cudnn.benchmark": True}, "flags: cudnn.benchmark=False, now cudnn.benchmark=True"),
}


class TestEnvironment:
    def test_the_same_machine_is_the_run(self, run):
        check_environment(environment(), run)

    @pytest.mark.parametrize("field", OTHER_MACHINES)
    def test_what_changes_times_is_named_with_both_values(self, run, field):
        value, said = OTHER_MACHINES[field]
        assert refusal(check_environment, environment(**{field: value}), run) == [said]

    def test_another_card_is_named(self, run):
        (said,) = refusal(check_environment, environment(devices=(CARD,)), run)
        assert said.startswith("devices: ")
        assert "A card" in said.split(", now ")[0]
        assert "Another card" in said.split(", now ")[1]

    @pytest.mark.parametrize(
        "change",
        [
            {"host": "elsewhere"},
            {"kernel": "6.2.0"},
            {"load": 3.5},
            {"governor": "powersave"},
            {"cpus": (4, 5, 6, 7)},
            {"torch": "2.9.1"},
            {"packages": {"numpy": "2.1.0"}},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_what_does_not_change_them_is_no_matter(self, run, change):
        check_environment(environment(**change), run)

    def test_two_changes_are_both_named(self, run):
        named = refusal(check_environment, environment(threads=1, python="3.13.0"), run)
        assert named == ["threads: 4, now 1", "python: 3.12.1, now 3.13.0"]

    def test_where_it_is_missing_nothing_can_be_said(self, folder, run):
        (folder.path / "environment.json").unlink()
        with pytest.raises(ResultsError) as caught:
            check_environment(environment(), run)
        assert str(caught.value) == ("results/cut-off/environment.json is missing; measure again: bench run")

    @pytest.mark.parametrize("damage", ["torch", "devices", "cpus"])
    def test_nor_where_it_is_damaged(self, folder, run, damage):
        told = environment().to_json()
        del told[damage]
        folder.write_json("environment.json", told)
        with pytest.raises(ResultsError, match=r"^results/cut-off/environment\.json is damaged"):
            check_environment(environment(), run)


def test_every_field_of_the_request_that_makes_a_run_has_an_option():
    """A new field of Schedule or Conditions is one that a user could have meant otherwise."""
    fields = {field.name for part in (Schedule, Conditions) for field in dataclasses.fields(part)}
    options = {option.removeprefix("--").replace("-", "_") for option in OTHER_OPTIONS} | {"data_root"}
    # How long this part of the run may take is its own; the processors are the environment's to compare; how threads
    # wait follows from the devices.
    assert fields - options == {"time_budget", "cpus", "wait_policy"}
