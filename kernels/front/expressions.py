"""Expressions of a kernel: what is known is computed, what is not is emitted."""

from __future__ import annotations

import ast
import builtins
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir

from ..vecmath.value import LLVM_TYPES, Value, where
from .cells import variable
from .operands import (
    SlotPointer,
    Table,
    Unsupported,
    binary,
    compare,
    extreme,
    is_static,
    load,
    number,
    truth,
    unary,
)

_BINARY: dict[type, tuple[str, Callable]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.LShift: ("<<", operator.lshift),
    ast.RShift: (">>", operator.rshift),
    ast.BitAnd: ("&", operator.and_),
    ast.BitOr: ("|", operator.or_),
    ast.BitXor: ("^", operator.xor),
}
_COMPARE: dict[type, tuple[str, Callable]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
}
_UNARY: dict[type, tuple[str, Callable]] = {
    ast.USub: ("-", operator.neg),
    ast.Invert: ("~", operator.invert),
    ast.Not: ("not", operator.not_),
}
# Known objects whose calls are computed when their arguments are known.
_COMPUTED = frozenset({int, float, bool, min, max, len})


class Expressions:
    """Translates expressions; `read` says what a name means and `inline` calls a function."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder

    def read(self, name: str) -> Any:
        raise NotImplementedError

    def inline(self, function: Callable, arguments: list[Any]) -> Any:
        raise NotImplementedError

    def expr(self, e: ast.expr) -> Any:
        """The operand `e` stands for."""
        emit = _EXPRESSIONS.get(type(e))
        if emit is None:
            raise Unsupported(f"line {e.lineno}: {ast.unparse(e)}")
        return emit(self, e)

    # ---- leaves

    def constant(self, e: ast.Constant) -> Any:
        return e.value

    def name(self, e: ast.Name) -> Any:
        return self.read(e.id)

    def attribute(self, e: ast.Attribute) -> Any:
        base = self.expr(e.value)
        if not is_static(base):
            raise Unsupported(f"line {e.lineno}: attribute {e.attr} of a number")
        return getattr(base, e.attr)

    def tuple(self, e: ast.Tuple) -> tuple:
        return tuple(self.items(e.elts))

    def items(self, elements: list[ast.expr]) -> list[Any]:
        """Operands of a tuple or a call, starred ones spread out."""
        found: list[Any] = []
        for e in elements:
            if isinstance(e, ast.Starred):
                found += self.expr(e.value)
            else:
                found.append(self.expr(e))
        return found

    # ---- arithmetic

    def binary(self, e: ast.BinOp) -> Any:
        return self.operate(e.op, self.expr(e.left), self.expr(e.right))

    def operate(self, op: ast.operator, left: Any, right: Any) -> Any:
        if type(op) not in _BINARY:
            raise Unsupported(f"the operator {type(op).__name__}")
        sign, compute = _BINARY[type(op)]
        if is_static(left) and is_static(right):
            return compute(left, right)
        return binary(self.builder, sign, left, right)

    def unary(self, e: ast.UnaryOp) -> Any:
        sign, compute = _UNARY[type(e.op)]
        x = self.expr(e.operand)
        return compute(x) if is_static(x) else unary(self.builder, sign, x)

    def compare(self, e: ast.Compare) -> Any:
        if len(e.ops) > 1 or type(e.ops[0]) not in _COMPARE:
            raise Unsupported(f"line {e.lineno}: {ast.unparse(e)}")
        sign, compute = _COMPARE[type(e.ops[0])]
        left, right = self.expr(e.left), self.expr(e.comparators[0])
        if is_static(left) and is_static(right):
            return compute(left, right)
        return compare(self.builder, sign, left, right)

    def subscript(self, e: ast.Subscript) -> Any:
        base, index = self.expr(e.value), self.expr(e.slice)
        if isinstance(base, Table | SlotPointer):
            return load(self.builder, base, index)
        if not isinstance(base, tuple) or type(index) is not int:
            raise Unsupported(f"line {e.lineno}: {ast.unparse(e)}")
        return base[index]

    # ---- choices

    def boolean(self, e: ast.BoolOp) -> Any:
        """`x and y`, `x or y`: y is computed only if x does not decide."""
        first, *rest = e.values
        value = self.expr(first)
        if not rest:
            return value
        others = ast.copy_location(ast.BoolOp(e.op, rest), e)
        decides = isinstance(e.op, ast.Or)
        if is_static(value):
            return value if bool(value) == decides else self.boolean(others)
        test = truth(self.builder, value)
        result = variable(self.builder, Value(self.builder, "bool", test))
        result.put(Value(self.builder, "bool", test))
        with self.branches(test) as (then, otherwise), (otherwise if decides else then)():
            decided = truth(self.builder, self.boolean(others))
            result.put(Value(self.builder, "bool", decided))
        return result.get()

    def ternary(self, e: ast.IfExp) -> Any:
        test = self.expr(e.test)
        if is_static(test):
            return self.expr(e.body if test else e.orelse)
        condition = truth(self.builder, test)
        if isinstance(e.body, ast.Name | ast.Constant) and isinstance(
            e.orelse, ast.Name | ast.Constant
        ):
            return self._select(condition, self.expr(e.body), self.expr(e.orelse))
        result = None
        with self.branches(condition) as branches:
            for branch, arm in zip(branches, (e.body, e.orelse), strict=True):
                with branch():
                    value = self.expr(arm)
                    result = result or variable(self.builder, value)
                    result.put(value)
        return result.get()

    def _select(self, condition: ir.Value, chosen: Any, other: Any) -> Value:
        x, y = number(self.builder, chosen), number(self.builder, other)
        if x.dtype != y.dtype:
            raise Unsupported(f"a choice between {x.dtype} and {y.dtype}")
        return where(Value(self.builder, "bool", condition), x, y)

    def blocks(self, *names: str) -> list[ir.Block]:
        return [self.builder.append_basic_block(name) for name in names]

    @contextmanager
    def branches(self, condition: ir.Value) -> Iterator[tuple[Callable, Callable]]:
        """Two contexts, to be entered in any order, that emit what is done if and if not."""
        then, otherwise, after = self.blocks("then", "otherwise", "after")
        self.builder.cbranch(condition, then, otherwise)

        @contextmanager
        def inside(block: ir.Block) -> Iterator[None]:
            self.builder.position_at_end(block)
            yield
            if not self.builder.block.is_terminated:
                self.builder.branch(after)

        yield lambda: inside(then), lambda: inside(otherwise)
        for block in (then, otherwise):
            if not block.is_terminated and not block.instructions:
                ir.IRBuilder(block).branch(after)
        self.builder.position_at_end(after)

    # ---- calls

    def call(self, e: ast.Call) -> Any:
        if e.keywords:
            raise Unsupported(f"line {e.lineno}: keyword arguments")
        if isinstance(e.func, ast.Attribute) and e.func.attr == "view":
            (dtype,) = self.items(e.args)
            return self._bitcast(self.expr(e.func.value), dtype)
        function, arguments = self.expr(e.func), self.items(e.args)
        emit = getattr(function, "emit", None)
        if emit is not None:
            return emit(self.builder, *arguments)
        if isinstance(function, type) and issubclass(function, np.generic):
            return self._cast(*arguments, np.dtype(function).name)
        if function in _COMPUTED and all(map(is_static, arguments)):
            return function(*arguments)
        if function in (min, max):
            return extreme(self.builder, "<" if function is min else ">", *arguments)
        if function in (int, bool):
            return self._cast(*arguments, "int64" if function is int else "bool")
        if hasattr(function, "__code__"):
            return self.inline(function, arguments)
        raise Unsupported(f"line {e.lineno}: a call of {ast.unparse(e.func)}")

    def _cast(self, x: Any, dtype: str) -> Value:
        if dtype not in LLVM_TYPES:
            raise Unsupported(f"numbers of type {dtype}")
        return number(self.builder, x, dtype)

    def _bitcast(self, x: Any, kind: type) -> Value:
        value, dtype = number(self.builder, x), np.dtype(kind)
        if value.bit_count != 8 * dtype.itemsize:
            raise Unsupported(f"{value.dtype} viewed as {dtype.name}")
        if value.ir.type == LLVM_TYPES[dtype.name]:
            return Value(self.builder, dtype.name, value.ir)
        bits = self.builder.bitcast(value.ir, LLVM_TYPES[dtype.name])
        return Value(self.builder, dtype.name, bits)


_EXPRESSIONS: dict[type, Callable[[Expressions, Any], Any]] = {
    ast.Constant: Expressions.constant,
    ast.Name: Expressions.name,
    ast.Attribute: Expressions.attribute,
    ast.Tuple: Expressions.tuple,
    ast.BinOp: Expressions.binary,
    ast.UnaryOp: Expressions.unary,
    ast.Compare: Expressions.compare,
    ast.BoolOp: Expressions.boolean,
    ast.IfExp: Expressions.ternary,
    ast.Subscript: Expressions.subscript,
    ast.Call: Expressions.call,
}


def builtin(name: str) -> Any:
    """A builtin function by name."""
    try:
        return getattr(builtins, name)
    except AttributeError:
        raise Unsupported(f"{name} is not defined") from None
