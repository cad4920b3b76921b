"""Grid kernels on a CPU: what blocks of threads would do, as a kernel of the usual kind.

    call = emulated(grid_call)       # a KernelCall: an iteration is a block

A kernel is cut where threads wait for each other; what lies between is a loop over the block's
threads. What a thread keeps across a cut is an array with an element a thread, shared arrays are
arrays, both in scratch that every chunk of blocks has of its own. Folds add up in the same tree as
on a GPU. So an emulated program is an ordinary program, and a wrong index is wrong here too.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from graphgrad import dtypes
from graphgrad.dtypes import DType

from .. import loopir as ir
from ..emit import POINTERS
from ..lower.call import KernelCall
from ..lower.cost import grain
from .call import GridCall
from .gridir import (
    AtomicAdd,
    AtomicMax,
    Barrier,
    Block,
    Comment,
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
from .source import HALVES, SHORT, GridSource, computed, halves, is_test

ALIGN = 64
SLOWER = 6.0  # than the loops that nanoseconds are estimated for: threads are walked one by one
SCRATCH_BYTES = 16 << 20


def emulated(call: GridCall) -> KernelCall:
    """The call as one of the CPU's executor: blocks are iterations, cut into chunks by size."""
    source, arrays = call.kernel.emulation
    own = sum(-(-nbytes // ALIGN) * ALIGN for nbytes in arrays)
    most = max(1, SCRATCH_BYTES // max(1, own))
    step = 0 if call.serial else grain(call.grid, call.ns * SLOWER, most)
    chunks = -(-call.grid // step) if step else 1
    scratch = -(-call.scratch_bytes // ALIGN) * ALIGN
    slots = list(call.slots)
    for nbytes in arrays:
        slots.append(("scratch", scratch))
        scratch += -(-nbytes * chunks // ALIGN) * ALIGN
    return KernelCall(call.name, source, tuple(slots), call.grid, step, scratch, call.ns * SLOWER)


def emulation(kernel: GridKernel) -> tuple[str, tuple[int, ...]]:
    """Source of the kernel for a CPU, and the bytes of the arrays that each chunk needs."""
    writer = _Emulation(kernel)
    body = writer.kernel_lines()
    head = [f'"""{kernel.name}, emulated: {kernel.about}', '"""', "", *writer.imports(), "", ""]
    text = "\n".join([*head, f"def {kernel.name}(args, start, stop, chunk):", *body, ""])
    return text, tuple(n * dtype.itemsize for _, dtype, n in writer.arrays)


class _Emulation(GridSource):
    """Writes phases: statements between cuts, each a loop over the threads of a block."""

    def __init__(self, kernel: GridKernel) -> None:
        super().__init__()
        self.kernel = kernel
        self.arrays: list[tuple[str, DType, int]] = []
        self.types: dict[str, DType] = {}
        self.pure: dict[str, Any] = {}
        self.crossing: set[str] = set()
        self.locals: dict[str, Local] = {}
        self.own: set[str] = set()  # arrays of blocks and threads
        self.known: set[str] = set()  # pure names bound where we are

    # ---- the kernel

    def kernel_lines(self) -> list[str]:
        body = self.kernel.body
        pointers = [s for s in body if isinstance(s, ir.Let) and isinstance(s.value, ir.Pointer)]
        rest = tuple(s for s in body if s not in pointers)
        self._survey(rest)
        lines = self.block(pointers, 1)
        phases = self._phases(rest, 2)
        first = len(self.kernel.kinds)
        for k, (name, dtype, size) in enumerate(self.arrays):
            at = f"{POINTERS[dtype.name]}(args, {first + k})"
            self.name(POINTERS[dtype.name])
            lines.append(f"    {name} = {at} + chunk * {size}")
        return [*lines, "    for block in range(start, stop):", *phases]

    def _keep(self, name: str, dtype: DType, size: int) -> None:
        self.arrays.append((name, dtypes.by_name(computed(dtype)), size))

    # ---- which names live where

    def _survey(self, body: tuple[Any, ...]) -> None:
        """Types of names, which are pure index arithmetic, and which cross a cut."""
        defined: dict[str, set[int]] = defaultdict(set)
        used: dict[str, set[int]] = defaultdict(set)
        assigned = {s.name for s in walk(body) if isinstance(s, ir.Assign)}
        shared = {s.var for s in walk(body) if isinstance(s, ir.For | Steps) and shares(s)}
        for number, (statements, level) in enumerate(_cut(body)):
            for s in statements if level else ():
                once = isinstance(s, ir.Let) and s.name not in assigned
                if once and _is_index(s, {*shared, *self.pure}):
                    self.pure[s.name] = s.value
            for part in walk(statements):
                for name, dtype in _bound(part):
                    defined[name].add(number)
                    self.types.setdefault(name, dtype or self._type(part.value))
                if isinstance(part, ir.Var):
                    used[part.name].add(number)
        self.own = {x.name for x in walk(body) if isinstance(x, Shared | Local)}
        for part in walk(body):
            if isinstance(part, Shared):
                self._keep(part.name, part.dtype, part.size)
            elif isinstance(part, Local):
                self.locals[part.name] = part
                self._keep(f"{part.name}_all", part.dtype, part.size * self.kernel.block)
            elif isinstance(part, Fold | Scan):
                self.crossing.add(part.name)
                self._keep(part.name, part.dtype, self.kernel.block)
        for name, places in defined.items():
            known = name in self.pure or name in self.crossing
            if not known and len(places | used[name]) > 1:
                self.crossing.add(name)
                self._keep(name, self.types[name], self.kernel.block)

    def _type(self, e: Any) -> DType:
        if isinstance(e, ir.Var):
            return self.types.get(e.name, dtypes.int64)
        if isinstance(e, ir.Arith):
            return dtypes.bool_ if is_test(e) else dtypes.int64
        return getattr(e, "dtype", dtypes.int64)

    # ---- phases

    def _phases(self, body: tuple[Any, ...], depth: int) -> list[str]:
        lines: list[str] = []
        waiting: list[Any] = []
        for s in body:
            if not shares(s):
                waiting.append(s)
                continue
            lines += self._threads(waiting, depth)
            waiting = []
            if isinstance(s, ir.For | Steps):
                lines += self._together(s, depth)
            elif isinstance(s, Fold | Scan):
                lines += self._threads([ir.Assign(s.name, s.value)], depth)
                lines += self.statement(s, depth)
            elif not isinstance(s, Barrier):
                raise TypeError(f"threads meet inside {type(s).__name__}")
        return lines + self._threads(waiting, depth)

    def _together(self, loop: ir.For | Steps, depth: int) -> list[str]:
        """A loop that all threads of a block walk at once."""
        bounds = _bounds(loop)
        before, now = self.known, set(self.known)
        self.known = now
        lines = self._recall(bounds, depth)
        pad = "    " * depth
        lines.append(f"{pad}for {loop.var} in range({', '.join(map(self.expr, bounds))}):")
        lines += self._phases(loop.body, depth + 1)
        self.known = before
        return lines

    def _threads(self, statements: list[Any], depth: int) -> list[str]:
        """A phase: the statements for every thread of the block."""
        statements = [s for s in statements if not isinstance(s, Shared)]
        wanted = [s for s in statements if not (isinstance(s, ir.Let) and s.name in self.pure)]
        if all(isinstance(s, Comment | Local) for s in wanted):
            return []
        before, self.known = self.known, set(self.known)
        lines = ["    " * depth + f"for thread in range({self.kernel.block}):"]
        used = {x.name for x in walk(tuple(statements)) if isinstance(x, ir.Var)}
        for name, local in self.locals.items():
            if name in used:
                at = f"{name} = {name}_all + thread * {local.size}"
                lines.append("    " * (depth + 1) + at)
        lines += self._recall(tuple(wanted), depth + 1)
        lines += self.block(wanted, depth + 1)
        self.known = before
        return lines

    def _recall(self, x: Any, depth: int) -> list[str]:
        """Index arithmetic of earlier phases, computed again."""
        lines: list[str] = []
        for part in walk(x):
            if isinstance(part, ir.Var) and part.name in self.pure and part.name not in self.known:
                self.known.add(part.name)
                value = self.pure[part.name]
                lines += self._recall(value, depth)
                lines.append("    " * depth + f"{part.name} = {self.expr(value)}")
        return lines

    # ---- statements

    def assign(self, s: ir.Let | ir.Assign) -> list[str]:
        if s.name not in self.crossing:
            return super().assign(s)
        dtype = self.types.get(s.name)
        stored = self.stored(s.value, dtype) if dtype is dtypes.bool_ else self.expr(s.value)
        return [f"{s.name}[thread] = {stored}"]

    def array(self, s: Shared | Local) -> list[str]:
        return []

    def atomic(self, s: AtomicAdd | AtomicMax) -> list[str]:
        now = ir.Get(s.pointer, s.index, s.dtype)
        op = "add" if isinstance(s, AtomicAdd) else "maximum"
        total = ir.Call(op, s.dtype, s.dtype, (now, s.value))
        return self.put(ir.Put(s.pointer, s.index, total, s.dtype))

    def get_vector(self, s: GetVector) -> list[str]:
        gets = [ir.Get(s.pointer, _next(s.index, k), s.dtype) for k in range(len(s.names))]
        return self.block([ir.Let(n, get) for n, get in zip(s.names, gets, strict=True)], 0)

    def put_vector(self, s: PutVector) -> list[str]:
        pairs = enumerate(s.values)
        return self.block([ir.Put(s.pointer, _next(s.index, k), v, s.dtype) for k, v in pairs], 0)

    def tensor_product(self, s: TensorProduct) -> list[str]:
        """The thread's four numbers, each from its row and column in shared memory."""
        widen = self.name(f"from_{SHORT[s.dtype.name]}")
        self.name("np")
        a, b, at = (self.expr(e) for e in (s.a_first, s.b_first, s.at))

        def half(word: str, shift: int) -> str:
            return f"{widen}(np.int16(({word} >> np.uint32({shift})) & np.uint32(65535)))"

        return [
            "for mma_q in range(4):",
            f"    mma_a = {a} + (thread % 32 // 4 + mma_q // 2 * 8) * {s.pitch}",
            f"    mma_b = {b} + (thread % 4 * 2 + mma_q % 2) * {s.pitch}",
            f"    mma_sum = {s.sums.name}[{at} + mma_q]",
            "    for mma_w in range(8):",
            f"        mma_x = {s.a.name}[mma_a + mma_w]",
            f"        mma_y = {s.b.name}[mma_b + mma_w]",
            f"        mma_sum += {half('mma_x', 0)} * {half('mma_y', 0)}",
            f"        mma_sum += {half('mma_x', 16)} * {half('mma_y', 16)}",
            f"    {s.sums.name}[{at} + mma_q] = mma_sum",
        ]

    def fold(self, s: Fold) -> list[str]:
        """Halves onto halves, then the result to every thread of its group."""
        name, block, lines = s.name, self.kernel.block, []
        if s.stride > 1:
            for half in halves(s):
                n = half * s.stride
                lines += [f"for j in range({n}):", "    " + self._step(s, "j", f"j + {n}")]
            return [*lines, f"for j in range({s.stride}, {block}):",
                    f"    {name}[j] = {name}[j % {s.stride}]"]  # fmt: skip
        for half in halves(s):
            inside = min(s.lanes, 32) if half < 32 else s.lanes
            lines += [
                f"for group in range(0, {block}, {inside}):",
                f"    for j in range(group, group + {half}{', 32' if half >= 32 else ''}):",
                "        " + self._step(s, "j", f"j + {half}"),
            ]
        lines += [
            f"for group in range(0, {block}, {s.lanes}):",
            f"    for j in range(group + 1, group + {s.lanes}):",
            f"        {name}[j] = {name}[group]",
        ]
        return lines if s.lanes > 1 else []

    def scan(self, s: Scan) -> list[str]:
        return [
            f"for group in range(0, {self.kernel.block}, {s.lanes}):",
            f"    for j in range(group + 1, group + {s.lanes}):",
            "        " + self._step(s, "j", "j - 1", swap=True),
        ]

    def _step(self, s: Fold | Scan, here: str, other: str, swap: bool = False) -> str:
        pair = [f"{s.name}[{here}]", f"{s.name}[{other}]"]
        if s.dtype is dtypes.bool_:
            pair = [f"({x} != 0)" for x in pair]
        left, right = pair[::-1] if swap else pair
        call = ir.Call(s.op, s.dtype, s.dtype, (ir.Var(left), ir.Var(right)))
        total = self.expr(call)
        if s.dtype is dtypes.bool_:
            self.name("np")
            total = f"np.uint8({total})"
        return f"{s.name}[{here}] = {total}"

    # ---- expressions

    def expr(self, e: Any) -> str:
        match e:
            case ir.Var(name) if name in self.crossing:
                element = f"{name}[thread]"
                return f"({element} != 0)" if self.types.get(name) is dtypes.bool_ else element
            case ir.Pointer(slot, dtype) if dtype.name in HALVES:
                return f"{self.name('i16')}(args, {slot})"
        return super().expr(e)

    def is_packed(self, pointer: ir.Var, dtype: DType) -> bool:
        """In memory elements have 16 bits, in arrays of the emulator they are float32."""
        return super().is_packed(pointer, dtype) and pointer.name not in self.own

    def scalar(self, slot: int, dtype: DType) -> str:
        return super().scalar(slot, dtypes.by_name(computed(dtype)))


def _next(index: Any, k: int) -> Any:
    return ir.arith("+", index, ir.Int(k))


def _bounds(loop: ir.For | Steps) -> tuple[Any, ...]:
    return loop.start, loop.stop, loop.step if isinstance(loop, Steps) else ir.Int(1)


def _cut(body: tuple[Any, ...]) -> list[tuple[tuple[Any, ...], bool]]:
    """Statements between cuts, and each meeting on its own, in order; whether they stand at the
    top of a phase."""
    parts: list[tuple[tuple[Any, ...], bool]] = []
    waiting: list[Any] = []
    for s in body:
        if not shares(s):
            waiting.append(s)
            continue
        parts.append((tuple(waiting), True))
        waiting = []
        if isinstance(s, ir.For | Steps):
            parts += [(_bounds(s), False), *_cut(s.body)]
        else:
            parts.append(((s,), False))
    return [*parts, (tuple(waiting), True)]


def _bound(x: Any) -> list[tuple[str, DType | None]]:
    """The names a statement binds, with their types (None: that of its value)."""
    match x:
        case ir.Let(name, _) | ir.Assign(name, _):
            return [(name, None)]
        case ir.Clamp(name):
            return [(name, dtypes.int64)]
        case GetVector(names, _, _, dtype):
            return [(name, dtype) for name in names]
        case Fold(name, _, dtype) | Scan(name, _, dtype):
            return [(name, dtype)]
    return []


def _is_index(let: ir.Let, known: set[str]) -> bool:
    """Whether a value is index arithmetic, which may be computed again anywhere."""
    kinds = (ir.Var, ir.Int, ir.Slot, ir.Arith, Thread, Block)
    parts = list(walk(let.value))
    names = {x.name for x in parts if isinstance(x, ir.Var)}
    return all(isinstance(x, kinds) for x in parts) and names <= known
