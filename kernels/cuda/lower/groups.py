"""Kernels that reduce: a group of threads for every result.

A group's threads, its lanes, share out the elements of a row; each adds up its own, then the lanes
fold. Where rows lie contiguous in memory the lanes are neighbours; where columns do, the
groups are, and lanes are some threads apart. Rows that are short stay in registers from the first
pass over them to the last; long ones are read again. Few long rows are cut into parts, by sizes
alone, and a second kernel combines the parts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from graphgrad.axes import Axis

from ... import loopir as ir
from ...lower.cost import nanoseconds
from ...lower.loops import combining, partial_arrays, partial_position
from ...lower.schedule import Loop, Schedule, Store
from ...lower.values import Trace, Value, identity
from .. import gridir as g
from ..call import GridCall
from .writer import VECTOR, GridWriter, Trip, Unit

BLOCK = 256
LONG_BLOCK = 512  # threads that share a long row
HELD = 16  # elements of a row that a thread keeps in registers
TRIPS = 4
FEW_BLOCKS = 264  # less than this leave multiprocessors idle
MANY_BLOCKS = 1056
PART = 4096  # elements of a row worth a block


def lower_groups(name: str, about: str, schedule: Schedule, trace: Trace) -> list[GridCall]:
    """The kernel calls of a schedule with inner loops."""
    if any(v.op == "running" for v in schedule.reduces):
        from .running import lower_running

        return [lower_running(name, about, schedule)]
    shape = Shape.of(schedule)
    parts = _parts(schedule, shape)
    if parts > 1:
        return _split(name, about, schedule, trace, shape, parts)
    return [Groups(name, about, schedule, shape).call()]


@dataclass(frozen=True)
class Shape:
    """How a block is shared out: ``lanes`` a group, ``stride`` threads between a group's lanes
    (1: they are neighbours), ``width`` elements side by side, ``trips`` of them held in registers
    (0: the row is walked in a loop)."""

    lanes: int
    stride: int
    width: int
    trips: int

    @property
    def groups(self) -> int:
        """Groups of a block."""
        return self.stride if self.stride > 1 else max(1, BLOCK // self.lanes)

    @property
    def block(self) -> int:
        return self.lanes * self.groups

    @staticmethod
    def of(schedule: Schedule, serial: bool = False) -> Shape:
        """Chosen by sizes and strides alone."""
        count = math.prod(loop.size for loop in schedule.inner)
        serial = serial or not schedule.reduces
        if serial:
            return Shape(1, BLOCK, 1, 0)
        if schedule.tile is not None:
            return _columns(schedule, count)
        return _rows(schedule, count)


def _columns(schedule: Schedule, count: int) -> Shape:
    groups = schedule.rows
    if groups >= BLOCK * FEW_BLOCKS:
        lanes = 1
    else:
        lanes = min(BLOCK // min(g.WARP, power(groups)), power(count))
    trips = -(-count // lanes)
    return Shape(lanes, BLOCK // lanes, 1, trips if trips <= TRIPS else 0)


def _rows(schedule: Schedule, count: int) -> Shape:
    width = VECTOR if count >= 2 * VECTOR and _are_vectors(schedule) else 1
    units = count // width
    if units <= g.WARP:
        lanes = power(units)
    elif units <= TRIPS * g.WARP and schedule.rows * g.WARP >= BLOCK * FEW_BLOCKS:
        lanes = g.WARP
    else:
        lanes = min(LONG_BLOCK, power(-(-units // TRIPS)))
        if schedule.rows < FEW_BLOCKS:
            lanes = min(LONG_BLOCK, max(lanes, power(units)))
    trips = -(-units // lanes)
    held = trips <= TRIPS and trips * width <= HELD
    return Shape(lanes, 1, width, trips if held else 0)


def power(n: int) -> int:
    """The least power of two that is not less."""
    return 1 << max(0, n - 1).bit_length()


def _are_vectors(schedule: Schedule) -> bool:
    """Whether all that is read or written along the innermost loop may be vectors."""
    along = schedule.inner[-1]
    if along.size % VECTOR:
        return False
    writer = GridWriter("", schedule, "")
    writer.trip = Trip([Unit({}, [])] * VECTOR, along)
    accesses = [(s.array, s.position) for s in schedule.stores]
    accesses += [(v.array, v.position) for v in schedule.values if v.op == "load"]
    moving = [(a, p) for a, p in accesses if along.stride(p)]
    return bool(moving) and all(writer.is_vector(a, p) for a, p in moving)


# ---- few, long rows ------------------------------------------------------------------------------


def _parts(schedule: Schedule, shape: Shape) -> int:
    """Into how many parts every row is cut: 1 unless that keeps more of the machine at work."""
    late = [s for s in schedule.stores if s.stage and schedule.is_full(s.axes)]
    if not schedule.reduces or late or any(v.args[0].stage for v in schedule.reduces):
        return 1
    blocks = -(-schedule.rows // shape.groups)
    count = math.prod(loop.size for loop in schedule.inner)
    worth = count * shape.groups // (4 * PART)
    if blocks >= FEW_BLOCKS or worth < 2:
        return 1
    return min(count * shape.groups // PART, -(-MANY_BLOCKS // blocks), count)


def _split(
    name: str, about: str, schedule: Schedule, trace: Trace, shape: Shape, parts: int
) -> list[GridCall]:
    """Partial results of parts of all rows, then a kernel that combines them."""
    count = math.prod(loop.size for loop in schedule.inner)
    chunk = shape.lanes * shape.width
    size = -(-count // (parts * chunk)) * chunk
    axis = Axis(-(-count // size))
    if axis.size < 2:
        return [Groups(name, about, schedule, shape).call()]
    partials, scratch = partial_arrays(schedule, axis)
    early = [s for s in schedule.stores if s.stage == 0 and schedule.is_full(s.axes)]
    late = [s for s in schedule.stores if s not in early]
    position = partial_position(schedule, axis)
    written = [Store(array, position, v) for v, array in partials.items()]
    first = replace(schedule, stores=early + written)
    looped = replace(shape, trips=0)
    call = Groups(f"{name}_parts", about, first, looped, Loop((axis,)), size).call(scratch)
    second = Schedule.of(combining(late, partials, position, axis, trace))
    what = f"the parts of: {about}"
    last = Groups(f"{name}_combine", what, second, Shape.of(second)).call(scratch)
    return [call, last]


# ---- the kernel ----------------------------------------------------------------------------------


class Groups(GridWriter):
    """Writes one kernel of groups."""

    def __init__(
        self,
        name: str,
        about: str,
        schedule: Schedule,
        shape: Shape,
        part: Loop | None = None,
        size: int = 0,
    ) -> None:
        what = "columns" if shape.stride > 1 else "rows"
        super().__init__(f"{name}_{what}", schedule, f"{_described(shape)}\n\n{about}")
        self.shape, self.part, self.size = shape, part, size
        self.count = math.prod(loop.size for loop in schedule.inner)

    def call(self, scratch: int = 0) -> GridCall:
        s, shape = self.schedule, self.shape
        self._open()
        for stage in range(s.stages):
            self._pass(stage)
        groups = s.rows * (self.part.size if self.part else 1)
        grid = -(-groups // shape.groups)
        kernel = self.kernel(shape.block)
        ns = nanoseconds(s)
        return GridCall(self.name, kernel, tuple(self.slots), grid, scratch, ns)

    # ---- which group, which lane

    def _open(self) -> None:
        shape, s = self.shape, self.schedule
        self.lane, number = self._lane()
        block = ir.arith("*", g.Block(), ir.Int(shape.groups))
        group: Any = self.let(1, "group", ir.arith("+", block, number))
        self.valid: Any = None
        loops = [*([self.part] if self.part else []), *s.outer, *s.across]
        groups = math.prod(loop.size for loop in loops)
        if shape.groups > 1:
            count = self.number("groups", groups)
            self.valid = ir.Arith("<", group, count)
            last = ir.Arith("-", count, ir.Int(1))
            group = self.let(1, "at", ir.Arith("min", group, last))
        if groups > 1:
            self.starts = dict(zip(loops, self.decomposed(group, loops), strict=True))
        self._range()
        if shape.trips:
            self.trips = [self._trip(r) for r in range(shape.trips)]

    def _lane(self) -> tuple[Any, Any]:
        """The thread's lane in its group, and the number of its group in the block."""
        shape = self.shape
        if shape.lanes == 1:
            return ir.Int(0), g.Thread()
        if shape.groups == 1:
            return g.Thread(), ir.Int(0)
        by, stride = ("%", "//") if shape.stride == 1 else ("//", "%")
        width = ir.Int(shape.lanes if shape.stride == 1 else shape.stride)
        lane = self.let(1, "lane", ir.Arith(by, g.Thread(), width))
        return lane, self.let(1, "g", ir.Arith(stride, g.Thread(), width))

    def _range(self) -> None:
        """Where the thread starts in its row, and where its row, or part, ends."""
        shape = self.shape
        count = self.number("count", self.count)
        first = ir.arith("*", self.lane, ir.Int(shape.width))
        self.stop: Any = count
        if self.part is not None:
            size = self.number("part", self.size)
            start = self.let(1, "start", ir.arith("*", self.starts[self.part], size))
            end = ir.Arith("min", ir.Arith("+", start, size), count)
            self.stop = self.let(1, "stop", end)
            first = ir.arith("+", start, first)
        self.first = first if isinstance(first, ir.Int) else self.let(1, "first", first)

    # ---- elements

    def _trip(self, r: int) -> Trip:
        """The units that a thread holds from pass to pass."""
        shape = self.shape
        step = shape.lanes * shape.width
        k: Any = self.first
        if r:
            k = self.let(1, "k", ir.arith("+", self.first, ir.Int(r * step)))
        exact = self.count == shape.trips * step
        active = None
        if not exact and r == shape.trips - 1:
            count = self.number("count", self.count)
            active = self.let(1, "on", ir.Arith("<", k, count))
            k = self.let(1, "k", ir.Arith("min", k, ir.Arith("-", count, ir.Int(shape.width))))
        return self._units(k, self.levels[1].body, active)

    def _units(self, k: Any, body: list[Any], active: Any = None) -> Trip:
        """The elements from number ``k`` of the row on, one for each of the width."""
        shape, inner = self.shape, self.schedule.inner
        self.levels[2:] = [Unit({}, body)]
        places = self.decomposed(k, inner) if self.count > 1 else [ir.Int(0)] * len(inner)
        self.leave()
        units = []
        for u in range(shape.width):
            here = [*places[:-1], ir.arith("+", places[-1], ir.Int(u))]
            units.append(Unit(dict(zip(inner, here, strict=True)), body))
        return Trip(units, inner[-1] if shape.width > 1 else None, active)

    # ---- passes

    def _pass(self, stage: int) -> None:
        s = self.schedule
        stores = [x for x in s.stores if x.stage == stage]
        full = [x for x in stores if s.is_full(x.axes)]
        rows = [x for x in stores if not s.is_full(x.axes)]
        reduces = [v for v in s.reduces if v.args[0].stage == stage]
        if rows:
            self._store_rows(rows)
        if reduces or full:
            held = self.shape.trips > 0
            sums = self._hold(reduces, full) if held else self._walked(reduces, full)
            for v, total in sums.items():
                self._fold(v, total)

    def _store_rows(self, rows: list[Store]) -> None:
        first = None if self.shape.lanes == 1 else ir.Arith("==", self.lane, ir.Int(0))
        guard = g.both([c for c in (first, self.valid) if c is not None])
        self.store_trip(Trip([Unit({}, self.levels[1].body)]), rows, guard)

    def _hold(self, reduces: list[Value], full: list[Store]) -> dict[Value, Any]:
        """All trips written out, values known from pass to pass."""
        sums: dict[Value, Any] = {}
        for v in reduces:
            parts = [self._masked(v, trip) for trip in self.trips]
            sums[v] = self._tree(v, parts)
        if full:
            for trip in self.trips:
                self.store_trip(trip, full, self.valid)
        return sums

    def _masked(self, v: Value, trip: Trip) -> Any:
        """A trip's elements folded; what is neutral where there are none."""
        total = self._tree(v, self._elements(v, trip))
        if trip.active is None:
            return total
        neutral = ir.Number(identity(v.attrs[0], v.dtype), v.dtype)
        args = (trip.active, self.let(1, "part", total), neutral)
        return self.let(1, "part", ir.Call("where", v.dtype, v.dtype, args))

    def _elements(self, v: Value, trip: Trip) -> list[Any]:
        self.trip, found = trip, []
        for unit in trip.units:
            self.enter(unit)
            found.append(self.value(v.args[0]))
        self.leave()
        return found

    def _walked(self, reduces: list[Value], full: list[Store]) -> dict[Value, Any]:
        """A loop over the thread's share of the row."""
        shape = self.shape
        sums = {}
        for v in reduces:
            start = ir.Number(identity(v.attrs[0], v.dtype), v.dtype)
            sums[v] = self.let(1, "acc", start)
        var, body = self.fresh("k"), []
        trip = self._units(ir.Var(var), body)
        for v in reduces:
            total = self._tree(v, self._elements(v, trip))
            body.append(ir.Assign(sums[v].name, self._join(v, sums[v], total)))
        if full:
            self.store_trip(trip, full, self.valid)
        step = ir.Int(shape.lanes * shape.width)
        self.levels[1].body.append(g.Steps(var, self.first, self.stop, step, tuple(body)))
        return sums

    def _join(self, v: Value, left: Any, right: Any) -> Any:
        return ir.Call(v.attrs[0], v.dtype, v.dtype, (left, right))

    def _tree(self, v: Value, parts: list[Any]) -> Any:
        """Some values folded in pairs."""
        while len(parts) > 1:
            odd = parts[len(parts) // 2 * 2 :]
            pairs = zip(parts[::2], parts[1::2], strict=False)
            parts = [self._join(v, a, b) for a, b in pairs] + odd
        return parts[0]

    def _fold(self, v: Value, total: Any) -> None:  # type: ignore[override]
        shape, name = self.shape, self.fresh(f"{v.attrs[0]}_row")
        stride = shape.stride if shape.lanes > 1 else 1
        self.levels[1].body.append(g.Fold(name, v.attrs[0], v.dtype, total, shape.lanes, stride))
        self.levels[1].known[v] = ir.Var(name)


def _described(shape: Shape) -> str:
    """What the threads of a block do, for the reader of the source."""
    if shape.lanes == 1:
        return "a thread does a row."
    what = "column" if shape.stride > 1 else "row"
    held = "held in registers" if shape.trips else "walked in a loop"
    share = f"{shape.lanes} threads share a {what}, {held}"
    return f"{share}; a block does {shape.groups}." if shape.groups > 1 else f"{share}."
