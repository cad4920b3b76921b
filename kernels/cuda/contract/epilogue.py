"""What a product's consumers make of it, computed before it is written: bias, activation, masks.

    fused = fused_of(region, dot)            # None: nothing follows the product
    fused.epilogue                           # the structure, a part of what names a kernel
    fused.reads                              # what it reads, with strides by the product's axes

Consumers are elementwise operations over the product and over views that broadcast to it. Literals
are a part of the structure, as constants of the code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphgrad import dtypes
from graphgrad.dtypes import DType
from graphgrad.ir import Node
from graphgrad.regions import Region
from graphgrad.views import VIEWS, reshape_strides, resolve

from ...host import literal
from ...loopir import Call, Get, Let, Number, Pointer, Var
from .index import Index

OPERATIONS = frozenset(
    "add sub mul div maximum minimum neg abs sign exp log tanh sigmoid erf sqrt rsqrt reciprocal "
    "where eq ne lt le gt ge logical_not cast identity bitwise_and bitwise_or".split()
)
Ref = tuple[Any, ...]  # ("product",) | ("operand", n) | ("step", n) | ("number", value, dtype)


@dataclass(frozen=True)
class Step:
    """One operation over earlier values."""

    op: str
    dtype: DType
    source: DType
    args: tuple[Ref, ...]


@dataclass(frozen=True)
class Epilogue:
    """Operations on each number of the product; ``wanted`` are those whose results are written."""

    product: DType
    operands: tuple[DType, ...]
    steps: tuple[Step, ...]
    wanted: tuple[int, ...]

    @property
    def name(self) -> str:
        """For names of kernels: ``add_maximum``."""
        return "_".join(step.op for step in self.steps[:6])

    @property
    def outputs(self) -> tuple[DType, ...]:
        """Dtypes of what is written."""
        return tuple(self.steps[n].dtype for n in self.wanted)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of the slots that follow the product's own: further outputs, then operands."""
        return ("ptr",) * (len(self.outputs) - 1 + 4 * len(self.operands))

    def pointers(self, first: int, more: int) -> list[Any]:
        """Bind the memory of outputs (the first is in slot ``first``) and operands (from slot
        ``more`` on: further outputs, then for each operand its values and three tables)."""
        slots = [first, *range(more, more + len(self.outputs) - 1)]
        found: list[Any] = [
            Let(f"c{n}_values", Pointer(at, dtype))
            for n, (at, dtype) in enumerate(zip(slots, self.outputs, strict=True))
        ]
        at = more + len(self.outputs) - 1
        for n, dtype in enumerate(self.operands):
            found.append(Let(f"e{n}_values", Pointer(at, dtype)))
            for k, table in enumerate(("batches", "rows", "columns")):
                found.append(Let(f"e{n}_{table}", Pointer(at + 1 + k, dtypes.int32)))
            at += 4
        return found

    def statements(self, total: Any, offsets: list[Index], suffix: str) -> list[Any]:
        """Compute the steps for one number, whose sum is ``total``; names end in ``suffix``."""
        body: list[Any] = [Let(f"e_product{suffix}", total)]
        for n, (offset, dtype) in enumerate(zip(offsets, self.operands, strict=True)):
            body.append(Let(f"e_operand{n}{suffix}", Get(Var(f"e{n}_values"), offset.expr, dtype)))
        for n, step in enumerate(self.steps):
            args = tuple(self._value(ref, suffix) for ref in step.args)
            value = args[0]
            if step.op != "identity":
                value = Call(step.op, step.dtype, step.source, args)
            body.append(Let(f"e_step{n}{suffix}", value))
        return body

    def results(self, suffix: str) -> list[Any]:
        """What is written, after ``statements``."""
        return [Var(f"e_step{n}{suffix}") for n in self.wanted]

    def _value(self, ref: Ref, suffix: str) -> Any:
        if ref[0] == "number":
            return Number(ref[1], ref[2])
        return Var(f"e_{ref[0]}{'' if ref[0] == 'product' else ref[1]}{suffix}")


@dataclass(frozen=True, eq=False)
class Read:
    """What an epilogue reads: element ``offset`` + Σ index·stride over the product's axes."""

    base: Node
    offset: int
    strides: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Fused:
    """An epilogue, the values it reads, and the nodes it writes."""

    epilogue: Epilogue
    reads: tuple[Read, ...]
    targets: tuple[Node, ...]


def chain_of(dot: Node, nodes: tuple[Node, ...]) -> list[Node]:
    """The product, and the permutes and reshapes of it that lead to what is written or used."""
    chain = [dot]
    while True:
        users = [x for x in nodes if any(y is chain[-1] for y in x.inputs)]
        if len(users) != 1 or users[0].op.name not in ("permute", "reshape"):
            return chain
        chain.append(users[0])


def fused_of(region: Region, dot: Node) -> Fused | None:
    """What follows the product in a region; NotImplementedError for what no kernel computes."""
    chain = chain_of(dot, region.nodes)
    if region.outputs == (chain[-1],):
        return None
    return _Fusing(region, chain).fused()


class _Fusing:
    """The state of one ``fused_of``."""

    def __init__(self, region: Region, chain: list[Node]) -> None:
        self.region, self.chain, self.end = region, chain, chain[-1]
        self.memory = set(region.inputs)
        self.refs: dict[Node, Ref] = {self.end: ("product",)}
        self.steps: list[Step] = []
        self.reads: list[Read] = []

    def fused(self) -> Fused:
        for x in self.region.nodes:
            if x in self.chain or x.op.name in VIEWS or x.op.kind == "source":
                continue
            if x.op.name not in OPERATIONS:
                raise NotImplementedError(f"{x.op.name} after a product")
            args = tuple(map(self._ref, x.inputs))
            self.refs[x] = ("step", len(self.steps))
            source = x.inputs[-1 if x.op.name == "where" else 0].dtype
            self.steps.append(Step(x.op.name, x.dtype, source, args))
        wanted = []
        for y in self.region.outputs:
            # A view of the product is none: what is written is what the steps computed.
            kind, *number = self.refs.get(y, ("view",))
            if kind != "step" or y.shape != self.end.shape:
                raise NotImplementedError(f"{y!r} written after a product")
            wanted += number
        operands = tuple(read.base.dtype for read in self.reads)
        epilogue = Epilogue(self.chain[0].dtype, operands, tuple(self.steps), tuple(wanted))
        return Fused(epilogue, tuple(self.reads), self.region.outputs)

    def _ref(self, y: Node) -> Ref:
        if y not in self.refs:
            if y.op.name == "scalar":
                self.refs[y] = ("number", literal(y).item(), y.dtype)
            else:
                self.refs[y] = ("operand", len(self.reads))
                self.reads.append(self._read(y))
        return self.refs[y]

    def _read(self, y: Node) -> Read:
        view = resolve(y, self.memory)
        if view is None or view.base not in self.memory:
            raise NotImplementedError(f"{y!r} is no view of memory")
        lead = len(self.end.shape) - len(y.shape)
        kept = zip(y.shape, self.end.shape[lead:], view.strides, strict=True)
        strides = (0,) * lead + tuple(s if n == m else 0 for n, m, s in kept)
        for x in reversed(self.chain[1:]):
            strides = _before(x, strides)
        return Read(view.base, view.offset, strides)


def _before(x: Node, strides: tuple[int, ...]) -> tuple[int, ...]:
    """Strides over the axes of a permute's or reshape's operand, from those over its own."""
    if x.op.name == "permute":
        found = dict(zip(x.attrs["axes"], strides, strict=True))
        return tuple(found[axis] for axis in range(len(strides)))
    before = reshape_strides(x.shape, strides, x.inputs[0].shape)
    if before is None:
        raise NotImplementedError(f"an operand that {x!r} cuts across")
    return before
