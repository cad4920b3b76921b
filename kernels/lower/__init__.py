"""Lowering: a region becomes kernel calls.

    calls = lower_region(region)                 # LoopIR built, scheduled and emitted as source
    calls = lower_region(region, {out: operand}) # ``out`` is written over ``operand``

Equal structures give byte-equal sources: extents, strides and numbers are arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphgrad import dtypes
from graphgrad.axes import Axis
from graphgrad.dtypes import DType
from graphgrad.ir import Node
from graphgrad.regions import Region
from graphgrad.views import VIEWS, row_major

from .affine import dot
from .call import KernelCall
from .loops import lower_stores
from .memo import memoised
from .nests import Frame
from .roots import ROOTS, Root
from .schedule import Store
from .sorting import lower_sort
from .values import Trace, positions

__all__ = ["KernelCall", "Rules", "lower_by", "lower_region"]

UNROLL = 32  # elements of a window that are written out


@dataclass(frozen=True)
class Rules:
    """What a machine decides: how stores, sorts and the operations in ROOTS become its calls."""

    stores: Callable[[Region, list[Store], Trace], list[Any]]
    sort: Callable[[Region, Node], list[Any]]
    roots: Mapping[str, Callable[..., list[Any]]]
    root: Callable[..., Any]
    unsupported: frozenset[DType]


@memoised
def lower_region(region: Region, aliases: Mapping[Node, Node]) -> list[KernelCall]:
    """The kernel calls of a loop region; NotImplementedError where it must be interpreted."""
    return lower_by(_CPU, region, aliases)


def lower_by(rules: Rules, region: Region, aliases: Mapping[Node, Node]) -> list[Any]:
    """The calls of a loop region on a machine."""
    for x in (*region.inputs, *region.nodes):
        if x.dtype in rules.unsupported:
            raise NotImplementedError(f"kernels of {x.dtype.name} do not exist yet ({x!r})")
    for x in region.nodes:
        if x.op.kind == "sort":
            return rules.sort(region, x)
    outputs = [y for y in region.outputs if y.size]
    if not outputs:
        return []
    parts = [part for y in outputs for part in _parts(region, y)]
    for x in outputs:
        if x.op.name in ROOTS and len(parts) == len(outputs) == 1:
            return rules.roots[x.op.name](rules.root(region, x, aliases))
    nodes = [x for x in region.nodes if x.op.name != "concat"]
    frame = Frame(nodes, frozenset(region.inputs), frozenset(part.value for part in parts))
    calls = []
    for group in _by_nest(frame, parts, aliases):
        calls += _lower_together(rules, region, frame, group, aliases)
    return calls


@dataclass(frozen=True)
class _Part:
    """A value and where it is written: its own memory, or from ``start`` on in a concat's."""

    target: Node
    value: Node
    start: tuple[int, ...]


def _parts(region: Region, y: Node) -> list[_Part]:
    """An output, or the pieces of a concat whose operands are all computed in the region."""
    start = [0] * len(y.shape)
    pieces = [x for x in y.inputs if x.size]
    looped = all(
        x in region.nodes and x.op.name not in VIEWS and x.op.name not in ROOTS for x in pieces
    )
    if y.op.name != "concat" or not looped:
        return [_Part(y, y, tuple(start))]
    parts = []
    for x in pieces:
        parts.append(_Part(y, x, tuple(start)))
        start[y.attrs["axis"]] += x.shape[y.attrs["axis"]]
    return parts


def _by_nest(frame: Frame, parts: list[_Part], aliases: Mapping[Node, Node]) -> list[list[_Part]]:
    """Outputs that share their loops: parts that do not are kernels of their own.

    One that replaces its operand comes last, so that the others have read it.
    """
    groups: dict[int, list[_Part]] = {}
    for part in parts:
        groups.setdefault(id(frame.nests[part.value]), []).append(part)
    return sorted(groups.values(), key=lambda group: any(p.target in aliases for p in group))


def _lower_together(
    rules: Rules,
    region: Region,
    frame: Frame,
    parts: list[_Part],
    aliases: Mapping[Node, Node],
) -> list[Any]:
    trace = Trace(frame.memory, frame, _unrolled(region, frame))
    for new, old in aliases.items():
        trace.arrays[new] = trace.array(old)
    stores = [store for part in parts for store in _stores(trace, part)]
    return rules.stores(region, stores, trace)


def _unrolled(region: Region, frame: Frame) -> list[Axis]:
    """The axes of small windows that are reduced: loops too short to be loops."""
    if not any(x.op.name == "window" for x in region.nodes):
        return []
    axes = [a for x in region.nodes if x.op.kind == "reduce" for a in frame.reduced(x)]
    axes = list(dict.fromkeys(axes))
    return axes if math.prod(a.size for a in axes) <= UNROLL else []


def _stores(trace: Trace, part: _Part) -> Iterator[Store]:
    """A value written to memory: one store, or one per position in an unrolled window."""
    y, strides = part.value, row_major(part.target.shape)
    index = tuple(i + a for i, a in zip(trace.frame.index(y), part.start, strict=True))
    own = {t for i in index for t, _ in i.terms}
    for fixed in positions([a for a in trace.unrolled if a in own]):
        trace.fixed = fixed
        place = dot(trace.place(index), strides)
        yield Store(trace.array(part.target), place, trace.here(y))
    trace.fixed = {}


_CPU = Rules(
    lambda region, stores, trace: lower_stores(region.name, stores, trace),
    lower_sort,
    ROOTS,
    Root,
    frozenset({dtypes.float16, dtypes.bfloat16, dtypes.complex64, dtypes.complex128}),
)
