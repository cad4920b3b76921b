"""Fusion: cut a graph into regions, each of which becomes one kernel or a few.

    plan = fuse(graph)

Nodes are visited in topological order and join the regions of their operands where that saves
memory traffic and one loop nest can compute both. Nodes share a nest when their axes correspond
(``graphgrad.axes``); a region reduces over one set of axes only, and what it writes varies with all
its axes, or with all that are not reduced. Softmax, layer norm or cross-entropy are one region.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from graphgrad.axes import (
    Axis,
    Misfit,
    Nest,
    Place,
    correspondence,
    join,
    leaves,
    placed,
    walks_rows,
)
from graphgrad.choices import settle
from graphgrad.ir import Graph, Node
from graphgrad.passes.cut import Cut
from graphgrad.passes.inline import CHEAP, Inlined, is_complex
from graphgrad.passes.onehot import one_hot
from graphgrad.passes.residuals import Residuals, keep_residuals
from graphgrad.passes.stepwise import stepwise
from graphgrad.passes.ties import tied
from graphgrad.regions import CONTRACT, CONTROL, HOST, LOOP, Plan
from graphgrad.views import VIEWS, obstacle, path

MAX_NODES = 96  # keeps kernels readable and LLVM quick
MAX_BUFFERS = 40
MAX_STAGES = 9  # walks over a row in the cache: cheaper than what a cut writes and reads again
FEW_ROWS = 32  # with fewer rows, a long reduction is cut into chunks: a single pass
LONG = 65536
LARGE = 1024  # elements of a value that two regions should not both read
MAX_SIBLINGS = 4

OPAQUE = {"contract": CONTRACT, "control": CONTROL, "host": HOST, "sort": LOOP}
ROOTS = frozenset(
    "pad concat slice_update window_sum scatter scatter_add cumsum cumprod cummax cummin".split()
)
# Roots whose operands are placed one by one; the others walk one domain.
SEPARATE_OPERANDS = frozenset({"pad", "concat", "slice_update"})


def fuse(graph: Graph) -> Plan:
    """The regions of a graph, in an order that respects their dependences."""
    # Last: what is computed twice on purpose must not meet a pass that merges equal values.
    return _Fusion(keep_residuals(stepwise(one_hot(graph)))).plan()


class Group:
    """A region in the making."""

    __slots__ = ("first", "kind", "last", "nest", "nodes", "parent", "sources", "stage")

    def __init__(self, kind: str, x: Node, number: int, nest: Nest | None = None) -> None:
        self.kind, self.nest, self.nodes = kind, nest, [x]
        self.first = self.last = number
        self.sources: set[Group] = set()
        self.stage: dict[Node, int] = {x: 0}
        self.parent: Group | None = None

    def find(self) -> Group:
        """The group this one was merged into."""
        group = self
        while group.parent is not None:
            if group.parent.parent is not None:
                group.parent = group.parent.parent
            group = group.parent
        return group

    def producers(self) -> set[Group]:
        """The groups whose values this one reads."""
        self.sources = {g.find() for g in self.sources} - {self}
        return self.sources


class _Fusion:
    """The state of one ``fuse`` call."""

    def __init__(self, residuals: Residuals) -> None:
        graph = self.graph = residuals.graph
        self.again, self.late = residuals.again, residuals.late
        self.number = {x: i for i, x in enumerate(graph.nodes)}
        self.memory: set[Node] = {
            x for x in (*graph.inputs, *graph.nodes) if x.op.name in ("input", "constant")
        }
        self.outputs = set(graph.outputs) - self.memory
        self.inlined = Inlined(graph, self.memory)
        self.group: dict[Node, Group] = {}
        self.readers: dict[Node, set[Node]] = {}
        self.walkers: dict[Node, list[Group]] = {}
        self.ties: dict[Node, Node] = {}

    def plan(self) -> Plan:
        nodes = [x for x in self.graph.nodes if self._is_computed(x)]
        for x in nodes:
            for base in self._bases(x):
                self.readers.setdefault(base, set()).add(x)
        for x in nodes:
            self._visit(x)
        self._absorb_into_roots()
        self._join_concats()
        groups = dict.fromkeys(g.find() for g in self.group.values())
        return Plan(self.graph, Cut(groups, self.group, self.memory, self.graph).regions())

    # ---- what is computed, and what it reads

    def _is_computed(self, x: Node) -> bool:
        if x in self.outputs:
            return True
        plain = x.op.name not in VIEWS and x.op.kind != "source"
        return plain and x not in self.inlined and x not in self.memory

    def _bases(self, x: Node) -> dict[Node, None]:
        """The values a computed node reads: below views, and below what is recomputed in it."""
        found: dict[Node, None] = {}
        stack = list(x.inputs)
        seen: set[Node] = set()
        while stack:
            base, _ = path(stack.pop(), self.group)
            if base in seen:
                continue
            seen.add(base)
            if base in self.inlined and base not in self.group:
                stack.extend(base.inputs)
            elif base.op.name not in ("scalar", "iota") or base in self.group:
                found[base] = None
        return found

    # ---- one node

    def _visit(self, x: Node) -> None:
        if x in self.group:
            return
        kind = HOST if is_complex(x) and x.op.name not in VIEWS else OPAQUE.get(x.op.kind)
        if x.op.kind == "project":
            self._project(x)
        elif kind is not None or x.op.name in ROOTS:
            self._operands_of(x, kind)
            self._new(kind or LOOP, x)
            self.memory.add(x)
        else:
            self._indexed_operand(x)
            self._tied_operand(x)
            place = self._place(x)
            self._new(LOOP, x, Nest(x, place))
            if x.op.name in VIEWS:
                self.memory.add(x)
            if x.size and x.op.kind != "source":
                self._join_operands(x, place)
                self._join_siblings(x, place)
            if x.op.name == "gather" and self.group[x].find() is not self._group_of(x.inputs[0]):
                self._store(path(x.inputs[0], self.memory)[0])

    def _group_of(self, x: Node) -> Group | None:
        return self.group[x].find() if x in self.group else None

    def _project(self, x: Node) -> None:
        group = self.group[x] = self.group[x.inputs[0]]
        group.nodes.append(x)
        group.last = max(group.last, self.number[x])
        self.memory.add(x)

    def _new(self, kind: str, x: Node, nest: Nest | None = None) -> None:
        group = self.group[x] = Group(kind, x, self.number[x], nest)
        group.sources = {self.group[b].find() for b in self._bases(x) if b in self.group} - {group}

    def _operands_of(self, x: Node, kind: str | None) -> None:
        """See that what a region of its own reads lies in memory, as it needs it."""
        if kind is None:
            self._root_operands(x)
            return
        for y in x.inputs:
            base, views = path(y, self.memory)
            if kind == CONTRACT:
                if base in self.inlined:
                    self._store(base)
                blocked = obstacle(y, self.memory)
                if blocked is not None:
                    self._store(blocked)
            elif views or (base in self.inlined and base.op.name != "scalar"):
                self._store(y)

    def _root_operands(self, x: Node) -> None:
        """Their operands are computed element by element on the way: any loops will do."""
        if x.op.name not in SEPARATE_OPERANDS:
            self._place(x)
            return
        cropped = x.op.name == "pad" and min(*x.attrs["low"], *x.attrs["high"], 0) < 0
        for y in x.inputs:
            if cropped:
                self._store(y)
            elif path(y, self.memory)[1]:
                self._place(y)

    def _indexed_operand(self, x: Node) -> None:
        """What a gather reads at computed positions has to be a view of memory."""
        if x.op.name == "gather" and not self._picks_from_rows(x):
            self._store(path(x.inputs[0], self.memory)[0])
            blocked = obstacle(x.inputs[0], self.memory)
            if blocked is not None:
                self._store(blocked)

    def _tied_operand(self, x: Node) -> None:
        """What is compared with its own maximum is computed once, and read from memory then."""
        value = tied(x)
        if value is not None:
            self._store(value)
            self.ties[x] = value

    def _picks_from_rows(self, x: Node) -> bool:
        """Whether a gather takes an element of rows that are being reduced: computed once more.

        The reductions of a row do not depend on the position in it: no loop and no memory needed.
        """
        source = x.inputs[0]
        nest = self.group[source].find().nest if source in self.group else None
        if nest is None or source not in nest.places or not walks_rows(x):
            return False
        along = leaves(nest.places[source].dims[x.attrs["axis"]])
        return bool(along) and set(along) == set(leaves(nest.reduced))

    def _store(self, x: Node) -> None:
        """Have a view or a recomputed value written to memory, now."""
        if x in self.memory:
            return
        if x not in self.group:
            for base in self._bases(x):
                self.readers.setdefault(base, set()).add(x)
            self._visit(x)
        self.memory.add(x)

    def _place(self, x: Node) -> Place:
        while True:
            try:
                return placed(x, self.memory)
            except Misfit as misfit:
                self._store(misfit.node)

    # ---- joining

    def _join_operands(self, x: Node, place: Place) -> None:
        """Merge with the operands' groups, the largest operand first."""
        reads = [r for r in place.reads if r.base in self.group and r.base.size]
        earlier: set[Group] = set()
        if x.op.name == "gather" and not self._picks_from_rows(x):
            # Picked from memory, so by a later region; as if it had been read before x came.
            source = path(x.inputs[0], self.memory)[0]
            earlier |= {self.group[source].find()} if source in self.group else set()
        largest = sorted(range(len(reads)), key=lambda i: -reads[i].base.nbytes)
        for i in settle(("order of reads", self.number[x], len(reads)), tuple(largest)):
            read = reads[i]
            other, group = self.group[read.base].find(), self.group[x].find()
            if other is group or other.nest is None or self._is_too_early(other, group):
                continue
            edges = [r for r in reads if self.group[r.base].find() is other]
            if self._separated(other, group, earlier):
                continue
            mapping = correspondence(other.nest, group.nest, edges)
            if mapping is not None and self._fits(other, group, mapping, x):
                earlier |= other.producers()
                self._merge(other, group, mapping)
        group = self.group[x].find()
        group.stage[x] = self._stage(x, group)

    def _join_siblings(self, x: Node, place: Place) -> None:
        """Merge with groups that walk the same large values in memory: they are read once."""
        if x.op.name == "identity":
            return  # a copy in another order is made when it is read, which may be long after
        for read in place.reads:
            base = read.base
            small = settle(("read once", self.number[x]), base.size < LARGE)
            if small or read.dims is None or base in self.group[x].find().nest.places:
                continue
            walkers = self.walkers.setdefault(base, [])
            group = self.group[x].find()
            for other in dict.fromkeys(g.find() for g in walkers):
                if other is group or self._is_too_early(other, group):
                    continue
                if self._reaches(other, group) or self._reaches(group, other):
                    continue
                mapping = correspondence(other.nest, group.nest, [])
                if self._is_whole(other, group, mapping) and self._fits(other, group, mapping, x):
                    self._merge(other, group, mapping)
                    group = group.find()
            walkers[:] = [*walkers[-MAX_SIBLINGS + 1 :], group]

    def _is_whole(self, a: Group, b: Group, mapping: dict[Axis, Axis] | None) -> bool:
        """Whether every axis of two nests has been paired."""
        if mapping is None:
            return False
        return _mapped(a.nest.domain, mapping) == _mapped(b.nest.domain, {})

    def _is_too_early(self, a: Group, b: Group) -> bool:
        """Whether one group repeats for the backward pass what the other is there to make."""
        if not self.again:
            return False
        repeats = [not self.again.isdisjoint(g.nodes) for g in (a, b)]
        return any(repeats) and not all(self.late.issuperset(g.nodes) for g in (a, b))

    def _separated(self, other: Group, group: Group, earlier: set[Group]) -> bool:
        """Whether a path leaves the merged group and comes back, or an edge in it is unmatched.

        ``earlier`` are the producers of ``group`` without its newest node.
        """
        if any(g.find() is other for g in earlier):
            return True
        others = group.producers() - {other}
        return any(self._reaches(other, g) for g in others) or self._reaches(group, other)

    def _reaches(self, start: Group, end: Group) -> bool:
        """Whether ``end`` depends on ``start``."""
        stack, seen = [end], {end}
        while stack:
            g = stack.pop()
            if g is start:
                return True
            for p in g.producers():
                if p not in seen and p.last >= start.first:
                    seen.add(p)
                    stack.append(p)
        return False

    def _stage(self, x: Node, *groups: Group) -> int:
        """How many reductions in these groups have to be finished before ``x``."""
        found = [
            self.group[b].find().stage[b] + (b.op.kind == "reduce")
            for b in self._bases(x)
            if b in self.group and self.group[b].find() in groups
        ]
        return max(found, default=0)

    def _merge(self, a: Group, b: Group, mapping: dict[Axis, Axis]) -> None:
        join(mapping.items())
        if len(a.nodes) < len(b.nodes):
            a, b = b, a
        b.parent = a
        a.nodes += b.nodes
        a.first, a.last = min(a.first, b.first), max(a.last, b.last)
        a.sources |= b.sources
        a.nest.absorb(b.nest)
        a.stage |= b.stage

    def _fits(self, a: Group, b: Group, mapping: dict[Axis, Axis], x: Node) -> bool:
        """Whether one nest of loops can compute both groups and write what others read."""
        if len(a.nodes) + len(b.nodes) > MAX_NODES:
            return False
        if any({self._group_of(y), self._group_of(v)} == {a, b} for y, v in self.ties.items()):
            return False
        places = a.nest.places.keys() | b.nest.places.keys()
        if len((a.nest.reads.keys() | b.nest.reads.keys()) - places) > MAX_BUFFERS:
            return False
        own = {id(a): mapping, id(b): {}}
        domain_a, domain_b = _mapped(a.nest.domain, mapping), _mapped(b.nest.domain, {})
        inside_a, inside_b = _mapped(a.nest.reduced, mapping), _mapped(b.nest.reduced, {})
        if inside_a and inside_b and inside_a != inside_b:
            return False
        domain, inside = domain_a | domain_b, inside_a | inside_b
        rows = domain - inside
        for group, old in ((a, (domain_a, inside_a)), (b, (domain_b, inside_b))):
            if old != (domain, inside) and not all(
                self._covers(y, _mapped_dims(group, y, own[id(group)]), domain, rows, (a, b))
                for y in group.nodes
            ):
                return False
        newest = _mapped_dims(b, x, {})
        if not self._covers(x, newest, domain, rows, (a, b)):
            return False
        return self._passes(x, newest, inside, domain, rows, (a, b))

    def _covers(
        self,
        y: Node,
        axes: frozenset[Axis],
        domain: frozenset[Axis],
        rows: frozenset[Axis],
        groups: tuple[Group, Group],
    ) -> bool:
        """Whether a node varies with all loops, or all that do not reduce, if it is written."""
        if y.op.kind == "reduce":
            return axes == rows
        if axes in (domain, rows):
            return True
        if y in self.outputs or y in self.memory:
            return False
        inner = all(r in self.group and self.group[r].find() in groups for r in self.readers[y])
        return inner and (y.op.name in CHEAP or not axes)

    def _passes(
        self,
        x: Node,
        axes: frozenset[Axis],
        inside: frozenset[Axis],
        domain: frozenset[Axis],
        rows: frozenset[Axis],
        groups: tuple[Group, Group],
    ) -> bool:
        """Whether a value that waits for reductions may join: not where rows are few and long."""
        stage = self._stage(x, *groups)
        if stage >= MAX_STAGES:
            return False
        again = stage > 0 and (x.op.kind == "reduce" or not axes.isdisjoint(inside))
        elements = math.prod(a.size for a in domain)
        few = math.prod(a.size for a in rows) < FEW_ROWS and elements > LONG
        # Rows that fit a core's cache are walked again for little, and as many as cores at once.
        binding = elements > 32 * LONG
        return not (again and settle(("few rows", self.number[x]), few, binding))

    # ---- regions

    def _absorb_into_roots(self) -> None:
        """Elementwise values that only one pad, concat, … reads are computed on the way into it."""
        for x in self.graph.nodes:
            if x.op.name not in ROOTS or x not in self.group:
                continue
            group = self.group[x]
            for base in self._bases(x):
                other = self.group[base].find() if base in self.group else group
                if other is group or other.nest is None:
                    continue
                if self._only_feeds(other, x) and len(other.nodes) + len(group.nodes) < MAX_NODES:
                    other.parent = group
                    group.nodes += other.nodes
                    group.sources |= other.sources

    def _join_concats(self) -> None:
        """A concat of values one region computes, for others as well, is written by that region."""
        for x in self.graph.nodes:
            if x.op.name != "concat" or x not in self.group or self.group[x].nodes != [x]:
                continue
            groups = {self.group[y].find() if self._is_looped(y) else None for y in x.inputs}
            other = groups.pop()
            if other is None or groups or len(other.nodes) >= MAX_NODES:
                continue
            self.group[x].parent = other
            other.nodes.append(x)
            other.last = max(other.last, self.number[x])

    def _is_looped(self, y: Node) -> bool:
        """Whether a node is computed element by element in a nest of loops."""
        nest = self.group[y].find().nest if y in self.group and y.size else None
        return nest is not None and y in nest.places and y.op.name not in VIEWS

    def _only_feeds(self, group: Group, x: Node) -> bool:
        if any(y in self.outputs or y in self.memory or y.op.kind == "reduce" for y in group.nodes):
            return False
        return all(
            r is x or (r in self.group and self.group[r].find() is group)
            for y in group.nodes
            for r in self.readers.get(y, ())
        )


def _mapped(axes: Iterable[Axis], mapping: dict[Axis, Axis]) -> frozenset[Axis]:
    return frozenset(mapping.get(a, a) for a in leaves(axes))


def _mapped_dims(group: Group, x: Node, mapping: dict[Axis, Axis]) -> frozenset[Axis]:
    return _mapped((a for axes in group.nest.places[x].dims for a in axes), mapping)
