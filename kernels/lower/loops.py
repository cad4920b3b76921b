"""One or two kernel calls for some stores: the schedule's blocks, splitting, scratch and grain."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import cast

from graphgrad.axes import Axis
from graphgrad.choices import settle
from graphgrad.views import row_major

from ..emit import emit
from .affine import Affine, dot
from .call import KernelCall
from .cost import grain, nanoseconds
from .nest import Nest
from .schedule import Loop, Schedule, Store, reachable
from .values import Array, Trace, Value

ALIGN = 64
LONG_ROW = 32768  # elements of an innermost loop worth cutting into blocks
ROW_BLOCK = 16384
TILE, ORDERED_TILE = 512, 128
TILE_BYTES = 256 * 1024  # what several passes over one tile should find in the cache again
CROSS_BLOCK, CROSS_TILE = 128, 16  # along and across the strided operand
SCRATCH_BYTES = 4 << 20  # of all chunks together
FEW_ROWS = 32
SPLIT_ELEMENTS = 65536  # elements of a reduction worth several chunks
SPLIT_BLOCK = 32768
MANY_ELEMENTS = 32 * SPLIT_ELEMENTS  # half a millisecond of one core


@dataclass(eq=False)
class Watch:
    """What was lowered while it was open: the values of nodes, and their names in each source."""

    traces: list[Trace] = field(default_factory=list)
    kernels: list[tuple[KernelCall, Nest]] = field(default_factory=list)
    # Values that are those of an earlier kernel, in the one that combines its partial results.
    stands_for: dict[Value, Value] = field(default_factory=dict)


_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)


@contextlib.contextmanager
def watching() -> Iterator[Watch]:
    """While open, this thread's lowering is written down."""
    token = _watch.set(Watch())
    try:
        yield cast(Watch, _watch.get())
    finally:
        _watch.reset(token)


def lower_stores(
    name: str,
    stores: Sequence[Store],
    trace: Trace,
    serial: Sequence[Axis] = (),
    schedule: Schedule | None = None,
) -> list[KernelCall]:
    """Kernel calls that write all stores, as a ``schedule`` has it where there is one already."""
    if (watch := _watch.get()) is not None:
        watch.traces.append(trace)
    schedule = schedule or Schedule.of(stores, serial)
    if not serial and _splits(schedule):
        return _split(name, schedule, trace)
    # A suffix, because a kernel named fmod or min would hide what its own code calls.
    return [_call(f"{name}_loop", schedule, _blocks(schedule))]


def filled_edges(schedule: Schedule) -> set[Axis]:
    """The axes whose edges `lower_stores` fills with a schedule; others are up to the caller."""
    blocks = _blocks(schedule)
    if not schedule.outer and not blocks:  # iterations are elements: a loop cut anywhere
        return set()
    loops = [loop for loop in schedule.across if loop not in blocks]
    return {edge.axis for loop in loops for _, edge in schedule.edges_of(loop)}


def _blocks(schedule: Schedule) -> dict[Loop, int]:
    """Which loop every iteration walks only a block of; decided once for a schedule."""
    if schedule.blocks is None:
        schedule.blocks = _chosen_blocks(schedule)
    return dict(schedule.blocks)


def _chosen_blocks(schedule: Schedule) -> dict[Loop, int]:
    tile = schedule.tile
    if tile is None:
        return {}
    if schedule.crossed:
        return {schedule.beside: CROSS_BLOCK, tile: CROSS_TILE}
    if schedule.inner:
        return {tile: _tile_width(schedule)}
    if schedule.outer and settle("blocks of a row", tile.size > LONG_ROW):
        return {tile: ROW_BLOCK}
    return {}


def _tile_width(schedule: Schedule) -> int:
    """Narrow tiles where several passes read them, so that they stay in the cache.

    Nor may tiles be wide where the rows are walked in order: only tiles run in parallel then.
    """
    ordered = not any(v.op == "reduce" for v in schedule.reduces)
    width = min(ORDERED_TILE if ordered else TILE, schedule.tile.size)
    if schedule.walks > 1:
        rows = _product(schedule.inner)
        width = min(width, max(16, TILE_BYTES // (4 * rows) // 16 * 16))
    return width


def _call(
    name: str,
    schedule: Schedule,
    blocks: dict[Loop, int],
    scratch: int = 0,
    numbers: Mapping[Loop, Axis] | None = None,
) -> KernelCall:
    """Write the kernel, and place its chunks' arrays in scratch, after its first bytes."""
    nest = Nest(name, schedule, blocks, numbers or {})
    kernel = nest.build()
    most = max(1, SCRATCH_BYTES // max(1, sum(nbytes for _, nbytes in nest.chunk_arrays)))
    ns = nanoseconds(schedule)
    step = grain(nest.iterations, ns, most)
    chunks = -(-nest.iterations // step) if step else 1
    offsets = []
    for _, nbytes in nest.chunk_arrays:
        offsets.append(scratch)
        scratch += -(-nbytes * chunks // ALIGN) * ALIGN
    slots = tuple(("scratch", offsets[s[1]]) if s[0] == "chunk" else s for s in kernel.slots)
    call = KernelCall(name, emit(kernel), slots, nest.iterations, step, scratch, ns)
    if (watch := _watch.get()) is not None:
        watch.kernels.append((call, nest))
    return call


# ---- reductions of few, long rows ----------------------------------------------------------------


def _splits(schedule: Schedule) -> bool:
    """Whether chunks of the reduced elements are reduced on their own and combined afterwards."""
    if not schedule.reduces or any(v.args[0].stage for v in schedule.reduces):
        return False
    if any(s.stage and schedule.is_full(s.axes) for s in schedule.stores):
        return False
    rows = _product(schedule.outer)
    if schedule.tile is not None:
        rows *= -(-schedule.tile.size // TILE)
    splits = rows < FEW_ROWS and schedule.elements > SPLIT_ELEMENTS
    # Parts cost little where they are not needed. Without them one core adds up all of it, and
    # rounds more often.
    return settle("parts", splits, binding=schedule.elements > MANY_ELEMENTS)


def _split(name: str, schedule: Schedule, trace: Trace) -> list[KernelCall]:
    """Partial results per block of the longest reduced loop, then a kernel that combines them."""
    sizes = [loop.size for loop in schedule.inner]
    loop = schedule.inner[settle(("longest", len(sizes)), sizes.index(max(sizes)))]
    blocks = _blocks(schedule)
    width = blocks.get(schedule.tile, 1) if schedule.tile is not None else 1
    others = width * _product(schedule.inner) // loop.size
    size = max(1, min(loop.size, SPLIT_BLOCK // others))
    block = Axis(-(-loop.size // size))
    partials, scratch = partial_arrays(schedule, block)
    early = [s for s in schedule.stores if s.stage == 0 and schedule.is_full(s.axes)]
    late = [s for s in schedule.stores if s not in early]
    position = partial_position(schedule, block)
    written = [Store(array, position, v) for v, array in partials.items()]
    first = replace(schedule, stores=early + written)
    blocks[loop] = size
    second = Schedule.of(combining(late, partials, position, block, trace))
    return [
        _call(f"{name}_parts", first, blocks, scratch, {loop: block}),
        _call(f"{name}_combine", second, _blocks(second), scratch),
    ]


def _product(loops: Iterable[Loop]) -> int:
    return math.prod(loop.size for loop in loops)


def partial_arrays(schedule: Schedule, block: Axis) -> tuple[dict[Value, Array], int]:
    """An array of partial results for every reduction, block by block, in scratch."""
    arrays, offset = {}, 0
    for v in schedule.reduces:
        nbytes = schedule.rows * block.size * v.dtype.itemsize
        arrays[v] = Array("p", v.dtype, ("scratch", offset), nbytes)
        offset += -(-nbytes // ALIGN) * ALIGN
    return arrays, offset


def partial_position(schedule: Schedule, block: Axis) -> Affine:
    loops = schedule.outer + ([schedule.tile] if schedule.tile else [])
    axes = [block, *(axis for loop in loops for axis in loop.members)]
    return dot([Affine.of(a) for a in axes], row_major([a.size for a in axes]))


def combining(
    stores: Iterable[Store],
    partials: Mapping[Value, Array],
    position: Affine,
    block: Axis,
    trace: Trace,
) -> list[Store]:
    """The stores with reductions replaced by reductions of partial results."""
    new: dict[Value, Value] = {}
    for v in reachable(s.value for s in stores):
        if v in partials:
            load = trace.load(partials[v], position)
            new[v] = trace.make("reduce", v.dtype, [load], v.attrs[0], (block,))
        else:
            new[v] = trace.make(v.op, v.dtype, [new[a] for a in v.args], *v.attrs)
    if (watch := _watch.get()) is not None:
        watch.stands_for |= {copy: v for v, copy in new.items()}
    return [Store(s.array, s.position, new[s.value]) for s in stores]
