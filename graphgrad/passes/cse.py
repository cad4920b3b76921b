"""Common subexpressions: equal operations over equal operands become one node."""

from __future__ import annotations

from typing import Any

from graphgrad import ir
from graphgrad.ir import Graph, Node, attr_key

# A hooked or retained value is marked by ``identity``: it must stay apart from its equals.
_BARRIERS = frozenset({"identity", "custom_call"})


def cse(graph: Graph) -> Graph:
    """Merge equal nodes; the survivor remembers where all of them came from.

    before  a = exp(x);  b = exp(x);  return a + b
    after   a = exp(x);  return a + a
    """
    seen: dict[Any, Node] = {}
    origins: dict[Node, list[Any]] = {}
    new: dict[Node, Node] = {x: x for x in graph.inputs}
    for x in graph.nodes:
        if x in new:
            continue
        moved = x.with_inputs([new[i] for i in x.inputs])
        if x.op.name in _BARRIERS:
            new[x] = moved
            ir.became(x, moved)
            continue
        key = (x.op.name, moved.inputs, attr_key(x))
        kept = new[x] = seen.setdefault(key, moved)
        ir.became(x, kept, "" if kept is moved else "cse")
        if kept is not moved:
            origins.setdefault(kept, list(kept.origins)).extend(
                o for o in moved.origins if o not in kept.origins
            )
    if not origins:
        return graph if all(x is y for x, y in new.items()) else _rebuilt(graph, new)
    return _with_origins(_rebuilt(graph, new), origins)


def _rebuilt(graph: Graph, new: dict[Node, Node]) -> Graph:
    return Graph(graph.inputs, [new[y] for y in graph.outputs], graph.name)


def _with_origins(graph: Graph, origins: dict[Node, list[Any]]) -> Graph:
    """Rebuild once so that merged nodes carry every origin."""
    new: dict[Node, Node] = {x: x for x in graph.inputs}
    for x in graph.nodes:
        if x in new:
            continue
        inputs = tuple(new[i] for i in x.inputs)
        if x in origins:
            type_ = x.results if x.op.results else (x.shape, x.dtype)
            new[x] = Node(x.op, inputs, x.attrs, type_, tuple(dict.fromkeys(origins[x])))
        else:
            new[x] = x.with_inputs(inputs)
        ir.became(x, new[x])
    return _rebuilt(graph, new)
