"""From groups of nodes to regions: what each computes again, what it reads, and what it writes.

    regions = Cut(groups, group_of, memory, graph).regions()

A cheap elementwise value that other regions read is not written when they can compute it from what
is in memory anyway, reading no more than the value itself would be: the normalised input of a batch
norm is never written, only its input, mean and deviation are.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

from graphgrad.axes import leaves
from graphgrad.choices import settle
from graphgrad.ir import Graph, Node
from graphgrad.ops import Shape
from graphgrad.passes.inline import CHEAP
from graphgrad.regions import LOOP, Region
from graphgrad.views import VIEWS, path

# What may be computed again, in units of a multiplication.
WEIGHT = dict.fromkeys(CHEAP, 1) | {"div": 2, "int_pow": 2}
DEAR = dict.fromkeys("exp erf tanh sigmoid log sin cos sqrt rsqrt".split(), 4)
MAX_REPEATED = 12
BEYOND_CACHE = 1 << 20  # bytes from which reading a value costs as much as an exponential
MAX_BUFFERS = 40
LARGE = 1024  # elements; smaller values cost nothing to write
SMALL = 16  # a value this many times smaller than another is free to read, or to write

Group = Any


class Cut:
    """The state of one cut; ``group_of`` finds the group a node is computed in."""

    def __init__(
        self,
        groups: Iterable[Group],
        group_of: Mapping[Node, Group],
        memory: Container[Node],
        graph: Graph,
    ) -> None:
        self.group_of, self.memory = group_of, memory
        self.outputs = frozenset(graph.outputs)
        self.number = {x: i for i, x in enumerate(graph.nodes)}
        self.order = _ordered(groups)
        self.again: set[Node] = set()
        self.users = graph.users()

    def regions(self) -> tuple[Region, ...]:
        """The regions, in an order that respects their dependences."""
        self._choose(self._parts())
        regions = []
        for group, (nodes, inputs, outputs) in self._parts().items():
            regions.append(Region(group.kind, *map(self._sorted, (nodes, inputs, outputs))))
        return tuple(regions[::-1])

    def _sorted(self, nodes: Iterable[Node]) -> tuple[Node, ...]:
        return tuple(sorted(nodes, key=lambda x: self.number.get(x, -1)))

    def _owner(self, x: Node) -> Group | None:
        group = self.group_of.get(x)
        return None if group is None else group.find()

    def _parts(self) -> dict[Group, tuple[set[Node], set[Node], set[Node]]]:
        """Nodes, inputs and outputs of every group that is needed, readers first."""
        written, parts = set(self.outputs), {}
        for group in reversed(self.order):
            outputs = {x for x in group.nodes if x in written and x not in self.again}
            if outputs:
                nodes, inputs = self._collect(group, outputs)
                parts[group] = nodes, inputs, outputs
                written |= inputs
        return parts

    def _collect(self, group: Group, outputs: Iterable[Node]) -> tuple[set[Node], set[Node]]:
        """All a region computes, views and repeated values included, and what it reads."""
        nodes: set[Node] = set()
        inputs: set[Node] = set()
        stack = list(outputs)
        while stack:
            x = stack.pop()
            if x in nodes or x in inputs:
                continue
            if self._is_read(x, group):
                inputs.add(x)
            else:
                nodes.add(x)
                stack.extend(x.inputs)
        return nodes, inputs

    def _is_read(self, x: Node, group: Group) -> bool:
        """Whether a region gets a value from memory."""
        if self._owner(x) is group or x in self.again:
            return False
        elsewhere = x in self.memory or x in self.group_of
        return elsewhere or (x.op.name == "scalar" and group.kind != LOOP)

    # ---- what is computed again

    def _choose(self, parts: Mapping[Group, tuple[set[Node], set[Node], set[Node]]]) -> None:
        reads = {group: inputs for group, (_, inputs, _) in parts.items()}
        readers: dict[Node, list[Group]] = {}
        for group, inputs in reads.items():
            for x in inputs:
                readers.setdefault(x, []).append(group)
        written = set(readers) | self.outputs
        for x in self._sorted(readers):
            if not self._is_repeatable(x, readers[x]):
                continue
            way = self._way_to(x, written, self._weights(x, readers[x]))
            if way is None:
                continue
            steps, sources = way
            if all(self._pays(x, sources, reads[g]) for g in readers[x]):
                self.again |= steps
                written.discard(x)
                written |= sources
                for group in readers[x]:
                    reads[group] = (reads[group] - {x}) | sources
                for y in sources:
                    readers.setdefault(y, []).extend(readers[x])

    def _is_repeatable(self, x: Node, groups: Iterable[Group]) -> bool:
        if x.op.name not in self._weights(x, groups) or x in self.outputs or x in self.memory:
            return False
        computed = x in self.group_of and x.size and not self._is_regrouped(x)
        return (
            computed
            and self._settle("large", x, x.size >= LARGE)
            and all(g.kind == LOOP and g.nodes[0].op.kind != "sort" for g in groups)
        )

    def _is_regrouped(self, x: Node) -> bool:
        """Whether something reads ``x`` in a shape that only memory can be read in."""
        stack = [user for user in self.users[x] if user.op.name in VIEWS]
        while stack:
            view = stack.pop()
            if view.op.name == "reshape" and not _splits(view.inputs[0].shape, view.shape):
                return True
            stack += [user for user in self.users[view] if user.op.name in VIEWS]
        return False

    def _weights(self, x: Node, groups: Iterable[Group]) -> dict[str, int]:
        """What operations may be repeated: dear ones for a single pass over what fits no cache."""
        groups = list(groups)
        far = self._settle("far", x, x.nbytes >= BEYOND_CACHE)
        dear = far and len(groups) <= 2 and all(map(_is_one_pass, groups))
        return WEIGHT | DEAR if dear else WEIGHT

    def _pays(self, x: Node, sources: Iterable[Node], reads: set[Node]) -> bool:
        """Whether a reader of ``x`` reads no more when it computes ``x`` itself."""
        new = [y for y in sources if y not in reads]
        large = [y for y in new if SMALL * y.nbytes > x.nbytes]
        less = sum(y.nbytes for y in large) <= x.nbytes
        return self._settle("less", x, less) and len(reads) + len(new) <= MAX_BUFFERS

    def _way_to(
        self, x: Node, written: Container[Node], weights: Mapping[str, int]
    ) -> tuple[set[Node], set[Node]] | None:
        """The few operations that make ``x``, and what in memory of; None where nothing does."""
        found: set[Node] = set()
        count, stack, seen = 0, [x], {x}
        while stack:
            y = stack.pop()
            count += weights.get(y.op.name, 0)
            if count > MAX_REPEATED:
                return None
            for operand in y.inputs:
                base, views = path(operand, self.memory)
                if base in seen or base in found or base.op.name in ("scalar", "iota"):
                    continue
                kind = self._source_kind(base, x, written, weights)
                if kind is None or not self._walks_along(base, views, x, kind):
                    return None
                if kind:
                    found.add(base)
                else:
                    seen.add(base)
                    stack.append(base)
        return seen, found

    def _walks_along(self, base: Node, views: list[Node], x: Node, in_memory: bool) -> bool:
        """Whether a walk over ``x`` is a walk over an operand, in the order it lies in memory."""
        if all(map(_keeps_order, views)) or self._settle("small", x, SMALL * base.size <= x.size):
            return True
        # A product whose only reader is a view is written as the view has it.
        if base.op.name == "dot_general" and len(self.users[base]) == 1:
            return base not in self.outputs
        return in_memory and all(v.op.name == "reshape" for v in views)

    def _source_kind(
        self, base: Node, x: Node, written: Container[Node], weights: Container[str]
    ) -> bool | None:
        """True: read from memory; False: computed as well; None: neither is possible."""
        if base in self.again or base not in self.group_of:
            return base in self.memory
        if base in written or base in self.memory:
            return True
        if base.op.name in weights and base.size == x.size:
            return False
        if not self._is_row(base):
            return None
        return self._settle("rows", x, SMALL * base.nbytes <= x.nbytes) or None

    def _settle(self, question: str, x: Node, answer: bool) -> bool:
        """Decided once for ``x``, whatever its size will be."""
        return settle((question, self.number[x]), answer)

    def _is_row(self, x: Node) -> bool:
        """Whether a value of a region is one for each of its rows: it can be written as well."""
        group = self._owner(x)
        if group.nest is None or x not in group.nest.places:
            return False
        mine = {axis for axes in group.nest.places[x].dims for axis in leaves(axes)}
        return mine == set(leaves(group.nest.domain)) - set(leaves(group.nest.reduced))


def _is_one_pass(group: Group) -> bool:
    """Whether a region walks its elements once: no reduction waits for another."""
    return all(stage == 0 or x.op.kind != "reduce" for x, stage in group.stage.items())


def _keeps_order(view: Node) -> bool:
    """Whether a view leaves a walk over its elements as it was: it repeats or splits dimensions."""
    if view.op.name == "expand":
        return True
    return view.op.name == "reshape" and _splits(view.inputs[0].shape, view.shape)


def _splits(old: Shape, new: Shape) -> bool:
    """Whether every old dimension is the product of some neighbouring new ones."""
    parts = [n for n in new if n != 1]
    for n in old:
        while n > 1 and parts and parts[0] and n % parts[0] == 0:
            n //= parts.pop(0)
        if n > 1:
            return False
    return not parts


def _ordered(groups: Iterable[Group]) -> list[Group]:
    import networkx

    dag = networkx.DiGraph()
    dag.add_nodes_from(groups)
    dag.add_edges_from((source, g) for g in list(dag) for source in g.producers())
    return list(networkx.lexicographical_topological_sort(dag, key=lambda g: g.last))
