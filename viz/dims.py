"""Sizes by name: ``N×6×28×28`` for a batch of 64, where it is known that the 64 is the batch.

    sizes = named_sizes({"N": 64})                       # every 64 that is no parameter's
    sizes = compared_sizes(graph, other, {"N": 64})      # what differs in a trace of other sizes
    sizes(node.shape, node)                              # ("N", 6, 28, 28)

Two traces of one function over inputs of different sizes say exactly which sizes follow the batch;
one trace can only say which are equal to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from graphgrad.ir import Graph, Node
from graphgrad.ops import Shape

Sizes = Callable[[Shape, "Node | None"], tuple[int | str, ...]]
NAMES = "NMLKT"


def plain(shape: Shape, node: Node | None = None) -> tuple[int | str, ...]:
    """Numbers only."""
    return shape


def named_sizes(dims: Mapping[str, int]) -> Sizes:
    """Sizes equal to one of ``dims``, except those of parameters and buffers."""
    name_of = {size: name for name, size in dims.items()}

    def sizes(shape: Shape, node: Node | None = None) -> tuple[int | str, ...]:
        fixed = node is not None and node.attrs.get("role") in ("parameter", "buffer")
        return shape if fixed else tuple(name_of.get(size, size) for size in shape)

    return sizes


def compared_sizes(graph: Graph, other: Graph, dims: Mapping[str, int]) -> Sizes | None:
    """Sizes that differ in ``other``, a trace of the same function; None if it is another program.

    ``dims`` names sizes of the inputs of ``graph``; those that differ and have no name get one.
    """
    one, two = _nodes(graph), _nodes(other)
    if [x.op for x in one] != [x.op for x in two]:
        return None
    known: dict[tuple[int, int], str] = {}
    name_of = {size: name for name, size in dims.items()}
    free = (name for name in NAMES if name not in dims)
    for x, y in zip(graph.inputs, other.inputs, strict=True):
        for pair in zip(x.shape, y.shape, strict=False):
            if pair[0] != pair[1] and pair not in known:
                known[pair] = name_of.get(pair[0]) or next(free, "?")
    twin = dict(zip(one, two, strict=True))

    def sizes(shape: Shape, node: Node | None = None) -> tuple[int | str, ...]:
        like = twin.get(node) if node is not None else None
        if like is None or len(like.shape) != len(shape):
            return shape
        return tuple(_name(pair, known) for pair in zip(shape, like.shape, strict=True))

    return sizes


def _nodes(graph: Graph) -> list[Node]:
    return list(dict.fromkeys((*graph.inputs, *graph.nodes)))


def _name(pair: tuple[int, int], known: Mapping[tuple[int, int], str]) -> int | str:
    """``N``, ``3N`` for what is three times as large in both traces, else the number."""
    size, other = pair
    if size == other:
        return size
    for (a, b), name in known.items():
        if size % a == 0 and other % b == 0 and size // a == other // b:
            return name if size == a else f"{size // a}{name}"
    return size
