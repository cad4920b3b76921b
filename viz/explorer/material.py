"""What the explorer is made from: the account of a compilation, its program, and measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphgrad.ir import Node
from graphgrad.regions import Region

from ..compiled import NONE, Labels


@dataclass(frozen=True)
class Kernel:
    """One region of the program, and how it runs.

    sources   its kernels: objects with ``name``, ``source``, ``path`` and ``lines`` by node
    reason    why it is a NumPy call, where it is one
    rows      rows of the program that compute (a part of) it
    seconds   of one call, measured; None where nothing was measured
    """

    region: Region
    sources: Sequence[Any] = ()
    reason: str = ""
    rows: tuple[int, ...] = ()
    flops: int = 0
    nbytes: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class Bar:
    """A value's place in the arena: ``offset``, ``nbytes``, and the steps it is alive in."""

    start: int
    stop: int
    offset: int
    nbytes: int
    nodes: tuple[Node, ...] = ()
    label: str = ""


@dataclass(frozen=True)
class Material:
    """Everything the page shows.

    book      an Account: stages with their graphs, and what became of every node
    graph     the graph that kernels compute, after fusion
    inner     the graphs inside a control-flow node, by the node, after fusion
    kernels   in the order they run; the first ``steps`` are those of the program's own steps
    work      operations of a node
    guards    what is compared at each call; ``retraces`` what changed each time; ``facts`` lines
    machine   what the measurements were made on
    """

    title: str
    book: Any
    graph: Any
    inner: Mapping[Node, Sequence[Any]]
    kernels: Sequence[Kernel]
    steps: int
    bars: Sequence[Bar]
    work: Callable[[Node], int]
    labels: Labels = NONE
    homes: Mapping[Node, Sequence[Region]] = field(default_factory=dict)
    guards: Sequence[str] = ()
    retraces: Sequence[str] = ()
    facts: Sequence[str] = ()
    machine: str = ""
