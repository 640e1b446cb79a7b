"""Each tier of tests is held to what it may cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiers import HERE, TIERS, fault, tier_of

WORKER = ("python", ["python", "-P", "-c", "from epochbench.worker.__main__ import main; main()"], None, None)


@pytest.mark.parametrize(
    ("tier", "event", "args"),
    [
        ("pure", "import", ("torch", None, [], [], [])),
        ("pure", "subprocess.Popen", (sys.executable, [sys.executable, "x.py"], None, None)),
        ("pure", "os.fork", ()),
        ("in_process", "subprocess.Popen", WORKER),
    ],
)
def test_what_a_tier_forbids_is_found(tier, event, args):
    assert fault(tier, event, args)
    assert not fault("processes", event, args)


def test_what_a_tier_may_do_is_let_through():
    assert not fault("pure", "import", ("torchless", None, [], [], []))
    assert not fault("pure", "subprocess.Popen", ("git", ["git", "status"], None, None))
    assert not fault("in_process", "import", ("torch", None, [], [], []))
    assert not fault("in_process", "subprocess.Popen", (sys.executable, [sys.executable, "x.py"], None, None))


def test_this_very_test_starts_no_process():
    with pytest.raises(pytest.fail.Exception, match="starts Python"):
        subprocess.run([sys.executable, "-c", ""], check=True)


def test_every_test_lies_in_a_tier():
    assert {tier_of(path) for path in HERE.rglob("test_*.py")} == set(TIERS)
    assert tier_of(Path("elsewhere/test_x.py")) == ""
