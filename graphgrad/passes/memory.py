"""Where every value lives: inputs' and outputs' own buffers, constants, or an offset in the arena.

    places = assign(plan, aliases)       # which buffer each value is written to, what shares one
    offsets, total = best_fit(lifetimes) # arena offsets of values with known lifetimes

A value shares the buffer of an operand that dies in the region that writes it, when every read of
the operand happens at the very index being written. A graph output that replaces a mutated input
is written straight into that input where nothing reads the old value later, and copied there at
the end where something does.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence

from graphgrad.ir import Node
from graphgrad.ops import size_of
from graphgrad.regions import (
    ARENA,
    CONSTANT,
    HOST,
    INPUT,
    LOOP,
    OUTPUT,
    Assignment,
    Lifetime,
    Place,
    Plan,
    Region,
    Roll,
)
from graphgrad.views import VIEWS

ALIGN = 64
LITERALS = frozenset({"constant", "scalar"})
# Views of other operands, and what only places values: neither computes nor reduces.
_MOVED = VIEWS | {"concat"}
FALLIBLE = frozenset({"gather", "scatter", "scatter_add", "custom_call"})


# ------------------------------------------------------------------------------------ arena offsets


def round_up(nbytes: int) -> int:
    """A size as the arena counts it: whole cache lines, one at least."""
    return max(ALIGN, -(-nbytes // ALIGN) * ALIGN)


class _FreeBlocks:
    """Free ranges of a growing arena: found by size, merged with their neighbours when returned."""

    def __init__(self) -> None:
        self.total = 0
        self._by_size: list[tuple[int, int]] = []
        self._size_at: dict[int, int] = {}
        self._start_of_end: dict[int, int] = {}

    def _insert(self, offset: int, size: int) -> None:
        insort(self._by_size, (size, offset))
        self._size_at[offset] = size
        self._start_of_end[offset + size] = offset

    def _remove(self, offset: int) -> int:
        size = self._size_at.pop(offset)
        del self._start_of_end[offset + size]
        del self._by_size[bisect_left(self._by_size, (size, offset))]
        return size

    def take(self, size: int) -> int:
        """The smallest free block that fits; else the arena grows, from its free tail on."""
        at = bisect_left(self._by_size, (size, 0))
        if at < len(self._by_size):
            found, offset = self._by_size[at]
            self._remove(offset)
            if found > size:
                self._insert(offset + size, found - size)
            return offset
        tail = self._start_of_end.get(self.total)
        offset = self.total if tail is None else tail
        if tail is not None:
            self._remove(tail)
        self.total = offset + size
        return offset

    def give(self, offset: int, size: int) -> None:
        """Return a range."""
        if (after := offset + size) in self._size_at:
            size += self._remove(after)
        if (before := self._start_of_end.get(offset)) is not None:
            size += self._remove(before)
            offset = before
        self._insert(offset, size)


def best_fit(lifetimes: Sequence[Lifetime]) -> tuple[list[int], int]:
    """Offsets such that values live at the same step never overlap, and the arena's size.

    Walks the lifetimes in order of start (larger first within a step) and takes the best-fitting
    block that is free by then: O(n log n), whatever the number of values.
    """
    offsets = [0] * len(lifetimes)
    blocks = _FreeBlocks()
    expiring: list[tuple[int, int]] = []
    order = sorted(range(len(lifetimes)), key=lambda i: (lifetimes[i].start, -lifetimes[i].nbytes))
    for i in order:
        while expiring and expiring[0][0] < lifetimes[i].start:
            _, dead = heapq.heappop(expiring)
            blocks.give(offsets[dead], round_up(lifetimes[dead].nbytes))
        offsets[i] = blocks.take(round_up(lifetimes[i].nbytes))
        heapq.heappush(expiring, (lifetimes[i].stop, i))
    return offsets, blocks.total


# ---------------------------------------------------------------------------------- who lives where


def may_fail(region: Region) -> bool:
    """Whether running a region can set the error word (or raise in a host call)."""
    if region.kind == HOST:
        return True
    return any(x.op.name in FALLIBLE or x.op.kind == "control" for x in region.nodes)


def overwrites(region: Region, old: Node, new: Node) -> bool:
    """Whether ``new`` may be written over ``old``: each read of an element precedes its write.

    True when everything that depends on ``old`` inside the region is elementwise over one shape, so
    element i of ``new`` is written after element i of ``old`` was read for the last time.
    """
    if region.kind != LOOP or (old.shape, old.dtype) != (new.shape, new.dtype):
        return False
    if new.op.name == "concat":
        return False
    reached = {old}
    plain = True
    for x in region.nodes:
        plain = plain and (x.op.kind in ("elementwise", "source") or x.op.name in _MOVED)
        # A concat stores its operands where they are computed, after all reads.
        if x is not old and x.op.name != "concat" and not reached.isdisjoint(x.inputs):
            if x.op.kind != "elementwise" or x.op.name == "random_bits" or x.shape != old.shape:
                return False
            reached.add(x)
    # Among reductions another loop may run after the one that wrote ``new``: none may read it.
    return plain or reached.isdisjoint(y for y in region.outputs if y is not new)


def rolling(scan: Node) -> dict[int, dict[int, int]]:
    """Carries whose values a scan also stacks, before or after each step.

    For each such carry: the stacks that are its values, and the row of the carry's buffer each one
    starts at. The buffer has one row more than there are steps, for the first value or the last.
    """
    body, count = scan.attrs["body"], scan.attrs["carries"]
    reverse = scan.attrs["reverse"]
    found: dict[int, dict[int, int]] = {}
    for index, y in enumerate(body.outputs[count:], count):
        for k in range(count):
            before, after = y is body.inputs[k], y is body.outputs[k]
            if before or after:
                found.setdefault(k, {})[index] = int(before == reverse)
                break
    return found


class _Assigner:
    """The state of one ``assign`` call."""

    def __init__(
        self,
        plan: Plan,
        aliases: Mapping[int, int],
        donated: Iterable[int],
        commit: bool,
    ) -> None:
        self.plan = plan
        self.result = Assignment()
        graph = plan.graph
        self.donated = {graph.inputs[i] for i in donated}
        self.targets: dict[Node, list[int]] = {}
        for position, y in enumerate(graph.outputs):
            self.targets.setdefault(y, []).append(position)
        self.aliases = aliases
        self.rolled: set[Node] = set()
        self.last_read: dict[Node, int] = {}
        for step, region in enumerate(plan):
            for x in region.inputs:
                self.last_read[x] = step
        steps = [i for i, region in enumerate(plan) if commit and may_fail(region)]
        self.last_fallible = steps[-1] if steps else -1

    def run(self) -> Assignment:
        places = self.result.places
        for i, x in enumerate(self.plan.graph.inputs):
            places[x] = Place(INPUT, i)
        for step, region in enumerate(self.plan):
            for x in region.inputs:
                if x.op.name in LITERALS:
                    self._constant(x)
            shared: dict[Node, Node] = {}
            self._roll(step, region)
            for y in region.outputs:
                if y not in self.rolled:
                    places[y] = self._place(step, region, y, shared)
            if shared:
                self.result.inplace[region] = shared
        self._finish_outputs()
        return self.result

    def _constant(self, x: Node) -> None:
        if x not in self.result.places:
            self.result.places[x] = Place(CONSTANT, len(self.result.constants))
            self.result.constants.append(x)

    def _place(self, step: int, region: Region, y: Node, shared: dict[Node, Node]) -> Place:
        for position in self.targets.get(y, ()):
            place = self._output_place(step, region, y, position, shared)
            if place is not None:
                self.targets[y].remove(position)
                return place
        stop = self.last_read.get(y, step)
        if y in self.targets:
            stop = len(self.plan.regions)
        old = self._dying_operand(step, region, y, shared)
        if old is None:
            self.result.lifetimes.append(Lifetime(step, stop, y.nbytes))
            return Place(ARENA, len(self.result.lifetimes) - 1)
        shared[y] = old
        place = self.result.places[old]
        if place.kind == ARENA:
            life = self.result.lifetimes[place.index]
            extended = Lifetime(life.start, max(stop, life.stop), life.nbytes)
            self.result.lifetimes[place.index] = extended
        return place

    def _roll(self, step: int, region: Region) -> None:
        """Give carries that a scan stacks anyway one buffer with their stacks."""
        for node in region.nodes:
            if node.op.name == "scan":
                for k, rows in rolling(node).items():
                    self._roll_carry(step, region, node, k, rows)

    def _roll_carry(
        self, step: int, region: Region, node: Node, k: int, rows: dict[int, int]
    ) -> None:
        shape, dtype = node.results[k]
        row = size_of(shape) * dtype.itemsize
        length = node.attrs["length"]
        end = 0 if node.attrs["reverse"] else length
        results = {y: {k: end, **rows}.get(y.attrs["index"]) for y in region.outputs}
        members = {y: first for y, first in results.items() if first is not None}
        stops = [
            len(self.plan.regions) if y in self.targets else self.last_read.get(y, step)
            for y in members
        ]
        self.result.lifetimes.append(Lifetime(step, max(stops, default=step), (length + 1) * row))
        index = len(self.result.lifetimes) - 1
        for y, first in members.items():
            self.result.places[y] = Place(ARENA, index, first * row)
            self.rolled.add(y)
        roll = Roll(Place(ARENA, index), tuple(rows))
        self.result.rolls.setdefault(region, {})[k] = roll

    def _output_place(
        self, step: int, region: Region, y: Node, position: int, shared: dict[Node, Node]
    ) -> Place | None:
        """The output's own buffer, or the input it replaces when that may be written now."""
        if position not in self.aliases:
            return Place(OUTPUT, position)
        source = self.aliases[position]
        old = self.plan.graph.inputs[source]
        # A later failure must find the state as it was; a later reader must find the old value.
        if self.last_read.get(old, -1) > step or step <= self.last_fallible or old in self.targets:
            return None
        if old in region.inputs:
            if old in shared.values() or not overwrites(region, old, y):
                return None
            shared[y] = old
        return Place(INPUT, source)

    def _dying_operand(
        self, step: int, region: Region, y: Node, shared: dict[Node, Node]
    ) -> Node | None:
        for x in region.inputs:
            place = self.result.places.get(x)
            if place is None or self.last_read[x] > step or x in self.targets or x in self.rolled:
                continue
            free = place.kind == ARENA or (place.kind == INPUT and x in self.donated)
            if free and x not in shared.values() and overwrites(region, x, y):
                return x
        return None

    def _finish_outputs(self) -> None:
        copies = self.result.copies
        replaced: list[tuple[Node, Place]] = []
        for y, positions in self.targets.items():
            if y.op.name in LITERALS:
                self._constant(y)
            for position in positions:
                if position not in self.aliases:
                    copies.append((y, self.result.places[y], Place(OUTPUT, position)))
                elif self.plan.graph.inputs[self.aliases[position]] is not y:
                    replaced.append((y, Place(INPUT, self.aliases[position])))
        # Inputs are overwritten when all old values were read, also where two of them trade places.
        overwritten = {target for _, target in replaced}
        staged = {
            y: self._temporary(y) for y, _ in replaced if self.result.places[y] in overwritten
        }
        copies.extend((y, self.result.places[y], place) for y, place in staged.items())
        copies.extend((y, staged.get(y, self.result.places[y]), to) for y, to in replaced)

    def _temporary(self, y: Node) -> Place:
        end = len(self.plan.regions)
        self.result.lifetimes.append(Lifetime(end, end, y.nbytes))
        return Place(ARENA, len(self.result.lifetimes) - 1)


def assign(
    plan: Plan,
    aliases: Mapping[int, int],
    donated: Iterable[int] = (),
    commit: bool = True,
) -> Assignment:
    """Give every value that regions write a place, in the plan's order.

    ``aliases`` maps output positions to the inputs they replace; ``donated`` lists inputs whose
    buffers may be overwritten; with ``commit`` replaced inputs change when no region can fail any
    more.
    """
    return _Assigner(plan, aliases, donated, commit).run()
