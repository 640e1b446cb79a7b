"""A device that the machine does not have, named on the command line."""

from __future__ import annotations

import re

import pytest

from bench import cli


@pytest.mark.usefixtures("no_worker")
def test_the_command_says_why_it_is_absent_in_one_line(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(
        "from bench import Suite\nsuite = Suite(name='own', build=print, axes={})"
    )
    assert cli.exit_code(["list", "own.py", "--axis", "device=gpu"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert re.search(r"no device 'gpu', it has .*: gpu is not a device name of torch", line)
