"""Where a compiled graph's time goes, row by row, and how much work each row is.

    with recording(compiled) as record:     # a Compiled
        step()                              # whatever runs it, as often as you like
    record.rows()                           # medians, operations, bytes

Rows are timed one after the other from Python, so each one's time has some 0.3 µs of its own start
in it, and what rows of one call share through a cache they share still.
"""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from graphgrad.ir import Node
from graphgrad.regions import Region

from .compiled import Compiled
from .executor import Timing


@dataclass(frozen=True, slots=True)
class RowWork:
    """One row of a program: the median of its ``seconds`` in one call, all ``runs`` together.

    ``flops`` and ``nbytes`` are what its regions must compute and move; where several rows compute
    one region, they are put down to the slowest. Both are 0 where nothing is known.
    """

    row: int
    name: str
    runs: int
    seconds: float
    flops: int
    nbytes: int
    regions: tuple[Region, ...]


class Recording:
    """Stands in for a Compiled's runner: runs row by row and keeps the timings of every call."""

    def __init__(self, compiled: Compiled) -> None:
        self.runner = compiled.runner
        self.calls: list[list[Timing]] = []
        self._row_regions = compiled.making.row_regions

    def __call__(self, *buffers: np.ndarray | float | int) -> None:
        self.calls.append(self.runner.profile(*buffers))

    def rows(self) -> list[RowWork]:
        """All rows that ran, in the order of the program."""
        timings: dict[int, list[Timing]] = {}
        for call in self.calls:
            for timing in call:
                timings.setdefault(timing.row, []).append(timing)
        seconds = {row: statistics.median(t.seconds for t in timings[row]) for row in timings}
        accountable = self._slowest_rows(seconds)
        return [
            self._row(timings[row][0], seconds[row], row in accountable) for row in sorted(timings)
        ]

    def _slowest_rows(self, seconds: dict[int, float]) -> set[int]:
        """Of the rows that compute one region, the one that takes longest."""
        slowest: dict[tuple[Region, ...], int] = {}
        for row in seconds:
            regions = self._row_regions.get(row, ())
            other = slowest.setdefault(regions, row)
            if seconds[row] > seconds[other]:
                slowest[regions] = row
        return set(slowest.values())

    def _row(self, timing: Timing, seconds: float, accountable: bool) -> RowWork:
        regions = self._row_regions.get(timing.row, ())
        flops, nbytes = 0, 0
        if accountable:
            flops = timing.runs * sum(map(region_flops, regions))
            nbytes = timing.runs * sum(map(region_bytes, regions))
        return RowWork(timing.row, timing.name, timing.runs, seconds, flops, nbytes, regions)


@contextlib.contextmanager
def recording(compiled: Compiled) -> Iterator[Recording]:
    """While open, calls of ``compiled`` are timed row by row."""
    record = Recording(compiled)
    compiled.runner = record
    try:
        yield record
    finally:
        compiled.runner = record.runner


# ---- how much work a region is ------------------------------------------------------------------


def region_flops(region: Region) -> int:
    """Operations of a region: two a multiply-add, one a result of an elementwise operation."""
    return sum(FLOPS[x.op.kind](x) for x in region.nodes if x.op.kind in FLOPS)


def region_bytes(region: Region) -> int:
    """Bytes a region must read and write, were everything else free: each value once."""
    written = sum(y.nbytes for y in region.outputs)
    return written + sum(_bytes_read(x, region) for x in region.inputs)


def _bytes_read(x: Node, region: Region) -> int:
    """What of ``x`` the region looks at: slices of it, rows by number, or all."""
    readers = [y for y in region.nodes if x in y.inputs]
    return min(x.nbytes, sum(_reach(x, y, region) for y in readers))


def _reach(x: Node, reader: Node, region: Region) -> int:
    if reader.op.name == "slice" or (reader.op.name == "gather" and reader.inputs[0] is x):
        return reader.nbytes
    if reader.op.kind == "movement" and reader not in region.outputs:
        return _bytes_read(reader, region)
    return x.nbytes


def _contraction_flops(x: Node) -> int:
    (axes, _) = x.attrs["contract"]
    return 2 * math.prod(x.shape) * math.prod(x.inputs[0].shape[i] for i in axes)


def _a_result(x: Node) -> int:
    return math.prod(x.shape)


def _an_operand(x: Node) -> int:
    return math.prod(x.inputs[0].shape)


FLOPS: dict[str, Callable[[Node], int]] = {
    "contract": _contraction_flops,
    "elementwise": _a_result,
    "reduce": _an_operand,
    "cumulative": _an_operand,
}
