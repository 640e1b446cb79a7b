"""The command line as a user meets it: runs, bad input, exit codes. Real workers are in tests/processes."""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from stand_in import standing_in

import bench
from bench import cli
from bench.cli.verbs import list as list_verb
from bench.measurement import COUNTED, PROFILED, TIMED, Device
from bench.worker import environment

pytestmark = pytest.mark.usefixtures("no_worker")

ROOT = Path(__file__).parents[2]
SUITES = ROOT / "tests" / "suites"
TWO = ("-k", "mode=train or mode=no_grad")
ONCE = ("--launches", "1", "--repeats", "0")  # whatever else this machine is doing
SMALL, BEHAVIOURS = str(SUITES / "small.py"), str(SUITES / "behaviours.py")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A run of two cases of the small suite, made once: its folder, and what it printed."""
    cwd = tmp_path_factory.mktemp("elsewhere")
    out, err = io.StringIO(), io.StringIO()
    with (
        standing_in(),
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = cli.exit_code(["run", SMALL, *TWO, *ONCE, "--name", "first", "--note", "a remark"])
    assert code == 0, err.getvalue()
    (folder,) = (cwd / "results").iterdir()
    return folder, out.getvalue(), err.getvalue()


class TestRun:
    def test_the_folder_holds_tables_pictures_and_the_truth(self, finished):
        folder, _, _ = finished
        there = {str(path.relative_to(folder)) for path in folder.rglob("*")}
        assert {"journal.jsonl", "plan.json", "environment.json", "summary.csv", "summary.parquet"} <= there
        assert {"steps.parquet", "phases.csv", "logs"} <= there
        assert any(name.startswith("plots/phases") and name.endswith(".svg") for name in there)
        assert any(name.startswith("plots/phases") and name.endswith(".png") for name in there)

    def test_each_case_is_timed_counted_and_profiled(self, finished):
        folder, _, _ = finished
        lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
        kinds = Counter(line["measurement"]["kind"] for line in lines)
        assert kinds == {TIMED: 2, COUNTED: 2, PROFILED: 2}

    def test_every_listed_case_is_a_row(self, finished, capfd, here):
        folder, _, _ = finished
        assert cli.exit_code(["list", SMALL, *TWO, "--json"]) == 0
        (listing,) = json.loads(capfd.readouterr().out)
        summary = pd.read_csv(folder / "summary.csv")
        assert set(summary["case"]) == {case["id"] for case in listing["cases"]}
        assert list(summary.columns) == [
            *("suite", "case", "device", "batch_size", "epochs", "mode"),
            *("metric", "unit", "value", "ci_low", "ci_high", "smallest_change"),
            *("launches", "contaminated", "steps", "warmup_steps", "caveats"),
        ]

    def test_the_table_is_printed_with_its_caveat(self, finished):
        _, out, err = finished
        assert "no_grad" in out
        assert "few launches: too few launches for a 95 % interval" in out
        assert "summary.csv" in out
        assert "round 1, launch 1 of about 6, 0 of 2 cases done" in err

    def test_the_run_is_labelled_and_read_by_pandas_users(self, finished):
        folder, _, _ = finished
        tables = bench.read(folder)
        assert (tables.plan["name"], tables.plan["note"]) == ("first", "a remark")
        assert tables.environment.allocator == "pinned"
        assert set(tables.steps["stage"]) == {"train", "validate", "test"}

    def test_the_stages_of_an_epoch_add_up(self, finished):
        folder, _, _ = finished
        tables = bench.read(folder)
        rows = tables.summary[tables.summary["mode"] == "train"].set_index("metric")["value"]
        phases = tables.phases[(tables.phases["mode"] == "train") & (tables.phases["stage"] == "train")]
        assert phases["seconds_per_step"].sum() == pytest.approx(rows["train.step_mean"], rel=1e-3)
        assert phases.set_index("phase")["share"]["other"] < 0.2  # on a busy machine too

    def test_show_tables_and_plot_work_on_it(self, finished, capfd, here):
        folder, _, _ = finished
        (folder / "summary.csv").unlink()
        for verb in ("show", "tables", "plot"):
            assert cli.exit_code([verb, str(folder)]) == 0
        assert (folder / "summary.csv").is_file()
        out = capfd.readouterr().out
        assert "no_grad" in out
        assert "phases" in out

    def test_one_metric_is_shown(self, finished, capfd, here):
        folder, _, _ = finished
        assert cli.exit_code(["show", str(folder), "--metric", "epoch.time", "--json"]) == 0
        rows = json.loads(capfd.readouterr().out)["summary"]
        assert {row["metric"] for row in rows} == {"epoch.time"}

    def test_a_torn_journal_is_read_up_to_there_and_says_so(self, finished, capfd, here):
        folder, _, _ = finished
        torn = here / "torn"
        torn.mkdir()
        (torn / "journal.jsonl").write_bytes((folder / "journal.jsonl").read_bytes()[:-100])
        assert cli.exit_code(["show", str(torn)]) == 0
        assert "line 6 is incomplete" in capfd.readouterr().err
        assert bench.read(torn).summary["case"].nunique() == 2


class TestFailures:
    def test_a_case_that_raises_costs_itself_alone(self, here, capfd):
        code = cli.exit_code(["run", BEHAVIOURS, "--axis", "behaviour=raises,nothing", *ONCE, "--out", "out"])
        assert code == 5
        tables = bench.read("out")
        assert set(tables.summary["behaviour"]) == {"nothing"}
        assert list(tables.failures["failure"]) == ["error"]
        printed = capfd.readouterr()
        assert printed.err.count("ValueError: the user's own") == 1
        assert f"({BEHAVIOURS}:" in printed.err
        assert "ValueError" not in printed.out
        assert "1 failure, shown above on standard error: out/failures.csv, out/logs/" in printed.out
        cli.exit_code(["show", "out"])  # which has told nothing yet
        assert capfd.readouterr().out.count("ValueError: the user's own") == 1

    def test_a_budget_that_ends_before_anything_was_measured_is_undecided(self, here, capfd):
        assert cli.exit_code(["run", SMALL, "--time-budget", "0.0000001", "--quiet"]) == 3
        assert "the time budget ended before 4 of 4 cases had a launch" in capfd.readouterr().err

    def test_a_fault_of_our_own_is_70_and_asks_to_be_reported(self, here, capfd, monkeypatch):
        def broken(*_):
            raise RuntimeError("a wheel came off")

        monkeypatch.setattr(list_verb, "describe", broken)
        assert cli.exit_code(["list", SMALL]) == 70
        assert "a fault of Epochbench itself: RuntimeError: a wheel came off" in capfd.readouterr().err
        assert cli.exit_code(["list", SMALL, "--debug"]) == 70
        assert "Traceback" in capfd.readouterr().err


def test_a_listing_says_which_cards_are_equal(monkeypatch, capfd):
    cards = [f"cuda:{number}" for number in range(3)]
    facts = [Device("NVIDIA H200", "cuda", number, uuid=f"{number}") for number in range(3)]
    monkeypatch.setattr(environment, "available_devices", lambda: ["cpu", *cards])
    monkeypatch.setattr(environment, "devices", lambda _: facts)
    assert cli.exit_code(["list", SMALL, "--devices", "available", "-k", "mode=train"]) == 0
    listed = capfd.readouterr().out
    assert "device=cuda:0" in listed
    assert "device=cuda:1/" not in listed
    assert (
        "# small: device=cuda:0 stands for 3 equal cards, cuda:0 to cuda:2, over which launches are spread; "
        "--devices all makes each a case" in listed
    )
    assert cli.exit_code(["list", SMALL, "--devices", "all", "-k", "mode=train", "--json"]) == 0
    (found,) = json.loads(capfd.readouterr().out)
    assert [case["axes"]["device"] for case in found["cases"]] == ["cpu", *cards]
    assert found["equal_cards"] == {}


MADE = "from bench import Suite\nsuite = Suite(name={name!r}, build=print, {more})\n"
FIXED = """
from bench import Suite


def build(case):
    import torch
    from bench.training import Task

    case.batch_size, case.get("width")
    rows = torch.utils.data.TensorDataset(torch.randn(64, 3), torch.randint(2, (64,)))
    loader = torch.utils.data.DataLoader(rows, 8)
    model = torch.nn.Linear(3, 2)
    return Task(model, torch.nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters()), loader, loader, loader)


suite = Suite(name="fixed", build=build, axes={"device": ["cpu"], "epochs": [2], "width": [1]})
"""


BAD = {
    "no such suite": (["list", "nosuch.py"], "suite file nosuch.py does not exist"),
    "an empty folder": (["list", "empty"], "holds no suite file"),
    "does not import": (
        ["list", "broken.py"],
        "does not import: ModuleNotFoundError: No module named 'nowhere'",
    ),
    "exits at import": (["list", "leaves.py"], "does not import: SystemExit: 7"),
    "raises no exception at import": (
        ["list", "interrupts.py"],
        "the code of a suite raised KeyboardInterrupt at ",
    ),
    "an exclude that raises": (
        ["run", "excludes.py"],
        "suite 'excludes': exclude raised ZeroDivisionError: division by zero at ",
    ),
    "an exclude that is no function": (["list", "excludes_not.py"], "exclude must be a function of a case"),
    "an axis that is not read": (
        ["run", "fixed.py", "--axis", "width=1,2", "--axis", "optimizer=sgd"],
        "suite 'fixed' does not read axis 'optimizer', so that each value would measure the same thing",
    ),
    "an axis that is of other data": (
        ["run", SMALL, "--axis", "image_size=64"],
        "suite 'small' has no axis 'image_size'",
    ),
    "a batch size that no batch follows": (
        ["run", "fixed.py", "--axis", "batch_size=32"],
        "suite 'fixed' reads batch_size, but makes the same batches whatever it is; give it to the loader",
    ),
    "a profile of an axis that is not read": (
        ["profile", "fixed.py", "--axis", "model=mlp"],
        "suite 'fixed' does not read axis 'model'",
    ),
    "a selftest with one": (
        ["selftest", "fixed.py", "--axis", "model=mlp"],
        "suite 'fixed' does not read axis 'model'",
    ),
    "a side with one": (
        ["ab", "worktree", "set:model=mlp", "fixed.py"],
        "suite 'fixed' does not read axis 'model'",
    ),
    "a path too long": (["list", "x" * 5000], "does not exist; name a .py file"),
    "a script too long": (["run", "--script", "x" * 300], "does not exist; name a Python file"),
    "a folder too long": (["run", SMALL, "--out", "x" * 300], "cannot be written: File name too long"),
    "a folder too long for two sides": (
        ["ab", "worktree", "env:A=1", SMALL, "--out", "x" * 300],
        "cannot be written: File name too long",
    ),
    "a folder that is no text": (["run", SMALL, "--out", "\udcff"], "cannot be written to tables"),
    "a seed below zero": (["run", SMALL, "--seed", "-1"], "seed must be from 0 to 4294967295, not -1"),
    "a number that nobody can write": (["list", "huge.py"], "axis 'width': a whole number of"),
    "no suite inside": (["list", "plain.py"], "holds no suite"),
    "names that clash": (["list", SMALL, "again.py"], "two suites are named 'small'"),
    "unknown axis": (["list", SMALL, "--axis", "colour=red"], "has no axis 'colour'"),
    "axis without a value": (["list", SMALL, "--axis", "batch_size"], "write it as name=value"),
    "axis given twice": (["list", SMALL, "--axis", "epochs=2", "--axis", "epochs=3"], "given twice"),
    "unknown optimizer": (
        ["list", SMALL, "--axis", "optimizer=adamx"],
        "unknown optimizer 'adamx'; there are adafactor, ",
    ),
    "unknown data": (["list", SMALL, "--axis", "dataset=mnist"], "unknown dataset 'mnist'; there are"),
    "unknown loss": (["list", SMALL, "--axis", "loss=hinge"], "unknown loss 'hinge'"),
    "unknown scheduler": (["list", SMALL, "--axis", "scheduler=never"], "unknown scheduler 'never'"),
    "unknown mode": (["list", SMALL, "--axis", "mode=sleep"], "unknown mode 'sleep'; there are train, eval"),
    "unknown device": (["list", SMALL, "--axis", "device=tpu:9"], "this machine has no device 'tpu:9'"),
    "an empty batch": (
        ["list", SMALL, "--axis", "batch_size=0"],
        "batch_size must be a whole number of at least 1",
    ),
    "a batch of text": (["list", SMALL, "--axis", "batch_size=many"], "batch_size must be a whole number"),
    "one epoch": (["list", SMALL, "--axis", "epochs=1"], "epochs must be a whole number of at least 2"),
    "a bad expression": (["list", SMALL, "-k", "train and ("], "-k 'train and ('"),
    "nothing selected": (["list", SMALL, "-k", "cuda"], "matches none of the 4 cases; there are"),
    "fewer launches than none": (["run", SMALL, "--launches", "-1"], "launches must be at least 0"),
    "fewer at the most": (
        ["run", SMALL, "--launches", "8", "--max-launches", "7"],
        "max-launches must be at least launches, 8, not 7",
    ),
    "a bad tolerance": (["run", SMALL, "--tolerance", "2"], "'2' is not a share between 0 % and 100 %"),
    "fewer than no repeats": (["run", SMALL, "--repeats", "-1"], "repeats must be at least 0"),
    "a run to go on with that is not there": (["run", "--resume", "nosuch"], "there is no run 'nosuch'"),
    "noise for some time": (["doctor", "--noise", "long"], "'long' is not a duration"),
    "launches of text": (["run", SMALL, "--launches", "few"], "--launches"),
    "a bad budget": (["run", SMALL, "--time-budget", "soon"], "'soon' is not a duration"),
    "no threads": (["run", SMALL, "--threads", "0"], "threads must be at least 1"),
    "unknown allocator": (
        ["run", SMALL, "--allocator", "best"],
        "unknown allocator 'best'; there are pinned, system",
    ),
    "unknown start": (["run", SMALL, "--start-method", "hop"], "unknown start-method 'hop'"),
    "a full folder": (["run", SMALL, "--out", "full"], "full exists and is not an empty folder"),
    "a place not to write": (["run", SMALL, "--out", "/dev/null/x"], "/dev/null/x cannot be written"),
    "a large batch": (["run", SMALL, "--axis", "batch_size=5000"], "choose at most 1079"),
    "an unknown model": (["run", SMALL, "--axis", "model=resnet19"], "unknown model 'resnet19'"),
    "data that is not there": (["run", SMALL, "--axis", "dataset=cifar10"], "run once with --download"),
    "no such run": (["show", "nosuch"], "there is no run 'nosuch'"),
    "no run at all": (["show"], "results holds no run; make one with: bench run"),
    "not a run folder": (["show", "full"], "full is not the folder of a run"),
    "unknown flag": (["list", "--frob"], "No such option: --frob"),
    "unknown verb": (["frob"], "No such command 'frob'"),
}


class TestBadInput:
    @pytest.mark.parametrize("what", BAD)
    def test_it_is_one_line_that_names_the_thing(self, here, capfd, what):
        Path("empty").mkdir()
        Path("full").mkdir()
        Path("full/something").touch()
        Path("broken.py").write_text("import nowhere\n")
        Path("leaves.py").write_text("import sys\nsys.exit(7)\n")
        Path("plain.py").write_text("x = 1\n")
        Path("again.py").write_text(Path(SMALL).read_text())
        Path("interrupts.py").write_text("raise KeyboardInterrupt\n")
        Path("excludes.py").write_text(MADE.format(name="excludes", more="exclude=lambda case: 1 / 0"))
        Path("excludes_not.py").write_text(MADE.format(name="excludes", more="exclude='never'"))
        Path("huge.py").write_text(MADE.format(name="huge", more="axes={'width': [10**5000]}"))
        Path("fixed.py").write_text(FIXED)
        arguments, words = BAD[what]
        assert cli.exit_code(arguments) == 2
        printed = capfd.readouterr()
        assert words in printed.err
        assert len(printed.err.strip().splitlines()) == 1, printed.err
        assert "Traceback" not in printed.out + printed.err
        assert not list(Path().glob("results/*/*")), "a refused run leaves no folder"

    def test_the_suites_own_traceback_is_shown_on_request(self, here, capfd):
        Path("broken.py").write_text("import nowhere\n")
        assert cli.exit_code(["list", "broken.py", "--debug"]) == 2
        assert 'broken.py", line 1, in <module>' in capfd.readouterr().err


class TestList:
    def test_what_collapsed_is_said_with_the_reason(self, here, capfd):
        assert cli.exit_code(["list", str(ROOT / "suites" / "vision.py")]) == 0
        out = capfd.readouterr().out
        assert "24 cases" in out or "48 cases" in out  # with and without a GPU
        assert "optimizer is not used under mode=eval" in out

    def test_every_shipped_suite_lists(self, here, capfd):
        assert cli.exit_code(["list", str(ROOT / "suites"), "--json"]) == 0
        listings = json.loads(capfd.readouterr().out)
        assert all(listing["cases"] for listing in listings)
        assert {listing["file"] for listing in listings} == set(map(str, (ROOT / "suites").glob("*.py")))

    def test_a_device_that_is_not_there_is_excluded_where_the_suite_declares_it(self, here, capfd):
        text = Path(SMALL).read_text().replace('["cpu"]', '["cpu", "xpu:7"]')
        Path("mine.py").write_text(text)
        assert cli.exit_code(["list", "mine.py"]) == 0
        out = capfd.readouterr().out
        assert "4 cases" in out
        assert "excluded: this machine has no device 'xpu:7'" in out

    @pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["run", "--dry-run"]])
    def test_no_value_of_an_axis_is_an_order_to_a_terminal_or_a_server(self, here, capfd, arguments):
        values = ["a\n::error::b", "##[error]c", "\x1b[31mred"]
        Path("mine.py").write_text(Path(SMALL).read_text().replace("axes={", f"axes={{'own': {values!r}, "))
        assert cli.exit_code([*arguments, "mine.py"]) == 0
        lines = capfd.readouterr().out.splitlines()
        assert any("::error::b" in line for line in lines)
        assert not any(line.startswith("::") or "##[" in line or "\x1b" in line for line in lines)


class TestDryRun:
    def test_it_says_what_would_be_measured_and_makes_nothing(self, here, capfd):
        assert cli.exit_code(["run", SMALL, "--dry-run", "-k", "no_grad", "--launches", "3"]) == 0
        out = capfd.readouterr().out
        assert "1 case, 5 launches, about" in out
        assert not Path("results").exists()


class TestDoctor:
    def test_it_says_what_it_finds_and_changes_nothing(self, here, capfd):
        assert cli.exit_code(["doctor", "--noise", "0"]) == 0
        out = capfd.readouterr().out
        assert "allocator" in out
        assert "swap" in out
        assert not list(here.iterdir())


class TestQuiet:
    def test_json_is_all_there_is_on_standard_output(self, here, capfd):
        arguments = [
            "run",
            SMALL,
            "-k",
            "no_grad",
            *ONCE,
            "--no-profile",
            "--json",
            "--quiet",
            "--out",
            "out",
        ]
        assert cli.exit_code(arguments) == 0
        printed = capfd.readouterr()
        assert json.loads(printed.out)["failures"] == []
        assert printed.err == ""
