"""Inverses, solutions, determinants and functions of matrices, by their names in PyTorch."""

from __future__ import annotations

from typing import Any

from graphgrad.dtypes import int64
from graphgrad.linalg import solutions
from graphgrad.linalg.decompositions import eigvalsh, returned, row_order, svdvals, unpacked
from graphgrad.linalg.errors import (
    expect_matrix,
    expect_same_dtype,
    expect_square,
    expect_tensors,
    tied,
)
from graphgrad.ops import size_of
from graphgrad.tensor.core import FUNCTIONS, Tensor
from graphgrad.tensor.hosted import call

_inv_ex = returned("linalg_inv_ex", "inverse info")
_solve_ex = returned("linalg_solve_ex", "result info")
_slogdet = returned("linalg_slogdet", "sign logabsdet")
_lstsq = returned("linalg_lstsq", "solution residuals rank singular_values")


def together(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the batch dimensions that they broadcast to."""
    batch = FUNCTIONS["broadcast_shapes"](A.shape[:-2], B.shape[:-2])
    return A.expand(*batch, *A.shape[-2:]), B.expand(*batch, *B.shape[-2:])


def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices; LinAlgError for a singular one."""
    expect_square("linalg.inv", A)
    return call(solutions.Inverse(True), A)[0]


def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """(inverse, info): ``info`` is 0, or the number of the first zero pivot."""
    expect_square("linalg.inv_ex", A)
    return _inv_ex(*call(solutions.Inverse(check_errors), A))


def det(A: Tensor) -> Tensor:
    """Determinants."""
    expect_square("linalg.det", A)
    return call(solutions.Det(), A)[0]


def slogdet(A: Tensor) -> Any:
    """(sign, logabsdet): the determinant is sign·exp(logabsdet)."""
    expect_square("linalg.slogdet", A)
    return _slogdet(*call(solutions.LogDet(), A))


def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant; NaN where it is negative."""
    expect_square("logdet", input)
    sign, size = call(solutions.LogDet(), input)
    if sign.dtype.is_complex:
        return FUNCTIONS["log"](sign) + size
    return FUNCTIONS["where"](sign < 0, float("nan"), size)


def _solution(name: str, A: Tensor, B: Tensor, left: bool, check: bool) -> tuple[Tensor, Tensor]:
    expect_square(name, A)
    expect_tensors(name, B=B)
    expect_same_dtype(name, A, B)
    vector = B.ndim == 1 or (A.ndim - 1 == B.ndim and tuple(B.shape) == tuple(A.shape[:-1]))
    if vector and not left:
        raise RuntimeError(
            f"{name}: Vector broadcasting of the left hand side is not supported for left=False. In"
            " this case linalg.solve is equivalent to B / A.squeeze(-1)"
        )
    columns = B.unsqueeze(-1) if vector else B
    expect_fit(name, A, columns, left)
    if not left:
        X, info = call(solutions.Solve(check), *together(A.mT, columns.mT))
        return X.mT, info
    X, info = call(solutions.Solve(check), *together(A, columns))
    return (X.squeeze(-1) if vector else X), info


def expect_fit(name: str, A: Tensor, B: Tensor, left: bool) -> None:
    """The error for right-hand sides of another size than the matrix."""
    if A.shape[-2] != B.shape[-2 if left else -1]:
        (n, m), (k, j) = A.shape[-2:], B.shape[-2:]
        form = "AX = B" if left else "XA = B"
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {form} ({n}x{m} and {k}x{j})"
        )


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A·X = B, or X·A = B unless ``left``; B may be a vector (or a batch of them)."""
    return _solution("linalg.solve", A, B, left, True)[0]


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """(result, info): ``info`` is 0, or the number of the first zero pivot."""
    return _solve_ex(*_solution("linalg.solve_ex", A, B, left, check_errors))


def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X with A·X = B (X·A = B unless ``left``), reading one triangle of A."""
    name = "linalg.solve_triangular"
    expect_square(name, A)
    expect_matrix(name, B, "B")
    expect_same_dtype(name, A, B)
    expect_fit(name, A, B, left)
    if left:
        return call(solutions.Triangular(upper, unitriangular), *together(A, B))[0]
    return call(solutions.Triangular(not upper, unitriangular), *together(A.mT, B.mT))[0].mT


def lu_solve(
    LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    """X with A·X = B for the A that ``lu_factor`` was given; Aᴴ with ``adjoint``."""
    name = "linalg.lu_solve"
    expect_square(name, LU, "LU")
    expect_tensors(name, pivots=pivots, B=B)
    if pivots.dtype.name != "int32":
        raise RuntimeError(f"{name}: pivots should be a Tensor of scalar type torch.int32")
    expect_same_dtype(name, LU, B)
    expect_fit(name, LU, B, left)
    if not left:
        # X·A = B  is  Aᴴ·Xᴴ = Bᴴ.
        return lu_solve(LU, pivots, B.mH, adjoint=not adjoint).mH
    LU, B = together(LU, B)
    L, U = unpacked(LU)
    order = row_order(pivots, LU.shape[-1])
    if not adjoint:
        B = _rows(B, order)
        B = solve_triangular(L, B, upper=False, unitriangular=True)
        return solve_triangular(U, B, upper=True)
    B = solve_triangular(U.mH, B, upper=False)
    B = solve_triangular(L.mH, B, upper=True, unitriangular=True)
    return _rows(B, order.argsort(-1))


def _rows(B: Tensor, order: Tensor) -> Tensor:
    """The rows of B in another order."""
    return B.gather(-2, order.expand(B.shape[:-1]).unsqueeze(-1).expand(B.shape))


def matrix_exp(A: Tensor) -> Tensor:
    """The matrix exponential, Σ Aᵏ/k!."""
    expect_square("linalg.matrix_exp", A)
    return call(solutions.MatrixExp(), A)[0]


def matrix_power(A: Tensor, n: int) -> Tensor:
    """``A`` times itself ``n`` times, by squaring; a negative ``n`` is a power of the inverse."""
    expect_square("linalg.matrix_power", A)
    if n < 0:
        return matrix_power(inv(A), -n)
    if n == 0:
        return tied(
            FUNCTIONS["eye"](A.shape[-1], dtype=A.dtype, device=A.device).expand(A.shape), A
        )
    if n == 1:
        return A.clone()
    half = matrix_power(A, n // 2)
    square = half @ half
    return square @ A if n % 2 else square


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A as a map from its last dimensions to its first ``ind``."""
    expect_tensors("linalg.tensorinv", A=A)
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind' argument")
    rows, columns = tuple(A.shape[:ind]), tuple(A.shape[ind:])
    if size_of(rows) != size_of(columns):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == "
            f"prod(self.shape[:ind]), but got {size_of(columns)} != {size_of(rows)}"
        )
    return inv(A.reshape(size_of(rows), size_of(columns))).reshape(*columns, *rows)


def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """X with tensordot(A, X) = B; ``dims`` of A are moved to its end first."""
    expect_tensors("linalg.tensorsolve", A=A, B=B)
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    shape = tuple(A.shape[B.ndim :])
    n = size_of(shape)
    if n != B.numel():
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
            f"prod(self.shape[:other.ndim]), but got {n} != {B.numel()}"
        )
    return solve(A.reshape(n, n), B.reshape(n)).reshape(shape)


# ----------------------------------------------------------------------- rank, inverses of any rank


def _cut(A: Tensor, atol: Any, rtol: Any, rcond: Any) -> tuple[Tensor, Tensor]:
    """Up to where singular values count as 0: absolute, and relative to the largest."""
    kind = A.detach().abs()
    rtol = rcond if rtol is None else rtol
    if rtol is None:
        eps = FUNCTIONS["finfo"](kind.dtype).eps * max(A.shape[-2:])
        rtol = eps if atol is None else FUNCTIONS["where"](_cut_of(kind, atol) > 0, 0.0, eps)
    return _cut_of(kind, 0.0 if atol is None else atol), _cut_of(kind, rtol)


def _cut_of(like: Tensor, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().to(like.dtype)
    return like.new_full((), value)


def pinv(
    A: Tensor,
    *args: Any,
    atol: Any = None,
    rtol: Any = None,
    rcond: Any = None,
    hermitian: bool = False,
) -> Tensor:
    """The Moore-Penrose inverse."""
    if args:
        rcond, hermitian = args[0], args[1] if len(args) > 1 else hermitian
    (expect_square if hermitian else expect_matrix)("linalg.pinv", A)
    return call(solutions.PseudoInverse(hermitian), A, *_cut(A, atol, rtol, rcond))[0]


def matrix_rank(
    A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:
    """How many singular values are larger than max(atol, rtol·largest)."""
    (expect_square if hermitian else expect_matrix)("linalg.matrix_rank", A)
    absolute, relative = _cut(A, tol if atol is None else atol, rtol, None)
    x = A.detach()
    values = eigvalsh(x).abs() if hermitian else svdvals(x)
    if not values.shape[-1]:
        return values.new_zeros(values.shape[:-1], dtype=int64)
    limit = FUNCTIONS["maximum"](absolute, relative * values.amax(-1))
    return (values > limit.unsqueeze(-1)).sum(-1)


def lstsq(A: Tensor, B: Tensor, rcond: Any = None, *, driver: str | None = None) -> Any:
    """(solution, residuals, rank, singular_values) of min ‖A·X - B‖.

    Drivers: "gelsy" (the default), "gels" (A has full rank), "gelsd" and "gelss".
    """
    name = "linalg.lstsq"
    expect_matrix(name, A)
    expect_tensors(name, B=B)
    if B.ndim < 1:
        raise RuntimeError(f"torch.{name}: other must have at least 1 dimension")
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(
            f"torch.{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)"
        )
    expect_same_dtype(name, A, B)
    vector = A.ndim - 1 == B.ndim and tuple(A.shape[:-1]) == tuple(B.shape)
    columns = B.unsqueeze(-1) if vector else B
    if columns.ndim < 2 or A.shape[-2] != columns.shape[-2]:
        raise RuntimeError(
            f"torch.{name}: input.size(-2) should match other.size(-{1 if vector else 2})"
        )
    X, B2 = together(A, columns)
    solution = pinv(X, rcond=rcond) @ B2
    m, n = A.shape[-2:]
    values = svdvals(X.detach())
    rank = matrix_rank(X, rtol=rcond)
    # Empty results depend on the operands, as PyTorch's do.
    none = values.new_empty((0,))
    residuals = (X[..., :1, :1] * B2[..., :1, :1]).abs().reshape(-1)[:0]
    # Of a matrix of lower rank only "gels" has residuals: it takes the rank to be full.
    has_some = m > n and driver in ("gels", "gelsd", "gelss")
    if has_some and (driver == "gels" or bool((rank == n).all())):
        residuals = (X @ solution - B2).abs().square().sum(-2)
    return _lstsq(
        solution.squeeze(-1) if vector else solution,
        residuals,
        rank if driver != "gels" else none.to(rank.dtype),
        values if driver in ("gelsd", "gelss") else none,
    )
