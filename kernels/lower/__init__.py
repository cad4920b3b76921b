"""Lowering: a region becomes kernel calls.

    calls = lower_region(region)                 # LoopIR built, scheduled and emitted as source
    calls = lower_region(region, {out: operand}) # ``out`` is written over ``operand``

Equal structures give byte-equal sources: extents, strides and numbers are arguments.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphgrad import dtypes
from graphgrad.ir import Node
from graphgrad.regions import Region

from .affine import dot, row_major
from .call import KernelCall
from .loops import lower_stores
from .nests import Frame
from .roots import ROOTS, Root
from .schedule import Store
from .sorting import lower_sort
from .values import Trace

__all__ = ["KernelCall", "lower_region"]

_UNSUPPORTED = frozenset({dtypes.float16, dtypes.complex64, dtypes.complex128})


def lower_region(region: Region, aliases: Mapping[Node, Node] | None = None) -> list[KernelCall]:
    """The kernel calls of a loop region; NotImplementedError where it must be interpreted."""
    for x in (*region.inputs, *region.nodes):
        if x.dtype in _UNSUPPORTED:
            raise NotImplementedError(f"kernels of {x.dtype.name} do not exist yet ({x!r})")
    for x in region.nodes:
        if x.op.kind == "sort":
            return lower_sort(region, x)
    outputs = [y for y in region.outputs if y.size]
    if not outputs:
        return []
    for x in outputs:
        if x.op.name in ROOTS:
            return ROOTS[x.op.name](Root(region, x, aliases or {}))
    memory = frozenset(region.inputs)
    frame = Frame(region.nodes, memory, frozenset(region.outputs))
    trace = Trace(memory, frame)
    for new, old in (aliases or {}).items():
        trace.arrays[new] = trace.array(old)
    stores = [store(trace, y) for y in outputs]
    return lower_stores(region.name, stores, trace)


def store(trace: Trace, y: Node) -> Store:
    """A node written to its own memory."""
    index = trace.frame.index(y)
    return Store(trace.array(y), dot(index, row_major(y.shape)), trace.here(y))
