"""Derivatives of the logarithm of the gamma function, and Hurwitz' zeta function.

graphgrad.polygamma(1, x)            # the trigamma function
"""

from __future__ import annotations

import math
from typing import Any

from graphgrad.tensor.core import Tensor, function, method
from graphgrad.tensor.operators import where
from graphgrad.tensor.promotion import floating, joined
from graphgrad.tensor.special import digamma
from graphgrad.tensor.state import as_one

# B₂ⱼ/(2j)!, j = 1, 2, …: the coefficients of Euler and Maclaurin's formula.
_EULER_MACLAURIN = (
    1 / 12,
    -1 / 720,
    1 / 30240,
    -1 / 1209600,
    1 / 47900160,
    -691 / 1307674368000,
    1 / 74724249600,
)
_SHIFT = 10


def _hurwitz(s: Any, q: Tensor) -> Tensor:
    """Σ (q + k)^-s over k ≥ 0 for q > 0: ten terms, and an integral for the rest."""
    y = q + _SHIFT
    last = y**-s
    total = sum(((q + k) ** -s for k in range(_SHIFT)), last * y / (s - 1.0) + last * 0.5)
    factor, power = s, last / y
    for j, coefficient in enumerate(_EULER_MACLAURIN):
        total = total + power * factor * coefficient
        factor = factor * (s + (2 * j + 1.0)) * (s + (2 * j + 2.0))
        power = power / (y * y)
    return total


@as_one
def zeta(input: Any, other: Any) -> Tensor:
    """Hurwitz' ζ(x, q) = Σ (q + k)^-x over k ≥ 0, for x > 1 and q > 0 (NaN elsewhere)."""
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        raise TypeError("zeta(): at least one argument must be a Tensor")
    kind = floating(joined(input, other))
    like = input if isinstance(input, Tensor) else other
    s, q = (
        v.double() if isinstance(v, Tensor) else like.double().new_full((), v)
        for v in (input, other)
    )
    fits = (s > 1) & (q > 0)
    found = _hurwitz(where(fits, s, 2.0), where(fits, q, 1.0))
    edge = where((s == 1) & (q > 0), math.inf, math.nan)
    return where(fits, found, edge).to(kind)


@function
@as_one
def polygamma(n: int, input: Tensor) -> Tensor:
    """The ``n``-th derivative of ``digamma``; its reflection formula below 1/2."""
    if not isinstance(input, Tensor):
        raise TypeError("polygamma(): argument 'input' (position 2) must be Tensor")
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    if n == 0:
        return digamma(input)
    x = input.double()
    below = x < 0.5
    sign = 1.0 if n % 2 else -1.0
    series = _hurwitz(float(n + 1), where(below, 1.0 - x, x)) * (sign * math.factorial(n))
    turned = -series if n % 2 else series
    return where(below, turned - _cotangent(n, x) * math.pi, series).to(floating(input.dtype))


def _cotangent(n: int, x: Tensor) -> Tensor:
    """The ``n``-th derivative of cot(πx), a polynomial of cot(πx) itself."""
    angle = (x - x.detach().round()) * math.pi
    c = angle.cos() / angle.sin()
    polynomial = [0.0, 1.0]
    for _ in range(n):
        slope = [k * a for k, a in enumerate(polynomial)][1:]
        # d/dx = -π (1 + c²) d/dc
        polynomial = [0.0] * (len(slope) + 2)
        for k, a in enumerate(slope):
            polynomial[k] -= math.pi * a
            polynomial[k + 2] -= math.pi * a
    out = x.new_full((), polynomial[-1])
    for a in reversed(polynomial[:-1]):
        out = out * c + a
    return out


def _as_method(self: Tensor, n: int) -> Tensor:
    """The ``n``-th derivative of ``digamma``."""
    return polygamma(n, self)


_as_method.__name__ = "polygamma"
method(_as_method)
