"""What fusion decides: a graph cut into regions, each of which becomes one step of a program."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from graphgrad.ir import Graph, Node

LOOP, CONTRACT, CONTROL, HOST = "loop", "contract", "control", "host"


@dataclass(frozen=True, eq=False)
class Region:
    """A connected, convex set of nodes computed together.

    ``nodes`` in topological order, views between them included; ``inputs`` are values of other regions
    (or graph inputs) that are read from memory; ``outputs`` are the nodes written to memory.
    """

    kind: str
    nodes: tuple[Node, ...]
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]

    @property
    def name(self) -> str:
        """Named after its operations: ``mul_add_sum``."""
        ops = [x.op.name for x in self.nodes if x.op.kind not in ("movement", "source")]
        return "_".join(ops[:6]) or "_".join(x.op.name for x in self.nodes[:3])


@dataclass(frozen=True, eq=False)
class Plan:
    """A fused graph: regions in an order that respects their dependences."""

    graph: Graph
    regions: tuple[Region, ...]

    def __iter__(self) -> Iterator[Region]:
        return iter(self.regions)
