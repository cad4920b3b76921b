"""Products of Householder reflections, H₁·H₂·…·Hₖ with Hᵢ = 1 - τᵢ·vᵢ·vᵢᴴ.

Column i of a matrix holds vᵢ below its diagonal (1 there, 0 above), as QR factorisations leave it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphgrad.linalg.decompositions import returned
from graphgrad.linalg.errors import expect_matrix, expect_same_dtype, expect_tensors, tied
from graphgrad.tensor.core import FUNCTIONS, Tensor
from graphgrad.tensor.hosted import HostCall, call


@dataclass(frozen=True)
class RawQR(HostCall):
    """(a, tau): R above the diagonal of ``a``, the reflections below."""

    def types(self, a: Any) -> Any:
        k = min(a.shape[-2:])
        return (tuple(a.shape), a.dtype), ((*a.shape[:-2], k), a.dtype)

    def __call__(self, a: Any) -> Any:
        h, tau = np.linalg.qr(a, "raw")
        return np.swapaxes(h, -1, -2), tau


_geqrf = returned("geqrf", "a tau")


def geqrf(input: Tensor) -> Any:
    """(a, tau): the reflections of a QR factorisation, and R; no gradient."""
    expect_matrix("geqrf", input, "input")
    if input.requires_grad:
        raise NotImplementedError("geqrf has no gradient: use linalg.qr, or detach() its operand")
    return _geqrf(*call(RawQR(), input))


def _vectors(A: Tensor, count: int) -> Tensor:
    unit = FUNCTIONS["eye"](A.shape[-2], count, dtype=A.dtype, device=A.device)
    return A[..., :count].tril(-1) + unit


def _reflected(V: Tensor, tau: Tensor, X: Tensor, backwards: bool, adjoint: bool) -> Tensor:
    """The reflections applied to X, the last one first if ``backwards``."""
    count = tau.shape[-1]
    if not count:
        return X - V @ (tau.unsqueeze(-1) * (V.mH @ X))
    for i in reversed(range(count)) if backwards else range(count):
        v, t = V[..., i : i + 1], tau[..., i : i + 1].unsqueeze(-1)
        t = FUNCTIONS["conj"](t) if adjoint else t
        X = X - t * (v @ (v.mH @ X))
    return X


def householder_product(input: Tensor, tau: Tensor) -> Tensor:
    """The first columns of H₁·H₂·…·Hₖ, as many as ``input`` has."""
    name = "linalg.householder_product"
    expect_matrix(name, input, "input")
    expect_tensors(name, tau=tau)
    m, n = input.shape[-2:]
    if m < n:
        raise RuntimeError(f"{name}: input.shape[-2] must be greater than or equal to n")
    if tau.ndim != input.ndim - 1 or tau.shape[-1] > n:
        raise RuntimeError(f"{name}: tau must have one dimension less, and at most {n} elements")
    if tuple(tau.shape[:-1]) != tuple(input.shape[:-2]):
        raise RuntimeError(
            f"{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got "
            f"{list(tau.shape[:-1])}"
        )
    expect_same_dtype(name, input, tau)
    unit = FUNCTIONS["eye"](m, n, dtype=input.dtype, device=input.device).expand(input.shape)
    return _reflected(_vectors(input, tau.shape[-1]), tau, tied(unit, input), True, False)


def ormqr(
    input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False
) -> Tensor:
    """Q·other, or other·Q unless ``left``; Qᴴ with ``transpose``: Q all of H₁·H₂·…·Hₖ."""
    for argument, x in (("input", input), ("other", other)):
        expect_matrix("torch.ormqr", x, argument)
    expect_tensors("torch.ormqr", tau=tau)
    m = other.shape[-2 if left else -1]
    if input.shape[-2] != m:
        raise RuntimeError(
            f"torch.ormqr: other.shape[{-2 if left else -1}] must be equal to input.shape[-2]"
        )
    if tau.shape[-1] > input.shape[-1] or tau.shape[-1] > m:
        raise RuntimeError(
            "torch.ormqr: other.shape must be greater than or equal to tau.shape[-1], and tau no "
            "longer than input has columns"
        )
    if input.ndim != other.ndim or tau.ndim != input.ndim - 1:
        raise RuntimeError(
            "torch.ormqr: input and other must have the same number of dimensions, and tau one less"
        )
    expect_same_dtype("torch.ormqr", input, tau)
    expect_same_dtype("torch.ormqr", input, other)
    V = _vectors(input, tau.shape[-1])
    if left:
        return _reflected(V, tau, other, not transpose, transpose)
    return _reflected(V, tau, other.mH, transpose, not transpose).mH
