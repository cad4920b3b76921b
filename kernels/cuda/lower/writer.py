"""Writing values as Grid IR: what `kernels.lower.writer` does for loops, for threads.

Levels: 0 what all threads share, 1 what a thread does once, 2 the element (`Unit`) it is at. Units
of a thread that lie side by side in memory are a `Trip`: what walks along with them is read and
written as one vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphgrad.axes import Axis
from graphgrad.views import row_major

from ... import loopir as ir
from ...lower.affine import Affine
from ...lower.schedule import Loop, Schedule, Store
from ...lower.values import Array, Value
from ...lower.writer import Level, Writer
from .. import gridir as g

WIDE = 2**31 - 2**24  # elements that 32-bit indices reach, with the threads and steps beyond
VECTOR = 4


class Unit(Level):
    """One element of a thread: where it is along each loop, and what is known of it."""

    def __init__(self, places: Mapping[Loop, Any], body: list[Any], number: int = 0) -> None:
        super().__init__()
        self.places, self.body, self.number = dict(places), body, number

    def carries(self, axes: frozenset[Axis]) -> bool:
        return any(loop.carries(axes) for loop in self.places)


@dataclass
class Trip:
    """Units side by side along ``along``; ``active``: whether they exist, where in doubt."""

    units: list[Unit]
    along: Loop | None = None
    active: Any = None


class GridWriter(Writer):
    """Writes one kernel of threads."""

    def __init__(self, name: str, schedule: Schedule, about: str) -> None:
        super().__init__(name, schedule, {}, {})
        self.about = about
        self.trip = Trip([])
        # The number of a thread's first element, where it counts through all of these loops.
        self.counted: tuple[Any, list[Loop]] | None = None
        self.wide = _is_wide(schedule)

    def kernel(self, block: int) -> g.GridKernel:
        """All that was written."""
        body = (*self.levels[0].body, *self.levels[1].body)
        kinds = tuple(s[0] for s in self.slots)
        return g.GridKernel(self.name, self.about, body, block, self.wide, kinds=kinds)

    def put(self, *statements: Any) -> None:
        """Append to what a thread does."""
        self.levels[-1].body.extend(statements)

    def number(self, key: Any, value: int) -> ir.Slot:
        """A size, as an argument."""
        return ir.Slot(self.slot(key, "int", value))

    # ---- positions

    def decomposed(self, linear: Any, loops: Sequence[Loop]) -> list[Any]:
        """The place along each loop of a linear position, the last loop running fastest."""
        places: list[Any] = []
        rest = linear
        for i, loop in reversed(list(enumerate(loops))):
            if i == 0:
                places.append(rest)
                continue
            extent = self.extent(loop)
            places.append(self.let(-1, "i", ir.Arith("%", rest, extent)))
            rest = self.let(-1, "outer", ir.Arith("//", rest, extent))
        return places[::-1]

    def depth(self, axes: frozenset[Axis], stage: int) -> int:
        """The outermost level at which all of some axes have a position."""
        last = self.levels[-1]
        if isinstance(last, Unit) and last.carries(axes):
            return len(self.levels) - 1
        return 1 if stage or any(loop.carries(axes) for loop in self.starts) else 0

    def _terms(self, position: Affine) -> dict[int, list[ir.Expr]]:
        """The summands of a position, by the level they are known at."""
        found: dict[int, list[ir.Expr]] = {}

        def add(level: int, var: ir.Expr, loop: Any, stride: int) -> None:
            if stride:
                term = ir.arith("*", var, self._stride(position, loop, stride))
                found.setdefault(level, []).append(term)

        for loop, start in self.starts.items():
            add(1, start, loop, loop.stride(position))
        for i, level in enumerate(self.levels):
            for loop, place in getattr(level, "places", {}).items():
                add(i, place, loop, loop.stride(position))
        for term, stride in position.terms:
            if isinstance(term, Value):
                add(self.depth(term.axes, term.stage), self.value(term), term, stride)
        if position.const:
            offset = self.number(("offset", position), position.const)
            found.setdefault(0, []).append(offset)
        return found

    def _address(self, array: Array, position: Affine) -> tuple[ir.Var, ir.Expr]:
        """An array's pointer, and the index: what does not change with the unit is bound once."""
        if self._is_counted(position):
            number = getattr(self.levels[-1], "number", 0)
            return self.pointer(array), ir.arith("+", self.counted[0], ir.Int(number))
        terms = self._terms(position)
        last = len(self.levels) - 1
        index = terms.pop(last, []) if last > 1 else []
        if 0 in terms:
            terms.setdefault(1, []).extend(terms.pop(0))
        for level in sorted(terms):
            index.insert(0, self._offset(level, position, terms[level]))
        return self.pointer(array), ir.total(index)

    def _is_counted(self, position: Affine) -> bool:
        """Whether elements lie in memory in the order in which threads are counted."""
        if self.counted is None or position.const:
            return False
        loops = self.counted[1]
        if any(isinstance(t, Value) for t, _ in position.terms):
            return False
        strides = tuple(loop.stride(position) for loop in loops)
        return strides == row_major([loop.size for loop in loops])

    def _neighbour(self, position: Affine) -> tuple[Affine, int]:
        return position, 0

    def _offset(self, level: int, position: Affine, terms: list[ir.Expr]) -> ir.Expr:
        key = ("offset", position, level)
        if len(terms) == 1 and not isinstance(terms[0], ir.Arith):
            return terms[0]
        if self.known(key) is None:
            self.levels[level].known[key] = self.let(level, "at", ir.total(terms))
        return self.known(key)

    # ---- vectors

    def is_vector(self, array: Array, position: Affine) -> bool:
        """Whether a trip's elements lie in a row that starts at a multiple of their number."""
        along, count = self.trip.along, len(self.trip.units)
        if along is None or along.stride(position) != 1 or array.nbytes % g.VECTOR_BYTES:
            return False
        if any(isinstance(t, Value) and along.carries(t.axes) for t, _ in position.terms):
            return False
        if position.const % count:
            return False
        return all(c % count == 0 for t, c in position.terms if t is not along.members[-1])

    def _compute(self, v: Value) -> None:
        level = self.depth(v.axes, v.stage)
        unit = self.levels[level]
        if v.op == "load" and isinstance(unit, Unit) and self.is_vector(v.array, v.position):
            first = self.trip.units[0]
            names = tuple(self.fresh("load_") for _ in self.trip.units)
            inner, self.levels = self.levels, [*self.levels[:level], first]
            pointer, index = self.address(v.array, v.position)
            self.levels = inner
            unit.body.append(g.GetVector(names, pointer, index, v.dtype))
            for other, name in zip(self.trip.units, names, strict=True):
                other.known[v] = ir.Var(name)
            return
        super()._compute(v)
        if isinstance(unit, Unit) and self.trip.along and not self.trip.along.carries(v.axes):
            for other in self.trip.units:
                other.known[v] = unit.known[v]

    # ---- trips

    def enter(self, unit: Unit) -> None:
        self.levels[2:] = [unit]

    def leave(self) -> None:
        del self.levels[2:]

    def store_trip(self, trip: Trip, stores: Sequence[Store], guard: Any = None) -> None:
        """Compute what a trip's units store, all of it first, then store."""
        self.trip = trip
        values = []
        for unit in trip.units:
            self.enter(unit)
            values.append([self.value(s.value) for s in stores])
            for s in stores:
                for t, _ in s.position.terms:
                    if isinstance(t, Value):
                        self.value(t)
        written: list[Any] = []
        for k, s in enumerate(stores):
            written += self._store(trip, s, [row[k] for row in values])
        condition = g.both([c for c in (guard, trip.active) if c is not None])
        trip.units[0].body.extend(g.when(condition, written))
        self.leave()

    def _store(self, trip: Trip, s: Store, values: list[Any]) -> Iterable[Any]:
        dtype = s.array.dtype
        if len(values) > 1 and not s.add and self.is_vector(s.array, s.position):
            self.enter(trip.units[0])
            pointer, index = self.address(s.array, s.position)
            return [g.PutVector(pointer, index, tuple(values), dtype)]
        statements: list[Any] = []
        for unit, value in zip(trip.units, values, strict=True):
            self.enter(unit)
            pointer, index = self.address(s.array, s.position)
            if s.add and self.atomic:
                atomic = g.AtomicAdd if self.atomic == "add" else g.AtomicMax
                statements.append(atomic(pointer, index, value, dtype))
                continue
            if s.add:
                now = ir.Get(pointer, index, dtype)
                value = ir.Call("add", dtype, dtype, (now, value))
            statements.append(ir.Put(pointer, index, value, dtype))
        return statements

    # How stores that add do it, where several threads may add to one place: "add" or "max".
    atomic = ""


def _is_wide(schedule: Schedule) -> bool:
    """Whether 32 bits do not reach every element."""
    arrays = [s.array for s in schedule.stores]
    arrays += [v.array for v in schedule.values if v.op == "load"]
    return any(a.nbytes // a.dtype.itemsize > WIDE for a in arrays) or schedule.elements > WIDE
