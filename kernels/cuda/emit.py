"""Grid IR to numba-cuda source.

    source = emit(kernel)                       # the text of a module that defines kernel.name
    source = emit(kernel, shuffles=False)       # threads meet in shared memory only (simulators)

Parameters are raw pointers and numbers, in the order of the slots. Indices are int32 unless the
kernel is wide; literals have a type, so that nothing is computed in float64 unasked.
"""

from __future__ import annotations

from typing import Any

from graphgrad import dtypes
from graphgrad.dtypes import DType

from .. import loopir as ir
from ..emit import OUT_OF_RANGE
from .gridir import (
    WARP,
    AtomicAdd,
    AtomicMax,
    Barrier,
    Block,
    Fold,
    GetVector,
    GridKernel,
    Local,
    PutVector,
    Scan,
    Shared,
    Steps,
    TensorProduct,
    Thread,
    shares,
    walk,
)
from .grouped import PARAMETERS, prologue
from .source import NUMBA, SHORT, GridSource, computed, halves, is_test


def emit(kernel: GridKernel, shuffles: bool = True) -> str:
    """Source of a module whose function ``kernel.name`` is the kernel of one thread."""
    writer = CudaWriter(kernel, shuffles)
    body = writer.block(kernel.body, 1)
    own = [f"    {name} = cuda.{what}" for name, what in _WHO if name in writer.used]
    if kernel.grouped:
        own = [*own[: "thread" in writer.used], *prologue(writer)]
    head = [f'"""{kernel.name}: {kernel.about}', '"""', "", *writer.imports(), "", ""]
    parameters = ", ".join(PARAMETERS if kernel.grouped else writer.parameters())
    return "\n".join([*head, f"def {kernel.name}({parameters}):", *own, *body, ""])


_WHO = (("thread", "threadIdx.x"), ("block", "blockIdx.x"))


class CudaWriter(GridSource):
    """Turns Grid IR into lines of one thread's Python."""

    module = "graphgrad.kernels.cuda.device"

    def __init__(self, kernel: GridKernel, shuffles: bool) -> None:
        super().__init__()
        self.kernel, self.shuffles = kernel, shuffles
        self.index_type = "int64" if kernel.wide else "int32"
        self.looping = 0
        self.rooms = 0
        self.names = {
            x.value.slot: x.name
            for x in walk(kernel.body)
            if isinstance(x, ir.Let) and isinstance(x.value, ir.Pointer)
        }

    def element(self, slot: int) -> str:
        """What the memory at a slot's pointer holds, in short; int64 if it is never read."""
        pointers = (x for x in walk(self.kernel.body) if isinstance(x, ir.Pointer))
        return next((SHORT[x.dtype.name] for x in pointers if x.slot == slot), "i64")

    def parameters(self) -> list[str]:
        return [self.parameter(k) for k in range(len(self.kernel.kinds))]

    def parameter(self, slot: int) -> str:
        kind = self.kernel.kinds[slot]
        letter = {"int": "n", "scalar": "c", "float": "c", "error": "error"}.get(kind, "p")
        return self.names.get(slot, f"{letter}{slot}")

    def imports(self) -> list[str]:
        device = sorted(self.used - {"np", "thread", "block", "error"})
        lines = ["import numpy as np", "from numba import cuda", ""]
        if device:
            lines += [f"from {self.module} import (", *(f"    {n}," for n in device), ")"]
        return lines

    # ---- statements

    def assign(self, s: ir.Let | ir.Assign) -> list[str]:
        return [] if isinstance(s.value, ir.Pointer) else super().assign(s)

    def loop(self, s: ir.For | Steps) -> list[str]:
        self.looping += shares(s.body)
        lines = super().loop(s)
        self.looping -= shares(s.body)
        return lines

    def barrier(self, s: Barrier) -> list[str]:
        return ["cuda.syncthreads()"]

    def array(self, s: Shared | Local) -> list[str]:
        where = "shared" if isinstance(s, Shared) else "local"
        return [f"{s.name} = {self.room_of(where, s.size, s.dtype)}"]

    def atomic(self, s: AtomicAdd | AtomicMax) -> list[str]:
        what = "add" if isinstance(s, AtomicAdd) else "max"
        add = self.name(f"{what}_{SHORT[s.dtype.name]}")
        return [f"{add}({s.pointer.name}, {self.index(s.index)}, {self.expr(s.value)})"]

    def get_vector(self, s: GetVector) -> list[str]:
        load = self.name(f"load{len(s.names)}_{SHORT[s.dtype.name]}")
        is_bool = s.dtype is dtypes.bool_
        names = ", ".join(f"{name}_byte" if is_bool else name for name in s.names)
        lines = [f"{names} = {load}({s.pointer.name}, {self.index(s.index)})"]
        return lines + [f"{name} = {name}_byte != 0" for name in s.names if is_bool]

    def put_vector(self, s: PutVector) -> list[str]:
        store = self.name(f"store{len(s.values)}_{SHORT[s.dtype.name]}")
        items = ", ".join(self.stored(v, s.dtype) for v in s.values)
        return [f"{store}({s.pointer.name}, {self.index(s.index)}, {items})"]

    def _clamp(self, stmt: ir.Clamp, pad: str) -> list[str]:
        return [
            f"{pad}{stmt.name} = np.int64({self.expr(stmt.index)})",
            f"{pad}if {stmt.name} < 0 or {stmt.name} >= {self.expr(stmt.extent)}:",
            f"{pad}    {self.parameter(stmt.slot)}[0] = {OUT_OF_RANGE}",
            f"{pad}    {stmt.name} = np.int64(0)",
        ]

    def tensor_product(self, s: TensorProduct) -> list[str]:
        lane = ir.Arith("%", Thread(), ir.Int(WARP))
        row = ir.arith("*", ir.Arith("//", lane, ir.Int(4)), ir.Int(s.pitch))
        own = ir.total([row, ir.Arith("%", lane, ir.Int(4))])
        a, b = (self.index(ir.arith("+", first, own)) for first in (s.a_first, s.b_first))
        mma = self.name(f"mma_{SHORT[s.dtype.name]}_{s.pitch}")
        return [f"{mma}({s.sums.name}, {self.index(s.at)}, {s.a.name}, {a}, {s.b.name}, {b})"]

    # ---- what threads do together

    def room_of(self, where: str, size: int, dtype: DType) -> str:
        """An array of a block or a thread, as a pointer."""
        if not self.shuffles:
            return f"cuda.{where}.array({size}, np.{NUMBA.get(dtype.name, dtype.name)})"
        return f"{self.name(f'{where}_{SHORT[dtype.name]}_{size}')}()"

    def room(self, dtype: DType, size: int) -> tuple[str, str]:
        """A shared array for one meeting of threads: its name, and the line that makes it."""
        self.rooms += 1
        dtype = dtypes.by_name(computed(dtype))
        name = f"room_{self.rooms}"
        return name, f"{name} = {self.room_of('shared', size, dtype)}"

    def fold(self, stmt: Fold) -> list[str]:
        if stmt.lanes == 1:
            return [f"{stmt.name} = {self.expr(stmt.value)}"]
        if stmt.stride > 1 or not self.shuffles:
            return self._fold_shared(stmt)
        short = f"fold_{stmt.op}_{SHORT[computed(stmt.dtype)]}"
        within = min(stmt.lanes, WARP)
        whole = self.name(f"{short}_{within}")
        lines = [f"{stmt.name} = {whole}({self.expr(stmt.value)})"]
        if stmt.lanes > WARP:
            lines += self._fold_warps(stmt, short)
        return lines

    def _fold_warps(self, stmt: Fold, short: str) -> list[str]:
        """The results of a group's warps through shared memory, folded by every warp."""
        self.name("thread")
        warps = stmt.lanes // WARP
        room, made = self.room(stmt.dtype, self.kernel.block // WARP)
        groups = self.kernel.block // stmt.lanes
        first = f"({over(stmt.lanes)}) * {warps} + " if groups > 1 else ""
        mine = f"{room}[{first}({within(warps)})]"
        held = f"{mine} != 0" if stmt.dtype is dtypes.bool_ else mine
        return [
            made,
            f"if ({within(WARP)}) == 0:",
            f"    {room}[{over(WARP)}] = {stmt.name}",
            "cuda.syncthreads()",
            f"{stmt.name} = {self.name(f'{short}_{warps}')}({held})",
            *(["cuda.syncthreads()"] if self.looping else []),
        ]

    def _fold_shared(self, stmt: Fold) -> list[str]:
        """Halves onto halves in shared memory."""
        self.name("thread")
        room, made = self.room(stmt.dtype, self.kernel.block)
        lane = within(stmt.lanes) if stmt.stride == 1 else over(stmt.stride)
        first = f"thread - ({lane})" if stmt.stride == 1 else within(stmt.stride)
        lines = [made, f"{room}[thread] = {self.expr(stmt.value)}", "cuda.syncthreads()"]
        for half in halves(stmt):
            pair = (f"{room}[thread]", f"{room}[thread + {half * stmt.stride}]")
            inside = stmt.stride == 1 and half < WARP < stmt.lanes
            lines += [
                f"if ({within(WARP) if inside else lane}) < {half}:",
                f"    {room}[thread] = {self.folded(stmt, *pair)}",
                "cuda.syncthreads()",
            ]
        held = f"{room}[{first}]"
        test = " != 0" if stmt.dtype is dtypes.bool_ else ""
        lines.append(f"{stmt.name} = {held}{test}")
        return lines + (["cuda.syncthreads()"] if self.looping else [])

    def folded(self, stmt: Fold | Scan, left: str, right: str) -> str:
        """One step of a fold, of two elements of memory."""
        if stmt.dtype is dtypes.bool_:
            left, right = f"({left} != 0)", f"({right} != 0)"
        call = ir.Call(stmt.op, stmt.dtype, stmt.dtype, (ir.Var(left), ir.Var(right)))
        return self.expr(call)

    def scan(self, stmt: Scan) -> list[str]:
        if not self.shuffles:
            return self._scan_shared(stmt)
        short = SHORT[computed(stmt.dtype)]
        whole = self.name(f"scan_{stmt.op}_{short}_{min(stmt.lanes, WARP)}")
        lines = [f"{stmt.name} = {whole}({self.expr(stmt.value)})"]
        if stmt.lanes <= WARP:
            return lines
        self.name("thread")
        room, made = self.room(stmt.dtype, self.kernel.block // WARP)
        first = f"({over(stmt.lanes)}) * {stmt.lanes // WARP}, "
        first = first if stmt.lanes < self.kernel.block else ""
        return [
            *lines,
            made,
            f"if ({within(WARP)}) == {WARP - 1}:",
            f"    {room}[{over(WARP)}] = {stmt.name}",
            "cuda.syncthreads()",
            f"for warp in range({first}{over(WARP)}):",
            f"    {stmt.name} = {self.folded(stmt, f'{room}[warp]', stmt.name)}",
            *(["cuda.syncthreads()"] if self.looping else []),
        ]

    def _scan_shared(self, stmt: Scan) -> list[str]:
        """Every thread adds what lies 1, 2, 4, … threads before it, in shared memory."""
        self.name("thread")
        room, made = self.room(stmt.dtype, self.kernel.block)
        lane = within(stmt.lanes) if stmt.lanes < self.kernel.block else "thread"
        lines = [f"{stmt.name} = {self.expr(stmt.value)}", made]
        lines += [f"{room}[thread] = {stmt.name}", "cuda.syncthreads()"]
        step = 1
        while step < stmt.lanes:
            earlier = self.folded(stmt, f"{room}[thread - {step}]", f"{room}[thread]")
            lines += [
                f"if ({lane}) >= {step}:",
                f"    {stmt.name} = {earlier}",
                "cuda.syncthreads()",
                f"{room}[thread] = {stmt.name}",
                "cuda.syncthreads()",
            ]
            step *= 2
        return lines

    # ---- expressions

    def index(self, e: Any) -> str:
        """Index arithmetic, in the kernel's index type."""
        if isinstance(e, ir.Var | ir.Slot | Thread | Block) or is_test(e):
            return self.expr(e)
        return f"np.{self.index_type}({self.expr(e)})"

    def who(self, name: str) -> str:
        return self.name(name)

    def expr(self, e: Any) -> str:
        match e:
            case ir.Slot(slot):
                return self.parameter(slot)
            case ir.Arith("//" | "%" as op, left, right):
                divide = self.name("quotient" if op == "//" else "rest")
                return f"{divide}({self.index(left)}, {self.index(right)})"
        return super().expr(e)

    def scalar(self, slot: int, dtype: DType) -> str:
        if dtype is dtypes.bool_:
            return f"{self.parameter(slot)} != 0"
        return f"np.{computed(dtype)}({self.parameter(slot)})"


def over(power: int) -> str:
    """The thread's number divided by a power of two."""
    return f"thread >> {power.bit_length() - 1}"


def within(power: int) -> str:
    """The thread's number modulo a power of two."""
    return f"thread & {power - 1}"
