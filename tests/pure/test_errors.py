from __future__ import annotations

import inspect

import pytest

from bench import errors
from bench.errors import BenchError, HarnessFault, Interrupted, ResultsError, SuiteError, UsageError

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, BenchError)]


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_whoever_catches_the_root_catches_every_error(kind):
    with pytest.raises(BenchError):
        raise kind(2) if kind is Interrupted else kind("what went wrong")


@pytest.mark.parametrize("kind", [SuiteError, ResultsError])
def test_what_the_user_can_mend_is_a_usage_error(kind):
    assert issubclass(kind, UsageError)


@pytest.mark.parametrize("kind", [Interrupted, HarnessFault])
def test_what_the_user_cannot_mend_is_not(kind):
    assert not issubclass(kind, UsageError)


@pytest.mark.parametrize("kind", [UsageError, SuiteError, ResultsError, HarnessFault])
def test_the_detail_stays_out_of_the_message(kind):
    problem = kind("batch_size 0 is too small", "Traceback (most recent call last): ...")
    assert str(problem) == "batch_size 0 is too small"
    assert problem.detail.startswith("Traceback")
    assert kind("no more is known").detail == ""


def test_an_interruption_knows_its_signal():
    problem = Interrupted(15)
    assert problem.signal_number == 15
    assert "15" in str(problem)


def drawn() -> dict[str, str]:
    """Each error of the tree in the docstring, with the one that it hangs from."""
    parents: dict[str, str] = {}
    branch: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        name = line.lstrip("│├└─ ").partition(" ")[0]
        if not hasattr(errors, name) or not (line.startswith(("│", "├", "└")) or line == "BenchError"):
            continue
        depth = line.index(name)
        while branch and branch[-1][0] >= depth:
            branch.pop()
        if branch:
            parents[name] = branch[-1][1]
        branch.append((depth, name))
    return parents


def test_the_tree_in_the_docstring_is_the_tree():
    assert drawn() == {kind.__name__: kind.__base__.__name__ for kind in TREE if kind is not BenchError}
