"""Approximations of low rank by random projection (Halko, Martinsson and Tropp 2009)."""

from __future__ import annotations

from graphgrad.linalg.decompositions import qr, svd
from graphgrad.linalg.errors import expect_matrix
from graphgrad.tensor.core import FUNCTIONS, Tensor


def _range(A: Tensor, q: int, niter: int, M: Tensor | None) -> Tensor:
    """An orthonormal basis of what A maps ``q`` random vectors to, after ``niter`` refinements."""
    A = A if M is None else A - M
    Q = qr(A @ FUNCTIONS["randn"](A.shape[-1], q, dtype=A.dtype, device=A.device)).Q
    for _ in range(niter):
        Q = qr(A.mH @ Q).Q
        Q = qr(A @ Q).Q
    return Q


def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """(U, S, V) of rank ``q`` with U·diag(S)·Vᴴ ≈ A - M."""
    expect_matrix("svd_lowrank", A)
    q = min(6, *A.shape[-2:]) if q is None else q
    M = None if M is None else M.expand(A.shape)
    # Of a wide matrix the adjoint is factored.
    wide = A.shape[-2] < A.shape[-1]
    if wide:
        A, M = A.mH, None if M is None else M.mH
    Q = _range(A, q, 2 if niter is None else niter, M)
    U, S, Vh = svd(Q.mH @ (A if M is None else A - M), full_matrices=False)
    U, V = Q @ U, Vh.mH
    return (V, S, U) if wide else (U, S, V)


def pca_lowrank(
    A: Tensor, q: int | None = None, center: bool = True, niter: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """(U, S, V) of rank ``q`` of A, its columns centred: V holds the principal directions."""
    expect_matrix("pca_lowrank", A)
    m, n = A.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise ValueError(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}"
        )
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, True) if center else A, q, niter)
