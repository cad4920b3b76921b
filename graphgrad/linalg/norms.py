"""Norms of vectors and matrices, and condition numbers: compositions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from graphgrad.dtypes import FLOAT
from graphgrad.linalg.decompositions import svdvals
from graphgrad.linalg.errors import expect_matrix, expect_tensors
from graphgrad.linalg.solvers import inv
from graphgrad.tensor.core import Tensor
from graphgrad.tensor.reduce import norm as _p_norm
from graphgrad.tensor.reduce import sum_
from graphgrad.tensor.shapes import axes_of


def _floating(name: str, x: Tensor, dtype: Any) -> Tensor:
    if x.dtype.category < FLOAT:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {x.dtype.name}"
        )
    if dtype is None:
        return x
    if dtype.category < FLOAT or dtype.is_complex is not x.dtype.is_complex:
        raise RuntimeError(
            f"{name}: dtype should be {'complex' if x.dtype.is_complex else 'floating point'}. "
            f"Got {dtype.name}"
        )
    return x.to(dtype)


def vector_norm(
    x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """The ``ord``-norm of the elements along ``dim`` (all by default)."""
    expect_tensors("linalg.vector_norm", x=x)
    if isinstance(ord, (str, complex)):
        raise TypeError(f"linalg.vector_norm: Expected ord to be a number, got {ord!r}")
    x = _floating("linalg.vector_norm", x, dtype)
    if isinstance(dim, (tuple, list)) and not dim:
        dim = None
    axes = axes_of(dim, x.ndim)
    if (ord < 0 or ord == math.inf) and any(x.shape[a] == 0 for a in axes):
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {ord} norm on an empty tensor because the "
            "operation does not have an identity"
        )
    return _p_norm(x, ord, dim, keepdim)


_ORDERS = ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)


def matrix_norm(
    A: Tensor,
    ord: Any = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Tensor:
    """The norm "fro" or "nuc", ±1 or ±inf (column or row sums), or ±2 (singular values)."""
    name = "linalg.matrix_norm"
    expect_matrix(name, A)
    A = _floating(name, A, dtype)
    if isinstance(dim, int) or len(dim) != 2:
        raise RuntimeError(f"{name}: dim must be a 2-tuple. Got {dim}")
    if ord not in _ORDERS:
        raise RuntimeError(f"{name}: Order {ord} not supported.")
    rows, columns = axes_of(tuple(dim), A.ndim)
    if ord == "fro":
        return _p_norm(A, 2, (rows, columns), keepdim)
    if ord in (2, -2, "nuc"):
        out = _of_singular_values(A.movedim((rows, columns), (-2, -1)), ord)
    else:
        summed, kept = (rows, columns) if abs(ord) == 1 else (columns, rows)
        sums = sum_(A.abs(), summed, True)
        _expect_some(name, sums, kept, ord)
        out = sums.amax(kept, True) if ord > 0 else sums.amin(kept, True)
        return out if keepdim else out.squeeze((rows, columns))
    if not keepdim:
        return out
    return out.reshape([1 if i in (rows, columns) else n for i, n in enumerate(A.shape)])


def _of_singular_values(A: Tensor, ord: Any) -> Tensor:
    values = svdvals(A)
    if ord == "nuc":
        return values.sum(-1)
    _expect_some("linalg.matrix_norm", values, -1, ord)
    return values.amax(-1) if ord == 2 else values.amin(-1)


def _expect_some(name: str, x: Tensor, axis: int, ord: Any) -> None:
    if x.shape[axis] == 0:
        raise RuntimeError(
            f"{name}: cannot compute the {ord} norm of an empty matrix, which has no identity"
        )


def norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """``matrix_norm`` for two dimensions and an ``ord``, else ``vector_norm``.

    Without ``ord`` it is the 2-norm of all elements along ``dim``.
    """
    expect_tensors("linalg.norm", A=A)
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    width = 1 if isinstance(dim, int) else None if dim is None else len(dim)
    if dim is not None and width not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dim)}"
        )
    if dim is None:
        if A.ndim not in (1, 2):
            raise RuntimeError(
                "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
                f"{A.ndim}D."
            )
        width, dim = A.ndim, tuple(range(A.ndim))
    if width == 2:
        return matrix_norm(A, ord, dim, keepdim, dtype=dtype)
    if isinstance(ord, str):
        raise RuntimeError(f"linalg.norm: Order {ord} not supported for vectors.")
    return vector_norm(A, ord, dim, keepdim, dtype=dtype)


def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number: ‖A‖·‖A⁻¹‖ in the norm ``p``; None and 2: by singular values."""
    name = "linalg.cond"
    expect_matrix(name, A)
    if p in (None, 2, -2):
        values = svdvals(A)
        if not values.shape[-1]:
            return values.sum(-1)
        low, high = values[..., -1], values[..., 0]
        return high / low if p != -2 else low / high
    if p not in _ORDERS:
        raise RuntimeError(f"{name}: unsupported norm: {p!r}")
    if A.shape[-1] != A.shape[-2]:
        raise RuntimeError(
            f"{name}: with p={p!r} A must be batches of square matrices, but they are "
            f"{A.shape[-2]} by {A.shape[-1]} matrices"
        )
    if not A.numel():
        return A.abs().sum((-2, -1))
    return matrix_norm(A, p) * matrix_norm(inv(A), p)


def legacy_norm(
    input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Tensor:
    """``torch.norm``: "fro" and numbers over any dimensions, "nuc" over two."""
    if p == "nuc":
        x = input if dtype is None else input.to(dtype)
        if dim is None and x.ndim != 2:
            raise RuntimeError(f"linalg.matrix_norm: 'nuc' needs 2 dimensions, got {x.ndim}")
        return matrix_norm(x, "nuc", (0, 1) if dim is None else dim, keepdim)
    if isinstance(p, str) and p != "fro":
        raise RuntimeError(f"norm(): unsupported norm {p!r}: 'fro', 'nuc' or a number")
    return _p_norm(input, p, dim, keepdim, dtype)
