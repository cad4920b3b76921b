"""Reductions in two steps, where the first is one that others over the same elements need as well.

    before   sum(y, (0, 1))                      beside   sum(z, (0,))     with y, z [4096, 1024]
    after    sum(sum(y, (0,)), (0,))             beside   sum(z, (0,))

A loop nest reduces over one set of axes. Both first steps fit in one, so that a loss and the
gradients of a broadcast operand are computed in one pass over their common operands.
"""

from __future__ import annotations

from graphgrad import ir
from graphgrad.choices import settle
from graphgrad.ir import Graph, Node
from graphgrad.ops import Shape

LARGE = 16384  # elements from which one pass less is worth a small kernel more


def stepwise(graph: Graph) -> Graph:
    """Split reductions that reduce over more axes than another one over as many elements."""
    axes: dict[Shape, set[tuple[int, ...]]] = {}
    candidates = {x for x in graph.nodes if _is_candidate(x)}
    for x in graph.nodes:
        if x in candidates:
            axes.setdefault(x.inputs[0].shape, set()).add(tuple(sorted(x.attrs["axes"])))
    if not any(len(found) > 1 for found in axes.values()):
        return graph

    def rule(x: Node) -> Node | None:
        if x not in candidates:
            return None
        mine = set(x.attrs["axes"])
        smaller = [a for a in axes[x.inputs[0].shape] if a and set(a) < mine]
        return _in_steps(x, max(smaller, key=lambda a: (len(a), a))) if smaller else None

    return ir.rewrite(graph, rule, "stepwise")


def _is_candidate(x: Node) -> bool:
    return x.op.name in ("sum", "max", "min") and settle("large", x.inputs[0].size >= LARGE)


def _in_steps(x: Node, first: tuple[int, ...]) -> Node:
    left = [a for a in range(len(x.inputs[0].shape)) if a not in first]
    second = tuple(i for i, a in enumerate(left) if a in x.attrs["axes"])
    inner = ir.node(x.op.name, x.inputs[0], axes=first, origins=x.origins)
    return ir.node(x.op.name, inner, axes=second, origins=x.origins)
