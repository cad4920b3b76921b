"""Linear algebra by its names in ``torch.linalg``.

Norms and products are compositions, traced and differentiated like everything else. Factorisations
and solvers call NumPy: they work eagerly, and ``inv``, ``det``, ``slogdet``, ``solve`` and
``cholesky`` have gradients. Matrices are the last two dimensions; others are batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphgrad.autograd.function import Function
from graphgrad.tensor.core import FUNCTIONS, Tensor, publish, wrap
from graphgrad.tensor.products import chain_matmul
from graphgrad.tensor.products import cross as _cross
from graphgrad.tensor.products import matmul as matmul
from graphgrad.tensor.reduce import norm as _p_norm
from graphgrad.tensor.reduce import sum_
from graphgrad.tensor.shapes import axes_of
from graphgrad.tensor.shapes import diagonal as _diagonal

__all__ = [
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "vecdot",
    "vector_norm",
]


# -------------------------------------------------------------------------------- norms, products


def vector_norm(
    x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """The ``ord``-norm of the elements along ``dim`` (all by default)."""
    return _p_norm(x, ord, dim, keepdim, dtype)


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False
) -> Tensor:
    """The norm "fro" or "nuc", 1 or inf (largest column or row sum), or 2 (singular value)."""
    rows, columns = axes_of(tuple(dim), A.ndim)
    if ord == "fro":
        return _p_norm(A, 2, (rows, columns), keepdim)
    if ord in (2, -2, "nuc"):
        values = svdvals(A.movedim((rows, columns), (-2, -1)))
        return values.sum(-1) if ord == "nuc" else values.amax(-1) if ord == 2 else values.amin(-1)
    summed, kept = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = sum_(A.abs(), summed, True)
    out = sums.amax(kept, True) if ord > 0 else sums.amin(kept, True)
    return out if keepdim else out.squeeze((rows, columns))


def norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """``vector_norm``, or ``matrix_norm`` for two dimensions and an ``ord``."""
    x = A if dtype is None else A.to(dtype)
    is_matrix = (dim is None and x.ndim == 2) or (dim is not None and not isinstance(dim, int))
    if ord is None or not is_matrix or (dim is not None and len(axes_of(dim, x.ndim)) != 2):
        return _p_norm(x, 2 if ord is None else ord, dim, keepdim)
    return matrix_norm(x, ord, (-2, -1) if dim is None else dim, keepdim)


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The vector product along a dimension of size 3."""
    return _cross(input, other, dim)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Inner products along ``dim``."""
    return (x * y).sum(dim)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices."""
    return _diagonal(A, offset, dim1, dim2)


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of several matrices."""
    return chain_matmul(*tensors)


def matrix_power(A: Tensor, n: int) -> Tensor:
    """``A`` times itself ``n`` times, by squaring; a negative ``n`` is a power of the inverse."""
    if n < 0:
        return matrix_power(inv(A), -n)
    if n == 0:
        return FUNCTIONS["eye"](A.shape[-1], dtype=A.dtype).expand(A.shape).clone()
    half = matrix_power(A, n // 2) if n > 1 else None
    square = A if half is None else half @ half
    return square @ A if n % 2 and n > 1 else square


# ------------------------------------------------------------------- solvers with gradients


class _Inverse(Function):
    @staticmethod
    def forward(ctx: Any, A: Tensor) -> Tensor:
        out = wrap(np.linalg.inv(A.concrete("linalg.inv")))
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return -(x.mT @ g @ x.mT)


class _Solve(Function):
    @staticmethod
    def forward(ctx: Any, A: Tensor, B: Tensor) -> Tensor:
        out = wrap(np.linalg.solve(A.concrete("linalg.solve"), B.concrete("linalg.solve")))
        ctx.save_for_backward(A, out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        A, x = ctx.saved_tensors
        gb = _Solve.apply(A.mT, g)
        return -(gb @ x.mT), gb


class _LogDet(Function):
    """log |det A|; the gradient is A⁻ᵀ."""

    @staticmethod
    def forward(ctx: Any, A: Tensor) -> Tensor:
        ctx.save_for_backward(A)
        return wrap(np.asarray(np.linalg.slogdet(A.concrete("linalg.slogdet"))[1]))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (A,) = ctx.saved_tensors
        return g.unsqueeze(-1).unsqueeze(-1) * _Inverse.apply(A).mT


class _Det(Function):
    """det A; the gradient is det A · A⁻ᵀ."""

    @staticmethod
    def forward(ctx: Any, A: Tensor) -> Tensor:
        ctx.save_for_backward(A)
        return wrap(np.asarray(np.linalg.det(A.concrete("linalg.det"))))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (A,) = ctx.saved_tensors
        scale = (g * _Det.apply(A)).unsqueeze(-1).unsqueeze(-1)
        return scale * _Inverse.apply(A).mT


class _Cholesky(Function):
    """A = L Lᵀ; the gradient is L⁻ᵀ Φ(Lᵀ g) L⁻¹ made symmetric, Φ the lower triangle with half its
    diagonal (Murray 2016, "Differentiation of the Cholesky decomposition")."""

    @staticmethod
    def forward(ctx: Any, A: Tensor) -> Tensor:
        out = wrap(np.linalg.cholesky(A.concrete("linalg.cholesky")))
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (L,) = ctx.saved_tensors
        inner = (L.mT @ g).tril()
        inner = inner - 0.5 * FUNCTIONS["diag_embed"](inner.diagonal(0, -2, -1))
        inverse = _Inverse.apply(L)
        half = inverse.mT @ inner @ inverse
        return 0.5 * (half + half.mT)


def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices (eagerly only)."""
    return _Inverse.apply(A)


def det(A: Tensor) -> Tensor:
    """Determinants (eagerly only)."""
    return _Det.apply(A)


def slogdet(A: Tensor) -> tuple[Tensor, Tensor]:
    """Sign and logarithm of the determinant's absolute value (eagerly only)."""
    sign = wrap(np.asarray(np.linalg.slogdet(A.concrete("linalg.slogdet"))[0]))
    return sign, _LogDet.apply(A)


def solve(A: Tensor, B: Tensor) -> Tensor:
    """X with A X = B (eagerly only); a vector B is one column."""
    if B.ndim == 1:
        return _Solve.apply(A, B.unsqueeze(-1)).squeeze(-1)
    return _Solve.apply(A, B)


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower (or upper) triangular factor of positive definite matrices (eagerly only)."""
    lower = _Cholesky.apply(A)
    return lower.mT if upper else lower


# ------------------------------------------------------------------ factorisations, values only


def _values_only(name: str, *tensors: Tensor) -> list[np.ndarray]:
    if any(x._needs for x in tensors):
        raise NotImplementedError(f"linalg.{name} has no gradient: detach() its operands")
    return [x.concrete(f"linalg.{name}") for x in tensors]


def _factors(name: str, call: Callable[..., Any], *tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(wrap(np.ascontiguousarray(y)) for y in call(*_values_only(name, *tensors)))


def qr(A: Tensor, mode: str = "reduced") -> tuple[Tensor, ...]:
    """(Q, R) (eagerly, without gradient)."""
    return _factors("qr", lambda a: np.linalg.qr(a, mode), A)


def svd(A: Tensor, full_matrices: bool = True) -> tuple[Tensor, ...]:
    """(U, S, Vᵀ) (eagerly, without gradient)."""
    return _factors("svd", lambda a: np.linalg.svd(a, full_matrices), A)


def svdvals(A: Tensor) -> Tensor:
    """Singular values, the largest first (eagerly, without gradient)."""
    return _factors("svdvals", lambda a: (np.linalg.svd(a, compute_uv=False),), A)[0]


def eigh(A: Tensor) -> tuple[Tensor, ...]:
    """(eigenvalues, eigenvectors) of symmetric matrices (eagerly, without gradient)."""
    return _factors("eigh", np.linalg.eigh, A)


def eigvalsh(A: Tensor) -> Tensor:
    """Eigenvalues of symmetric matrices (eagerly, without gradient)."""
    return _factors("eigvalsh", lambda a: (np.linalg.eigvalsh(a),), A)[0]


def pinv(A: Tensor) -> Tensor:
    """The Moore-Penrose inverse (eagerly, without gradient)."""
    return _factors("pinv", lambda a: (np.linalg.pinv(a),), A)[0]


def matrix_rank(A: Tensor) -> Tensor:
    """How many singular values are not 0 (eagerly)."""
    return wrap(np.asarray(np.linalg.matrix_rank(A.detach().concrete("linalg.matrix_rank"))))


def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number (eagerly, without gradient)."""
    return _factors("cond", lambda a: (np.linalg.cond(a, p).astype(a.dtype),), A)[0]


def lstsq(A: Tensor, B: Tensor) -> tuple[Tensor, ...]:
    """(solution, residuals, rank, singular values) of least squares (eagerly, no gradient)."""
    return _factors("lstsq", lambda a, b: np.linalg.lstsq(a, b, rcond=None), A, B)


def _logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant (eagerly only)."""
    sign, size = slogdet(input)
    return FUNCTIONS["where"](sign > 0, size, float("nan"))


# The names of old, on graphgrad itself and on tensors.
for _names, _operation in {
    ("det",): det,
    ("inverse",): inv,
    ("logdet",): _logdet,
    ("slogdet",): slogdet,
    ("matrix_power",): matrix_power,
    ("cholesky",): cholesky,
    ("qr",): qr,
    ("svd",): svd,
    ("pinverse",): pinv,
}.items():
    publish(_names, _operation)
