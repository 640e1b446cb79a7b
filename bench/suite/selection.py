"""The `-k` language, which selects cases.

    expression = term { "or" term } ;  term = factor { "and" factor } ;
    factor = "not" factor | "(" expression ")" | word

A word with `=` matches a case that has exactly this axis value (`optimizer=adam` is not adamw), the axis spelled as
its column or as --axis gave it (`batch-size=64`, `arg:-b=64`); any other
word matches where it is part of the case's id, as in pytest. Upper and lower case are the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Protocol

from ..errors import UsageError
from .case import AxisValue, spell
from .matrix import column, parse_value


class Selectable(Protocol):
    """A case of a suite or of a table."""

    @property
    def id(self) -> str: ...
    @property
    def used(self) -> Mapping[str, AxisValue]: ...


Predicate = Callable[[Selectable], bool]
_TOKEN = re.compile(r"\s*(?:([()])|([^\s()]+))")


def parse(expression: str) -> Predicate:
    """The expression as a predicate over cases. Raises UsageError for an invalid expression."""
    tokens = [match.group(1) or match.group(2) for match in _TOKEN.finditer(expression)]
    if not tokens:
        raise UsageError("-k '': the expression is empty; give words joined by and, or, not")
    parser = _Parser(expression, tokens)
    predicate = parser.alternatives()
    if parser.tokens:
        raise parser.fault(f"{parser.tokens[0]!r} was not expected here")
    return predicate


class _Parser:
    def __init__(self, expression: str, tokens: list[str]) -> None:
        self.expression = expression
        self.tokens = tokens

    def fault(self, what: str) -> UsageError:
        return UsageError(f"-k {self.expression!r}: {what}; join words with and, or, not and ( )")

    def take(self, keyword: str) -> bool:
        if self.tokens and self.tokens[0].lower() == keyword:
            self.tokens.pop(0)
            return True
        return False

    def alternatives(self) -> Predicate:
        terms = [self.conjunction()]
        while self.take("or"):
            terms.append(self.conjunction())
        return lambda case: any(term(case) for term in terms)

    def conjunction(self) -> Predicate:
        factors = [self.factor()]
        while self.take("and"):
            factors.append(self.factor())
        return lambda case: all(factor(case) for factor in factors)

    def factor(self) -> Predicate:
        if self.take("not"):
            inner = self.factor()
            return lambda case: not inner(case)
        if self.take("("):
            inner = self.alternatives()
            if not self.take(")"):
                raise self.fault("a ')' is missing")
            return inner
        if not self.tokens:
            raise self.fault("a word is missing at the end")
        word = self.tokens.pop(0)
        if word.lower() in ("and", "or", ")"):
            raise self.fault(f"a word is missing before {word!r}")
        return _word(word.lower())


def _word(word: str) -> Predicate:
    axis, equals, value = word.partition("=")
    if not equals:
        return lambda case: word in case.id.lower()
    wanted = (value, spell(parse_value(value)).lower())  # 1e-3 is 0.001
    return lambda case: any(
        name.lower() == column(axis) and spell(found).lower() in wanted for name, found in case.used.items()
    )
