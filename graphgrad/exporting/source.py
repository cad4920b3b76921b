"""Functions of this package as source, for files that do without it.

source = FunctionSource(fresh)
source.rule("window")            # the interpreter's rule: its name in the file
source.add(function, "name")     # any function or lambda, with all it calls
source.texts, source.imports
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from graphgrad import interpret
from graphgrad.kernels.syntax import parse


class FunctionSource:
    """Functions of this package as source, each with those it calls, for use without it."""

    def __init__(self, fresh: Callable[[str], str]) -> None:
        self.texts: dict[str, str] = {}
        self.imports: set[str] = set()
        # String literals in the functions: which options of an optimizer they look at.
        self.strings: set[str] = set()
        self._fresh = fresh
        self._names: dict[Any, str] = {}

    def rule(self, op: str) -> str:
        """The name of the function that computes a primitive."""
        return self.add(interpret.RULES[op], op)

    def add(self, function: Any, name: str) -> str:
        """Include a function, or lambda, under a name like ``name``; returns that name."""
        function = inspect.unwrap(function)
        if function not in self._names:
            self._names[function] = self._fresh(name)
            self._include(function, self._names[function])
        return self._names[function]

    def _include(self, function: types.FunctionType, name: str) -> None:
        signature, body = _parts(function)
        for used in sorted({*function.__code__.co_names, *_inner_names(function.__code__)}):
            if used in function.__globals__:
                new = self._used(used, function.__globals__[used])
                body = re.sub(rf"(?<![.\w]){re.escape(used)}\b(?!=[^=])", new, body)
        self.strings.update(c for c in function.__code__.co_consts if isinstance(c, str))
        self.texts[name] = f"def {name}({signature}):\n{body}\n"

    def _used(self, name: str, value: Any) -> str:
        """What a global that a function uses is called in the file; it is included there."""
        if value is np:
            return name
        if isinstance(value, types.ModuleType):
            self.imports.add(f"import {value.__name__}")
            return name
        if callable(value):
            if value.__module__.startswith("graphgrad"):
                return self.add(value, name)
            self.imports.add(f"from {value.__module__} import {name}")
            return name
        return repr(value)


def _inner_names(code: types.CodeType) -> Iterator[str]:
    """Names in the comprehensions of a function."""
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from inner.co_names
            yield from _inner_names(inner)


def _parts(function: types.FunctionType) -> tuple[str, str]:
    """A function's parameters without annotations, and the lines of its body."""
    if function.__name__ == "<lambda>":
        found = _lambda(function)
        return ast.unparse(found.args), f"    return {ast.unparse(found.body)}"
    text = textwrap.dedent(inspect.getsource(function))
    definition = parse(text).body[0]
    assert isinstance(definition, ast.FunctionDef)
    parameters = definition.args
    for parameter in ast.walk(parameters):
        if isinstance(parameter, ast.arg):
            parameter.annotation = None
    body = text.rstrip().split("\n")[definition.body[0].lineno - 1 :]
    return ast.unparse(parameters), "\n".join(body)


def _lambda(function: types.FunctionType) -> ast.Lambda:
    """The lambda expression in its module's source, found by the position of its code."""
    module = inspect.getmodule(function)
    assert module is not None
    places = {(row[0], row[2]) for row in function.__code__.co_positions()}
    (found,) = (
        node
        for node in ast.walk(parse(inspect.getsource(module)))
        if isinstance(node, ast.Lambda) and (node.body.lineno, node.body.col_offset) in places
    )
    return found
