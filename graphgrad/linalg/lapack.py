"""Factorisations of arrays that ``numpy.linalg`` does not have, or not as PyTorch calls them.

Arrays hold matrices in their last two dimensions; loops run over columns, for all batches at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphgrad.linalg.errors import LinAlgError

Array = Any


def adjoint(x: Array) -> Array:
    """The conjugate transpose."""
    return np.conjugate(np.swapaxes(x, -1, -2))


def each(function: Callable[[Array], Array], a: Array, bad: Callable[[Array], int]) -> Any:
    """``function`` of every matrix and an int32 array of infos: 0, or ``bad`` where it failed.

    What failed is NaN. All matrices at once first; one by one only after one of them failed.
    """
    info = np.zeros(a.shape[:-2], np.int32)
    try:
        return function(a), info
    except np.linalg.LinAlgError:
        out = np.full(a.shape, np.nan, a.dtype)
    for place in np.ndindex(a.shape[:-2]):
        try:
            out[place] = function(a[place])
        except np.linalg.LinAlgError:
            info[place] = bad(a[place])
    return out, info


def zero_pivot(a: Array) -> int:
    """The number, from 1, of the first zero on the diagonal of U; of a square matrix."""
    diagonal = np.diagonal(lu(a)[1])
    return int(np.argmin(np.abs(diagonal))) + 1


def bad_minor(a: Array) -> int:
    """The order of the first leading minor that is not positive definite."""
    for k in range(1, len(a) + 1):
        try:
            np.linalg.cholesky(a[:k, :k])
        except np.linalg.LinAlgError:
            return k
    return len(a)


def lu(a: Array) -> tuple[Array, Array, Array]:
    """(L, U, pivots): P·L·U = A, by columns with partial pivoting.

    ``pivots[k]`` is the row, from 1, that row k changed places with, as LAPACK counts them. Complex
    pivots are compared by |re| + |im|, as LAPACK does.
    """
    m, n = a.shape[-2:]
    batch, k = a.shape[:-2], min(m, n)
    work = np.array(a.reshape(math.prod(batch), m, n), order="C")
    pivots = np.empty((len(work), k), np.int32)
    each_one = np.arange(len(work))
    for j in range(k):
        below = work[:, j:, j]
        size = np.abs(below.real) + np.abs(below.imag) if work.dtype.kind == "c" else np.abs(below)
        chosen = j + np.argmax(size, -1)
        pivots[:, j] = chosen + 1
        work[each_one, j], work[each_one, chosen] = (
            work[each_one, chosen],
            work[each_one, j].copy(),
        )
        head = work[:, j, j, None]
        factors = np.where(head == 0, 0, work[:, j + 1 :, j] / np.where(head == 0, 1, head))
        work[:, j + 1 :, j] = factors
        work[:, j + 1 :, j + 1 :] -= factors[:, :, None] * work[:, j, None, j + 1 :]
    work = work.reshape(*batch, m, n)
    unit = np.eye(m, k, dtype=a.dtype)
    return np.tril(work[..., :k], -1) + unit, np.triu(work[..., :k, :]), pivots.reshape(*batch, k)


def permutation(pivots: Array, m: int) -> Array:
    """The rows that the exchanges ``pivots`` bring to places 0, 1, …, m - 1."""
    batch, k = pivots.shape[:-1], pivots.shape[-1]
    flat = pivots.reshape(math.prod(batch), k).astype(np.int64) - 1
    order = np.tile(np.arange(m), (len(flat), 1))
    each_one = np.arange(len(flat))
    for i in range(k):
        other = flat[:, i]
        order[each_one, i], order[each_one, other] = (
            order[each_one, other],
            order[each_one, i].copy(),
        )
    return order.reshape(*batch, m)


def solve_triangular(a: Array, b: Array, upper: bool, unit: bool) -> Array:
    """X with A·X = B, row by row; infinite where the diagonal is 0."""
    n = a.shape[-1]
    x = np.array(b, order="C")
    for i in reversed(range(n)) if upper else range(n):
        known = slice(i + 1, n) if upper else slice(0, i)
        x[..., i, :] -= np.matmul(a[..., i, None, known], x[..., known, :])[..., 0, :]
        if not unit:
            x[..., i, :] /= a[..., i, i, None]
    return x


# Coefficients of the [13/13] Padé approximant of exp, and the 1-norm up to which it is accurate
# (Higham 2005, "The scaling and squaring method for the matrix exponential revisited").
_PADE = (
    64764752532480000.0,
    32382376266240000.0,
    7771770303897600.0,
    1187353796428800.0,
    129060195264000.0,
    10559470521600.0,
    670442572800.0,
    33522128640.0,
    1323241920.0,
    40840800.0,
    960960.0,
    16380.0,
    182.0,
    1.0,
)
_REACH = 5.371920351148152


def matrix_exp(a: Array) -> Array:
    """The matrix exponential, by scaling, a Padé approximant and squaring."""
    n = a.shape[-1]
    if a.size == 0:
        return a.copy()
    norm = float(np.abs(a).sum(-2).max())
    if not np.isfinite(norm):
        return np.full_like(a, np.nan)
    squarings = max(0, int(np.ceil(np.log2(norm / _REACH)))) if norm > _REACH else 0
    x = a.astype(np.result_type(a.dtype, np.float64)) / 2.0**squarings
    c, unit = _PADE, np.eye(n)
    x2 = x @ x
    x4 = x2 @ x2
    x6 = x4 @ x2
    odd = x6 @ (c[13] * x6 + c[11] * x4 + c[9] * x2) + c[7] * x6 + c[5] * x4 + c[3] * x2
    odd = x @ (odd + c[1] * unit)
    even = x6 @ (c[12] * x6 + c[10] * x4 + c[8] * x2) + c[6] * x6 + c[4] * x4 + c[2] * x2
    even = even + c[0] * unit
    out = np.linalg.solve(even - odd, even + odd)
    for _ in range(squarings):
        out = out @ out
    return out.astype(a.dtype)


def pinv(a: Array, rank_cut: tuple[Any, Any], hermitian: bool) -> Array:
    """The Moore-Penrose inverse; singular values up to max(atol, rtol·largest) count as 0."""
    if a.size == 0:
        return np.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)
    if hermitian:
        values, v = np.linalg.eigh(a)
        return (v * _inverse_above(values, rank_cut)[..., None, :]) @ adjoint(v)
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    return adjoint(vh) @ (_inverse_above(s, rank_cut)[..., :, None] * adjoint(u))


def _inverse_above(values: Array, rank_cut: tuple[Any, Any]) -> Array:
    size = np.abs(values)
    atol, rtol = (np.asarray(t)[..., None] for t in rank_cut)
    kept = size > np.maximum(atol, rtol * size.max(-1, keepdims=True, initial=0))
    return np.where(kept, 1 / np.where(kept, values, 1), 0).astype(values.dtype)


def guarded(function: Callable[..., Any], what: str, *arrays: Array) -> Any:
    """``function``'s result, with NumPy's failure as LinAlgError."""
    try:
        return function(*arrays)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"{what}: {error}") from None


def singular(name: str, info: Array) -> LinAlgError:
    """PyTorch's error for the first matrix that has no inverse."""
    wrong = np.flatnonzero(info)
    batch = f"(Batch element {wrong[0]}): " if np.ndim(info) else ""
    order = np.ravel(info)[wrong[0]]
    what = "inversion" if name.endswith("inv") else "solver"
    return LinAlgError(
        f"{name}: {batch}The {what} could not be completed because the input matrix is singular "
        f"(the diagonal element {order} is zero)."
    )
