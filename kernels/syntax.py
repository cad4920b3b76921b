"""Syntax trees of Python text, for threads that compile side by side.

    parse("x = 1").body        # ast.parse, one thread at a time

CPython before 3.12 counts the depth of the tree it builds in one place for all threads: a
SystemError ("AST constructor recursion depth mismatch") when two parse at once and the garbage
collector lets one wait in between. Kernels are compiled on several threads, so whatever this
package parses goes through here.
"""

from __future__ import annotations

import ast
import threading

_parsing = threading.Lock()


def parse(text: str) -> ast.Module:
    """The module that `text` is; SyntaxError where it is none."""
    with _parsing:
        return ast.parse(text)


def parse_expression(text: str) -> ast.expr:
    """The expression that `text` is."""
    with _parsing:
        return ast.parse(text, mode="eval").body
