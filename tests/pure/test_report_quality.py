"""Time to quality on the terminal and as JSON: `bench show RUN --quality`."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from fakes import CONTAMINATED, environment, failure, guards, measurement, stage, trained
from rich.console import Console

from bench import cli
from bench.analysis.run.time_to_quality import groups
from bench.report.terminal.time_to_quality import as_json, pages
from bench.results.folder import RunFolder
from bench.results.journal import Journal, Records
from bench.results.tables import build, write
from bench.suite.case import Case

SGD, ADAM, RMSPROP = (
    Case("s", {"device": "cpu", "batch_size": 64, "optimizer": name, "mode": "train"})
    for name in ("sgd", "adam", "rmsprop")
)
LAUNCHES = (
    *(trained(SGD, 2.5, 2.25, seconds=0.004, round=round) for round in (1, 2)),
    *(trained(ADAM, 1.0, 0.18, seconds=0.008, round=round) for round in (1, 2)),
    *(trained(RMSPROP, 2.0, 0.25, seconds=0.04, round=round) for round in (1, 2)),
)


def tables_of(*records):
    gathered = Records()
    for record in records:
        gathered.add(record)
    return build(gathered, {"started": "2026-01-01T00:00:00+00:00"}, environment())


def shown(*records, target: float | None = None, width: int = 160) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    tables = tables_of(*records)
    for page in pages(tables, groups(tables.trained.values(), target)):
        console.print(page)
    return console.file.getvalue()


def table_in(text: str) -> list[list[str]]:
    """The cells of the rows below the head."""
    lines = text.splitlines()
    top = next(number for number, line in enumerate(lines) if line.startswith("optimizer"))
    return [re.split(r"\s{2,}", line.strip()) for line in lines[top + 1 : lines.index("", top)]]


class TestTheTable:
    def test_a_row_says_how_good_and_how_soon(self):
        text = shown(*LAUNCHES)
        assert table_in(text) == [
            ["adam", "0.180", "0.955", "20.0", "1.00", "0.750", "20.0"],
            ["rmsprop", "0.250", "0.938", "100", "-", "-", "100"],
            ["sgd", "2.25", "0.438", "10.0", "2.25", "0.438", "never, best 2.25"],
        ]
        assert "loss within" in text
        assert "10.0 ms" in text
        assert "2 epochs" in text

    def test_the_head_says_what_does_not_vary_the_target_and_the_clock(self):
        text = shown(*LAUNCHES)
        assert "s  time to quality: A processor + A card, 4 threads" in text
        assert "every case: device=cpu, batch_size=64, mode=train" in text
        assert "target: a validation loss of 0.250, which half of the configurations reach" in text
        assert "medians over 2 launches a case" in text
        assert "without the test stage" in text

    def test_a_target_of_ones_own(self):
        text = shown(*LAUNCHES, target=1.0)
        assert "target: a validation loss of 1.00, as requested" in text
        assert [row[-1] for row in table_in(text)] == ["10.0", "100", "never, best 2.25"]

    def test_the_target_of_the_axis(self):
        case = Case("s", {**ADAM.axes, "target_loss": 0.5})
        assert "0.500, the axis target_loss" in shown(trained(case, 1.0, 0.25))

    def test_how_many_launches_reached_it_is_said_where_not_all_did(self):
        text = shown(
            *(trained(ADAM, 1.0, loss, round=n) for n, loss in enumerate((0.5, 0.5, 2.0))), target=0.5
        )
        (row,) = [line for line in text.splitlines() if "of 3)" in line and "launches" not in line]
        assert row.endswith("2.50 (2 of 3)")
        assert "(2 of 3): this many of its launches reached the target" in text

    def test_without_accuracy_there_is_no_column_of_it(self):
        records = tuple(stage(name, epoch) for epoch in (0, 1) for name in ("train", "validate", "test"))
        text = shown(*(measurement(case=case, stages=records) for case in (SGD, ADAM)))
        assert "accuracy\n" not in text
        assert len(table_in(text)[0]) == 5

    def test_each_group_has_a_table_of_its_own(self):
        cases = [Case("s", {"loss": name, "optimizer": "adam"}) for name in ("cross-entropy", "nll")]
        text = shown(*(trained(case, 2.0, 1.0) for case in cases))
        assert text.count("time to quality") == 2
        assert "loss=nll" in text

    def test_contaminated_launches_do_not_count(self):
        calm = [trained(ADAM, 2.0, 1.0, round=n, guards=guards()) for n in (1, 2)]
        text = shown(*calm, trained(ADAM, 2.0, 1.0, seconds=9.0, round=3, guards=CONTAMINATED))
        assert "medians over 2 launches a case" in text

    @pytest.mark.parametrize("width", [100, 160])
    def test_it_is_as_wide_as_the_terminal(self, width):
        lines = shown(*LAUNCHES, width=width).splitlines()
        assert max(map(len, lines)) <= width
        assert any(line.endswith("never, best 2.25") for line in lines), "no cell is folded"

    def test_no_text_of_a_user_is_an_order_to_a_terminal(self):
        hostile = [Case("s", {"optimizer": name}) for name in ("\x1b[31m::error::", "##[group]", "[bold]x")]
        text = shown(*(trained(case, 2.0, 1.0) for case in hostile))
        assert "\x1b" not in text
        assert "##[" not in text
        assert "[bold]x" in text


class TestTheSentences:
    def test_fast_but_worse_is_said(self):
        text = " ".join(shown(*LAUNCHES).split())
        assert (
            "fastest per epoch: sgd (9.00 ms), but its validation loss after 2 epochs is 2.25, "
            "12.5 times the best (0.180: adam)" in text
        )
        assert "first at a loss of 0.250: adam, after 20.0 ms of training" in text

    def test_fast_and_good_is_not(self):
        text = shown(trained(SGD, 2.0, 1.0, seconds=0.1), trained(ADAM, 2.0, 1.0))
        assert "fastest an epoch" not in text
        assert "first at a loss of 1.00: sgd" in text

    def test_a_best_loss_below_zero_has_no_multiple(self):
        text = shown(trained(SGD, 2.0, 1.0, seconds=0.1), trained(ADAM, 2.0, -1.0))
        assert "is 1.00, not the best (-1.00: adam)" in text

    def test_where_none_reaches_the_target_that_is_said(self):
        assert "no configuration reached a loss of 0.0100 in most of its launches" in shown(
            *LAUNCHES, target=0.01
        )

    def test_numbers_have_the_name_of_their_axis(self):
        large = Case("s", {**SGD.axes, "batch_size": 256})
        text = shown(trained(SGD, 2.0, 1.0), trained(large, 2.0, 0.5))
        assert "first at a loss of 0.750: batch size 256, after" in text

    def test_a_configuration_of_which_every_launch_failed_is_not_forgotten(self):
        lost = Case("s", {**SGD.axes, "optimizer": "lion"})
        evaluation = Case("s", {**SGD.axes, "mode": "eval"})
        text = shown(
            *LAUNCHES, failure(case=lost, failure="diverged"), failure(case=ADAM), failure(case=evaluation)
        )
        assert re.findall(r"not shown, since all its launches failed: (\S+) (\S+)", text) == [
            (lost.id, "(diverged)")
        ]


def test_json_has_the_same_as_plain_numbers():
    tables = tables_of(*LAUNCHES)
    (group,) = as_json(groups(tables.trained.values()))["groups"]
    assert (group["target_loss"], group["target_from"], group["epochs"], group["seconds"]) == (
        0.25,
        "half",
        2,
        pytest.approx(0.01),
    )
    assert (group["fastest_epoch"], group["best_loss"], group["first_at_target"]) == (
        SGD.id,
        ADAM.id,
        ADAM.id,
    )
    assert group["fast_but_worse"] is True
    assert [row["case"] for row in group["configurations"]] == [ADAM.id, RMSPROP.id, SGD.id]
    assert group["configurations"][1] == {
        "case": RMSPROP.id,
        "axes": dict(RMSPROP.axes),
        "launches": 2,
        "epoch_time": 0.09,
        "validate_loss": 0.25,
        "test_accuracy": 0.9375,
        "seconds": pytest.approx(0.1),
        "validate_loss_in_time": None,
        "test_accuracy_in_time": None,
        "launches_at_target": 2,
        "time_to_loss": pytest.approx(0.1),
        "best_validate_loss": 0.25,
    }
    assert group["configurations"][2]["time_to_loss"] is None


def test_the_table_of_epochs_has_each_validation_and_test_by_time_of_training():
    calm = [trained(ADAM, 2.0, 1.0, round=n, guards=guards()) for n in (1, 2)]
    found = tables_of(*calm, trained(ADAM, 3.0, 2.0, round=3, guards=CONTAMINATED)).epochs
    assert list(found.columns)[-6:] == ["round", "counted", "epoch", "seconds", "metric", "value"]
    assert found[found["round"] == 1].iloc[:, -4:].values.tolist() == [
        [1, 1.25, "quality.validate_loss", 2.0],
        [1, 1.25, "quality.test_accuracy", 0.5],
        [2, 2.5, "quality.validate_loss", 1.0],
        [2, 2.5, "quality.test_accuracy", 0.75],
    ]
    assert found.groupby("round")["counted"].first().tolist() == [True, True, False]


def test_who_did_not_train_has_no_epochs():
    evaluation = Case("s", {**SGD.axes, "mode": "eval"})
    tables = tables_of(trained(evaluation, 2.0, 1.0), measurement(case=ADAM, stages=(), kind="counts"))
    assert len(tables.epochs) == 0
    assert tables.trained == {}


class TestTheVerb:
    @pytest.fixture
    def keep(self, tmp_path, monkeypatch):
        """Keeps records as the run `mine` in the working directory."""
        monkeypatch.chdir(tmp_path)

        def write_run(*records) -> None:
            folder = RunFolder(Path("mine"))
            folder.path.mkdir()
            journal, gathered = Journal(folder.journal), Records()
            for record in records:
                journal.append(record)
                gathered.add(record)
            journal.close()
            write(folder, build(gathered))

        return write_run

    def refused(self, capsys, *arguments: str) -> str:
        assert cli.exit_code(["show", *arguments]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert len(printed.err.splitlines()) == 1
        return printed.err

    def test_it_shows_the_tables_and_their_json(self, keep, capsys):
        keep(*LAUNCHES)
        assert cli.exit_code(["show", "mine", "--quality"]) == 0
        assert "first at a loss of 0.250: adam" in capsys.readouterr().out
        assert cli.exit_code(["show", "mine", "--quality", "--target-loss", "1", "--json"]) == 0
        (group,) = json.loads(capsys.readouterr().out)["groups"]
        assert (group["target_loss"], group["target_from"]) == (1.0, "asked")
        assert len(pd.read_csv("mine/epochs.csv")) == 24

    def test_a_target_alone_is_refused(self, keep, capsys):
        keep(*LAUNCHES)
        assert "give --quality too" in self.refused(capsys, "mine", "--target-loss", "1")

    @pytest.mark.parametrize("target", ["nan", "inf", "low"])
    def test_a_target_that_is_no_number_is_refused(self, keep, capsys, target):
        keep(*LAUNCHES)
        assert "--target-loss" in self.refused(capsys, "mine", "--quality", "--target-loss", target)

    def test_metrics_are_refused(self, keep, capsys):
        keep(*LAUNCHES)
        assert "omit --metric" in self.refused(capsys, "mine", "--quality", "--metric", "epoch.time")

    def test_a_run_that_did_not_train_is_refused(self, keep, capsys):
        keep(trained(Case("s", {**SGD.axes, "mode": "eval"}), 2.0, 1.0))
        assert "mine holds no trained case" in self.refused(capsys, "mine", "--quality")

    def test_a_script_is_told_what_is_seen_of_its_losses_and_no_axis_that_it_has_not(self, keep, capsys):
        trained_alone = (stage("train", 0), stage("train", 1))
        keep(measurement(case=Case("train", {"device": "cpu", "lr": 0.1}), stages=trained_alone))
        told = self.refused(capsys, "mine", "--quality")
        assert "bench show mine --metric quality.train_loss" in told
        assert "mode" not in told

    def test_a_table_alone_has_no_epochs(self, keep, capsys):
        keep(*LAUNCHES)
        assert "name its folder" in self.refused(capsys, "mine/summary.csv", "--quality")
