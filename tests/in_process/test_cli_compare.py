"""The gate as a user meets it: runs of one suite, with and without a change, and what the build gets to know."""

from __future__ import annotations

import csv
import io
import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from stand_in import standing_in

from bench import cli
from bench.cli.options import FORMATS

SUITE = '''
"""A tiny loop, into which the variable CHANGE puts what a change may do to it."""

import os

from bench import Suite


def build(case):
    import torch
    from torch import nn

    from bench.training import Task, forward_and_loss

    change = os.environ.get("CHANGE", "")
    if change == "crash":
        raise ValueError("it no longer builds")
    torch.manual_seed(0)
    width = case.get("width")
    layers = [nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2)]
    if change == "operator":
        layers.insert(1, nn.Tanh())
    model = nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), amsgrad=change == "state")
    if change == "zeros":
        clear = optimizer.zero_grad
        optimizer.zero_grad = lambda set_to_none=True: clear(set_to_none=False)

    def step(task, inputs, targets, lap):
        if change == "graph":
            with torch.enable_grad():
                return forward_and_loss(task, inputs, targets, lap)
        return forward_and_loss(task, inputs, targets, lap)

    def batches(number):
        generator = torch.Generator().manual_seed(1)
        return [
            (torch.randn(8, 4, generator=generator), torch.randint(0, 2, (8,), generator=generator))
            for _ in range(number // 2 if change == "half" else number)
        ]

    return Task(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        train_loader=batches(6),
        validate_loader=batches(4),
        test_loader=batches(4),
        step=step,
    )


suite = Suite(
    name="changes",
    build=build,
    axes={"device": ["cpu"], "batch_size": [8], "epochs": [2], "width": [8, 16], "mode": ["train"]},
)
'''
CASE = "changes/device=cpu/batch_size=8/epochs=2/width=8/mode=train"
OTHER = CASE.replace("width=8", "width=16")
COUNTS = ("--metric", "count.*", "--metric", "work.*")  # what no busy machine can change
FAST = ("--launches", "2", "--repeats", "0", "--no-profile", "--quiet")

HEAD = "suite,case,metric,unit,value,ci_low,ci_high,launches\n"
HOSTILE = ("::error::no", "<script>", "=1+1", "a|b", "`c`", "\x1b[31mred", "]]>", "@all #1", "##[error]no")


def run(place, *arguments):
    """Runs a command in the folder, in this process; the pictures of a run are not what is told here."""
    with standing_in(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.delenv("GITHUB_ACTIONS", raising=False)
        patch.setattr("bench.report.plots.draw", lambda *_: None)
        return cli.exit_code(["run", "changes.py", *FAST, *arguments])


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with the suite, and a baseline run of both cases in results/base."""
    place = tmp_path_factory.mktemp("gate")
    (place / "changes.py").write_text(SUITE)
    assert run(place, "--out", "results/base") == 0
    return place


@pytest.fixture(scope="session")
def changed(place):
    """Gives the name of a run of the first case into which something was changed; each is made once."""
    made = {}

    def change(what):
        if what not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("CHANGE", what)
                made[what] = f"results/{what or 'again'}"
                code = run(place, "--launches", "1", "-k", "width=8", "--out", made[what])
                assert code == (5 if what == "crash" else 0)
        return made[what]

    return change


@pytest.fixture(autouse=True)
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    return place


@pytest.fixture
def gate(capfd):
    """Compares, and gives the exit code with what was printed."""

    def compare(*arguments):
        capfd.readouterr()
        code = cli.exit_code(["compare", *map(str, arguments)])
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return compare


@pytest.fixture
def rows(gate):
    """Compares, and gives the exit code with the rows of the JSON by metric."""

    def compare(*arguments):
        code, out, _ = gate(*arguments, "--format", "json")
        data = json.loads(out)
        assert data["exit_code"] == code
        return code, {row["metric"]: row for row in data["rows"]}

    return compare


def elsewhere(name, source="results/base", **changes):
    """A copy of a run that says that it was made on another machine."""
    folder = Path("results") / name
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(source, folder)
    file = folder / "environment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return str(folder)


def table(name, *lines):
    Path(name).write_text(HEAD + "".join(f"{line}\n" for line in lines))
    return name


class TestWhatIsCaught:
    @pytest.mark.parametrize(
        ("change", "metrics"),
        [
            ("operator", ["count.ops", "count.autograd_nodes", "count.saved_bytes", "count.allocations"]),
            ("graph", ["count.validate.autograd_nodes", "count.test.saved_bytes"]),
            ("zeros", ["count.ops"]),
            ("state", ["count.ops", "count.optimizer_state_bytes"]),
        ],
    )
    def test_a_change_fails_and_is_named_with_its_metric_and_its_case(
        self, changed, gate, rows, change, metrics
    ):
        code, found = rows("results/base", changed(change), "-k", "width=8")
        assert code == 1
        for name in metrics:
            assert (found[name]["verdict"], found[name]["action"], found[name]["case"]) == (
                "regressed",
                "fail",
                CASE,
            )
        _, out, _ = gate("results/base", changed(change), "-k", "width=8")
        assert out.startswith("Failed: ")
        assert "width=8" in out
        assert all(name in out for name in metrics)

    def test_half_the_data_is_no_gain(self, changed, rows):
        code, found = rows("results/base", changed("half"), "-k", "width=8")
        assert code == 3
        assert "improved" not in {row["verdict"] for row in found.values()}
        work, time = found["work.train.samples"], found["epoch.time"]
        assert (work["verdict"], work["action"], work["decides"]) == ("different_work", "fail", True)
        assert work["reason"].startswith("train: samples 48 to 24, batches 6 to 3, optimizer steps 6 to 3")
        assert (time["verdict"], time["folded"], time["gates"]) == ("different_work", True, False)

    def test_nor_is_it_the_other_way_round(self, changed, rows):
        code, found = rows(changed("half"), "results/base", "-k", "width=8")
        assert (code, found["work.train.samples"]["verdict"]) == (3, "different_work")

    def test_nothing_excuses_it_but_the_rule_that_it_names(self, changed, rows, gate, tmp_path):
        sides = ("results/base", changed("half"), "-k", "width=8", "--allow-inconclusive")
        code, out, _ = gate(*sides, "--format", "json")
        page = json.loads(out)
        assert (code, page["counts"]["different_work"]) == (3, 1)
        # Both were measured at unlike moments, and what a busy machine does to times is not what is told here.
        names = ("train.throughput", "train.step_time", "memory.peak_rss")
        calm = "".join(f'\n[[rule]]\nmetric = "{name}"\npolicy = "ignore"\n' for name in names)
        (tmp_path / "rules.toml").write_text(page["remedy"] + calm)
        code, found = rows(*sides, "--thresholds", tmp_path / "rules.toml")
        assert code == 0, [row for row in found.values() if row["verdict"] != "equivalent"]
        assert found["train.throughput"]["verdict"] != "different_work"
        assert "different_work" not in {row["verdict"] for row in found.values()}
        assert "epoch.time" not in found

    @pytest.mark.parametrize("more", [(), ("--allow-inconclusive",), COUNTS, ("--metric", "epoch.time")])
    def test_a_crash_never_passes(self, changed, rows, more):
        code, found = rows("results/base", changed("crash"), "-k", "width=8", *more)
        assert code == 3
        (row,) = found.values()
        assert (row["verdict"], row["case"], row["gates"]) == ("not_measured", CASE, True)
        assert "ValueError: it no longer builds" in row["reason"]

    def test_a_case_that_has_gone_never_passes(self, changed, gate):
        code, out, _ = gate("results/base", changed(""), *COUNTS)
        assert code == 3
        assert [line for line in out.splitlines() if "width=16" in line] == [f"only in the base: {OTHER}"]

    def test_the_same_code_passes(self, changed, gate):
        code, out, _ = gate("results/base", changed(""), "-k", "width=8", *COUNTS)
        assert code == 0
        assert out.startswith("Passed: ")
        assert "rows equivalent" in out
        assert "count.ops" not in out
        assert "count.ops" in gate("results/base", changed(""), "-k", "width=8", *COUNTS, "--all")[1]

    def test_a_run_is_not_worse_than_itself_whatever_else_the_machine_does(self, rows):
        code, found = rows("results/base", "results/base")
        assert code == 0
        assert {row["verdict"] for row in found.values()} <= {"equivalent", "inconclusive"}

    def test_a_baseline_is_as_good_as_its_run(self, changed, rows, capfd):
        assert cli.exit_code(["baseline", "save", "main", "results/base"]) == 0
        assert cli.exit_code(["baseline", "list"]) == 0
        assert capfd.readouterr().out == "kept: results/baselines/main\nmain\n"
        assert rows("main", changed("operator"), "-k", "width=8")[0] == 1
        assert rows("main", changed(""), "-k", "width=8", *COUNTS)[0] == 0


class TestThresholds:
    @pytest.fixture(autouse=True)
    def none_left(self):
        yield
        Path("thresholds.toml").unlink(missing_ok=True)

    def test_the_file_in_the_working_directory_holds(self, changed, rows):
        sides = ("results/base", changed("operator"), "-k", "width=8", *COUNTS)
        assert rows(*sides)[0] == 1
        Path("thresholds.toml").write_text('[default]\npolicy = "warn"\n')
        code, found = rows(*sides)
        assert (code, found["count.ops"]["action"]) == (0, "warn")

    def test_a_file_that_is_named_stands_in_its_place(self, changed, rows):
        Path("thresholds.toml").write_text('[default]\npolicy = "warn"\n')
        Path("mine.toml").write_text('[[rule]]\nmetric = "count.ops"\nthreshold = "1000"\n')
        code, found = rows(
            "results/base", changed("operator"), "-k", "width=8", *COUNTS, "--thresholds", "mine.toml"
        )
        assert (code, found["count.ops"]["verdict"]) == (1, "equivalent")
        assert found["count.autograd_nodes"]["action"] == "fail"

    def test_a_crash_is_seen_though_times_are_ignored(self, changed, rows):
        Path("thresholds.toml").write_text('[[rule]]\nmetric = "epoch.time"\npolicy = "ignore"\n')
        code, found = rows("results/base", changed("crash"), "-k", "width=8")
        assert (code, [row["gates"] for row in found.values()]) == (3, [True])

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[default", "is not TOML"),
            ('[[rule]]\nmetric = "count.nothing"\npolicy = "warn"\n', "matches nothing in this comparison"),
            ('[default]\npolicy = "shout"\n', "is not a policy"),
        ],
    )
    def test_one_that_cannot_be_meant_is_said_in_a_line(self, gate, text, said):
        Path("thresholds.toml").write_text(text)
        code, _, err = gate("results/base", "results/base")
        assert (code, len(err.splitlines())) == (2, 1)
        assert said in err


class TestSurfaces:
    @pytest.fixture
    def sides(self, changed):
        return "results/base", changed("operator"), "-k", "width=8", *COUNTS

    def test_csv_has_a_line_for_each_row(self, gate, sides):
        code, out, err = gate(*sides, "--format", "csv")
        found = {row["metric"]: row for row in csv.DictReader(io.StringIO(out))}
        assert (code, err) == (1, "")
        assert found["count.ops"]["verdict"] == "regressed"
        assert found["work.train.samples"]["verdict"] == "equivalent"

    def test_markdown_has_what_failed_on_top(self, gate, sides):
        code, out, _ = gate(*sides, "--format", "markdown")
        assert code == 1
        assert out.startswith("**Failed: ")
        assert out.index("count.ops") < out.index("<details>") < out.index("work.train.samples")

    def test_junit_has_a_test_for_each_row(self, gate, sides, tmp_path):
        assert gate(*sides, "--junit", tmp_path / "deeper" / "report.xml")[0] == 1
        tests = ET.parse(tmp_path / "deeper" / "report.xml").findall("./testsuite/testcase")
        failed = [test.get("name") for test in tests if test.find("failure") is not None]
        assert f"{CASE} count.ops" in failed
        assert len(failed) < len(tests)

    def test_github_is_told_in_the_log_and_in_the_summary(self, gate, sides, tmp_path, monkeypatch):
        summary = tmp_path / "summary.md"
        summary.write_text("before\n")
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
        code, out, _ = gate(*sides)
        assert code == 1
        assert any(line.startswith("::error title=count.") for line in out.splitlines())
        assert summary.read_text().startswith("before\n\n**Failed: ")
        once = len(summary.read_text())
        gate(*sides)
        assert summary.read_text()[:once].endswith("</details>\n\n")
        assert summary.read_text()[once:].startswith("\n**Failed: ")

    @pytest.mark.parametrize("form", ["json", "csv", "markdown"])
    def test_what_a_program_reads_has_no_annotations_in_it(self, gate, sides, monkeypatch, form):
        _, plain, _ = gate(*sides, "--format", form)
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        _, out, err = gate(*sides, "--format", form)
        assert out == plain
        assert err.startswith("::error title=")

    def test_a_summary_that_cannot_be_written_changes_no_verdict(self, gate, sides, monkeypatch):
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/proc/nothing/here")
        code, _, err = gate(*sides)
        assert code == 1
        assert "the step summary /proc/nothing/here cannot be written: No such file or directory" in err

    def test_the_picture_is_drawn_where_it_is_asked_for(self, gate, sides, tmp_path):
        code, _, err = gate(*sides, "--plot", tmp_path / "plots")
        assert code == 1
        assert {path.suffix for path in (tmp_path / "plots").iterdir()} == {".png", ".svg"}
        assert ".png" in err

    @pytest.mark.parametrize("name", HOSTILE)
    def test_no_name_of_a_case_is_an_order(self, gate, tmp_path, monkeypatch, name):
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        quoted = name.replace('"', '""')
        base = table(tmp_path / "base.csv", f's,"{quoted}",count.ops,1/step,1,,,1')
        after = table(tmp_path / "after.csv", f's,"{quoted}",count.ops,1/step,2,,,1')
        for form in FORMATS:
            code, out, err = gate(base, after, "--format", form, "--junit", tmp_path / "report.xml")
            assert code == 1
            orders = [line for line in (out + err).splitlines() if line.startswith("::")]
            assert [line.partition("::error title=count.ops regressed::")[0] for line in orders] == [""]
            assert "##[" not in "".join(line for line in out.splitlines() if line not in orders)
            assert "\x1b" not in out + err
            assert "<script>" not in out or form in ("table", "csv")
        ET.parse(tmp_path / "report.xml")


class TestAnAxis:
    def test_a_threshold_that_holds_for_nothing_is_refused(self, gate, tmp_path):
        file = tmp_path / "mine.toml"
        file.write_text('[[rule]]\nmetric = "count.nothing"\npolicy = "warn"\n')
        code, _, err = gate("results/base", "--by", "width", "--thresholds", file)
        assert (code, len(err.splitlines())) == (2, 1)
        assert "matches nothing in this comparison" in err

    def test_its_values_are_held_against_the_first_and_fail_no_build(self, gate):
        code, out, _ = gate("results/base", "--by", "arg:--width", "--metric", "count.flops")
        assert code == 0
        assert any("count.flops" in line and "regressed" in line for line in out.splitlines())
        assert "measured side by side" in out

    def test_of_the_cases_that_are_taken(self, gate):
        code, _, err = gate("results/base", "--by", "width", "-k", "width=8")
        assert (code, len(err.splitlines())) == (2, 1)
        assert "no two cases of results/base differ only in 'width'" in err


class TestOtherMachines:
    def test_runs_that_cannot_be_compared_say_in_what_they_differ(self, gate):
        there = elsewhere("there", cpu="Another\n::error::processor", threads=99)
        code, out, err = gate("results/base", there)
        assert (code, out) == (4, "")
        first, *facts, last = err.splitlines()
        assert first == f"bench: results/base and {there} are not comparable:"
        assert [fact.split(":")[0] for fact in facts] == ["  cpu", "  threads"]
        assert facts[1].endswith(" and 99")
        assert last == "bench: measure both alike, or compare anyway with --across machines"

    def test_ci_gets_to_know_it_and_reads_no_older_report(self, gate, tmp_path, monkeypatch):
        report, summary = tmp_path / "report.xml", tmp_path / "summary.md"
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
        assert gate("results/base", "results/base", "--junit", report, *COUNTS)[0] == 0
        summary.unlink()
        code, out, _ = gate("results/base", elsewhere("there", threads=99), "--junit", report)
        assert code == 4
        (test,) = ET.parse(report).findall("./testsuite/testcase")
        assert test.find("error").get("type") == "not_comparable"
        assert test.find("error").get("message").endswith(" and 99")
        (line,) = out.splitlines()
        assert line.startswith(
            "::error title=not comparable::results/base and results/there are not comparable:"
        )
        assert summary.read_text().startswith("\n**Not compared**: results/base and ")

    @pytest.mark.parametrize("more", [("--metric", "nosuch"), ("--across", "time"), ("--plot", "/proc/no")])
    def test_so_it_does_of_what_cannot_be_meant(self, gate, tmp_path, more):
        report = tmp_path / "report.xml"
        code, _, err = gate("results/base", "results/base", "--junit", report, *more)
        assert code == 2
        (test,) = ET.parse(report).findall("./testsuite/testcase")
        assert test.find("error").get("type") == "usage"
        assert f"bench: {test.find('error').get('message')}" == err.strip()

    def test_an_old_baseline_says_how_it_is_renewed(self, gate, capfd):
        assert cli.exit_code(["baseline", "save", "old", elsewhere("there", threads=99)]) == 0
        code, _, err = gate("old", "results/base")
        assert code == 4
        assert "renew the baseline here with: bench baseline save old RUN" in err

    def test_across_machines_counts_gate_and_times_do_not(self, rows):
        code, found = rows(
            "results/base", elsewhere("there", threads=99), "--across", "machines", "-k", "width=8"
        )
        assert code == 0
        assert (found["epoch.time"]["gates"], found["count.ops"]["gates"]) == (False, True)
        assert "other_machine" in found["epoch.time"]["caveats"]

    def test_another_torch_is_not_judged_by_counts(self, rows):
        code, found = rows(
            "results/base", elsewhere("there", torch="1.0.0"), "--across", "machines", "-k", "width=8"
        )
        assert code == 3
        assert found["count.ops"]["caveats"] == ["other_software"]

    def test_where_nothing_gates_it_is_said_why(self, gate):
        there = elsewhere("there", torch="1.0.0")
        said = "across machines no row gates here: times never do, counts only under the same torch"
        assert said in " ".join(gate("results/base", there, "--across", "machines")[1].split())
        alike = elsewhere("there", threads=99)
        assert said not in gate("results/base", alike, "--across", "machines")[1]

    def test_the_name_of_the_machine_does_not_matter(self, gate):
        there = elsewhere("there", host="elsewhere", load=99.0)
        assert gate("results/base", there, "--metric", "count.*")[0] == 0


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("results/base",), "name two sides to compare, or one and --by AXIS"),
            (
                ("results/base", "results/base", "--by", "width"),
                "name two sides to compare, or one and --by AXIS",
            ),
            (
                ("results/base", "results/base", "--format", "xml"),
                "unknown format 'xml'; there are table, markdown",
            ),
            (("results/base", "results/base", "--across", "time"), "there is --across machines"),
            (
                ("results/base", "results/base", "-k", "nothing"),
                "matches none of the 2 cases of results/base",
            ),
            (("results/base", "results/base", "-k", "and"), "a word is missing"),
            (
                ("results/base", "results/base", "--metric", "count.op"),
                "has no metric 'count.op'; did you mean 'count.ops'?",
            ),
            (("results/base", "--by", "width", "--metric", "count.op"), "has no metric 'count.op'"),
            (
                ("results/base", "--by", "depth"),
                "has no axis 'depth'; it has batch_size, device, epochs, mode, width",
            ),
            (
                ("results/base", "results/base", "--metric", "nosuch"),
                "has no metric 'nosuch'; it has comp",
            ),
            (
                ("results/base", "--by", "width", "--across", "machines"),
                "--across has no meaning with --by",
            ),
            (
                ("results/base", "--by", "width", "--allow-inconclusive"),
                "--allow-inconclusive has no meaning with --by",
            ),
            (("results/base", "results/base", "--plot", ""), "--plot names no folder; name one"),
            (
                ("results/base", "results/base", "--plot", "/proc/no"),
                "cannot be written to /proc/no: No such file or directory; free some space, or name another folder",
            ),
            (("results/base", "--by", "mode"), "no two cases of results/base differ only in 'mode'"),
            (
                ("results/base", "results/base", "--junit", "/proc/no.xml"),
                "--junit /proc/no.xml cannot be written",
            ),
            (("results/base", "results/base", "--thresholds", "no.toml"), "no.toml cannot be read"),
            (("main-of-old", "results/base"), "there is no run 'main-of-old'"),
            (("results/base", "missing.csv"), "missing.csv cannot be read"),
            (("results/base", "changes.py"), "changes.py is not a table that can be read"),
        ],
    )
    def test_it_is_said_in_one_line(self, gate, arguments, said):
        code, _, err = gate(*arguments)
        assert (code, len(err.splitlines())) == (2, 1)
        assert err.startswith("bench: ")
        assert said in err

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("save", "a/b", "results/base"), "cannot be the name of a baseline"),
            (("save", "main", "nowhere"), "there is no run 'nowhere'"),
        ],
    )
    def test_so_it_is_where_a_baseline_is_saved(self, capfd, arguments, said):
        assert cli.exit_code(["baseline", *arguments]) == 2
        err = capfd.readouterr().err
        assert len(err.splitlines()) == 1
        assert said in err


class TestDamage:
    """What could not be read of a run is said on every surface."""

    @pytest.fixture
    def torn(self):
        folder = Path(elsewhere("torn"))
        with (folder / "journal.jsonl").open("a") as journal:
            journal.write('{"schema"')
        return str(folder)

    @pytest.mark.parametrize("form", FORMATS)
    def test_a_torn_line_is_named_in_every_format(self, gate, torn, form):
        _, out, err = gate("results/base", torn, "--format", form)
        said = err if form == "csv" else out
        assert "is incomplete" in said
        assert form != "csv" or "is incomplete" not in out

    def test_so_it_is_in_junit(self, gate, torn, tmp_path):
        gate("results/base", torn, "--junit", tmp_path / "report.xml")
        assert "is incomplete" in ET.parse(tmp_path / "report.xml").findtext("./testsuite/system-out")

    def test_a_run_that_has_nothing_else_says_so(self, gate):
        folder = Path(elsewhere("torn"))
        (folder / "journal.jsonl").write_text('{"schema"')
        (folder / "plan.json").unlink()
        code, _, err = gate("results/base", folder)
        assert (code, len(err.splitlines())) == (2, 1)
        assert "journal.jsonl: line 1 is incomplete" in err

    @pytest.mark.parametrize("name", ["plan.json", "environment.json"])
    @pytest.mark.parametrize("text", ["{", "[]", '{"cases": 3, "cpu": 3}'])
    def test_a_file_that_cannot_be_read_has_a_remedy(self, gate, name, text):
        folder = Path(elsewhere("torn"))
        (folder / name).write_text(text)
        (folder / "summary.parquet").unlink()
        code, _, err = gate("results/base", folder)
        assert (code, len(err.splitlines())) == (2, 1)
        assert "; restore it, or remove it to continue without it" in err


def test_sides_without_a_case_in_common_are_said_in_one_line(gate, tmp_path):
    other = table(tmp_path / "other.csv", "s,s/a=1,count.ops,1/step,1,,,1")
    code, out, err = gate("results/base", other)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert f"have no case in common: the first has 2, such as {CASE}, the second 1, such as s/a=1;" in err


def test_a_baseline_alone_names_what_is_missing(capfd):
    assert cli.exit_code(["baseline"]) == 2
    assert capfd.readouterr().err.startswith("bench: a command is missing; see: ")


@pytest.mark.parametrize(
    ("verb", "said"),
    [("compare", "[default: (thresholds.toml, if it exists)]"), ("run", "[default: (physical cores)]")],
)
def test_the_help_says_what_is_taken_without_a_flag(capfd, monkeypatch, verb, said):
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.exit_code([verb, "--help"]) == 0
    assert said in " ".join(capfd.readouterr().out.split())
