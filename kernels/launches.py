"""Kernel calls on their way into a program: independent ones of one kernel become one launch.

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

    def __init__(
        self, builder: ProgramBuilder, group: Callable[[Kernel], Kernel] = lambda kernel: kernel
    ) -> None:
        """``group``: the kernel that runs another one over many tables."""
        self.builder, self.group = builder, group
        self.row_regions: dict[int, tuple[Region, ...]] = {}
        # Launches that may run in any order, those of one kernel together.
        self._waiting: list[list[_Launch]] = []
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
        """Append a call, with those like it that wait, if it may run beside all that do."""
        # Chunks of one launch share scratch by their number, so calls that need it stay alone.
        alone = call.scratch_bytes > 0 or any(s[0] in ("error", "kept") for s in call.slots)
        launch = _Launch(kernel, slots, call.extent, call.grain, call.ns, region)
        reads = [_span(slot_of(x), x) for x in region.inputs]
        writes = [_span(slot_of(y), y) for y in region.outputs]
        if (
            alone
            or _touch(self._writes, writes)
            or _touch(self._writes, reads)
            or _touch(self._reads, writes)
        ):
            self.flush()
        self._join(launch)
        if alone:
            self.flush()
            return
        for spans, new in ((self._reads, reads), (self._writes, writes)):
            for buffer, span in new:
                spans.setdefault(buffer, []).append(span)

    def _join(self, launch: _Launch) -> None:
        for group in self._waiting:
            if group[0].is_like(launch):
                group.append(launch)
                return
        self._waiting.append([launch])

    def flush(self) -> None:
        """Append what waits, a row for each kernel."""
        waiting, self._waiting = self._waiting, []
        self._reads, self._writes = {}, {}
        for group in waiting:
            self._append(group)

    def _append(self, waiting: list[_Launch]) -> None:
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
        kernel = self.group(first.kernel)
        self.builder.group(kernel, tables, extents, grain, name, shared, ns)


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
