"""Matrices in the graph language: what gradients of factorisations are written with.

Matrices are the last two dimensions of Nodes or Tensors; operands of a product share their batch.
"""

from __future__ import annotations

from typing import Any

from graphgrad.dtypes import int64
from graphgrad.lang import (
    add,
    apply,
    conj,
    dot_general,
    eq,
    expand,
    full,
    ge,
    gt,
    iota,
    permute,
    reshape,
    slice_,
    sum_,
    where,
)

Value = Any


def mm(x: Value, y: Value) -> Value:
    """The matrix product."""
    n = len(x.shape) - 2
    axes = tuple(range(n))
    return dot_general(x, y, ((n + 1,), (n,)), (axes, axes))


def product(*factors: Value) -> Value:
    """The product of several matrices, from the left."""
    result = factors[0]
    for y in factors[1:]:
        result = mm(result, y)
    return result


def transposed(x: Value) -> Value:
    """Rows and columns exchanged."""
    n = len(x.shape)
    return permute(x, (*range(n - 2), n - 1, n - 2))


def adjoint(x: Value) -> Value:
    """The conjugate transpose."""
    return conj(transposed(x))


def _numbers(x: Value) -> tuple[Value, Value]:
    """Row and column number of each element."""
    shape = tuple(x.shape[-2:])
    return iota(shape, 0, int64), iota(shape, 1, int64)


def lower(x: Value, strict: bool = False) -> Value:
    """The lower triangle; ``strict`` leaves the diagonal out."""
    i, j = _numbers(x)
    return where((gt if strict else ge)(i, j), x, 0.0)


def upper(x: Value, strict: bool = False) -> Value:
    """The upper triangle."""
    i, j = _numbers(x)
    return where((gt if strict else ge)(j, i), x, 0.0)


def eye(n: int, like: Value) -> Value:
    """The unit matrix, in every batch of ``like``."""
    shape = (*like.shape[:-2], n, n)
    i, j = iota((n, n), 0, int64), iota((n, n), 1, int64)
    return expand(where(eq(i, j), full((n, n), 1, like.dtype), 0.0), shape)


def diagonal(x: Value) -> Value:
    """The diagonal of square matrices."""
    i, j = _numbers(x)
    return sum_(where(eq(i, j), x, 0.0), (len(x.shape) - 1,))


def on_diagonal(x: Value, values: Value) -> Value:
    """``x`` with another diagonal: ``values``, or one number."""
    i, j = _numbers(x)
    new = values if isinstance(values, (int, float)) else row(values)
    return where(eq(i, j), new, x)


def row(v: Value) -> Value:
    """Vectors as rows: multiplies columns of matrices."""
    return reshape(v, (*v.shape[:-1], 1, v.shape[-1]))


def column(v: Value) -> Value:
    """Vectors as columns: multiplies rows of matrices."""
    return reshape(v, (*v.shape, 1))


def number(v: Value) -> Value:
    """One number a matrix, to multiply matrices with."""
    return reshape(v, (*v.shape, 1, 1))


def block(x: Value, rows: slice, columns: slice) -> Value:
    """A block of consecutive rows and columns."""
    n = len(x.shape) - 2
    (a, b, _), (c, d, _) = rows.indices(x.shape[-2]), columns.indices(x.shape[-1])
    return slice_(x, (*(0,) * n, a, c), (*x.shape[:n], max(a, b), max(c, d)))


def beside(x: Value, y: Value) -> Value:
    """Two blocks of columns."""
    return apply("concat", x, y, axis=len(x.shape) - 1)


def above(x: Value, y: Value) -> Value:
    """Two blocks of rows."""
    return apply("concat", x, y, axis=len(x.shape) - 2)


def total(*parts: Value | None) -> Value | None:
    """The sum of those that are there; None if none is."""
    result = None
    for p in parts:
        if p is not None:
            result = p if result is None else add(result, p)
    return result
