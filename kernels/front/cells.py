"""Local variables: `Cell` holds a number, a pointer or a tuple of them on the stack.

What is assigned at one place only needs no memory: `constant` is the operand itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from ..vecmath.value import Value
from .operands import SlotPointer, Table, Unsupported, is_static, number


@dataclass(frozen=True, slots=True)
class Static:
    """A name for one operand, or for an object known while compiling: a module, a function."""

    value: Any

    def get(self) -> Any:
        return self.value

    def put(self, value: Any) -> None:
        if value is not self.value:
            raise Unsupported("a name for two objects")


class Cell:
    """A variable of the type of its first value."""

    __slots__ = ("builder", "kind", "place")

    def __init__(self, builder: ir.IRBuilder, value: Any) -> None:
        self.builder = builder
        self.kind = _kind(builder, value)
        with builder.goto_entry_block():
            self.place = builder.alloca(_content(builder, value).type)

    def get(self) -> Any:
        content = self.builder.load(self.place)
        match self.kind:
            case ("table",):
                return Table(content)
            case ("pointer", dtype, slot):
                return SlotPointer(dtype, slot, content)
            case (dtype,):
                return Value(self.builder, dtype, content)

    def put(self, value: Any) -> None:
        kind = _kind(self.builder, value)
        if kind != self.kind:
            raise Unsupported(f"a variable that is {self.kind}, then {kind}")
        self.builder.store(_content(self.builder, value), self.place)


class Tuple:
    """A variable for each item."""

    __slots__ = ("cells",)

    def __init__(self, builder: ir.IRBuilder, values: tuple) -> None:
        self.cells = [variable(builder, value) for value in values]

    def get(self) -> tuple:
        return tuple(cell.get() for cell in self.cells)

    def put(self, values: Any) -> None:
        if type(values) is not tuple or len(values) != len(self.cells):
            raise Unsupported("tuples of two lengths in one variable")
        for cell, value in zip(self.cells, values, strict=True):
            cell.put(value)


Variable = Static | Cell | Tuple


def variable(builder: ir.IRBuilder, value: Any) -> Variable:
    """Room for `value` and what else will be assigned; it holds nothing yet."""
    if type(value) is tuple:
        return Tuple(builder, value)
    if is_static(value) and type(value) not in (bool, int, float):
        return Static(value)
    return Cell(builder, value)


def constant(builder: ir.IRBuilder, value: Any) -> Static:
    """A name for `value` alone; a literal has its type here, as in a cell."""
    return Static(_typed(builder, value))


def _typed(builder: ir.IRBuilder, value: Any) -> Any:
    if type(value) is tuple:
        return tuple(_typed(builder, item) for item in value)
    return number(builder, value) if type(value) in (bool, int, float) else value


def _kind(builder: ir.IRBuilder, value: Any) -> tuple:
    if isinstance(value, Table):
        return ("table",)
    if isinstance(value, SlotPointer):
        return ("pointer", value.dtype, value.slot)
    return (number(builder, value).dtype,)


def _content(builder: ir.IRBuilder, value: Any) -> ir.Value:
    return value.ir if isinstance(value, Table | SlotPointer) else number(builder, value).ir
