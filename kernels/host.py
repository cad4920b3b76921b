"""Regions that run in Python: custom calls, and what no kernel exists for.

function = host_function(region)
function(*inputs, *outputs)        # writable arrays; outputs are filled
region_graph(region)               # the region as a Graph of its own
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphgrad import interpret, ir
from graphgrad.ir import Graph, Node
from graphgrad.regions import Region


def region_graph(region: Region) -> Graph:
    """The region cut out of its graph: an input for each value it reads, its outputs."""
    new: dict[Node, Node] = {x: ir.like(x, f"v{i}") for i, x in enumerate(region.inputs)}
    inputs = tuple(new.values())
    stack = list(region.outputs)
    while stack:
        x = stack[-1]
        missing = [i for i in x.inputs if i not in new] if x not in new else []
        if missing:
            stack.extend(missing)
            continue
        stack.pop()
        if x not in new:
            new[x] = x.with_inputs([new[i] for i in x.inputs])
    return Graph(inputs, [new[y] for y in region.outputs], region.name)


def literal(x: Node) -> np.ndarray:
    """The array of a constant or a scalar node."""
    return np.ascontiguousarray(interpret.RULES[x.op.name](**x.attrs)).reshape(x.shape)


def interpret_region(region: Region, operands: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The values of a region's outputs."""
    return interpret.run(region_graph(region), operands)


def raise_as_interpreted(graph: Graph, arrays: Sequence[np.ndarray]) -> None:
    """Raise what the interpreter raises for these arrays, if it does."""
    interpret.run(graph, arrays)


def host_function(region: Region) -> Callable[..., None]:
    """A function over arrays (inputs, then outputs) that interprets the region."""
    graph = region_graph(region)
    count = len(graph.inputs)

    def run_region(*arrays: Any) -> None:
        results = interpret.run(graph, arrays[:count])
        for target, value in zip(arrays[count:], results, strict=True):
            np.copyto(target, value)

    run_region.__qualname__ = run_region.__name__ = region.name
    return run_region
