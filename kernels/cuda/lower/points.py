"""Kernels whose threads are elements: no reductions, every access along the same loops.

A thread does one element, or four that lie side by side if their memory does. There are as many
threads as elements: on a GPU a block costs no more than the trip of a loop.
"""

from __future__ import annotations

from collections.abc import Sequence

from ... import loopir as ir
from ...lower.cost import nanoseconds
from ...lower.schedule import Loop, Schedule
from .. import gridir as g
from ..call import GridCall
from .writer import VECTOR, GridWriter, Trip, Unit

BLOCK = 256


def lower_points(
    name: str, about: str, schedule: Schedule, atomic: str = "", scratch: int = 0
) -> GridCall:
    """The kernel call that does all elements of a schedule without inner loops."""
    return _Points(f"{name}_points", schedule, about).call(atomic, scratch)


class _Points(GridWriter):
    def call(self, atomic: str, scratch: int) -> GridCall:
        self.atomic = atomic
        s = self.schedule
        loops = in_memory_order(s)
        count = s.elements
        width = VECTOR if loops and self._fits(loops[-1]) else 1
        what = f"a thread does {width} elements" if width > 1 else "a thread does an element"
        self.about = f"{what}.\n\n{self.about}"
        linear: object = ir.Arith("+", ir.Arith("*", g.Block(), ir.Int(BLOCK)), g.Thread())
        first = self.let(0, "i", ir.arith("*", linear, ir.Int(width)))
        # Below are the levels inside of the condition that the element exists.
        top, self.levels[0].body = self.levels[0].body, []
        places = self.decomposed(first, loops)
        self.counted = (first, loops) if loops else None
        units = []
        for u in range(width):
            along = {loops[-1]: ir.arith("+", places[-1], ir.Int(u))} if width > 1 else {}
            units.append(Unit(along, self.levels[1].body, u))
        self.starts = dict(zip(loops, places, strict=True))
        if width > 1:
            del self.starts[loops[-1]]
        self.store_trip(Trip(units, loops[-1] if width > 1 else None), s.stores)
        inside = self.levels[1].body
        pointers, self.levels[0].body = self.levels[0].body, top
        condition = ir.Arith("<", first, self.number("count", count))
        self.levels[0].body = [*pointers, *top]
        self.levels[1].body = [g.When(condition, tuple(inside))]
        kernel = self.kernel(BLOCK)
        grid = -(-count // (BLOCK * width))
        ns = nanoseconds(s)
        slots = tuple(self.slots)
        return GridCall(self.name, kernel, slots, grid, scratch, ns, serial=bool(atomic))

    def _fits(self, along: Loop) -> bool:
        """Whether all stores may be vectors along the innermost loop."""
        if along.size % VECTOR or self.atomic:
            return False
        self.trip = Trip([Unit({}, [])] * VECTOR, along)
        return all(not s.add and self.is_vector(s.array, s.position) for s in self.schedule.stores)


def in_memory_order(schedule: Schedule) -> list[Loop]:
    """All parallel loops, the one along which results are contiguous last."""
    loops = [*schedule.outer, *schedule.across]
    positions = [s.position for s in schedule.stores]
    positions += [v.position for v in schedule.values if v.op == "load"]

    def stride(loop: Loop) -> int:
        return next((abs(c) for p in positions if (c := loop.stride(p))), 0)

    order: Sequence[Loop] = sorted(loops, key=lambda loop: -stride(loop))
    return list(order)
