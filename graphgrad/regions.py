"""What planning decides: regions, each of which becomes one step of a program, and places.

Fusion cuts a graph into the regions of a Plan; memory planning gives every value a Place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from graphgrad.ir import Graph, Node

LOOP, CONTRACT, CONTROL, HOST = "loop", "contract", "control", "host"
INPUT, OUTPUT, ARENA, CONSTANT = "input", "output", "arena", "constant"


@dataclass(frozen=True, eq=False)
class Region:
    """A connected, convex set of nodes computed together.

    ``nodes`` in topological order, views between them included; ``inputs`` are values of other
    regions or graph inputs that are read; ``outputs`` are the nodes written to memory.
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


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A value of ``nbytes`` bytes, live from step ``start`` to step ``stop``, both included."""

    start: int
    stop: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Place:
    """Buffer ``index`` of a kind: a graph input, a graph output, a lifetime, or a constant.

    ``offset`` bytes into it; a value that starts elsewhere than at 0 shares a buffer with others.
    """

    kind: str
    index: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Roll:
    """A scan's carry that is kept at every step: row after row of the buffer at ``place``.

    The first value is its first row (its last, if the scan is reversed), each step writes the next.
    ``stacks`` are the results that these rows already are: nothing writes them.
    """

    place: Place
    stacks: tuple[int, ...]


@dataclass
class Assignment:
    """What ``assign`` decides; ``copies`` (value, from, to) run in order after the last region."""

    places: dict[Node, Place] = field(default_factory=dict)
    lifetimes: list[Lifetime] = field(default_factory=list)
    constants: list[Node] = field(default_factory=list)
    inplace: dict[Region, dict[Node, Node]] = field(default_factory=dict)
    rolls: dict[Region, dict[int, Roll]] = field(default_factory=dict)
    copies: list[tuple[Node, Place, Place]] = field(default_factory=list)
