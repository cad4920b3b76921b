"""How a kernel walks its axes: which loops there are, in which order, and what runs in parallel.

    schedule = Schedule.of(stores)
    schedule.outer      parallel loops, whole: one iteration of the kernel is one position of them
    schedule.tile       the innermost parallel loop, where the unit stride lies along it
    schedule.inner      loops that reduce (or run in order), inside every iteration
    schedule.beside     a parallel loop that every iteration walks as well, around the tile: one
                        along which an operand is contiguous that the tile strides over (then an
                        iteration is a block of both, ``crossed``), or any around a short tile

Axes that every access walks as one are one loop. The loop most accesses walk with stride 1 is
innermost: if it reduces, an iteration reduces rows; if not, reductions run outside of the tile
loop, over accumulators as wide as the tile.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from graphgrad.axes import Axis
from graphgrad.choices import settle

from .affine import Affine
from .values import Array, Value

WIDE = 128  # a tile shorter than this is worth a second loop in the iteration
SHORT = 8  # a loop of fewer trips is not worth vectorising along
JUMP = 16  # elements of a cache line: a stride that wastes most of it
STORE_WEIGHT = 2  # strided stores cost more than strided loads


@dataclass(frozen=True, slots=True)
class Edge:
    """What lies around all of an axis in memory: elements ``before`` and ``after`` it.

    ``shift``: by how much its elements begin before the first that is stored, for edges within.
    """

    axis: Axis
    before: int
    after: int
    shift: int
    fill: Value


@dataclass(eq=False, slots=True)
class Store:
    """One value written to ``array[position]``, or added to it; ``edges`` are filled on the way."""

    array: Array
    position: Affine
    value: Value
    add: bool = False
    edges: tuple[Edge, ...] = ()

    @property
    def axes(self) -> frozenset[Axis]:
        terms = [t for t, _ in self.position.terms]
        own = frozenset(t for t in terms if isinstance(t, Axis))
        return own.union(self.value.axes, *(t.axes for t in terms if isinstance(t, Value)))

    @property
    def stage(self) -> int:
        indices = [t.stage for t, _ in self.position.terms if isinstance(t, Value)]
        return max([self.value.stage, *indices])

    @property
    def roots(self) -> list[Value]:
        """What has to be computed before this can be stored."""
        indices = [t for t, _ in self.position.terms if isinstance(t, Value)]
        return [*indices, self.value, *dict.fromkeys(edge.fill for edge in self.edges)]


def reachable(roots: Iterable[Value]) -> list[Value]:
    """All values below some roots, operands first."""
    order: dict[Value, None] = {}
    stack = [(v, False) for v in reversed(list(roots))]
    while stack:
        v, ready = stack.pop()
        if ready:
            order[v] = None
        elif v not in order:
            stack.append((v, True))
            stack.extend((a, False) for a in reversed(v.args))
    return list(order)


@dataclass(eq=False, slots=True)
class Loop:
    """Axes walked as one; a coefficient of the innermost is a stride of the loop."""

    members: tuple[Axis, ...]

    @property
    def size(self) -> int:
        return math.prod(axis.size for axis in self.members)

    def stride(self, position: Affine) -> int:
        return position.coefficient(self.members[-1])

    def carries(self, axes: frozenset[Axis]) -> bool:
        return not axes.isdisjoint(self.members)


@dataclass(eq=False)
class Schedule:
    """The loops of a kernel (see the module)."""

    stores: list[Store]
    values: list[Value]
    outer: list[Loop]
    tile: Loop | None
    inner: list[Loop]
    serial: frozenset[Axis]
    reduces: list[Value] = field(default_factory=list)
    beside: Loop | None = None
    crossed: bool = False
    # Loops that iterations walk blocks of, with their sizes, once it is decided.
    blocks: dict[Loop, int] | None = None

    @staticmethod
    def of(stores: Sequence[Store], serial: Sequence[Axis] = ()) -> Schedule:
        """Choose loops for some stores; ``serial`` axes run in order, like reduced ones."""
        values = reachable(v for s in stores for v in s.roots)
        reduces = [v for v in values if v.op in ("reduce", "running")]
        inside = frozenset(serial).union(*(v.attrs[1] for v in reduces))
        for v in reduces:
            if inside != frozenset(v.attrs[1]):
                raise NotImplementedError("reductions over different axes in one region")
        axes = _domain(stores, values, inside)
        rows = frozenset(axes) - inside
        if any(s.axes not in (rows, rows | inside) for s in stores):
            raise NotImplementedError("results of different loops in one region")
        accesses = _accesses(stores, values)
        first = _innermost(axes, accesses)
        order = _ordered(axes, first, accesses)
        positions = [p for p, _ in accesses]
        positions += [v.position for v in values if v.op == "index"]
        outer = _merged([a for a in order if a not in inside], positions)
        inner = _merged(list(serial) or [a for a in order if a in inside], positions)
        tile = None
        if outer and (first in outer[-1].members or not inner):
            tile = outer.pop()
            if not inner:
                tile, outer = _long_tile(tile, outer)
        schedule = Schedule(list(stores), values, outer, tile, inner, inside, reduces)
        if tile is not None and not inner:
            schedule._widen([p for p, _ in accesses])
        return schedule

    def _widen(self, positions: Iterable[Affine]) -> None:
        """Take a second loop into the iteration, where that helps."""
        self.beside = _crossing(self.tile, self.outer, positions)
        self.crossed = self.beside is not None
        narrow = settle("narrow tile", self.tile.size < WIDE)
        if self.beside is None and len(self.outer) > 1 and narrow:
            self.beside = self.outer[-1]
        self.outer = [loop for loop in self.outer if loop is not self.beside]

    def edges_of(self, loop: Loop) -> list[tuple[Store, Edge]]:
        """The edges that can be filled beside a loop inside an iteration: where the loops around it
        are those that are around it in memory."""
        if self.inner or loop not in self.across:
            return []
        place = self.across.index(loop)
        around, within = self.outer + self.across[:place], self.across[place + 1 :]
        return [
            (s, edge)
            for s in self.stores
            for edge in s.edges
            if loop.members[0] is edge.axis
            and all(other.stride(s.position) > loop.stride(s.position) for other in around)
            and all(other.stride(s.position) < loop.stride(s.position) for other in within)
        ]

    @property
    def stages(self) -> int:
        return 1 + max(s.stage for s in self.stores)

    @property
    def walks(self) -> int:
        """In how many of the passes the inner loops run."""
        full = {s.stage for s in self.stores if self.is_full(s.axes)}
        return len(full.union(v.args[0].stage for v in self.reduces))

    @property
    def across(self) -> list[Loop]:
        """The parallel loops inside one iteration."""
        return [loop for loop in (self.beside, self.tile) if loop is not None]

    @property
    def nest(self) -> list[Loop]:
        """The loops inside one iteration, where everything is computed."""
        return self.inner + self.across

    def is_full(self, axes: frozenset[Axis]) -> bool:
        """Whether something varies with the inner loops."""
        return not axes.isdisjoint(self.serial)

    @property
    def rows(self) -> int:
        """How many results every reduction has."""
        return math.prod(loop.size for loop in [*self.outer, *self.across])

    @property
    def elements(self) -> int:
        """How often the innermost statements run."""
        return math.prod(loop.size for loop in [*self.outer, *self.nest])


def _domain(
    stores: Iterable[Store], values: Iterable[Value], inside: frozenset[Axis]
) -> list[Axis]:
    """All axes, in the order they are met."""
    found: dict[Axis, None] = {}
    for s in stores:
        found |= dict.fromkeys(t for t, _ in s.position.terms if isinstance(t, Axis))
    for v in values:
        if v.op in ("load", "index"):
            found |= dict.fromkeys(t for t, _ in v.position.terms if isinstance(t, Axis))
        elif v.op in ("reduce", "running"):
            found |= dict.fromkeys(v.attrs[1])
    found |= dict.fromkeys(sorted(inside - found.keys(), key=lambda a: (a.size, a.number)))
    return list(found)


def _accesses(stores: Iterable[Store], values: Iterable[Value]) -> list[tuple[Affine, int]]:
    """Positions in memory with the bytes moved there, the heaviest first."""
    found = [(s.position, s.array.dtype.itemsize * STORE_WEIGHT) for s in stores]
    found += [(v.position, v.array.dtype.itemsize) for v in values if v.op == "load"]
    weighed = []
    for position, weight in found:
        for term, _ in position.terms:
            weight *= term.size if isinstance(term, Axis) else 1
        weighed.append((position, weight))
    return sorted(weighed, key=lambda item: -item[1])


def _innermost(axes: Sequence[Axis], accesses: Sequence[tuple[Affine, int]]) -> Axis | None:
    """The axis that most bytes lie along."""
    if not axes:
        return None
    votes = dict.fromkeys(axes, 0)
    for position, weight in accesses:
        for axis in axes:
            if abs(position.coefficient(axis)) == 1:
                votes[axis] += weight
    first = settle(("innermost", len(axes)), max(range(len(axes)), key=lambda i: votes[axes[i]]))
    return axes[first]


def _ordered(
    axes: Sequence[Axis], first: Axis | None, accesses: Sequence[tuple[Affine, int]]
) -> list[Axis]:
    """Outermost first: by decreasing stride in the heaviest access that walks along ``first``."""
    leaders = [p for p, _ in accesses if first is not None and abs(p.coefficient(first)) == 1]
    leaders += [p for p, _ in accesses]

    def stride(axis: Axis) -> int:
        return next((abs(c) for p in leaders if (c := p.coefficient(axis))), 0)

    order = sorted(
        range(len(axes)),
        key=lambda i: (axes[i] is first, -stride(axes[i]) if stride(axes[i]) else -(2**62)),
    )
    return [axes[i] for i in settle(("order of loops", len(axes)), tuple(order))]


def _merged(axes: Sequence[Axis], positions: Sequence[Affine]) -> list[Loop]:
    """Neighbours become one loop where every position walks them as one."""
    loops: list[list[Axis]] = []
    for axis in axes:
        if loops and all(
            p.coefficient(loops[-1][-1]) == p.coefficient(axis) * axis.size for p in positions
        ):
            loops[-1].append(axis)
        else:
            loops.append([axis])
    return [Loop(tuple(members)) for members in loops]


def _long_tile(tile: Loop, outer: list[Loop]) -> tuple[Loop, list[Loop]]:
    """A very short innermost loop trades places with the longest one."""
    sizes = [loop.size for loop in outer]
    short = tile.size < SHORT and max(sizes, default=0) >= 4 * SHORT
    place = settle("long tile", sizes.index(max(sizes)) if short else None)
    if place is None or place >= len(outer):
        return tile, outer
    return outer[place], [*outer[:place], tile, *outer[place + 1 :]]


def _crossing(tile: Loop, outer: list[Loop], positions: Iterable[Affine]) -> Loop | None:
    """The loop along which something lies contiguous that the tile jumps through."""
    for position in positions:
        if abs(tile.stride(position)) > 1:
            for loop in outer:
                far = min(abs(tile.stride(position)), loop.size, tile.size) >= JUMP
                if abs(loop.stride(position)) == 1 and settle("crossed", far):
                    return loop
    return None
