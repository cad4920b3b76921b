"""Products the contraction engine has no kernels for, in terms of operations that have them."""

from __future__ import annotations

from graphgrad import dtypes, ir
from graphgrad.dtypes import INTEGER
from graphgrad.ir import Graph, Node


def plain_products(graph: Graph, halves: bool = True) -> Graph:
    """Rewrite products of integers, and (``halves``) of half-precision numbers.

    before  dot_general(i, j)  int64[m, k], int64[k, n]
    after   sum(i[m, 1, k] * j[1, n, k], k)
    before  dot_general(a, b)  float16
    after   cast(dot_general(cast(a, float32), cast(b, float32)), float16)
    """

    def rule(x: Node) -> Node | None:
        kept = not halves and x.dtype.is_floating_point
        return None if kept else _rewrite(x)

    return ir.rewrite(graph, rule, "plain_products")


def _rewrite(x: Node) -> Node | None:
    if x.op.name != "dot_general" or x.dtype in (dtypes.float32, dtypes.float64):
        return None
    if x.dtype.is_half:
        wide = [ir.node("cast", i, dtype=dtypes.float32, origins=x.origins) for i in x.inputs]
        dot = ir.node("dot_general", *wide, origins=x.origins, **x.attrs)
        return ir.node("cast", dot, dtype=x.dtype, origins=x.origins)
    return _multiplied_out(x) if x.dtype.category <= INTEGER else None


def _multiplied_out(x: Node) -> Node:
    a, b = x.inputs
    contract, batch = x.attrs["contract"], x.attrs["batch"]
    free = [
        [i for i in range(len(y.shape)) if i not in (*contract[side], *batch[side])]
        for side, y in enumerate((a, b))
    ]
    left = _aligned(a, batch[0], free[0], 0, len(free[1]), contract[0], x)
    right = _aligned(b, batch[1], free[1], len(free[0]), 0, contract[1], x)
    axes = tuple(range(len(x.shape), len(left.shape)))
    product = ir.node("mul", left, right, origins=x.origins)
    return ir.node("sum", product, axes=axes, origins=x.origins)


def _aligned(
    y: Node,
    batch: tuple[int, ...],
    free: list[int],
    before: int,
    after: int,
    contract: tuple[int, ...],
    x: Node,
) -> Node:
    """``y`` as [batch, 1 * before, free, 1 * after, contract]."""
    order = (*batch, *free, *contract)
    moved = ir.node("permute", y, axes=order, origins=x.origins)
    size = [y.shape[i] for i in order]
    at, end = len(batch), len(batch) + len(free)
    shape = (*size[:at], *[1] * before, *size[at:end], *[1] * after, *size[end:])
    return ir.node("reshape", moved, shape=shape, origins=x.origins)
