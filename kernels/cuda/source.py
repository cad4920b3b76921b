"""What the sources of a grid kernel have in common, for a GPU (`emit`) and for a CPU (`emulate`).

A statement's class names the method that writes it (METHODS): those of control flow and of plain
memory are here, how threads meet and what a vector or an atomic update is, is each writer's own.
Methods return lines that begin at column 0; ``statement`` moves them to where they belong.
"""

from __future__ import annotations

from typing import Any, ClassVar

from graphgrad import dtypes
from graphgrad.dtypes import DType

from .. import loopir as ir
from ..emit import SourceWriter
from . import gridir as g

SHORT = {"float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64", "bool": "u8"}
SHORT |= {f"{sign}int{b}": f"{sign or 'i'}{b}" for sign in ("", "u") for b in (8, 16, 32, 64)}
NUMBA = {"bool": "uint8", "float16": "uint16", "bfloat16": "uint16"}  # what memory holds
HALVES = ("float16", "bfloat16")  # 16 bits in memory, float32 in registers


class GridSource(SourceWriter):
    """Turns Grid IR into lines of Python."""

    METHODS: ClassVar[dict[type, str]] = {
        ir.Let: "assign",
        ir.Assign: "assign",
        ir.Put: "put",
        ir.For: "loop",
        g.Steps: "loop",
        g.Comment: "comment",
        g.When: "when",
        g.While: "while_true",
        g.Shared: "array",
        g.Local: "array",
        g.Barrier: "barrier",
        g.Fold: "fold",
        g.Scan: "scan",
        g.AtomicAdd: "atomic",
        g.AtomicMax: "atomic",
        g.GetVector: "get_vector",
        g.PutVector: "put_vector",
        g.TensorProduct: "tensor_product",
    }

    # ---- statements

    def statement(self, stmt: Any, depth: int) -> list[str]:
        method = self.METHODS.get(type(stmt))
        if method is None:
            return super().statement(stmt, depth)
        return ["    " * depth + line for line in getattr(self, method)(stmt)]

    def assign(self, s: ir.Let | ir.Assign) -> list[str]:
        value = self.index if isinstance(s.value, ir.Arith) else self.expr
        return [f"{s.name} = {value(s.value)}"]

    def put(self, s: ir.Put) -> list[str]:
        packed = self.is_packed(s.pointer, s.dtype)
        return [f"{s.pointer.name}[{self.expr(s.index)}] = {self.stored(s.value, s.dtype, packed)}"]

    def comment(self, s: g.Comment) -> list[str]:
        return [f"# {s.text}"]

    def when(self, s: g.When) -> list[str]:
        lines = [f"if {self.expr(s.condition)}:", *self.block(s.body, 1)]
        return lines + (["else:", *self.block(s.otherwise, 1)] if s.otherwise else [])

    def while_true(self, s: g.While) -> list[str]:
        return [f"while {self.expr(s.condition)}:", *self.block(s.body, 1)]

    def loop(self, s: ir.For | g.Steps) -> list[str]:
        return [f"for {s.var} in range({self.bounds(s)}):", *self.block(s.body, 1)]

    def bounds(self, s: ir.For | g.Steps) -> str:
        """What ``range`` is given."""
        if isinstance(s, g.Steps):
            parts = [s.start, s.stop, s.step]
        else:
            parts = [s.stop] if s.start == ir.Int(0) else [s.start, s.stop]
        return ", ".join(map(self.index, parts))

    # ---- expressions

    def index(self, e: Any) -> str:
        """Index arithmetic."""
        return self.expr(e)

    def who(self, name: str) -> str:
        """The number of the thread or block, by that name."""
        return name

    def expr(self, e: Any) -> str:
        match e:
            case g.Thread():
                return self.who("thread")
            case g.Block():
                return self.who("block")
            case ir.Get(pointer, index, dtype) if self.is_packed(pointer, dtype):
                widen = self.name(f"from_{SHORT[dtype.name]}")
                return f"{widen}({pointer.name}[{self.expr(index)}])"
        return super().expr(e)

    def is_packed(self, pointer: ir.Var, dtype: DType) -> bool:
        """Whether elements have 16 bits where they lie, and 32 in registers."""
        return dtype.name in HALVES

    def stored(self, value: Any, dtype: DType, packed: bool = False) -> str:
        """What is written to memory of a dtype."""
        text = self.expr(value)
        if dtype is dtypes.bool_:
            self.name("np")
            return f"np.uint8({text})"
        return f"{self.name(f'to_{SHORT[dtype.name]}')}({text})" if packed else text

    def number(self, value: float | int, dtype: DType) -> str:
        return super().number(value, dtypes.by_name(computed(dtype)))

    def call(self, e: ir.Call) -> str:
        """A primitive; a cast to 16 bits is rounded as if it had been stored."""
        text = super().call(registers(e))
        if e.op != "cast" or e.dtype.name not in HALVES:
            return text
        short = SHORT[e.dtype.name]
        return f"{self.name(f'from_{short}')}({self.name(f'to_{short}')}({text}))"


def is_test(e: Any) -> bool:
    """Whether an expression of indices is a condition."""
    return isinstance(e, ir.Arith) and e.op in ("<", "<=", ">", ">=", "==", "!=", "and", "or")


def registers(e: ir.Call) -> ir.Call:
    """A call over what registers hold: float32 where memory holds 16 bits."""
    if e.dtype.name in HALVES or e.source.name in HALVES:
        wide = [dtypes.float32 if x.name in HALVES else x for x in (e.dtype, e.source)]
        return ir.Call(e.op, *wide, e.args, e.attrs)
    return e


def computed(dtype: DType) -> str:
    """The type of numbers in registers."""
    return "float32" if dtype.name in HALVES else dtype.name


def halves(fold: g.Fold) -> list[int]:
    """The steps of a fold's tree, in lanes: inside warps first, then across them."""
    steps = [1 << k for k in range(fold.lanes.bit_length() - 1)][::-1]
    if fold.stride > 1:
        return steps
    return [s for s in steps if s < g.WARP] + [s for s in steps if s >= g.WARP]
