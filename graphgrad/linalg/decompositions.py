"""Factorisations by their names in ``torch.linalg``, each a named tuple where PyTorch has one."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from graphgrad.linalg import factors
from graphgrad.linalg.errors import expect_matrix, expect_square, expect_tensors
from graphgrad.tensor.core import FUNCTIONS, Tensor
from graphgrad.tensor.hosted import call


def returned(name: str, fields: str) -> Any:
    """The named tuple that PyTorch returns from ``name``."""
    kind: Any = namedtuple(name, fields)
    kind.__repr__ = lambda self: (
        f"torch.return_types.{name}(\n"
        + ",\n".join(f"{f}={getattr(self, f)!r}" for f in self._fields)
        + ")"
    )
    return kind


_qr = returned("linalg_qr", "Q R")
_svd = returned("linalg_svd", "U S Vh")
_eig = returned("linalg_eig", "eigenvalues eigenvectors")
_eigh = returned("linalg_eigh", "eigenvalues eigenvectors")
_lu = returned("linalg_lu", "P L U")
_lu_factor = returned("linalg_lu_factor", "LU pivots")
_lu_factor_ex = returned("linalg_lu_factor_ex", "LU pivots info")
_cholesky_ex = returned("linalg_cholesky_ex", "L info")


def _cholesky(A: Tensor, upper: bool, check: bool) -> tuple[Tensor, Tensor]:
    L, info = call(factors.Cholesky(check, upper), A)
    return (L.mH if upper else L), info


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The triangular factor of positive definite matrices: L·Lᴴ = A, or Uᴴ·U with ``upper``."""
    expect_square("linalg.cholesky", A)
    return _cholesky(A, upper, True)[0]


def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """(L, info): ``info`` is 0, or the order of the first minor that is not positive definite."""
    expect_square("linalg.cholesky_ex", A)
    return _cholesky_ex(*_cholesky(A, upper, check_errors))


def qr(A: Tensor, mode: str = "reduced") -> Any:
    """(Q, R) with Q·R = A; ``mode`` "reduced", "complete" (Q is square) or "r" (R alone)."""
    expect_matrix("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), "
            "'r', or 'complete'"
        )
    if mode != "r":
        return _qr(*call(factors.QR(mode), A))
    if A.requires_grad:
        raise RuntimeError(
            "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. "
            "Please use linalg.qr(A, mode='reduced') if you are going to require gradients."
        )
    return _qr(A.new_empty((0,)), call(factors.QR("reduced"), A)[1])


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """(U, S, Vh) with U·diag(S)·Vh = A, the largest singular value first."""
    expect_matrix("linalg.svd", A)
    _no_driver("linalg.svd", driver)
    return _svd(*call(factors.SVD(full_matrices), A))


def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """Singular values, the largest first."""
    expect_matrix("linalg.svdvals", A)
    _no_driver("linalg.svdvals", driver)
    return call(factors.SVD(False), A)[1]


def _no_driver(name: str, driver: str | None) -> None:
    if driver is not None:
        raise RuntimeError(f"{name}: keyword argument `driver=` is only supported on CUDA inputs")


def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """(eigenvalues, eigenvectors) of Hermitian matrices, the smallest first."""
    expect_square("linalg.eigh", A)
    return _eigh(*call(factors.Eigh(_triangle(UPLO)), A))


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """Eigenvalues of Hermitian matrices, the smallest first."""
    expect_square("linalg.eigvalsh", A)
    return call(factors.Eigh(_triangle(UPLO)), A)[0]


def _triangle(UPLO: Any) -> str:
    if str(UPLO).upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return str(UPLO).upper()


def eig(A: Tensor) -> Any:
    """(eigenvalues, eigenvectors) of square matrices, complex, in no particular order."""
    expect_square("linalg.eig", A)
    return _eig(*call(factors.Eig(), A))


def eigvals(A: Tensor) -> Tensor:
    """Eigenvalues of square matrices, complex, in no particular order."""
    expect_square("linalg.eigvals", A)
    return call(factors.Eig(), A)[0]


# ----------------------------------------------------------------------------------------------- LU


def _pivoted(name: str, A: Tensor, pivot: bool) -> tuple[Tensor, ...]:
    expect_matrix(name, A)
    if not pivot:
        raise RuntimeError(f"{name}: LU without pivoting is not implemented on the CPU")
    return call(factors.LU(), A)


def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """(P, L, U) with P·L·U = A."""
    return _lu(*_pivoted("linalg.lu", A, pivot)[:3])


def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """(LU, pivots): L (its unit diagonal left out) and U in one matrix, and the row exchanges."""
    return _lu_factor(*_packed("linalg.lu_factor", A, pivot)[:2])


def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """``lu_factor`` and ``info``: 0, or the number of the first zero on U's diagonal."""
    packed = _packed("linalg.lu_factor_ex", A, pivot)
    if check_errors and bool(packed[2].any()):
        raise RuntimeError(
            "torch.linalg.lu_factor_ex: U has a zero on its diagonal: the matrix is singular"
        )
    return _lu_factor_ex(*packed)


def _packed(name: str, A: Tensor, pivot: bool) -> tuple[Tensor, Tensor, Tensor]:
    _, L, U, pivots, info = _pivoted(name, A, pivot)
    m, n = A.shape[-2:]
    k = min(m, n)
    packed = zeros_beside(L.tril(-1), n - k, -1) + zeros_beside(U, m - k, -2)
    return packed, pivots, info


def zeros_beside(x: Tensor, count: int, dim: int) -> Tensor:
    """``x`` with ``count`` rows or columns of zeros after it."""
    if not count:
        return x
    shape = list(x.shape)
    shape[dim] = count
    return FUNCTIONS["cat"]([x, x.new_zeros(shape)], dim)


def _missing(name: str) -> Any:
    def operation(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(
            f"linalg.{name}: NumPy has no LDL factorisation; use linalg.lu_factor or linalg.eigh"
        )

    operation.__name__ = name
    operation.__doc__ = "Not available: raises NotImplementedError that says what to use."
    return operation


ldl_factor, ldl_factor_ex, ldl_solve = map(_missing, ("ldl_factor", "ldl_factor_ex", "ldl_solve"))


def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> Any:
    """(P, L, U) of what ``lu_factor`` returned; empty tensors for what is not unpacked."""
    expect_tensors("lu_unpack", LU_data=LU_data, LU_pivots=LU_pivots)
    if LU_pivots.dtype.name != "int32":
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 "
            "dtype. Note: this function is intended to be used with the output produced by "
            "torch.linalg.lu_factor"
        )
    P = L = U = LU_data.new_empty((0,))
    if unpack_pivots:
        m = LU_data.shape[-2]
        # Column j of P is the unit vector of the row that came to place j.
        order = row_order(LU_pivots, m).unsqueeze(-2)
        P = (order == FUNCTIONS["arange"](m, device=LU_data.device).unsqueeze(-1)).to(LU_data.dtype)
    if unpack_data:
        L, U = unpacked(LU_data)
    return _unpacked_kind(P, L, U)


_unpacked_kind = returned("lu_unpack", "P L U")


def unpacked(LU: Tensor) -> tuple[Tensor, Tensor]:
    """L with its unit diagonal, and U."""
    m, n = LU.shape[-2:]
    k = min(m, n)
    unit = FUNCTIONS["eye"](m, k, dtype=LU.dtype, device=LU.device)
    return LU[..., :k].tril(-1) + unit, LU[..., :k, :].triu()


def row_order(pivots: Tensor, m: int) -> Tensor:
    """The rows that the exchanges bring to places 0, 1, …, m - 1."""
    return call(factors.RowOrder(m), pivots)[0]
