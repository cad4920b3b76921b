"""LoopIR: the loop nest of a kernel, as a small grammar that emitters turn into source.

    kernel     a name and statements; it does iterations [start, stop) of its outer loop
    statement  Let, Assign, Put, For, When, Fail
    expression Var, Int, Slot, Arith (index arithmetic) · Number, Scalar, Get, Call (elements)
               Pointer, Advance (addresses)

Slots are positions in a kernel's argument table: pointers, extents, strides, scalars. Only slot
numbers appear here, never the extents themselves: shape is data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from graphgrad.dtypes import DType

# ---- index arithmetic: int64 ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Var:
    """A loop variable, or a name bound by Let."""

    name: str


@dataclass(frozen=True, slots=True)
class Int:
    value: int


@dataclass(frozen=True, slots=True)
class Slot:
    """An extent or stride, read from the argument table."""

    slot: int


@dataclass(frozen=True, slots=True)
class Arith:
    """``left op right`` for ``+ - * // %`` and ``min``."""

    op: str
    left: Expr
    right: Expr


# ---- elements ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number:
    """A literal of a dtype."""

    value: Any
    dtype: DType


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number that comes in through the argument table, narrowed to a dtype."""

    slot: int
    dtype: DType


@dataclass(frozen=True, slots=True)
class Get:
    """The element of ``dtype`` at ``pointer[index]``."""

    pointer: Var
    index: Expr
    dtype: DType


@dataclass(frozen=True, slots=True)
class Call:
    """A primitive of elements. ``dtype`` is the result's, ``source`` that of the operands."""

    op: str
    dtype: DType
    source: DType
    args: tuple[Expr, ...]
    attrs: tuple[Any, ...] = ()


# ---- addresses -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pointer:
    """The pointer to ``dtype`` elements in a slot."""

    slot: int
    dtype: DType


@dataclass(frozen=True, slots=True)
class Advance:
    """A pointer some elements further on."""

    pointer: Var
    elements: Expr


Expr = Var | Int | Slot | Arith | Number | Scalar | Get | Call | Pointer | Advance

# ---- statements ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Let:
    """Bind a name for the rest of its block."""

    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Assign:
    """Give a bound name a new value: an accumulator."""

    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Put:
    """``pointer[index] = value``."""

    pointer: Var
    index: Expr
    value: Expr
    dtype: DType


@dataclass(frozen=True, slots=True)
class For:
    """``body`` for every ``var`` in [start, stop)."""

    var: str
    start: Expr
    stop: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Clamp:
    """Bind ``name`` to an index, or report it through the error cell in ``slot`` and bind 0."""

    name: str
    index: Expr
    extent: Expr
    slot: int


Stmt = Let | Assign | Put | For | Clamp


@dataclass(frozen=True)
class Kernel:
    """A kernel: its statements, and what its argument slots mean (for the caller, not the code)."""

    name: str
    about: str
    body: tuple[Stmt, ...]
    slots: tuple[tuple[Any, ...], ...] = field(default=(), compare=False)


def arith(op: str, left: Expr, right: Expr) -> Expr:
    """``left op right``, without what adds zero or multiplies by one."""
    if op == "+" and left == Int(0):
        return right
    if op in "+-" and right == Int(0):
        return left
    if op == "*" and Int(0) in (left, right):
        return Int(0)
    if op == "*" and left == Int(1):
        return right
    if op == "*" and right == Int(1):
        return left
    return Arith(op, left, right)


def total(terms: list[Expr]) -> Expr:
    """The sum of some expressions."""
    result: Expr = Int(0)
    for term in terms:
        result = arith("+", result, term)
    return result
