"""Scans taken apart and put together again, for the passes that rewrite them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from graphgrad import ir
from graphgrad.ir import Graph, Node


@dataclass(frozen=True, eq=False)
class Loop:
    """A scan taken apart. ``stacks`` are the body's outputs after the carries."""

    carries: tuple[Node, ...]
    sequences: tuple[Node, ...]
    constants: tuple[Node, ...]
    body: Graph
    length: int
    reverse: bool

    @staticmethod
    def of(x: Node, inputs: Sequence[Node] | None = None) -> Loop:
        """A scan's parts; ``inputs``: over other operands."""
        operands = x.inputs if inputs is None else tuple(inputs)
        a = x.attrs
        n, m = a["carries"], a["carries"] + a["sequences"]
        parts = operands[:n], operands[n:m], operands[m:]
        return Loop(*parts, a["body"], a["length"], a["reverse"])

    def inner(self, operand: Node) -> Node | None:
        """The body's input that stands for a sequence or constant operand."""
        outer = (*self.sequences, *self.constants)
        if operand not in outer:
            return None
        return self.body.inputs[len(self.carries) + outer.index(operand)]

    def node(self, origins: Any) -> Node:
        """The scan these parts make."""
        return ir.node(
            "scan",
            *self.carries,
            *self.sequences,
            *self.constants,
            origins=origins,
            body=self.body,
            carries=len(self.carries),
            sequences=len(self.sequences),
            length=self.length,
            reverse=self.reverse,
        )


# A scan's replacement: built over new operands, it gives the new node of each old result.
Replacement = Callable[[Loop, Any], Callable[[int], Node]]


def replace_scans(graph: Graph, replacements: dict[Node, Replacement], rule: str) -> Graph:
    """Rebuild a graph with some scans replaced; ``rule`` is what an account calls that."""
    new: dict[Node, Node] = {x: x for x in graph.inputs}
    results: dict[Node, Callable[[int], Node]] = {}
    for x in graph.nodes:
        if x in new:
            continue
        if x in replacements:
            loop = Loop.of(x, [new[i] for i in x.inputs])
            results[x] = replacements[x](loop, x.origins)
        elif x.op.name == "result" and x.inputs[0] in results:
            y = new[x] = results[x.inputs[0]](x.attrs["index"])
            ir.became(x, y, rule)
            ir.became(x.inputs[0], y.inputs[0] if y.op.name == "result" else y, rule)
        else:
            new[x] = x.with_inputs([new[i] for i in x.inputs])
            ir.became(x, new[x])
    return Graph(graph.inputs, [new[y] for y in graph.outputs], graph.name)


def scans_of(graph: Graph) -> list[Node]:
    """The scans of a graph, operands first."""
    return [x for x in graph.nodes if x.op.name == "scan"]
