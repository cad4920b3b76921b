"""Linear algebra by its names on ``torch`` itself and on tensors, with the older signatures."""

from __future__ import annotations

from typing import Any

from graphgrad.linalg import (
    decompositions,
    lowrank,
    norms,
    products,
    reflections,
    solutions,
    solvers,
)
from graphgrad.linalg.decompositions import lu_unpack, returned
from graphgrad.linalg.errors import expect_same_dtype, expect_square
from graphgrad.linalg.solvers import expect_fit, together
from graphgrad.tensor.core import FUNCTIONS, Tensor, publish
from graphgrad.tensor.hosted import call

_svd = returned("svd", "U S V")
_qr = returned("qr", "Q R")
_slogdet = returned("slogdet", "sign logabsdet")
_triangular = returned("triangular_solve", "solution cloned_coefficient")


def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """(U, S, V) with U·diag(S)·Vᴴ = A; reduced if ``some``."""
    if not compute_uv:
        m, n = input.shape[-2:]
        batch = tuple(input.shape[:-2])
        zeros = [input.new_zeros((*batch, k, k)) for k in (m, n)]
        return _svd(zeros[0], decompositions.svdvals(input), zeros[1])
    U, S, Vh = decompositions.svd(input, not some)
    return _svd(U, S, Vh.mH)


def qr(input: Tensor, some: bool = True) -> Any:
    """(Q, R), reduced if ``some``."""
    return _qr(*decompositions.qr(input, "reduced" if some else "complete"))


def slogdet(input: Tensor) -> Any:
    """(sign, logabsdet)."""
    return _slogdet(*solvers.slogdet(input))


def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """The lower (or upper) triangular factor of positive definite matrices."""
    return decompositions.cholesky(input, upper=upper)


def cholesky_solve(input: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with A·X = B, A = L·Lᴴ (or Lᴴ·L with ``upper``)."""
    if input.ndim < 2:
        raise RuntimeError(f"b should have at least 2 dimensions, but has {input.ndim} dimensions")
    expect_square("cholesky_solve", L, "L")
    expect_same_dtype("cholesky_solve", L, input)
    expect_fit("cholesky_solve", L, input, True)
    L, B = together(L, input)
    return call(solutions.CholeskySolve(upper), B, L)[0]


def cholesky_inverse(input: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A = L·Lᴴ (or Lᴴ·L with ``upper``)."""
    expect_square("cholesky_inverse", input, "input")
    return call(solutions.CholeskyInverse(upper), input)[0]


def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    """(solution, A): X with A·X = b, Aᵀ with ``transpose``; reads one triangle of A."""
    turned = A.mT if transpose else A
    X = solvers.solve_triangular(turned, b, upper=upper != transpose, unitriangular=unitriangular)
    return _triangular(X, A.clone())


def lu(
    A: Tensor, pivot: bool = True, get_infos: bool = False, out: Any = None
) -> tuple[Tensor, ...]:
    """(LU, pivots), and the infos if asked for."""
    results = tuple(decompositions.lu_factor_ex(A, pivot=pivot))
    return results if get_infos else results[:2]


def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """X with A·X = b for the A that was factored."""
    return solvers.lu_solve(LU_data, LU_pivots, b)


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The Moore-Penrose inverse."""
    return solvers.pinv(input, rcond=rcond)


for _names, _operation in {
    ("det",): solvers.det,
    ("inverse",): solvers.inv,
    ("logdet",): solvers.logdet,
    ("slogdet",): slogdet,
    ("matrix_power",): solvers.matrix_power,
    ("matrix_exp",): solvers.matrix_exp,
    ("cholesky",): cholesky,
    ("cholesky_solve",): cholesky_solve,
    ("cholesky_inverse",): cholesky_inverse,
    ("triangular_solve",): triangular_solve,
    ("lu",): lu,
    ("lu_solve",): lu_solve,
    ("qr",): qr,
    ("svd",): svd,
    ("geqrf",): reflections.geqrf,
    ("orgqr",): reflections.householder_product,
    ("ormqr",): reflections.ormqr,
    ("pinverse",): pinverse,
    ("norm",): norms.legacy_norm,
}.items():
    publish(_names, _operation)
FUNCTIONS |= {
    "lu_unpack": lu_unpack,
    "svd_lowrank": lowrank.svd_lowrank,
    "pca_lowrank": lowrank.pca_lowrank,
    "vander": products.legacy_vander,
}
