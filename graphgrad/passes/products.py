"""Products the contraction engine has no kernels for, in terms of operations that have them."""

from __future__ import annotations

import math

from graphgrad import dtypes, ir
from graphgrad.choices import settle
from graphgrad.dtypes import INTEGER
from graphgrad.ir import Graph, Node
from graphgrad.views import resolve

FEW_STEPS = 32  # numbers summed to a result: loops over them are no longer than a window's


def plain_products(graph: Graph, halves: bool = True) -> Graph:
    """Rewrite products of integers, and (``halves``) of half-precision numbers and thin ones.

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
    if x.op.name != "dot_general":
        return None
    if x.dtype in (dtypes.float32, dtypes.float64):
        return _multiplied_out(x) if _is_thin(x) else None
    if x.dtype.is_half:
        wide = [ir.node("cast", i, dtype=dtypes.float32, origins=x.origins) for i in x.inputs]
        dot = ir.node("dot_general", *wide, origins=x.origins, **x.attrs)
        return ir.node("cast", dot, dtype=x.dtype, origins=x.origins)
    return _multiplied_out(x) if x.dtype.category <= INTEGER else None


def _is_thin(x: Node) -> bool:
    """Whether a product shares nothing between its results that a tile could keep in registers.

    An outer product sums nothing. A vector times a matrix whose columns are apart in memory is
    gathered number by number; a few steps of it are a loop, which fuses with its neighbours.
    """
    steps = math.prod(x.inputs[0].shape[a] for a in x.attrs["contract"][0])
    if steps == 1:
        return True
    if not any(_is_vector_of_strided(x, side) for side in (0, 1)):
        return False
    return settle("few steps", steps <= FEW_STEPS, binding=steps > 8 * FEW_STEPS)


def _is_vector_of_strided(x: Node, side: int) -> bool:
    """Whether one operand is a vector, and no free dimension of the other one has neighbours."""
    free = [_free(x, 0), _free(x, 1)]
    matrix = x.inputs[1 - side]
    if math.prod(x.inputs[side].shape[a] for a in free[side]) != 1:
        return False
    view = resolve(matrix)
    return view is not None and all(
        matrix.shape[a] == 1 or view.strides[a] != 1 for a in free[1 - side]
    )


def _free(x: Node, side: int) -> list[int]:
    used = (*x.attrs["contract"][side], *x.attrs["batch"][side])
    return [i for i in range(len(x.inputs[side].shape)) if i not in used]


def _multiplied_out(x: Node) -> Node:
    a, b = x.inputs
    contract, batch = x.attrs["contract"], x.attrs["batch"]
    free = [_free(x, 0), _free(x, 1)]
    left = _aligned(a, batch[0], free[0], 0, len(free[1]), contract[0], x)
    right = _aligned(b, batch[1], free[1], len(free[0]), 0, contract[1], x)
    axes = tuple(range(len(x.shape), len(left.shape)))
    product = ir.node("mul", left, right, origins=x.origins)
    if all(product.shape[a] == 1 for a in axes):
        return ir.node("reshape", product, shape=x.shape, origins=x.origins)
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
