"""What `make` sets up by itself: no more than what was requested for needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEASURING = re.compile(r"pip install --quiet --constraint constraints\.txt --editable \.$", re.MULTILINE)
TESTING = re.compile(
    r"pip install --quiet --constraint constraints\.txt --editable '\.\[dev\]'$", re.MULTILINE
)


@pytest.fixture
def checkout(tmp_path):
    """A fresh one, as far as make looks at it."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def told(place, *arguments) -> str:
    """What make would run; without the settings of a make that runs the tests."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    clean.pop("PYTHON", None)
    done = subprocess.run(["make", "-n", *arguments], cwd=place, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("target", ["bench", "regress", "baseline"])
def test_measuring_installs_what_measuring_needs(checkout, target):
    said = told(checkout, target)
    assert len(MEASURING.findall(said)) == 1
    assert not TESTING.search(said)


@pytest.mark.parametrize("target", ["test", "test-long", "lint", "coverage"])
def test_testing_installs_what_testing_needs_too(checkout, target):
    said = told(checkout, target)
    assert len(MEASURING.findall(said)) == len(TESTING.findall(said)) == 1
    assert MEASURING.search(said).start() < TESTING.search(said).start()


@pytest.mark.parametrize("target", ["bench", "test", "lint"])
def test_an_interpreter_that_is_named_is_taken_as_it_is(checkout, target):
    said = told(checkout, target, "PYTHON=/opt/own/bin/python3")
    assert "pip install" not in said
    assert "venv" not in said
    assert "/opt/own/bin/python3 -m " in said


def test_what_is_set_up_is_set_up_once_and_again_when_the_dependencies_change(checkout):
    (checkout / ".venv").mkdir()
    for number, name in enumerate(
        ("pyproject.toml", "constraints.txt", ".venv/.measuring", ".venv/.testing")
    ):
        (checkout / name).touch()
        os.utime(checkout / name, (1000 + number, 1000 + number))
    assert "pip install" not in told(checkout, "bench") + told(checkout, "test")
    (checkout / ".venv/.testing").unlink()
    assert "pip install" not in told(checkout, "bench")
    assert not MEASURING.search(told(checkout, "test"))
    assert TESTING.search(told(checkout, "test"))
    os.utime(checkout / "constraints.txt", (2000, 2000))
    assert MEASURING.search(told(checkout, "bench"))
