"""Kernel calls on their way into a program: independent neighbours of one kernel become one launch.

launches.call(kernel, slots, call, region, slot_of)
launches.flush()        # before rows of another kind
launches.row_regions    # the regions each row computes (a part of)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphgrad.ir import Node
from graphgrad.regions import Region

from .cache import Kernel
from .lower.cost import is_shared
from .program import Moving, ProgramBuilder, Slot

Span = tuple[int, float]
Spans = dict[tuple[str, int], list[Span]]  # bytes touched in each buffer: (first, end)


@dataclass(eq=False)
class _Launch:
    """One call waiting for others like it."""

    kernel: Kernel
    slots: list[Slot]
    extent: int
    grain: int
    ns: float
    region: Region

    def is_like(self, other: _Launch) -> bool:
        """Whether the two may be tables of one group."""
        return (
            self.kernel is other.kernel
            and _alike(self.grain, other.grain)
            and len(self.slots) == len(other.slots)
        )


class Launches:
    """Collects calls and appends CALL or GROUP rows."""

    def __init__(self, builder: ProgramBuilder) -> None:
        self.builder = builder
        self.row_regions: dict[int, tuple[Region, ...]] = {}
        self._waiting: list[_Launch] = []
        self._reads: Spans = {}
        self._writes: Spans = {}

    def call(
        self,
        kernel: Kernel,
        slots: list[Slot],
        call: Any,
        region: Region,
        slot_of: Callable[[Node], Slot],
    ) -> None:
        """Append a call, together with those waiting if it may run beside them."""
        # Chunks of one launch share scratch by their number, so calls that need it stay alone.
        alone = call.scratch_bytes > 0 or any(s[0] in ("error", "kept") for s in call.slots)
        launch = _Launch(kernel, slots, call.extent, call.grain, call.ns, region)
        reads = [_span(slot_of(x), x) for x in region.inputs]
        writes = [_span(slot_of(y), y) for y in region.outputs]
        if self._waiting and not (
            not alone
            and self._waiting[0].is_like(launch)
            and not _touch(self._writes, writes)
            and not _touch(self._writes, reads)
            and not _touch(self._reads, writes)
        ):
            self.flush()
        self._waiting.append(launch)
        if alone:
            self.flush()
            return
        for spans, new in ((self._reads, reads), (self._writes, writes)):
            for buffer, span in new:
                spans.setdefault(buffer, []).append(span)

    def flush(self) -> None:
        """Append what waits as one row."""
        waiting, self._waiting = self._waiting, []
        self._reads, self._writes = {}, {}
        if not waiting:
            return
        first = waiting[0]
        self.row_regions[len(self.builder.rows)] = tuple(x.region for x in waiting)
        name = first.kernel.name
        if len(waiting) == 1:
            one = (first.slots, first.extent, first.grain, name, first.ns)
            self.builder.call(first.kernel, *one)
            return
        tables, extents = [x.slots for x in waiting], [x.extent for x in waiting]
        grain = max(x.grain for x in waiting) or max(1, *extents)
        in_chunks = any(0 < x.grain < x.extent for x in waiting)
        ns = sum(x.ns for x in waiting)
        shared = in_chunks or is_shared(ns)
        self.builder.group(first.kernel, tables, extents, grain, name, shared, ns)


def _alike(a: int, b: int) -> bool:
    """Whether two grains (0: one chunk) may be one: chunks should stay worth a thread's while."""
    return a == b == 0 or 0 < min(a, b) <= max(a, b) <= 2 * min(a, b)


def _span(slot: Any, x: Node) -> tuple[tuple[str, int], Span]:
    """The buffer and the bytes of a value; one that moves with a loop may be anywhere in it."""
    moving = isinstance(slot, Moving)
    while isinstance(slot, Moving):
        slot = slot.value
    first, end = (0, float("inf")) if moving else (slot.offset, slot.offset + x.nbytes)
    return (slot.kind, slot.number), (first, end)


def _touch(spans: Spans, others: list[tuple[tuple[str, int], Span]]) -> bool:
    """Whether some bytes are in both."""
    return any(
        first < stop and start < end
        for buffer, (first, end) in others
        for start, stop in spans.get(buffer, ())
    )
