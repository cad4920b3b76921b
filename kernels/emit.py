"""LoopIR to numba source: the CPU emitter.

    source = emit(kernel)       # the text of a module that defines kernel.name

The text depends on the kernel's structure alone: equal structures are equal files, compiled once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from graphgrad import dtypes
from graphgrad.dtypes import DType

from .loopir import (
    Advance,
    Arith,
    Assign,
    Call,
    Clamp,
    Expr,
    For,
    Get,
    Int,
    Kernel,
    Let,
    Number,
    Pointer,
    Put,
    Scalar,
    Slot,
    Stmt,
    Var,
)
from .vecmath import SCALAR_FUNCTIONS

OUT_OF_RANGE = 1  # what a kernel writes into the error cell for a bad index

POINTERS = {
    "bool": "u8",
    "uint8": "u8",
    "int8": "i8",
    "int16": "i16",
    "int32": "i32",
    "uint32": "u32",
    "int64": "i64",
    "float32": "f32",
    "float64": "f64",
}


def emit(kernel: Kernel) -> str:
    """Source of a module whose function ``kernel.name`` is the kernel."""
    writer = SourceWriter()
    body = writer.block(kernel.body, 1)
    head = [f'"""{kernel.name}: {kernel.about}."""', "", *writer.imports(), "", ""]
    function = [f"def {kernel.name}(args, start, stop, chunk):", *body, ""]
    return "\n".join(head + function)


class SourceWriter:
    """Turns statements into lines and remembers which names they use."""

    def __init__(self) -> None:
        self.used: set[str] = set()

    def imports(self) -> list[str]:
        math = sorted(n for n in self.used if n not in _ABI and n != "np")
        abi = sorted(n for n in self.used if n in _ABI)
        lines = ["import numpy as np", ""] if "np" in self.used else []
        if abi:
            lines.append(f"from graphgrad.kernels.abi import {', '.join(abi)}")
        if math:
            lines.append(f"from graphgrad.kernels.vecmath import {', '.join(math)}")
        return lines

    def name(self, name: str) -> str:
        self.used.add(name)
        return name

    # ---- statements

    def block(self, body: Iterable[Stmt], depth: int) -> list[str]:
        lines: list[str] = []
        for stmt in body:
            lines += self.statement(stmt, depth)
        return lines or ["    " * depth + "pass"]

    def statement(self, stmt: Stmt, depth: int) -> list[str]:
        pad = "    " * depth
        match stmt:
            case Let(name, value) | Assign(name, value):
                return [f"{pad}{name} = {self.expr(value)}"]
            case Put(pointer, index, value, dtype):
                stored = self.expr(value)
                if dtype is dtypes.bool_:
                    self.name("np")
                    stored = f"np.uint8({stored})"
                return [f"{pad}{pointer.name}[{self.expr(index)}] = {stored}"]
            case For(var, start, stop, body):
                first = "" if start == Int(0) else f"{self.expr(start)}, "
                head = f"{pad}for {var} in range({first}{self.expr(stop)}):"
                return [head, *self.block(body, depth + 1)]
            case Clamp():
                return self._clamp(stmt, pad)

    def _clamp(self, stmt: Clamp, pad: str) -> list[str]:
        self.name("i64")
        return [
            f"{pad}{stmt.name} = {self.expr(stmt.index)}",
            f"{pad}if {stmt.name} < 0 or {stmt.name} >= {self.expr(stmt.extent)}:",
            f"{pad}    i64(args, {stmt.slot})[0] = {OUT_OF_RANGE}",
            f"{pad}    {stmt.name} = 0",
        ]

    # ---- expressions

    def expr(self, e: Expr) -> str:
        match e:
            case Var(name):
                return name
            case Int(value):
                return str(value)
            case Slot(slot):
                return f"args[{slot}]"
            case Arith("min", left, right):
                return f"min({self.expr(left)}, {self.expr(right)})"
            case Arith(op, left, right):
                return f"{self.operand(left)} {op} {self.operand(right, op)}"
            case Number(value, dtype):
                return self.number(value, dtype)
            case Scalar(slot, dtype):
                return self.scalar(slot, dtype)
            case Get(pointer, index, dtype):
                element = f"{pointer.name}[{self.expr(index)}]"
                return f"{element} != 0" if dtype is dtypes.bool_ else element
            case Pointer(slot, dtype):
                return f"{self.name(POINTERS[dtype.name])}(args, {slot})"
            case Advance(pointer, elements):
                return f"{pointer.name} + {self.operand(elements, '+')}"
            case Call():
                return self.call(e)

    def operand(self, e: Expr, op: str = "") -> str:
        text = self.expr(e)
        loose = isinstance(e, Arith) and e.op != "min" and not (op in ("", "+") and e.op == "*")
        loose |= isinstance(e, Call) and (e.op == "where" or e.dtype is dtypes.bool_)
        loose |= isinstance(e, Call) and _infix(e.op, e.source) is not None
        return f"({text})" if loose or (isinstance(e, Get) and e.dtype is dtypes.bool_) else text

    def number(self, value: float | int, dtype: DType) -> str:
        if dtype is dtypes.bool_:
            return str(bool(value))
        text = repr(value)
        if text in ("inf", "-inf", "nan"):
            text = f'float("{text}")' if text == "nan" else text.replace("inf", "np.inf")
            text = text.replace('float("nan")', "np.nan")
        self.name("np")
        return f"np.{dtype.name}({text})"

    def scalar(self, slot: int, dtype: DType) -> str:
        if dtype is dtypes.bool_:
            return f"args[{slot}] != 0"
        self.name("np")
        if dtype.is_floating_point:
            return f"np.{dtype.name}({self.name('fscalar')}(args, {slot}))"
        return f"np.{dtype.name}(args[{slot}])"

    def call(self, e: Call) -> str:
        args = [self.operand(a) for a in e.args]
        special = _SPECIAL.get(e.op)
        if special is not None:
            return special(self, e, args)
        infix = _infix(e.op, e.source)
        if infix is None:
            name = SCALAR_FUNCTIONS.get((e.op, e.source.name))
            if name is None:
                raise NotImplementedError(f"no kernel computes {e.op} of {e.source.name}")
            return f"{self.name(name)}({', '.join(args)})"
        text = infix.format(*args)
        if e.op in _ARITHMETIC and not e.source.is_floating_point and e.source.itemsize < 8:
            # numba computes small integers as int64; results wrap around in their own type.
            self.name("np")
            return f"np.{e.source.name}({text})"
        return text


_ABI = {*POINTERS.values(), "fscalar"}
_ARITHMETIC = {
    "add": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "bitwise_not": "~{}",
    "bitwise_and": "{} & {}",
    "bitwise_or": "{} | {}",
    "bitwise_xor": "{} ^ {}",
    "shift_left": "{} << {}",
    "shift_right": "{} >> {}",
}
_PLAIN = {
    "div": "{} / {}",
    "eq": "{} == {}",
    "ne": "{} != {}",
    "lt": "{} < {}",
    "le": "{} <= {}",
    "gt": "{} > {}",
    "ge": "{} >= {}",
}
_BOOLEAN = {
    "add": "{} | {}",
    "mul": "{} & {}",
    "maximum": "{} | {}",
    "minimum": "{} & {}",
    "logical_not": "not {}",
    "bitwise_not": "not {}",
    "bitwise_and": "{} & {}",
    "bitwise_or": "{} | {}",
    "bitwise_xor": "{} != {}",
    "eq": "{} == {}",
    "ne": "{} != {}",
    "lt": "{} < {}",
    "le": "{} <= {}",
    "gt": "{} > {}",
    "ge": "{} >= {}",
}


def _infix(op: str, dtype: DType) -> str | None:
    if dtype is dtypes.bool_:
        return _BOOLEAN.get(op)
    return _ARITHMETIC.get(op) or _PLAIN.get(op) or ("{} == 0" if op == "logical_not" else None)


def _where(writer: SourceWriter, e: Call, args: list[str]) -> str:
    return f"{args[1]} if {args[0]} else {args[2]}"


def _cast(writer: SourceWriter, e: Call, args: list[str]) -> str:
    if e.dtype is dtypes.bool_:
        return f"{args[0]} != 0"
    writer.name("np")
    return f"np.{e.dtype.name}({args[0]})"


def _philox(writer: SourceWriter, e: Call, args: list[str]) -> str:
    writer.name("np")
    words = ", ".join(f"np.uint32({a})" for a in args)
    return f"{writer.name('philox2x32')}({words})"


def _word(writer: SourceWriter, e: Call, args: list[str]) -> str:
    return f"{args[0]}[{e.attrs[0]}]"


def _bitcast(writer: SourceWriter, e: Call, args: list[str]) -> str:
    if dtypes.bool_ in (e.dtype, e.source):
        return _cast(writer, e, args)
    writer.name("np")
    return f"np.{e.source.name}({args[0]}).view(np.{e.dtype.name})"


_SPECIAL: dict[str, Callable[[SourceWriter, Call, list[str]], str]] = {
    "where": _where,
    "cast": _cast,
    "philox": _philox,
    "word": _word,
    "bitcast": _bitcast,
}
