"""Index arithmetic with its numbers filled in, as a person would write it.

simplified(ast.parse("first = 0 * 8\\nx_0 = x[first:]\\ny = x_0[i * 1]").body)   # y = x[i]
"""

from __future__ import annotations

import ast
import operator
from collections import Counter
from collections.abc import Callable, Iterable

_ARITHMETIC: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def simplified(body: Iterable[ast.stmt]) -> list[ast.stmt]:
    """Statements without what adds zero or multiplies by one, and without names for such things."""
    body = list(body)
    return _Folder(_bindings(body)).block(body)


def _bindings(body: Iterable[ast.stmt]) -> Counter[str]:
    """How often each name is bound."""
    stores = (n for s in body for n in ast.walk(s) if isinstance(n, ast.Name))
    return Counter(n.id for n in stores if isinstance(n.ctx, ast.Store))


class _Folder(ast.NodeTransformer):
    """Folds integer constants; names that stand for one, or for another name, are replaced."""

    def __init__(self, bindings: Counter[str]) -> None:
        self.bindings = bindings
        self.known: dict[str, ast.expr] = {}

    def block(self, body: Iterable[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for stmt in body:
            result += self.statement(stmt)
        return result or [ast.Pass()]

    def statement(self, stmt: ast.stmt) -> list[ast.stmt]:
        if isinstance(stmt, ast.For):
            return self._loop(stmt)
        if isinstance(stmt, ast.If):
            return [ast.If(self.visit(stmt.test), self.block(stmt.body), [])]
        if isinstance(stmt, ast.Assign):
            value, target = self.visit(stmt.value), stmt.targets[0]
            if isinstance(target, ast.Name) and self._is_plain(target.id, value):
                self.known[target.id] = value
                return []
            return [ast.Assign([self.visit(target)], value, lineno=0)]
        return [stmt]

    def _is_plain(self, name: str, value: ast.expr) -> bool:
        """Whether a name can be replaced by what it stands for."""
        if self.bindings[name] > 1:
            return False
        if isinstance(value, ast.Name):
            return self.bindings[value.id] <= 1
        return _integer(value) is not None

    def _loop(self, stmt: ast.For) -> list[ast.stmt]:
        iterated = self.visit(stmt.iter)
        if isinstance(stmt.target, ast.Name) and _trips(iterated) == 1:
            self.known[stmt.target.id] = ast.Constant(0)
            return self.block(stmt.body)
        return [ast.For(stmt.target, iterated, self.block(stmt.body), [], lineno=0)]

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.known.get(node.id, node) if isinstance(node.ctx, ast.Load) else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        left, right = self.visit(node.left), self.visit(node.right)
        a, b = _integer(left), _integer(right)
        fold = _ARITHMETIC.get(type(node.op))
        divides_by_zero = b == 0 and isinstance(node.op, (ast.FloorDiv, ast.Mod))
        if fold is not None and a is not None and b is not None and not divides_by_zero:
            return ast.Constant(fold(a, b))
        return _neutral(node.op, left, right, a, b) or ast.BinOp(left, node.op, right)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        value, place = self.visit(node.value), self.visit(node.slice)
        if isinstance(place, ast.Slice) and place.lower and _integer(place.lower) == 0:
            return value
        return ast.Subscript(value, place, node.ctx)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        args = [self.visit(a) for a in node.args]
        numbers = [n for n in map(_integer, args) if n is not None]
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == "min" and len(numbers) == len(args):
            return ast.Constant(min(numbers))
        if name == "range" and len(args) == 2 and _integer(args[0]) == 0:
            args = args[1:]
        func = node.func
        if isinstance(func, ast.Attribute) and not isinstance(func.value, ast.Name):
            func = ast.Attribute(self.visit(func.value), func.attr)
        return ast.Call(func, args, [])


def _integer(e: ast.expr) -> int | None:
    return e.value if isinstance(e, ast.Constant) and type(e.value) is int else None


def _trips(e: ast.expr) -> int | None:
    """How often ``range(n)`` is walked, for a number n."""
    return _integer(e.args[0]) if isinstance(e, ast.Call) and len(e.args) == 1 else None


def _neutral(
    op: ast.operator, left: ast.expr, right: ast.expr, a: int | None, b: int | None
) -> ast.expr | None:
    """The value of an operation with 0 or 1, where that is no operation at all."""
    match op:
        case ast.Add() if a == 0:
            return right
        case ast.Add() | ast.Sub() if b == 0:
            return left
        case ast.Mult() if 0 in (a, b):
            return ast.Constant(0)
        case ast.Mult() if a == 1:
            return right
        case ast.Mult() | ast.FloorDiv() if b == 1:
            return left
        case ast.Mod() if b == 1:
            return ast.Constant(0)
    return None
