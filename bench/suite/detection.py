"""Whether a Python file makes a suite, by its text alone: it is not imported, since it may do anything."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from ..alias import OTHER, OWN, somebody_elses


def holds_suite(path: Path) -> bool:
    """Whether the file calls `epochbench.Suite` at its top level, or a function of its own that does.

    `bench.Suite` counts too, unless `bench` is a package or module of somebody else.
    """
    try:
        source = path.read_bytes()  # Python finds the encoding, which a comment may name
    except OSError:
        return False
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return all(re.search(rf"\b({word})\b".encode(), source) for word in (f"{OWN}|{OTHER}", "Suite"))
    theirs = re.search(rf"\b{OTHER}\b".encode(), source) and somebody_elses([str(path.parent), ""])
    names = (OWN,) if theirs else (OWN, OTHER)
    modules = {module for name in names for module in (name, f"{name}.suite", f"{name}.suite.matrix")}
    makers: set[str] = set()  # functions that make a suite
    for statement in statements:
        match statement:
            case ast.ImportFrom(module=module) if module in modules:
                makers |= {alias.asname or alias.name for alias in statement.names if alias.name == "Suite"}
            case ast.Import():
                makers |= {
                    f"{alias.asname or alias.name}.Suite"
                    for alias in statement.names
                    if alias.name in modules
                }
            case ast.FunctionDef():
                makers |= {statement.name} if _calls(makers, statement) else set()
            case ast.ClassDef() | ast.AsyncFunctionDef():
                continue
            case _ if _calls(makers, statement):
                return True
    return False


def _calls(functions: set[str], code: ast.AST) -> bool:
    """Whether some code calls one of these functions by its name."""
    return any(isinstance(node, ast.Call) and ast.unparse(node.func) in functions for node in ast.walk(code))
