from __future__ import annotations

import pytest

from bench.errors import UsageError
from bench.suite.case import Case
from bench.suite.selection import parse

ADAM = Case("vision", {"device": "cpu", "batch_size": 64, "optimizer": "adam", "mode": "train"})
ADAMW = Case("vision", {"device": "cpu", "batch_size": 64, "optimizer": "adamw", "mode": "train"})
CUDA = Case("vision", {"device": "cuda:0", "batch_size": 640, "optimizer": "adam", "mode": "train"})
EVAL = Case("vision", {"device": "cpu", "batch_size": 64, "optimizer": "adam", "mode": "eval"})
PLAIN = Case("text", {"device": "cpu", "scheduler": None, "amp": True, "learning_rate": 1e-3})
ALL = [ADAM, ADAMW, CUDA, EVAL, PLAIN]


@pytest.mark.parametrize(
    ("expression", "taken"),
    [
        # a word is part of the id
        ("vision", [ADAM, ADAMW, CUDA, EVAL]),
        ("adam", [ADAM, ADAMW, CUDA]),
        ("dam", [ADAM, ADAMW, CUDA]),
        ("cuda:0", [CUDA]),
        ("nothing-like-it", []),
        # upper and lower case are the same
        ("ADAMW", [ADAMW]),
        ("Optimizer=AdamW", [ADAMW]),
        ("vision AND cuda", [CUDA]),
        ("NOT vision", [PLAIN]),
        # axis=value is exact
        ("optimizer=adam", [ADAM, CUDA]),
        ("batch_size=64", [ADAM, ADAMW, EVAL]),
        ("mode=eval", [EVAL]),
        ("scheduler=none", [PLAIN]),
        ("amp=true", [PLAIN]),
        ("learning_rate=0.001", [PLAIN]),
        ("learning_rate=1e-3", [PLAIN]),
        ("size=64", []),
        # an axis as --axis may have spelled it
        ("batch-size=64", [ADAM, ADAMW, EVAL]),
        ("arg:--batch-size=64 and not mode=eval", [ADAM, ADAMW]),
        ("env:amp=true", [PLAIN]),
        ("epochs=5", []),
        # not, and, or bind in this order
        ("not adam", [EVAL, PLAIN]),
        ("not not adamw", [ADAMW]),
        ("adam and not cuda", [ADAM, ADAMW]),
        ("not adam and cpu", [EVAL, PLAIN]),
        ("adamw or cuda and adam", [ADAMW, CUDA]),
        ("cuda and adam or adamw", [ADAMW, CUDA]),
        ("text or eval or cuda", [CUDA, EVAL, PLAIN]),
        ("adam and cpu and 64 and not adamw", [ADAM]),
        # parentheses come first
        ("(adamw or cuda) and mode=train", [ADAMW, CUDA]),
        ("(adamw or cuda) and cpu", [ADAMW]),
        ("not (adam or eval)", [PLAIN]),
        ("((adamw))", [ADAMW]),
        ("not(cuda)and(vision)", [ADAM, ADAMW, EVAL]),
    ],
)
def test_an_expression_takes_exactly_its_cases(expression, taken):
    chosen = parse(expression)
    assert [case for case in ALL if chosen(case)] == taken


def test_an_axis_that_the_mode_does_not_use_selects_nothing():
    assert not parse("optimizer=adam")(EVAL)


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("", "the expression is empty"),
        ("   ", "the expression is empty"),
        ("and", "a word is missing before 'and'"),
        ("or adam", "a word is missing before 'or'"),
        ("adam and", "a word is missing at the end"),
        ("adam or", "a word is missing at the end"),
        ("not", "a word is missing at the end"),
        ("adam and or cpu", "a word is missing before 'or'"),
        ("adam cpu", "'cpu' was not expected here"),
        ("adam not cpu", "'not' was not expected here"),
        ("adam (cpu)", r"'\(' was not expected here"),
        ("(adam", r"a '\)' is missing"),
        ("((adam)", r"a '\)' is missing"),
        ("(adam cpu)", r"a '\)' is missing"),
        ("adam)", r"'\)' was not expected here"),
        ("()", r"a word is missing before '\)'"),
        ("(adam or )", r"a word is missing before '\)'"),
        ("(", "a word is missing at the end"),
    ],
)
def test_an_expression_that_is_none_points_at_its_fault(expression, fault):
    with pytest.raises(UsageError, match=fault) as problem:
        parse(expression)
    assert expression.strip() in str(problem.value)
