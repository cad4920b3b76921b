"""Which loops the nodes of a region share: the axes of every node, found again from the region.

frame = Frame(region.nodes, memory)
frame.index(x)          # x's element at the current position of its loops, as Affine terms
frame.domain_index(x)   # the same for the operand of a reduction
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from graphgrad.axes import Axis, Dims, Misfit, Nest, Read, correspondence, join, leaves, placed
from graphgrad.ir import Node
from graphgrad.views import VIEWS

from .affine import Affine


class Frame:
    """The loop nest of some nodes. Views have loops of their own only if they are ``written``."""

    def __init__(
        self, nodes: Iterable[Node], memory: frozenset[Node], written: Container[Node]
    ) -> None:
        self.memory = memory
        # A view that is written has loops of its own, which its readers share.
        self.stops = set(memory)
        self.nests: dict[Node, Nest] = {}
        self.depends: set[Node] = set()
        for x in nodes:
            plain = x.op.name not in VIEWS and x.op.kind != "source"
            if x not in self.stops and (plain or x in written):
                self._add(x)
                if x.op.name in VIEWS:
                    self.stops.add(x)
        self._connect()

    def _add(self, x: Node) -> None:
        try:
            place = placed(x, self.stops)
        except Misfit as misfit:
            raise NotImplementedError(f"{x!r} reads {misfit.node!r} across its rows") from None
        mine = self.nests[x] = Nest(x, place)
        # What depends on a reduction cannot be computed anywhere else: such edges come first.
        reads = [r for r in place.reads if r.base in self.nests]
        reads.sort(key=lambda r: r.base not in self.depends)
        if x.op.kind == "reduce" or any(r.base in self.depends for r in reads):
            self.depends.add(x)
        for read in reads:
            self._attach(x, mine, read, reads)
            mine = self.nests[x]

    def _attach(self, x: Node, mine: Nest, read: Read, reads: list[Read]) -> None:
        """Share loops with a producer, along all edges from its nest or else along this one."""
        other = self.nests[read.base]
        if other is mine or read.dims is None:
            return
        edges = [r for r in reads if self.nests[r.base] is other and r.dims is not None]
        mapping = correspondence(other, mine, edges)
        if mapping is None:
            mapping = correspondence(other, mine, [read])
        if mapping is not None:
            self._merge(other, mine, mapping)

    def _merge(self, a: Nest, b: Nest, mapping: Mapping[Axis, Axis]) -> None:
        join(mapping.items())
        if len(a.places) < len(b.places):
            a, b = b, a
        a.absorb(b)
        for x in b.places:
            self.nests[x] = a

    def _connect(self) -> None:
        """Share loops between parts that only read the same memory."""
        left = list(dict.fromkeys(self.nests.values()))
        while len(left) > 1:
            nest = left.pop()
            for other in left:
                mapping = correspondence(other, nest, [])
                if mapping:
                    self._merge(other, nest, mapping)
                    left[left.index(other)] = self.nests[next(iter(nest.places))]
                    break

    def dims(self, x: Node) -> Dims:
        return self.nests[x].places[x].dims

    def domain(self, x: Node) -> Dims:
        """The dimensions of what ``x`` walks: its operand's if it reduces or scatters."""
        return self.nests[x].places[x].domain

    def index(self, x: Node) -> tuple[Affine, ...]:
        """The element of ``x`` that its loops are at."""
        return indices(self.dims(x))

    def domain_index(self, x: Node) -> tuple[Affine, ...]:
        """The element of a reduction's operand that its loops are at."""
        return indices(self.domain(x))

    def reduced(self, x: Node) -> list[Axis]:
        return leaves(self.nests[x].places[x].reduced)


def indices(dims: Dims) -> tuple[Affine, ...]:
    """One affine index per dimension, from the axes that make it up."""
    result = []
    for axes in dims:
        total = Affine()
        for axis in leaves(axes):
            total = total * axis.size + Affine.of(axis)
        result.append(total)
    return tuple(result)
