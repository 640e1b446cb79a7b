from __future__ import annotations

import json
import math

import pytest

from bench import cli
from bench.cli.verbs import doctor
from bench.machine.doctor import CHECKS, Noise

NOISE = Noise("cpu", 40, 20, 0.05, 0.98, 1.02, math.inf, 3)


@pytest.fixture
def probe(monkeypatch, capfd):
    """Stands in for the measurement; tells what was printed before it."""

    class Probe:
        before = None
        seconds = None
        measured = (NOISE,)

        def __call__(self, workers, seconds):
            Probe.before = capfd.readouterr()
            Probe.seconds = seconds
            return iter(self.measured)

    monkeypatch.setattr(doctor, "probe_noise", Probe())
    return Probe


def test_what_was_found_is_printed_before_the_noise_is_measured(probe, capfd):
    assert cli.exit_code(["doctor", "--noise", "2m"]) == 0
    printed = capfd.readouterr()
    assert probe.seconds == 120
    assert "address layout" in probe.before.out
    assert "address layout" not in printed.out
    assert "0.980 to 1.020" in printed.out
    assert probe.before.err == printed.err == ""


def test_json_is_all_that_standard_output_holds(probe, capfd):
    assert cli.exit_code(["doctor", "--json"]) == 0
    printed = capfd.readouterr()
    assert probe.before.out == ""
    told = json.loads(printed.out)
    assert {finding["name"] for finding in told["findings"]} >= set(CHECKS) - {"GPUs"}
    assert [row["device"] for row in told["noise"]] == ["cpu"]
    assert told["noise"][0]["reveals"] is None


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_noise_is_not_measured_where_it_is_given_no_time(probe, capfd, flags):
    assert cli.exit_code(["doctor", "--noise", "0", *flags]) == 0
    assert probe.before is None
    assert "1.020" not in capfd.readouterr().out


def test_that_nothing_could_be_measured_is_said(probe, capfd):
    probe.measured = ()
    assert cli.exit_code(["doctor"]) == 0
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == "bench: the noise was not measured: no pair of launches was completed\n"
