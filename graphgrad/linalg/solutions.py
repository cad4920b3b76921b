"""Inverses, solutions and functions of matrices as host calls, with their gradients as graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.lang import (
    abs_,
    add,
    apply,
    cast,
    conj,
    div,
    eq,
    full,
    imag,
    mul,
    neg,
    sub,
    sum_,
    where,
)
from graphgrad.linalg import lapack
from graphgrad.linalg.algebra import (
    above,
    adjoint,
    beside,
    block,
    eye,
    lower,
    mm,
    number,
    product,
    total,
    upper,
)
from graphgrad.tensor.hosted import HostCall

Value = Any


def _like(a: Any) -> tuple[tuple[int, ...], Any]:
    return tuple(a.shape), a.dtype


@dataclass(frozen=True)
class Inverse(HostCall):
    """(A⁻¹, info); with ``check`` a singular matrix is an error."""

    check: bool
    kind = "LinalgInvExBackward0"
    reads_operands = False

    def types(self, a: Any) -> Any:
        return _like(a), (tuple(a.shape[:-2]), dtypes.int32)

    def __call__(self, a: Any) -> Any:
        out, info = lapack.each(np.linalg.inv, a, lapack.zero_pivot)
        if self.check and info.any():
            raise lapack.singular("linalg.inv", info)
        return out, info

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """-A⁻ᴴ·g·A⁻ᴴ."""
        if cotangents[0] is None:
            return [None]
        x = adjoint(results[0])
        return [neg(product(x, cotangents[0], x))]


@dataclass(frozen=True)
class Solve(HostCall):
    """(X, info): A·X = B."""

    check: bool
    kind = "LinalgSolveExBackward0"

    def types(self, a: Any, b: Any) -> Any:
        return _like(b), (tuple(a.shape[:-2]), dtypes.int32)

    def __call__(self, a: Any, b: Any) -> Any:
        try:
            return np.linalg.solve(a, b), np.zeros(a.shape[:-2], np.int32)
        except np.linalg.LinAlgError:
            inverse, info = lapack.each(np.linalg.inv, a, lapack.zero_pivot)
        if self.check:
            raise lapack.singular("linalg.solve", info)
        return inverse @ b, info

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """gB = A⁻ᴴ·g and gA = -gB·Xᴴ."""
        if cotangents[0] is None:
            return [None, None]
        g = Solve(True).of(adjoint(operands[0]), cotangents[0])
        return [neg(mm(g, adjoint(results[0]))), g]


@dataclass(frozen=True)
class Triangular(HostCall):
    """X with A·X = B, of one triangle of A; ``unit``: its diagonal counts as ones."""

    upper: bool
    unit: bool
    kind = "LinalgSolveTriangularBackward0"

    def types(self, a: Any, b: Any) -> Any:
        return (_like(b),)

    def __call__(self, a: Any, b: Any) -> Any:
        return (lapack.solve_triangular(a, b, self.upper, self.unit),)

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """As of ``Solve``, within the triangle."""
        if cotangents[0] is None:
            return [None, None]
        g = Triangular(not self.upper, self.unit).of(adjoint(operands[0]), cotangents[0])
        within = upper if self.upper else lower
        return [within(neg(mm(g, adjoint(results[0]))), strict=self.unit), g]


@dataclass(frozen=True)
class CholeskySolve(HostCall):
    """X with L·Lᴴ·X = B (Lᴴ·L·X = B with ``upper``)."""

    upper: bool
    kind = "CholeskySolveBackward0"

    def types(self, b: Any, factor: Any) -> Any:
        return (_like(b),)

    def __call__(self, b: Any, factor: Any) -> Any:
        lower = lapack.adjoint(factor) if self.upper else factor
        half = lapack.solve_triangular(lower, b, False, False)
        return (lapack.solve_triangular(lapack.adjoint(lower), half, True, False),)

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """gB = A⁻¹·g, and of A = L·Lᴴ: gA = -gB·Xᴴ, gL = (gA + gAᴴ)·L. As in PyTorch all of gL
        counts, though the other triangle of L is not read."""
        if cotangents[0] is None:
            return [None, None]
        factor = operands[1]
        g = CholeskySolve(self.upper).of(cotangents[0], factor)
        outer = mm(g, adjoint(results[0]))
        return [g, _of_factor(neg(add(outer, adjoint(outer))), factor, self.upper)]


def _of_factor(both: Value, factor: Value, upper: bool) -> Value:
    """The cotangent of L in L·Lᴴ, or of U in Uᴴ·U, from gA + gAᴴ."""
    return mm(factor, both) if upper else mm(both, factor)


@dataclass(frozen=True)
class CholeskyInverse(HostCall):
    """(L·Lᴴ)⁻¹, or (Lᴴ·L)⁻¹ with ``upper``."""

    upper: bool
    kind = "CholeskyInverseBackward0"

    def types(self, factor: Any) -> Any:
        return (_like(factor),)

    def __call__(self, factor: Any) -> Any:
        unit = np.broadcast_to(np.eye(factor.shape[-1], dtype=factor.dtype), factor.shape)
        return CholeskySolve(self.upper)(unit, factor)

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """-X·(g + gᴴ)·X·L: see ``CholeskySolve``."""
        g, x = cotangents[0], results[0]
        both = neg(product(x, add(g, adjoint(g)), x))
        return [_of_factor(both, operands[0], self.upper)]


@dataclass(frozen=True)
class LogDet(HostCall):
    """(sign, log |det A|)."""

    kind = "LinalgSlogdetBackward0"

    def types(self, a: Any) -> Any:
        batch = tuple(a.shape[:-2])
        return (batch, a.dtype), (batch, dtypes.real_of(a.dtype))

    def __call__(self, a: Any) -> Any:
        return tuple(np.linalg.slogdet(a))

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """(g - i·Im(gₛ*·sign))·A⁻ᴴ; the sign of a real matrix does not move."""
        (a,), (g_sign, g) = operands, cotangents
        scale = None if g is None else cast(g, a.dtype)
        if g_sign is not None and a.dtype.is_complex:
            turn = cast(imag(mul(conj(g_sign), results[0])), a.dtype)
            scale = total(scale, mul(turn, -1j))
        if scale is None:
            return [None]
        return [mul(number(scale), adjoint(Inverse(True).of(a)))]


@dataclass(frozen=True)
class Det(HostCall):
    """det A."""

    kind = "LinalgDetBackward0"
    reads_results = False

    def types(self, a: Any) -> Any:
        return ((tuple(a.shape[:-2]), a.dtype),)

    def __call__(self, a: Any) -> Any:
        return (np.asarray(np.linalg.det(a)),)

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """The conjugate transpose of the adjugate, det(A)·A⁻¹, which singular matrices have too."""
        return [mul(number(cotangents[0]), adjoint(Adjugate().of(operands[0])))]


@dataclass(frozen=True)
class Adjugate(HostCall):
    """det(A)·A⁻¹, from singular values: V·diag(Πⱼ≠ᵢ sⱼ)·Uᴴ times the determinants of U and V."""

    kind = "AdjugateBackward0"
    reads_results = False

    def types(self, a: Any) -> Any:
        return (_like(a),)

    def __call__(self, a: Any) -> Any:
        if a.size == 0:
            return (a.copy(),)
        u, s, vh = np.linalg.svd(a)
        n = s.shape[-1]
        others = np.where(np.eye(n, dtype=bool), 1, s[..., None, :]).prod(-1)
        phase = np.linalg.det(u) * np.linalg.det(vh)
        out = (lapack.adjoint(vh) * others[..., None, :]) @ lapack.adjoint(u)
        return ((out * phase[..., None, None]).astype(a.dtype),)

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """Of det(A)·A⁻¹ as a product: for regular matrices."""
        (a,), g = operands, cotangents[0]
        det, inverse = Det().of(a), Inverse(True).of(a)
        back, scale = adjoint(inverse), number(conj(det))
        axes = (len(a.shape) - 2, len(a.shape) - 1)
        along = number(sum_(mul(g, conj(inverse)), axes))
        return [mul(scale, sub(mul(along, back), product(back, g, back)))]


@dataclass(frozen=True)
class MatrixExp(HostCall):
    """exp A."""

    kind = "LinalgMatrixExpBackward0"
    reads_results = False

    def types(self, a: Any) -> Any:
        return (_like(a),)

    def __call__(self, a: Any) -> Any:
        return (lapack.matrix_exp(a),)

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """The upper right block of exp [[Aᴴ, g], [0, Aᴴ]] (Najfeld and Havel 1995), which is linear
        in g: a g of size 1 keeps the exponential from being scaled for the sake of g."""
        a, g = adjoint(operands[0]), cotangents[0]
        n = a.shape[-1]
        if not all(a.shape):
            return [full(a.shape, 0, a.dtype)]
        size = apply("max", abs_(g), axes=(len(a.shape) - 2, len(a.shape) - 1))
        scale = number(cast(where(eq(size, 0.0), 1.0, size), a.dtype))
        zero = full(a.shape, 0, a.dtype)
        whole = MatrixExp().of(above(beside(a, div(g, scale)), beside(zero, a)))
        return [mul(block(whole, slice(0, n), slice(n, None)), scale)]


@dataclass(frozen=True)
class PseudoInverse(HostCall):
    """A⁺ of A, atol and rtol: singular values up to max(atol, rtol·largest) count as 0."""

    hermitian: bool
    kind = "LinalgPinvBackward0"

    def types(self, a: Any, atol: Any, rtol: Any) -> Any:
        return (((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype),)

    def __call__(self, a: Any, atol: Any, rtol: Any) -> Any:
        return (lapack.guarded(lapack.pinv, "linalg.pinv", a, (atol, rtol), self.hermitian),)

    def vjp(self, cotangents: Any, operands: Any, results: Any) -> Any:
        """Golub and Pereyra 1973: dP = -P·dA·P + P·Pᴴ·dAᴴ·(1 - A·P) + (1 - P·A)·dAᴴ·Pᴴ·P."""
        a, p, g = operands[0], results[0], cotangents[0]
        m, n = a.shape[-2:]
        ph, gh = adjoint(p), adjoint(g)
        inside = neg(product(ph, g, ph))
        left = product(sub(eye(m, a), mm(a, p)), gh, p, ph)
        right = product(ph, p, gh, sub(eye(n, a), mm(p, a)))
        return [add(inside, add(left, right)), None, None]
