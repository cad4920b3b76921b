"""Special functions composed of the elementary ones: lgamma, digamma, erfinv, distances."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.tensor.core import Tensor, both, function
from graphgrad.tensor.creation import from_array
from graphgrad.tensor.operators import where
from graphgrad.tensor.shapes import reshape
from graphgrad.tensor.state import as_one

# Abramowitz and Stegun 6.1.41 and 6.3.18: coefficients of 1/x, 1/x³, … (and 1/x², 1/x⁴, …).
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_DIGAMMA = (-1 / 12, 1 / 120, -1 / 252, 1 / 240, -1 / 132, 691 / 32760, -1 / 12)
_SHIFT = 8


@both
@as_one
def lgamma(input: Tensor) -> Tensor:
    """``log |Γ(x)|``: Stirling's series after eight steps up; reflection below 1/2."""
    x = input.double()
    below = x < 0.5
    # Each branch sees only its own arguments: a NaN of the other's gradient would come through.
    up = _stirling(where(below, 1.0 - x, x))
    sine = (where(below, x, 0.5) * math.pi).sin()
    reflected = math.log(math.pi) - sine.abs().log() - up
    return where(below, reflected, up).to(_float(input))


def _stirling(x: Tensor) -> Tensor:
    product = x
    for i in range(1, _SHIFT):
        product = product * (x + i)
    y = x + _SHIFT
    series = sum(c / y ** (2 * i + 1) for i, c in enumerate(_STIRLING))
    return (y - 0.5) * y.log() - y + 0.5 * math.log(2 * math.pi) + series - product.log()


@both
@as_one
def digamma(input: Tensor) -> Tensor:
    """The derivative of ``lgamma``: its asymptotic series after eight steps up."""
    x = input.double()
    below = x < 0.5
    up = _digamma_series(where(below, 1.0 - x, x))
    angle = where(below, x, 0.5) * math.pi
    reflected = up - math.pi * angle.cos() / angle.sin()
    return where(below, reflected, up).to(_float(input))


def _digamma_series(x: Tensor) -> Tensor:
    y = x + _SHIFT
    series = sum(c / y ** (2 * i + 2) for i, c in enumerate(_DIGAMMA))
    steps = sum(1.0 / (x + i) for i in range(_SHIFT))
    return y.log() - 0.5 / y + series - steps


@both
@as_one
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension ``p``."""
    total = input.new_full((), p * (p - 1) / 4 * math.log(math.pi))
    for i in range(p):
        total = total + lgamma(input - i / 2)
    return total


@both
@as_one
def erfinv(input: Tensor) -> Tensor:
    """The inverse of erf: Winitzki's formula, then three Newton steps (two with gradient)."""
    x = input.double()
    fixed = x.detach()
    a = 0.147
    log = (1.0 - fixed * fixed).log()
    half = 2 / (math.pi * a) + log / 2
    y = fixed.sign() * ((half * half - log / a).sqrt() - half).clamp(min=0).sqrt()
    y = y - _newton(y, fixed)
    inside = fixed.abs() < 1
    safe, wanted = where(inside, y, 0.0), where(inside, x, 0.0)
    # Two steps that gradients flow through are exact to the third derivative.
    for _ in range(2):
        safe = safe - _newton(safe, wanted)
    exact = where(inside, safe, fixed.sign() * math.inf)
    return where(fixed.abs() <= 1, exact, math.nan).to(_float(input))


def _newton(y: Tensor, x: Tensor) -> Tensor:
    """(erf(y) - x) / erf'(y)."""
    return (y.erf() - x) * (math.sqrt(math.pi) / 2) * (y * y).exp()


def _float(x: Tensor) -> dtypes.DType:
    return x.dtype if x.dtype.is_floating_point else dtypes.get_default_dtype()


@function
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of a vector as columns, the highest first."""
    n = x.shape[0] if N is None else N
    powers = from_array(_counting(n, increasing), x.device).to(x.dtype)
    return reshape(x, (-1, 1)) ** powers


def _counting(n: int, increasing: bool) -> Any:
    steps = np.arange(n)
    return steps if increasing else steps[::-1].copy()


@function
def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """Row-major positions as one tensor of coordinates a dimension."""
    parts = []
    for n in reversed(tuple(shape)):
        parts.append(indices % n)
        indices = indices // n
    return tuple(reversed(parts))
