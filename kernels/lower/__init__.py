"""Lowering: a region becomes kernel calls.

    calls = lower_region(region)                 # LoopIR built, scheduled and emitted as source
    calls = lower_region(region, {out: operand}) # ``out`` is written over ``operand``

Equal structures give byte-equal sources: extents, strides and numbers are arguments.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from graphgrad import dtypes
from graphgrad.axes import Axis
from graphgrad.ir import Node
from graphgrad.regions import Region
from graphgrad.views import row_major

from .affine import dot
from .call import KernelCall
from .loops import lower_stores
from .memo import memoised
from .nests import Frame
from .roots import ROOTS, Root
from .schedule import Store
from .sorting import lower_sort
from .values import Trace, positions

__all__ = ["KernelCall", "lower_region"]

UNROLL = 32  # elements of a window that are written out
_UNSUPPORTED = frozenset({dtypes.float16, dtypes.complex64, dtypes.complex128})


@memoised
def lower_region(region: Region, aliases: Mapping[Node, Node]) -> list[KernelCall]:
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
            return ROOTS[x.op.name](Root(region, x, aliases))
    frame = Frame(region.nodes, frozenset(region.inputs), frozenset(outputs))
    calls = []
    for group in _by_nest(frame, outputs, aliases):
        calls += _lower_together(region, frame, group, aliases)
    return calls


def _by_nest(frame: Frame, outputs: list[Node], aliases: Mapping[Node, Node]) -> list[list[Node]]:
    """Outputs that share their loops: parts that do not are kernels of their own.

    One that replaces its operand comes last, so that the others have read it.
    """
    groups: dict[int, list[Node]] = {}
    for y in outputs:
        groups.setdefault(id(frame.nests[y]), []).append(y)
    return sorted(groups.values(), key=lambda group: any(y in aliases for y in group))


def _lower_together(
    region: Region, frame: Frame, outputs: list[Node], aliases: Mapping[Node, Node]
) -> list[KernelCall]:
    trace = Trace(frame.memory, frame, _unrolled(region, frame))
    for new, old in aliases.items():
        trace.arrays[new] = trace.array(old)
    stores = [store for y in outputs for store in _stores(trace, y)]
    return lower_stores(region.name, stores, trace)


def _unrolled(region: Region, frame: Frame) -> list[Axis]:
    """The axes of small windows that are reduced: loops too short to be loops."""
    if not any(x.op.name == "window" for x in region.nodes):
        return []
    axes = [a for x in region.nodes if x.op.kind == "reduce" for a in frame.reduced(x)]
    axes = list(dict.fromkeys(axes))
    return axes if math.prod(a.size for a in axes) <= UNROLL else []


def _stores(trace: Trace, y: Node) -> Iterator[Store]:
    """A node written to its own memory: one store, or one per position in an unrolled window."""
    index = trace.frame.index(y)
    own = {t for i in index for t, _ in i.terms}
    for fixed in positions([a for a in trace.unrolled if a in own]):
        trace.fixed = fixed
        place = dot(trace.place(index), row_major(y.shape))
        yield Store(trace.array(y), place, trace.here(y))
    trace.fixed = {}
