"""The stages of a compilation as rows of numbers: which nodes there are, and what changed.

    stages = Stages(material)
    stages.number[node]        # one number for a node and for what stands for it, pass after pass
    stages.rows()              # [{"name", "nodes", "gone", "made", "changed"}, …]

A node keeps its number while it is the same operation, over whatever operands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphgrad.ir import Graph, Node, subgraphs

from .material import Material

KERNELS = "kernels"


class Stages:
    """All stages; nodes are numbered in the order they first appear."""

    def __init__(self, material: Material) -> None:
        self.material = material
        self.number: dict[Node, int] = {}
        self.shown: list[Node] = []
        # The control-flow node around a node of a body, by its own number.
        self.around: dict[int, int] = {}
        self._steps = material.book.steps
        self._stages = [*self._graphs()]
        self._taken: set[int] = set()
        # [{node's number: its operands' numbers}] by stage; outputs are named by position.
        self.operands: list[dict[int, list[int]]] = [
            self._read(i, graph, inner) for i, (_, graph, inner) in enumerate(self._stages)
        ]

    def _graphs(self) -> Iterator[tuple[str, Graph, Mapping[Node, Sequence[Any]]]]:
        """Each stage's name, graph, and the graphs inside control flow where the node has others.

        The book names the pass that is about to run; a stage is called after the one that ran.
        """
        names = ["traced", *(name for name, _ in self.material.book.graphs)]
        for name, (_, graph) in zip(names, self.material.book.graphs, strict=False):
            yield name, graph, {}
        yield KERNELS, self.material.graph, self.material.inner

    def _read(
        self, stage: int, graph: Graph, inner: Mapping[Node, Sequence[Any]]
    ) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        # Numbers of nodes that are there still are not for others to inherit.
        self._taken = {self.number[x] for x in _all(graph, inner) if x in self.number}
        self._graph(stage, graph, inner, found, None)
        return found

    def _graph(
        self,
        stage: int,
        graph: Graph,
        inner: Mapping[Node, Sequence[Any]],
        found: dict[int, list[int]],
        owner: int | None,
    ) -> None:
        leaves: dict[Node, dict[int, list[Node]]] = {}
        for x in dict.fromkeys((*graph.inputs, *graph.nodes)):
            number = self._numbered(stage, x)
            if owner is not None:
                self.around[number] = owner
            operands = [self.number[i] for i in x.inputs]
            if x.op.name == "input" and owner is not None:
                operands = [owner]
            if x.op.name == "result":
                results = leaves.get(x.inputs[0], {}).get(x.attrs["index"], [])
                operands += [self.number[y] for y in results]
            found[number] = operands
            for body in inner.get(x) or subgraphs(x):
                self._graph(stage, body, inner, found, number)
                for i, y in enumerate(body.outputs):
                    leaves.setdefault(x, {}).setdefault(i, []).append(y)

    def _numbered(self, stage: int, x: Node) -> int:
        """A node's number: its own, that of what it stands for, or a new one."""
        if x not in self.number:
            self.number[x] = self._inherited(stage, x)
            self._taken.add(self.number[x])
        return self.number[x]

    def _inherited(self, stage: int, x: Node) -> int:
        if stage:
            step = self._steps[stage - 1]
            free = []
            for y in step.sources.get(x, ()):
                same = y.op is x.op and y.shape == x.shape and y.dtype == x.dtype
                if same and y in self.number and self.number[y] not in self._taken:
                    free.append((step.fates[y].kind not in ("kept", "moved"), self.number[y]))
            if free:
                return min(free)[1]
        self.shown.append(x)
        return len(self.shown) - 1

    # ---------------------------------------------------------------------------------------- rows

    def rows(self) -> list[dict[str, Any]]:
        """The stages for the page; after the first, only what differs from the one before."""
        found: list[dict[str, Any]] = []
        before: dict[int, list[int]] = {}
        for i, ((name, _, _), now) in enumerate(zip(self._stages, self.operands, strict=True)):
            different = {n: ops for n, ops in now.items() if before.get(n) != ops}
            row: dict[str, Any] = {"name": name, "set": _flat(different)}
            if i:
                step = self._steps[i - 1]
                gone = [n for n in before if n not in now]
                row["gone"] = self._gone(step, gone)
                row["made"] = self._made(step, [n for n in now if n not in before])
            found.append(row)
            before = now
        return found

    def _by_number(self, nodes: Any) -> dict[int, list[Node]]:
        found: dict[int, list[Node]] = {}
        for x in nodes:
            if x in self.number:
                found.setdefault(self.number[x], []).append(x)
        return found

    def _gone(self, step: Any, gone: list[int]) -> list[list[Any]]:
        """For each number that ends here: [number, what happened, rules, what stands for it]."""
        nodes = self._by_number(step.before)
        rows: list[list[Any]] = []
        for n in gone:
            fates = [step.fates[x] for x in nodes.get(n, ()) if x in step.fates]
            if not fates:  # an input that nobody reads
                rows.append([n, "removed", [step.name], []])
                continue
            into = [self.number[y] for f in fates for y in f.into if y in self.number]
            rules = dict.fromkeys(rule for f in fates for rule in f.rules)
            kind = fates[0].kind if into else "removed"
            rows.append([n, kind, list(rules) or [step.name], list(dict.fromkeys(into))])
        return rows

    def _made(self, step: Any, new: list[int]) -> list[list[Any]]:
        """For each number that begins here: [number, the numbers it was made from]."""
        nodes = self._by_number(step.after)
        rows: list[list[Any]] = []
        for n in new:
            sources = [y for x in nodes.get(n, ()) for y in step.sources.get(x, ())]
            numbers = dict.fromkeys(self.number[y] for y in sources if y in self.number)
            rows.append([n, list(numbers)])
        return rows


def _all(graph: Graph, inner: Mapping[Node, Sequence[Any]]) -> Iterator[Node]:
    """The nodes of a graph and of the graphs inside it."""
    for x in dict.fromkeys((*graph.inputs, *graph.nodes)):
        yield x
        for body in inner.get(x) or subgraphs(x):
            yield from _all(body, inner)


def _flat(operands: Mapping[int, Sequence[int]]) -> list[list[int]]:
    """[[number, operand, operand, …], …]: the shortest JSON that says it."""
    return [[n, *ops] for n, ops in operands.items()]
