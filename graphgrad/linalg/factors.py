"""Factorisations as host calls: their values by NumPy, their gradients as graph.

Each rule gives its source or its derivation. A cotangent is None where a factor was not used; rules
then leave the terms out that would divide by differences of equal values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.lang import (
    add,
    cast,
    conj,
    div,
    full,
    mul,
    neg,
    real,
    sub,
)
from graphgrad.linalg import lapack
from graphgrad.linalg.algebra import (
    above,
    adjoint,
    beside,
    block,
    column,
    diagonal,
    eye,
    lower,
    mm,
    on_diagonal,
    product,
    row,
    total,
    upper,
)
from graphgrad.linalg.solutions import Solve, Triangular
from graphgrad.tensor.hosted import HostCall

Value = Any


def _solve(a: Value, b: Value, *, upper: bool) -> Value:
    """A⁻¹·B for a triangular A."""
    return Triangular(upper, False).of(a, b)


def _solve_right(b: Value, a: Value, *, upper: bool) -> Value:
    """B·A⁻¹ for a triangular A."""
    return adjoint(_solve(adjoint(a), adjoint(b), upper=not upper))


def _matrix(a: Any, rows: int, columns: int) -> tuple[tuple[int, ...], Any]:
    return (*a.shape[:-2], rows, columns), a.dtype


@dataclass(frozen=True)
class Cholesky(HostCall):
    """(L, info): A = L·Lᴴ, of the lower triangle of A, or of the upper one."""

    check: bool
    upper: bool
    kind = "LinalgCholeskyExBackward0"
    reads_operands = False

    def types(self, a: Any) -> Any:
        return _matrix(a, *a.shape[-2:]), (tuple(a.shape[:-2]), dtypes.int32)

    def __call__(self, a: Any) -> Any:
        lower = lapack.adjoint(a) if self.upper else a
        out, info = lapack.each(np.linalg.cholesky, lower, lapack.bad_minor)
        if self.check and info.any():
            order = info[info != 0].flat[0]
            raise lapack.LinAlgError(
                "linalg.cholesky: The factorization could not be completed because the input is "
                f"not positive-definite (the leading minor of order {order} is not "
                "positive-definite)."
            )
        return out, info

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """L⁻ᴴ·Φ(Lᴴ·g)·L⁻¹, Φ half the lower triangle and its adjoint, the diagonal once (Murray
        2016, "Differentiation of the Cholesky decomposition")."""
        L, g = results[0], cotangents[0]
        if g is None:
            return [None]
        inner = lower(mm(adjoint(L), g))
        both = on_diagonal(add(inner, adjoint(inner)), diagonal(inner))
        half = _solve(adjoint(L), mul(both, 0.5), upper=True)
        return [_solve_right(half, L, upper=False)]


@dataclass(frozen=True)
class LU(HostCall):
    """(P, L, U, pivots, info): A = P·L·U with row exchanges."""

    kind = "LinalgLuFactorExBackward0"
    reads_operands = False

    def types(self, a: Any) -> Any:
        m, n = a.shape[-2:]
        k, batch = min(m, n), tuple(a.shape[:-2])
        return (
            _matrix(a, m, m),
            _matrix(a, m, k),
            _matrix(a, k, n),
            ((*batch, k), dtypes.int32),
            (batch, dtypes.int32),
        )

    def __call__(self, a: Any) -> Any:
        m = a.shape[-2]
        L, U, pivots = lapack.lu(a)
        order = lapack.permutation(pivots, m)
        P = np.swapaxes(np.eye(m, dtype=a.dtype)[order], -1, -2)
        zero = np.diagonal(U, 0, -2, -1) == 0
        info = np.where(zero.any(-1), zero.argmax(-1) + 1, 0) if zero.shape[-1] else zero.any(-1)
        return P, L, U, pivots, info

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """For square A: P·L⁻ᴴ·(tril(Lᴴ·gL, -1) + triu(gU·Uᴴ))·U⁻ᴴ. Of a wide A the right block is
        L·U₂ and of a tall A the lower block is L₂·U: what their cotangents say of the square factor
        is subtracted inside, and their own gradients stand beside (below) that of the square."""
        P, L, U = results[:3]
        gL, gU = cotangents[1:3]
        if gL is None and gU is None:
            return [None]
        gL = full(L.shape, 0, L.dtype) if gL is None else gL
        gU = full(U.shape, 0, U.dtype) if gU is None else gU
        m, k, n = L.shape[-2], L.shape[-1], U.shape[-1]
        every, square, rest = slice(None), slice(0, k), slice(k, None)
        L1, U1 = block(L, square, every), block(U, every, square)
        gL1, gU1 = block(gL, square, every), block(gU, every, square)
        left, right = mm(adjoint(L1), gL1), mm(gU1, adjoint(U1))
        if n > k:
            U2, gU2 = block(U, every, rest), block(gU, every, rest)
            left = sub(left, mm(gU2, adjoint(U2)))
        if m > k:
            L2, gL2 = block(L, rest, every), block(gL, rest, every)
            right = sub(right, mm(adjoint(L2), gL2))
        inner = add(lower(left, strict=True), upper(right))
        half = _solve(adjoint(L1), inner, upper=True)
        g = _solve_right(half, adjoint(U1), upper=False)
        if n > k:
            g = beside(g, _solve(adjoint(L1), gU2, upper=True))
        if m > k:
            g = above(g, _solve_right(gL2, adjoint(U1), upper=False))
        return [mm(P, g)]


@dataclass(frozen=True)
class RowOrder(HostCall):
    """The rows that the exchanges of an LU factorisation bring to places 0, 1, …, m - 1."""

    rows: int

    def types(self, pivots: Any) -> Any:
        return (((*pivots.shape[:-1], self.rows), dtypes.int64),)

    def __call__(self, pivots: Any) -> Any:
        return (lapack.permutation(pivots, self.rows),)


@dataclass(frozen=True)
class QR(HostCall):
    """(Q, R): A = Q·R; ``mode`` "reduced" or "complete" (square Q)."""

    mode: str
    kind = "LinalgQrBackward0"
    reads_operands = False

    def types(self, a: Any) -> Any:
        m, n = a.shape[-2:]
        k = min(m, n) if self.mode == "reduced" else m
        return _matrix(a, m, k), _matrix(a, k, n)

    def __call__(self, a: Any) -> Any:
        return tuple(np.linalg.qr(a, self.mode))

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """(gQ + Q·S(triu(gR·Rᴴ - Qᴴ·gQ)))·R⁻ᴴ, S(X) = X + Xᴴ with half the diagonal (Walter and
        Lehmann 2012). A wide A is [A₁ A₂]: R₂ = Qᴴ·A₂, so gA₂ = Q·gR₂ and gQ gains A₂·gR₂ᴴ."""
        (Q, R), (gQ, gR) = results, cotangents
        m, k, n = Q.shape[-2], R.shape[-2], R.shape[-1]
        if self.mode == "complete" and m > n:
            raise RuntimeError(
                "The QR decomposition is not differentiable when mode='complete' and nrows > ncols"
            )
        if gQ is None and gR is None:
            return [None]
        aside = None
        if n > k:
            every, first, rest = slice(None), slice(0, k), slice(k, None)
            if gR is not None:
                gR2, A2 = block(gR, every, rest), mm(Q, block(R, every, rest))
                aside = mm(Q, gR2)
                gQ, gR = total(gQ, mm(A2, adjoint(gR2))), block(gR, every, first)
            R = block(R, every, first)
        inner = total(
            None if gR is None else mm(gR, adjoint(R)),
            None if gQ is None else neg(mm(adjoint(Q), gQ)),
        )
        inner = upper(inner)
        both = add(inner, adjoint(inner))
        both = on_diagonal(both, mul(diagonal(both), 0.5))
        g = _solve_right(total(gQ, mm(Q, both)), adjoint(R), upper=False)
        if n > k:
            g = beside(g, full((*g.shape[:-2], m, n - k), 0, g.dtype) if aside is None else aside)
        return [g]


def _skew(x: Value) -> Value:
    return sub(x, adjoint(x))


def _differences(values: Value) -> Value:
    """vⱼ - vᵢ at row i and column j, and 1 on the diagonal."""
    return on_diagonal(sub(row(values), column(values)), 1.0)


@dataclass(frozen=True)
class Eigh(HostCall):
    """(eigenvalues, eigenvectors) of Hermitian matrices, of one triangle."""

    UPLO: str
    kind = "LinalgEighBackward0"
    reads_operands = False

    def types(self, a: Any) -> Any:
        return (tuple(a.shape[:-1]), dtypes.real_of(a.dtype)), _matrix(a, *a.shape[-2:])

    def __call__(self, a: Any) -> Any:
        return tuple(lapack.guarded(np.linalg.eigh, "linalg.eigh", a, self.UPLO))

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """V·(diag(gw) + skew(Vᴴ·gV)/2E)·Vᴴ, E of differences of eigenvalues (Giles 2008)."""
        (w, V), (gw, gV) = results, cotangents
        if gw is None and gV is None:
            return [None]
        if gV is None:
            return [mm(mul(V, row(cast(gw, V.dtype))), adjoint(V))]
        turned = mul(_skew(mm(adjoint(V), gV)), 0.5)
        inner = div(turned, cast(_differences(w), V.dtype))
        inner = on_diagonal(inner, 0.0 if gw is None else cast(gw, V.dtype))
        return [product(V, inner, adjoint(V))]


@dataclass(frozen=True)
class Eig(HostCall):
    """(eigenvalues, eigenvectors) of square matrices, both complex."""

    kind = "LinalgEigBackward0"
    reads_operands = True

    def types(self, a: Any) -> Any:
        dtype = dtypes.complex_of(a.dtype)
        return (tuple(a.shape[:-1]), dtype), (tuple(a.shape), dtype)

    def __call__(self, a: Any) -> Any:
        return tuple(lapack.guarded(np.linalg.eig, "linalg.eig", a))

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """V⁻ᴴ·(diag(gw) + (Vᴴ·gV - Vᴴ·V·diag(Re(Vᴴ·gV)))/E*)·Vᴴ: eigenvectors have length 1
        (Boeddeker et al. 2017)."""
        (w, V), (gw, gV) = results, cotangents
        if gw is None and gV is None:
            return [None]
        if gV is None:
            inner = mul(eye(V.shape[-1], V), row(gw))
        else:
            turned = mm(adjoint(V), gV)
            along = cast(real(diagonal(turned)), V.dtype)
            turned = sub(turned, mul(mm(adjoint(V), V), row(along)))
            inner = div(turned, conj(_differences(w)))
            inner = on_diagonal(inner, 0.0 if gw is None else gw)
        g = Solve(True).of(adjoint(V), mm(inner, adjoint(V)))
        return [cast(g if operands[0].dtype.is_complex else real(g), operands[0].dtype)]


@dataclass(frozen=True)
class SVD(HostCall):
    """(U, S, Vᴴ): A = U·diag(S)·Vᴴ, the largest singular value first."""

    full: bool
    kind = "LinalgSvdBackward0"
    reads_operands = False

    def types(self, a: Any) -> Any:
        m, n = a.shape[-2:]
        k = min(m, n)
        values = (*a.shape[:-2], k), dtypes.real_of(a.dtype)
        if self.full:
            return _matrix(a, m, m), values, _matrix(a, n, n)
        return _matrix(a, m, k), values, _matrix(a, k, n)

    def __call__(self, a: Any) -> Any:
        return tuple(lapack.guarded(np.linalg.svd, "linalg.svd", a, self.full))

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """U·(skew(Uᴴ·gU)/E·S + S·skew(Vᴴ·gV)/E + diag(gS))·Vᴴ, skew(X) = X - Xᴴ and E of
        differences of squares, and for a tall (wide) A what leaves the span of U (V): Wan and Zhang
        2019, "Automatic differentiation for complex valued SVD"."""
        (U, S, Vh), (gU, gS, gVh) = results, cotangents
        if gU is None and gS is None and gVh is None:
            return [None]
        every, first = slice(None), slice(0, S.shape[-1])
        # Columns beyond the singular values span a space of which any basis will do.
        m, n = U.shape[-2], Vh.shape[-1]
        U, Vh = block(U, every, first), block(Vh, first, every)
        gU = None if gU is None else block(gU, every, first)
        gVh = None if gVh is None else block(gVh, first, every)
        values = cast(S, U.dtype)
        if gU is None and gVh is None:
            return [mm(mul(U, row(cast(gS, U.dtype))), Vh)]
        squares = cast(_differences(mul(S, S)), U.dtype)
        left = None if gU is None else _skew(mm(adjoint(U), gU))
        right = None if gVh is None else _skew(mm(Vh, adjoint(gVh)))
        inner = total(
            None if left is None else mul(div(left, squares), row(values)),
            None if right is None else mul(column(values), div(right, squares)),
            None if gS is None else mul(eye(S.shape[-1], U), row(cast(gS, U.dtype))),
        )
        if U.dtype.is_complex and left is not None and right is not None:
            # The phase of a pair of vectors is free, so the two diagonals cancel: i·Im(Uᴴ·gU)/S
            # is what remains of them.
            phase = div(diagonal(left), mul(values, 2.0))
            inner = add(inner, mul(eye(S.shape[-1], U), row(phase)))
        g = product(U, inner, Vh)
        if gU is not None and m > S.shape[-1]:
            outside = sub(gU, mm(U, mm(adjoint(U), gU)))
            g = add(g, mm(div(outside, row(values)), Vh))
        if gVh is not None and n > S.shape[-1]:
            outside = sub(gVh, mm(mm(gVh, adjoint(Vh)), Vh))
            g = add(g, mm(U, div(outside, column(values))))
        return [g]
