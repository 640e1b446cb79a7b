"""`bench doctor` measures the noise of this machine with real launches."""

from __future__ import annotations

import json

from bench import cli


def test_the_noise_of_this_machine(capfd):
    assert cli.exit_code(["doctor", "--noise", "0.001", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert {"name", "state", "found", "remedy"} == set(told["findings"][0])
    assert told["noise"][0]["device"] == "cpu"
    assert (told["noise"][0]["launches"], told["noise"][0]["pairs"]) == (2, 1), (
        "one pair however short the time"
    )
