"""Dead code: keep what the outputs reach, and of control flow only the results somebody reads."""

from __future__ import annotations

from collections.abc import Iterable

from graphgrad import ir
from graphgrad.ir import Graph, Node


def dce(graph: Graph) -> Graph:
    """Remove what no output needs.

    before  r = scan(c, xs) -> (c', ys, history);  return result(r, 1)
    after   r = scan(c, xs) -> (c', ys);           return result(r, 1)

    A Graph's nodes are what its outputs reach, so plain dead nodes are already gone; what is left
    to do is inside control flow: unread stacks of a scan, unread results of a cond.
    """
    while True:
        slimmer = _prune(graph)
        if slimmer is graph:
            return graph
        graph = slimmer


def _prune(graph: Graph) -> Graph:
    wanted: dict[Node, set[int]] = {}
    for x in graph.nodes:
        if x.op.name == "result":
            wanted.setdefault(x.inputs[0], set()).add(x.attrs["index"])
    slim = {}
    for x, read in wanted.items():
        kept = sorted(read | set(range(x.attrs.get("carries", 0))))
        if x.op.name in ("scan", "cond") and len(kept) < len(x.results):
            slim[x] = {old: new for new, old in enumerate(kept)}
    if not slim:
        return graph
    new: dict[Node, Node] = {x: x for x in graph.inputs}
    for x in graph.nodes:
        if x in new:
            continue
        operands = [new[i] for i in x.inputs]
        if x in slim:
            new[x] = _narrow(x, operands, slim[x])
        elif x.op.name == "result" and x.inputs[0] in slim:
            index = slim[x.inputs[0]][x.attrs["index"]]
            new[x] = ir.node("result", *operands, index=index, origins=x.origins)
        else:
            new[x] = x.with_inputs(operands)
    ir.all_became(new)
    return Graph(graph.inputs, [new[y] for y in graph.outputs], graph.name)


def _narrow(x: Node, operands: list[Node], kept: Iterable[int]) -> Node:
    """The same control-flow node with fewer results."""
    attrs = {
        k: Graph(v.inputs, [v.outputs[i] for i in kept], v.name) if isinstance(v, Graph) else v
        for k, v in x.attrs.items()
    }
    return ir.node(x.op.name, *operands, origins=x.origins, **attrs)
