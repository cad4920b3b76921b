"""What an operation costs: floating-point operations and bytes, by the shapes alone.

flops(node)            # 2·m·n·k for a product, one for each element of the rest
bytes_text(1_605_632)  # "1.6 MB"
"""

from __future__ import annotations

import math

from graphgrad.ir import Node, subgraphs

# Kinds of primitives that move values, or none.
_FREE = {"source", "movement", "index", "sort", "project", "host"}
# Movement that adds up.
_SUMS = {"window_sum", "scatter_add"}


def flops(x: Node) -> int:
    """Floating-point operations of one node; a fused multiply-add counts as two.

    An elementwise function counts as one for each element of its result, a reduction as one for
    each element it reads, a loop as its body as often as it runs.
    """
    if x.op.kind == "contract":
        return _product(x)
    if x.op.kind == "control":
        inner = [sum(map(flops, graph.nodes)) for graph in subgraphs(x)]
        return x.attrs.get("length", 1) * max(inner, default=0)
    if x.op.kind in ("reduce", "cumulative") or x.op.name in _SUMS:
        return x.inputs[-1].size
    return 0 if x.op.kind in _FREE else x.size


def _product(x: Node) -> int:
    """Twice the result's elements times the length of the sums."""
    left = x.inputs[0]
    axes = x.attrs["contract"][0] if "contract" in x.attrs else ()
    return 2 * x.size * math.prod(left.shape[i] for i in axes)


def nbytes(x: Node) -> int:
    """Bytes of a node's result, or of all of its results."""
    if x.op.results:
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype in x.results)
    return x.nbytes


def bytes_text(count: int) -> str:
    """``512 B``, ``1.6 MB``: three digits at most, in powers of a thousand."""
    return _text(count, ("B", "kB", "MB", "GB", "TB", "PB"))


def flops_text(count: int) -> str:
    """``870 FLOP``, ``15.1 MFLOP``."""
    return _text(count, ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"))


def _text(count: float, units: tuple[str, ...]) -> str:
    power = 0
    while round(count) >= 1000 and power < len(units) - 1:
        count, power = count / 1000, power + 1
    number = f"{count:.1f}" if count < 9.95 and power else f"{count:.0f}"
    return f"{number.removesuffix('.0')} {units[power]}"
