"""Residuals: which values a backward pass finds in memory, and which it computes again.

    kept = keep_residuals(graph)
    kept.graph       # backward reads what was kept, or nodes of its own that compute it again
    kept.again       # those nodes: they must not run before the backward pass does
    kept.late        # all nodes of the backward pass, these included

What elementwise operations make can be made again of their operands, so there is a choice of what
to keep: a cut between the forward values that only memory can give back (products, reductions,
inputs) and what the backward pass reads. The cheapest one, in bytes, is a minimum cut. An
activation function's result is so made again of its operand, which its gradient needs anyway, and
a normalised value of the one before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from graphgrad import ir
from graphgrad.choices import settle
from graphgrad.errors import BACKWARD
from graphgrad.ir import Graph, Node
from graphgrad.passes.cut import DEAR, WEIGHT
from graphgrad.passes.ties import all_tied
from graphgrad.views import VIEWS, path

WORTH_IT = 64 << 20  # bytes: with fewer to keep, time is dearer than memory
SMALL = 64 << 10  # bytes of values that are simply kept: the mean of a row, a mask of one image
MOST_STEPS = 32  # operations in a row, in units of a multiplication, that are worth a value
# Of two values of one size, the one that lies in memory anyway is kept: what any but an
# elementwise operation makes or reads.
FUSED = 1.0625
_FREE = frozenset({"input", "constant", "scalar", "iota"})
_BARRIERS = frozenset({"contract", "control", "host", "sort"})
_COST = WEIGHT | DEAR | {"pad": 1}


@dataclass(frozen=True)
class Residuals:
    """A graph and what of it belongs to the backward pass; nothing does where nothing changed."""

    graph: Graph
    again: frozenset[Node] = frozenset()
    late: frozenset[Node] = frozenset()


def keep_residuals(graph: Graph) -> Residuals:
    """Cut a graph's backward pass from its forward pass where fewest bytes are kept."""
    late = backward_nodes(graph)
    read = _read_by(late, graph)
    nbytes = sum(x.nbytes for x in read)
    if not settle("residuals", nbytes >= WORTH_IT, binding=nbytes >= 4 * WORTH_IT):
        return Residuals(graph)
    repeatable = _repeatable(graph, late)
    kept = _minimum_cut(read, repeatable, _stored(graph))
    # By number: simplified with a dimension of 1, graphs of one structure are not the same length.
    again = settle(
        ("again", len(graph.nodes)),
        tuple(i for i, x in enumerate(graph.nodes) if x in repeatable - kept),
    )
    return _repeated(graph, late, repeatable & {graph.nodes[i] for i in again})


def backward_nodes(graph: Graph) -> set[Node]:
    """The products, scans, … of the backward pass, and all that follows from them.

    What comes before is computed in one loop with forward values, and is no reason to keep them:
    the derivative of an activation function, or that of a loss by its scores.
    """
    late: set[Node] = set()
    for x in graph.nodes:
        derived = bool(x.origins) and all(o.phase == BACKWARD for o in x.origins)
        if (derived and x.op.kind in _BARRIERS) or not late.isdisjoint(x.inputs):
            late.add(x)
    return late


def _read_by(late: set[Node], graph: Graph) -> list[Node]:
    """The forward values that the backward pass reads, below views."""
    found: dict[Node, None] = {}
    for x in graph.nodes:
        if x in late:
            for y in x.inputs:
                base, _ = path(y, late)
                if base not in late and base.op.name not in _FREE:
                    found[base] = None
    return list(found)


def _minimum_cut(read: Iterable[Node], repeatable: set[Node], stored: set[Node]) -> set[Node]:
    """The values to keep: each is an edge of a flow network, as wide as it has bytes."""
    import networkx

    # Found in memory whatever is chosen: what follows from these alone costs nothing to keep.
    fixed = {x for x in read if x not in repeatable}
    stack = [x for x in read if x in repeatable]
    network = networkx.DiGraph()
    network.add_nodes_from(("made", "read"))
    network.add_edges_from(((x, "out"), "read") for x in stack)
    seen = set(stack)
    while stack:
        x = stack.pop()
        wide = {} if x.op.name in VIEWS else {"capacity": x.nbytes * (1 if x in stored else FUSED)}
        network.add_edge((x, "in"), (x, "out"), **wide)
        if x not in repeatable:
            network.add_edge("made", (x, "in"))
            continue
        operands = [y for y in x.inputs if y not in fixed and y.op.name not in _FREE]
        network.add_edges_from(((y, "out"), (x, "in")) for y in operands)
        stack += [y for y in dict.fromkeys(operands) if y not in seen]
        seen.update(operands)
    # Of cuts of one size the last: fewest operations are repeated.
    _, (before, _) = networkx.minimum_cut(network, "made", "read")
    return {x for x in seen if (x, "in") in before and (x, "out") not in before}


def _repeatable(graph: Graph, late: set[Node]) -> set[Node]:
    """What a few elementwise operations make of one value in memory, beside small ones."""
    outputs = set(graph.outputs) | all_tied(graph)
    steps: dict[Node, int] = {}
    base: dict[Node, Node | None] = {}
    for x in graph.nodes:
        if x in late or x in outputs or x.op.name in _FREE:
            continue
        cost = 0 if x.op.name in VIEWS else _COST.get(x.op.name)
        if cost is None or (cost and x.nbytes <= SMALL):
            continue
        total = cost + max((steps.get(y, 0) for y in x.inputs), default=0)
        bases = {base.get(y, y if y.nbytes > SMALL else None) for y in x.inputs} - {None}
        if total <= MOST_STEPS and len(bases) <= 1:
            steps[x], base[x] = total, next(iter(bases), None)
    found = ((x, base[x]) for x in steps)
    return {x for x, y in found if y is not None and y.op.name not in _FREE}


def _stored(graph: Graph) -> set[Node]:
    """What lies in memory anyway: what more than a loop makes or reads, or the caller wants."""
    stored = set(graph.outputs)
    for x in graph.nodes:
        if x.op.kind not in ("elementwise", "movement"):
            stored.add(x)
        if x.op.kind in _BARRIERS:
            stored.update(path(y)[0] for y in x.inputs)
    return stored


def _repeated(graph: Graph, late: set[Node], repeatable: set[Node]) -> Residuals:
    """The graph with nodes of the backward pass in place of those that it does not find kept."""
    again: dict[Node, Node] = {}

    def later(x: Node) -> Node:
        """What the backward pass reads in place of a forward value."""
        if x not in repeatable:
            return x
        if x not in again:
            moved = [later(y) for y in x.inputs]
            again[x] = x if x.op.name in VIEWS and moved == list(x.inputs) else _copied(x, moved)
        return again[x]

    new: dict[Node, Node] = {}
    for x in graph.nodes:
        if x in late:
            new[x] = x.with_inputs([new[y] if y in late else later(y) for y in x.inputs])
            ir.became(x, new[x])
    outputs = [new.get(y, y) for y in graph.outputs]
    ir.all_became(again, "keep_residuals")
    copies = {y for x, y in again.items() if y is not x}
    if not any(x.op.name not in VIEWS for x in copies):
        return Residuals(graph)
    return Residuals(
        Graph(graph.inputs, outputs, graph.name),
        frozenset(copies),
        frozenset({*new.values()} | copies),
    )


def _copied(x: Node, inputs: list[Node]) -> Node:
    """A node that computes what ``x`` does, and is another one."""
    type_: Any = (x.shape, x.dtype)
    return Node(x.op, tuple(inputs), x.attrs, type_, x.origins)
