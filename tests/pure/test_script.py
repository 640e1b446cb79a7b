"""A script as a suite: which cases its axes make, and what each is started with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import exit_code
from bench.errors import UsageError
from bench.running.preparation import describe_script
from bench.suite.matrix import column
from bench.suite.script import Script, check_alone, script


@pytest.fixture
def train(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "train.py"
    path.write_text("import bench")
    return path


def cases_of(made, axes):
    (listing,) = describe_script(made, axes)
    return listing.expansion.cases


class TestCases:
    def test_without_axes_there_is_one_on_the_cpu(self, train):
        (case,) = cases_of(script(train, ["--epochs", "2"], []), {})
        assert case.id == "train/device=cpu"

    def test_axes_are_columns_and_parts_of_the_id(self, train):
        axes = {"batch-size": [4, 8], "env:WORKERS": [0], "lr": [0.1]}
        cases = cases_of(script(train, [], list(axes)), axes)
        assert [case.id for case in cases] == [
            "train/device=cpu/batch_size=4/WORKERS=0/lr=0.1",
            "train/device=cpu/batch_size=8/WORKERS=0/lr=0.1",
        ]

    def test_devices_are_taken_as_they_are_named(self, train):
        axes = {"device": ["cpu", "cuda"]}
        made = script(train, [], list(axes))
        assert [made.command(case) for case in cases_of(made, axes)] == [["--device=cpu"], ["--device=cuda"]]

    @pytest.mark.parametrize(("stem", "name"), [("_my train", "my-train"), ("ünï", "n"), ("__", "script")])
    def test_its_name_is_made_of_what_a_suites_name_may_have(self, stem, name):
        assert Script(f"/somewhere/{stem}.py").suite == name

    @pytest.mark.parametrize(
        ("axes", "words"),
        [
            ({"device": ["available"]}, "a script is given its device by name"),
            ({"metric": [1]}, "every table has a column of this name"),
            ({"2x": [1]}, "named like a Python variable"),
            ({"epochs": [1]}, "epochs must be a whole number of at least 2"),
        ],
    )
    def test_what_no_case_can_have_is_told(self, train, axes, words):
        with pytest.raises(UsageError, match=words):
            cases_of(script(train, [], list(axes)), axes)


class TestCommand:
    def test_axes_come_behind_the_arguments_by_the_names_that_they_were_given(self, train):
        axes = {"batch-size": [4], "env:WORKERS": [2], "lr": [1e-3], "amp": [True]}
        made = script(train, ["--epochs", "2"], list(axes))
        (case,) = cases_of(made, axes)
        assert made.command(case) == ["--epochs", "2", "--batch-size=4", "--lr=0.001", "--amp=true"]
        assert made.variables(case) == {"WORKERS": "2"}

    def test_what_is_no_long_option_is_given_as_it_is(self, train):
        axes = {"arg:-b": [64], "arg:model.width": [8], "arg:--lr": [0.1]}
        made = script(train, [], list(axes))
        (case,) = cases_of(made, axes)
        assert made.command(case) == ["-b=64", "model.width=8", "--lr=0.1"]
        assert case.id == "train/device=cpu/b=64/model_width=8/lr=0.1"

    def test_the_device_that_nobody_named_is_not_passed_on(self, train):
        made = script(train, [], [])
        assert made.command(cases_of(made, {})[0]) == []

    def test_an_axis_that_a_side_sets_is_an_argument_too(self, train):
        made = script(train, [], ["batch-size"]).with_axes(["batch_size", "lr"])
        (case,) = cases_of(made, {"batch_size": [8], "lr": [0.5]})
        assert made.command(case) == ["--batch-size=8", "--lr=0.5"]

    def test_it_goes_through_json(self, train):
        made = script(train, ["a", "b"], ["lr", "env:X"])
        assert Script.from_json(json.loads(json.dumps(made.to_json()))) == made


class TestModules:
    @pytest.mark.parametrize("file", ["pkg/train.py", "pkg/train/__main__.py"])
    def test_one_is_named_as_python_m_takes_it(self, train, file):
        path = train.parent / file
        path.parent.mkdir(parents=True)
        path.touch()
        made = script(Path("pkg.train"), [], [])
        assert (made.module, made.path, made.suite) == ("pkg.train", str(path), "train")

    def test_a_file_stays_a_file(self, train):
        train.with_name("a.b.py").touch()
        assert script(Path("a.b.py"), [], []).module == ""
        assert script(train, [], []).module == ""


class TestBadInput:
    """Nothing of it is measured: each ends with exit code 2 and one line."""

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--script", "gone.py"], "script gone.py does not exist"),
            (["--script", "."], "is a folder; name a Python file"),
            (["--script", "notes.txt"], "notes.txt is not a Python file"),
            (["mine.py", "--script", "train.py"], "--script train.py and suites (mine.py)"),
            (["--", "--epochs", "2"], "name it: --script train.py -- ARGUMENTS"),
            (["--script", "train.py", "--axis", "lr=1", "--axis", "lr=2"], "--axis lr is given twice"),
            (
                ["--script", "train.py", "--axis", "b-s=1", "--axis", "b_s=2"],
                "would have the same column, b_s",
            ),
            (["--script", "train.py", "--axis", "env:X=1", "--axis", "X=2"], "would have the same column, X"),
            (["--script", "train.py", "--axis", "env:OMP_NUM_THREADS=1"], "--threads sets it"),
            (["--script", "train.py", "--axis", "env:MALLOC_ARENA_MAX=1"], "before bench: MALLOC_ARENA_MAX="),
            (
                ["--script", "train.py", "--axis", "arg:-b=1", "--axis", "b=2"],
                "would have the same column, b",
            ),
            (["--script", "train.py", "--axis", "env:WORLD_SIZE=1,2"], "only training in one process"),
            (["--script", "pkg.train"], "script pkg.train is neither pkg/train.py nor pkg/train/__main__.py"),
            (["--script", "train.py", "--devices", "all"], "--devices all: a script runs on one device"),
            (["--script", "train.py", "--devices", "cpu,mps"], "--devices cpu,mps: a script runs on one"),
            (
                ["--script", "train.py", "--devices", "cpu", "--axis", "device=cpu"],
                "--devices cpu: a script runs",
            ),
            (["--in-place"], "--in-place is for scripts; name one: --script train.py"),
        ],
    )
    @pytest.mark.parametrize("verb", ["run", "profile", "ab"])
    def test_it_says_what_is_wrong(self, verb, arguments, words, train, capfd):
        train.with_name("notes.txt").write_text("none")
        assert exit_code([verb, *arguments]) == 2
        said = capfd.readouterr().err
        assert words in said
        assert len(said.splitlines()) == 1

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["set:env:OMP_NUM_THREADS=1"], "set:env:OMP_NUM_THREADS: OMP_NUM_THREADS is read when"),
            (["set:a b=1"], "'a b' is not a name for an axis"),
        ],
    )
    def test_a_side_says_what_is_wrong_too(self, arguments, words, train, capfd):
        assert exit_code(["ab", *arguments, "--script", "train.py"]) == 2
        said = capfd.readouterr().err
        assert words in said
        assert len(said.splitlines()) == 1

    @pytest.mark.parametrize(
        ("variables", "told"),
        [
            ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2 is set"),
            ({"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}, "WORLD_SIZE=2 is set"),
            ({"RANK": "1"}, "RANK=1 is set"),
            ({"LOCAL_RANK": "3"}, "LOCAL_RANK=3 is set"),
        ],
    )
    @pytest.mark.parametrize(
        "arguments", [["run", "--script", "train.py"], ["profile", "--script", "train.py"]]
    )
    def test_one_of_several_processes_of_torchrun_measures_nothing(
        self, arguments, variables, told, train, capfd, monkeypatch
    ):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert exit_code(arguments) == 2
        said = capfd.readouterr().err
        assert said.startswith(f"bench: {told}: only training in one process")
        assert "without torchrun" in said
        assert len(said.splitlines()) == 1

    def test_one_process_alone_may_have_its_variables(self):
        check_alone({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost"})

    def test_what_is_behind_the_dashes_is_the_scripts_alone(self, train, capfd):
        assert exit_code(["run", "--script", "train.py", "--dry-run", "--json", "--", "--script", "-k"]) == 0
        assert json.loads(capfd.readouterr().out)["cases"] == ["train/device=cpu"]


class TestSpelling:
    """An option is called alike wherever a command names it."""

    def test_a_side_names_an_option_as_an_axis_does(self, train):
        plain = script(train, [], [])
        for name, given in (
            ("batch-size", "--batch-size=8"),
            ("batch_size", "--batch_size=8"),
            ("arg:-b", "-b=8"),
            ("arg:model.width", "model.width=8"),
        ):
            (case,) = plain.expand({column(name): [8]}).cases
            assert plain.with_axes([name]).command(case) == [given]

    def test_what_an_axis_named_before_a_side_goes_on_being_called_so(self, train):
        its = script(train, [], ["arg:-b", "env:WORKERS"]).with_axes(["b", "WORKERS"])
        assert its.names == {"b": "arg:-b", "WORKERS": "env:WORKERS"}
