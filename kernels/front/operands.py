"""What an expression of a kernel can be, and arithmetic on it.

static        any Python object that is known: a literal, a module, a function, a tuple of slots
Value         a number (see `vecmath.value`)
Table         a pointer to int64 words: `args`
SlotPointer   a pointer to elements no other slot overlaps
tuple         of these, of fixed length

Types are numba's: small integers are computed as int64, nothing mixes with floats unasked.
"""

from __future__ import annotations

import functools
import operator
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

from ..layout import ALIAS_DOMAIN, FASTMATH
from ..vecmath.value import LLVM_TYPES, Value, where

WORD = ir.IntType(64)
FLAGS = tuple(sorted(FASTMATH))


class Unsupported(Exception):
    """A construct outside of the kernel language; the message names it and its line."""


@dataclass(frozen=True, slots=True)
class Table:
    """A pointer to int64 words."""

    ir: ir.Value


@dataclass(frozen=True, slots=True)
class SlotPointer:
    """A pointer to `dtype` elements that no access through another slot overlaps."""

    dtype: str
    slot: int
    ir: ir.Value


def is_static(x: Any) -> bool:
    """Whether `x` is known while compiling."""
    if type(x) is tuple:
        return all(map(is_static, x))
    return not isinstance(x, Value | Table | SlotPointer)


def number(builder: ir.IRBuilder, x: Any, dtype: str = "") -> Value:
    """A number as a Value, of `dtype` if given; a literal is an int64, a float64 or a bool."""
    if not isinstance(x, Value):
        own = _LITERALS.get(type(x))
        if own is None:
            raise Unsupported(f"{x!r} is not a number")
        target = dtype or own
        if target == "bool":
            return Value(builder, "bool", ir.Constant(LLVM_TYPES["bool"], int(bool(x))))
        return Value(builder, target, LLVM_TYPES[target](0)).like(x)
    return x if dtype in ("", x.dtype) else convert(x, dtype)


_LITERALS = {bool: "bool", int: "int64", float: "float64"}


def word(builder: ir.IRBuilder, x: Any) -> ir.Value:
    """An integer as an LLVM int64."""
    value = number(builder, x)
    if value.is_float:
        raise Unsupported("a float as an index or address")
    return value.to("int64").ir


def truth(builder: ir.IRBuilder, x: Any) -> ir.Value:
    """A condition as an LLVM i1."""
    return convert(number(builder, x), "bool").ir


def convert(x: Value, dtype: str) -> Value:
    """`x` as `dtype`; a bool is whether it is not 0."""
    return x != 0 if dtype == "bool" and x.dtype != "bool" else x.to(dtype)


# ---- memory --------------------------------------------------------------------------------------


def load(builder: ir.IRBuilder, where: Any, index: Any) -> Value:
    """`where[index]` of a Table or SlotPointer."""
    place = builder.gep(where.ir, [word(builder, index)], inbounds=isinstance(where, SlotPointer))
    access = builder.load(place)
    if isinstance(where, Table):
        return Value(builder, "int64", access)
    _mark_slot(builder, access, where)
    return Value(builder, where.dtype, access)


def store(builder: ir.IRBuilder, where: Any, index: Any, value: Any) -> None:
    """`where[index] = value`, converted to the element's type."""
    place = builder.gep(where.ir, [word(builder, index)], inbounds=isinstance(where, SlotPointer))
    if isinstance(where, Table):
        builder.store(word(builder, value), place)
    else:
        stored = number(builder, number(builder, value), where.dtype)
        _mark_slot(builder, builder.store(stored.ir, place), where)


def _mark_slot(builder: ir.IRBuilder, access: ir.Instruction, pointer: SlotPointer) -> None:
    """Say that `access` touches its slot and no lower one (either side saying it is enough)."""
    access.align = np.dtype(pointer.dtype).itemsize
    own, lower = _scopes(builder.module, pointer.slot)
    access.set_metadata("alias.scope", own)
    if pointer.slot:
        access.set_metadata("noalias", lower)


def alias_scopes(module: ir.Module, count: int) -> list[ir.Value]:
    """The alias scopes of the first `count` slots."""
    domain = module.add_metadata([ALIAS_DOMAIN])
    return [module.add_metadata([f"slot {k}", domain]) for k in range(count)]


_known_scopes: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _scopes(module: ir.Module, slot: int) -> tuple[ir.Value, ir.Value]:
    """(scope list of `slot`, scope list of all lower slots)."""
    known = _known_scopes.setdefault(module, {})
    if slot not in known:
        scopes = alias_scopes(module, slot + 1)
        known[slot] = module.add_metadata(scopes[-1:]), module.add_metadata(scopes[:-1])
    return known[slot]


# ---- arithmetic ----------------------------------------------------------------------------------


def binary(builder: ir.IRBuilder, op: str, left: Any, right: Any) -> Any:
    """`left op right`, at least one of them not static."""
    if isinstance(left, SlotPointer):
        if op != "+":
            raise Unsupported(f"{op} of a pointer")
        moved = builder.gep(left.ir, [word(builder, right)], inbounds=True)
        return SlotPointer(left.dtype, left.slot, moved)
    x, y = number(builder, left), number(builder, right)
    if op in _BITS and x.dtype == y.dtype == "bool":
        return Value(builder, "bool", getattr(builder, _BITS[op])(x.ir, y.ir))
    if op == "/" and not (x.is_float or y.is_float):
        x, y = x.to("float64"), y.to("float64")
    x, y = _matched(x, y)
    if x.is_float:
        if op not in _FLOAT_OPS:
            raise Unsupported(f"{op} of floats")
        emit = getattr(builder, _FLOAT_OPS[op])
        return Value(builder, x.dtype, emit(x.ir, y.ir, flags=FLAGS))
    if op in _DIVISIONS:
        return _DIVISIONS[op](x, y, right)
    if op not in _INTEGER_OPS:
        raise Unsupported(f"{op} of integers")
    return Value(builder, "int64", getattr(builder, _INTEGER_OPS[op])(x.ir, y.ir))


_FLOAT_OPS = {"+": "fadd", "-": "fsub", "*": "fmul", "/": "fdiv"}
_BITS = {"&": "and_", "|": "or_", "^": "xor"}
_INTEGER_OPS = {"+": "add", "-": "sub", "*": "mul", "<<": "shl", ">>": "ashr", **_BITS}


def _matched(x: Value, y: Value) -> tuple[Value, Value]:
    """Both as the type they are computed in."""
    if x.is_float and x.dtype == y.dtype:
        return x, y
    if x.is_float or y.is_float or "uint64" in (x.dtype, y.dtype):
        raise Unsupported(f"arithmetic of {x.dtype} and {y.dtype}")
    return x.to("int64"), y.to("int64")


def _floor_divide(x: Value, y: Value, divisor: Any) -> Value:
    """Rounded down; 0 if the divisor is 0."""
    quotient, rest, safe = _divide(x, y, divisor)
    down = (rest != 0) & ((rest ^ safe) < 0)
    return _unless_zero(quotient - down.to("int64"), y, divisor)


def _modulo(x: Value, y: Value, divisor: Any) -> Value:
    """With the sign of the divisor; 0 if that is 0."""
    _, rest, safe = _divide(x, y, divisor)
    wrong = (rest != 0) & ((rest ^ safe) < 0)
    return _unless_zero(where(wrong, rest + safe, rest), y, divisor)


def _divide(x: Value, y: Value, divisor: Any) -> tuple[Value, Value, Value]:
    safe = y if _known_divisor(divisor) else where(y == 0, 1, y)
    quotient = x.divide_integers(safe)
    return quotient, x - quotient * safe, safe


def _unless_zero(result: Value, y: Value, divisor: Any) -> Value:
    return result if _known_divisor(divisor) else where(y == 0, 0, result)


def _known_divisor(divisor: Any) -> bool:
    return is_static(divisor) and divisor != 0


_DIVISIONS = {"//": _floor_divide, "%": _modulo}


_COMPARISONS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def compare(builder: ir.IRBuilder, op: str, left: Any, right: Any) -> Value:
    """`left op right` as a bool."""
    if isinstance(left, tuple) and isinstance(right, tuple) and op in ("==", "!="):
        same = [compare(builder, op, x, y) for x, y in zip(left, right, strict=True)]
        return functools.reduce(lambda x, y: x & y if op == "==" else x | y, same)
    x, y = number(builder, left), number(builder, right)
    if x.is_float and type(right) is int:
        y = x.like(right)
    if x.dtype == y.dtype and not x.is_float:
        # As wide as they are: int64 would halve the vectors of an int32 loop twice.
        return _COMPARISONS[op](x, y)
    x, y = _matched(x, y)
    if not x.is_float:
        return Value(builder, "bool", builder.icmp_signed(op, x.ir, y.ir))
    test = builder.fcmp_unordered if op == "!=" else builder.fcmp_ordered
    return Value(builder, "bool", test(op, x.ir, y.ir, flags=FLAGS))


def unary(builder: ir.IRBuilder, op: str, x: Any) -> Value:
    """`-x`, `~x` or `not x`."""
    value = number(builder, x)
    if op == "not":
        return Value(builder, "bool", builder.not_(truth(builder, value)))
    if op == "-" and value.is_float:
        return -value
    whole = value.to("int64")
    return 0 - whole if op == "-" else whole ^ -1


def extreme(builder: ir.IRBuilder, op: str, left: Any, right: Any) -> Value:
    """The smaller (`op` is "<") or greater of two integers."""
    x, y = _matched(number(builder, left), number(builder, right))
    if x.is_float:
        raise Unsupported("min or max of floats")
    return where(compare(builder, op, x, y), x, y)
