"""Index maps as tables of byte offsets: what packers and micro-kernels read.

A dimension is a tuple `(extent, stride in the first operand, stride in the second, ...)`, strides
in bytes. A group of dimensions (the columns of a convolution: output row and output column) is
walked in row-major order, its last dimension fastest. A *run* is a stretch of neighbours in memory
at the end of that walk.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import numpy as np

Dim = tuple[int, ...]


def merged(dims: Iterable[Dim]) -> list[Dim]:
    """The same walk in fewer dimensions, joined where every operand steps evenly."""
    result: list[Dim] = []
    for dim in dims:
        extent, *strides = dim
        if extent == 1:
            continue
        if result and all(o == s * extent for o, s in zip(result[-1][1:], strides, strict=True)):
            dim = (result.pop()[0] * extent, *strides)
        result.append(tuple(dim))
    return result


def project(dims: list[Dim], operand: int) -> list[Dim]:
    """The walk as one operand sees it, merged."""
    return merged((dim[0], dim[1 + operand]) for dim in dims)


def size(dims: Iterable[Dim]) -> int:
    """Number of points of the walk."""
    return prod(dim[0] for dim in dims)


def run(dims: list[Dim], item: int) -> int:
    """Length of the runs contiguous in every operand of a merged walk; 1 where there are none."""
    return dims[-1][0] if dims and all(stride == item for stride in dims[-1][1:]) else 1


def overlaps(dims: Iterable[Dim], item: int) -> bool:
    """Whether a walk of one operand visits numbers more than once, as windows over an image do."""
    steps = [(extent, abs(stride)) for extent, stride in dims if stride]
    return prod(n for n, _ in steps) > 1 + sum((n - 1) * stride for n, stride in steps) // item


def offsets(dims: list[Dim], operand: int = 0) -> np.ndarray:
    """Byte offset of every point of the walk, int64."""
    table = np.zeros(1, np.int64)
    for dim in dims:
        steps = np.arange(dim[0], dtype=np.int64) * dim[1 + operand]
        table = (table[:, None] + steps).ravel()
    return table


def run_offsets(dims: list[Dim], item: int, operand: int = 0) -> np.ndarray:
    """Byte offset of the start of every run."""
    return offsets(dims[:-1] if run(dims, item) > 1 else dims, operand)


def vector_offsets(dims: list[Dim], item: int, lanes: int, operand: int = 0) -> np.ndarray:
    """Byte offset of every vector when each run is cut into vectors, the last one narrower."""
    starts = np.arange(0, run(dims, item), lanes, dtype=np.int64) * item
    return (run_offsets(dims, item, operand)[:, None] + starts).ravel()


def vector_widths(length: int, points: int, lanes: int) -> np.ndarray:
    """Valid lanes of every vector when `points` are cut into runs and those into vectors."""
    widths = np.minimum(length - np.arange(0, length, lanes, dtype=np.int64), lanes)
    return np.tile(widths, points // length)


def padded(table: np.ndarray, multiple: int, value: int | None = None) -> np.ndarray:
    """`table` lengthened to a multiple of `multiple` with `value`, or with its last entry."""
    missing = -len(table) % multiple
    if not missing:
        return table
    return np.concatenate(
        [table, np.full(missing, table[-1] if value is None else value, np.int64)]
    )


def stretches(dims, length, slot, slots, group_bytes, item):
    """What `pack.copy_panels` copies for each step of k: its tables (starts of each group, items).

    `dims` is the operand's walk along the panel, `length` the run after which a new vector slot
    begins, `slot` the lanes of a slot, `slots` the slots of a group. A stretch ends where the
    operand's run or a slot ends.
    """
    source_run, points = run(dims, item), size(dims)
    cuts = np.arange(0, length, slot, dtype=np.int64)
    if source_run % slot:
        cuts = np.union1d(cuts, np.arange(0, length, source_run, dtype=np.int64))
    widths = np.diff(cuts, append=length)
    slots_per_run = -(-length // slot)
    runs = np.arange(points // length, dtype=np.int64)[:, None]

    point = (runs * length + cuts).ravel()
    source = run_offsets(dims, item)[point // source_run] + point % source_run * item
    where = (runs * slots_per_run + cuts // slot).ravel()
    lane = np.tile(cuts % slot, len(runs))
    loaded = np.tile(widths, len(runs))

    filled = np.arange(len(runs) * slots_per_run, -(-len(runs) * slots_per_run // slots) * slots)
    where = np.concatenate([where, filled])
    source, lane, loaded = (padded_to(table, len(where)) for table in (source, lane, loaded))
    target = where // slots * group_bytes + (where % slots * slot + lane) * item
    items = np.stack([source, target, loaded, slot - lane], axis=1)
    groups = int(where[-1]) // slots + 1
    return np.searchsorted(where, np.arange(groups + 1) * slots).astype(np.int64), items


def padded_to(table: np.ndarray, length: int) -> np.ndarray:
    """`table` with zeros appended up to `length`."""
    return np.concatenate([table, np.zeros(length - len(table), np.int64)])


def vector_starts(length: int, points: int, lanes: int) -> np.ndarray:
    """Position in the walk of the first point of every vector."""
    runs = np.arange(0, points, length, dtype=np.int64)[:, None]
    return (runs + np.arange(0, length, lanes, dtype=np.int64)).ravel()
