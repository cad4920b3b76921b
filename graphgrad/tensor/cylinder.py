"""Bessel functions J, Y and K of orders 0 and 1, and the spherical j₀.

    graphgrad.special.bessel_j0(x)

Up to 25, J and Y are means of waves over an angle (the trapezoidal rule, which is exact there to
double precision); beyond it, Hankel's asymptotic series. K is a sum over the hyperbolic angle.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from graphgrad.tensor.bessel import near
from graphgrad.tensor.core import Tensor
from graphgrad.tensor.creation import from_array
from graphgrad.tensor.operators import where
from graphgrad.tensor.promotion import floating
from graphgrad.tensor.state import as_one

_FAR, _ANGLES, _SERIES, _HANKEL = 25.0, 80, 40, 22
_EULER = 0.5772156649015329

# ----------------------------------------------------------------------------------------- J and Y


def _angles() -> np.ndarray:
    """The midpoints of 80 equal parts of a half turn."""
    return (np.arange(_ANGLES) + 0.5) * (math.pi / _ANGLES)


def _mean(wave: Tensor, weights: np.ndarray) -> Tensor:
    return (wave * from_array(weights, wave.device)).sum(-1) / _ANGLES


def _phases(x: Tensor) -> Tensor:
    return x.unsqueeze(-1) * from_array(np.sin(_angles()), x.device)


def _series(x: Tensor) -> tuple[Tensor, Tensor]:
    """Σ (-1)^k J₂ₖ(x) / k over k ≥ 1, and its derivative."""
    angles, k = _angles(), np.arange(1, _SERIES + 1).reshape(-1, 1)
    weights = ((-1.0) ** k / k * np.cos(2 * k * angles)).sum(0)
    phases = _phases(x)
    return _mean(phases.cos(), weights), -_mean(phases.sin(), weights * np.sin(angles))


def _first(order: int, x: Tensor) -> Tensor:
    """J(x) for |x| ≤ 25 (A&S 9.1.18)."""
    phases = _phases(x)
    if order == 0:
        return _mean(phases.cos(), np.ones(_ANGLES))
    return _mean(phases.sin(), np.sin(_angles()))


def _second(order: int, x: Tensor) -> Tensor:
    """Y(x) for 0 < x ≤ 25, by Neumann's series (A&S 9.1.89), or the derivative of it."""
    log = (x * 0.5).log() + _EULER
    sums = _series(x)
    if order == 0:
        return log * _first(0, x) * (2 / math.pi) - sums[0] * (4 / math.pi)
    slope = _first(0, x) / x - log * _first(1, x)
    return sums[1] * (4 / math.pi) - slope * (2 / math.pi)


def _hankel(order: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """J and Y for x ≥ 25, by Hankel's asymptotic series (A&S 9.2.5 to 9.2.10)."""
    y = 0.125 / x
    p, q, term = y.new_full((), 1.0), y.new_full((), 0.0), y.new_full((), 1.0)
    for k in range(1, _HANKEL):
        term = term * y * ((4 * order * order - (2 * k - 1) ** 2) / k)
        signed = -term if k % 4 in (2, 3) else term
        p, q = (p, q + signed) if k % 2 else (p + signed, q)
    chi = x - (order / 2 + 0.25) * math.pi
    size = (2 / (math.pi * x)).sqrt()
    cosine, sine = chi.cos(), chi.sin()
    return size * (p * cosine - q * sine), size * (p * sine + q * cosine)


def _of_first_kind(order: int) -> Callable[[Tensor], Tensor]:
    def operation(input: Tensor) -> Tensor:
        x = input.double()
        size = x.abs()
        far = size > _FAR
        outer = _hankel(order, where(far, size, _FAR))[0]
        outer = outer * x.sign() if order else outer
        outer = where(size == math.inf, 0.0, outer)
        return where(far, outer, _first(order, where(far, 0.0, x))).to(floating(input.dtype))

    operation.__name__ = f"bessel_j{order}"
    operation.__doc__ = f"The Bessel function of the first kind of order {order}."
    return as_one(operation)


def _of_second_kind(order: int) -> Callable[[Tensor], Tensor]:
    def operation(input: Tensor) -> Tensor:
        x = input.double()
        far, inside = x > _FAR, x > 0
        outer = where(x == math.inf, 0.0, _hankel(order, where(far, x, _FAR))[1])
        inner = _second(order, where(inside & ~far, x, 1.0))
        found = where(far, outer, where(x == 0, -math.inf, inner))
        return where(x >= 0, found, math.nan).to(floating(input.dtype))

    operation.__name__ = f"bessel_y{order}"
    operation.__doc__ = f"The Bessel function of the second kind of order {order}; NaN below 0."
    return as_one(operation)


bessel_j0, bessel_j1 = _of_first_kind(0), _of_first_kind(1)
bessel_y0, bessel_y1 = _of_second_kind(0), _of_second_kind(1)


@as_one
def spherical_bessel_j0(input: Tensor) -> Tensor:
    """``sin(x) / x``, 1 at 0."""
    x = input.to(floating(input.dtype))
    zero = x == 0
    safe = where(zero, 1.0, x)
    return where(zero, 1.0, where(x.abs() == math.inf, 0.0, safe.sin() / safe))


# ----------------------------------------------------------------------------------------------- K


def _scaled(order: int, x: Tensor) -> Tensor:
    """exp(x) K(x) = ∫ exp(-x (cosh t - 1)) cosh(order·t) dt over t ≥ 0, for x ≥ 2 (A&S 9.6.24).

    Steps are as wide as the integrand is: t = s / √x, s up to 9.
    """
    s = np.linspace(0, 9, 37)
    weights = np.full(s.shape, s[1])
    weights[0] *= 0.5
    root = x.rsqrt().unsqueeze(-1)
    t = root * from_array(s, x.device)
    # cosh t - 1 without cancellation
    half = (t * 0.5).sinh()
    wave = (half * half * x.unsqueeze(-1) * -2.0).exp()
    wave = wave * t.cosh() if order else wave
    return (wave * root * from_array(weights, x.device)).sum(-1)


def _near_zero(order: int, x: Tensor) -> Tensor:
    """K(x) for 0 < x ≤ 2, by its power series (A&S 9.6.11)."""
    log, y = (x * 0.5).log() + _EULER, x * x * 0.25
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, 22))])
    total = y.new_full((), 0.0)
    for k in range(20, -1, -1):
        if order == 0:
            coefficient = harmonic[k] / math.factorial(k) ** 2
        else:
            pair = harmonic[k] + harmonic[k + 1]
            coefficient = pair / (math.factorial(k) * math.factorial(k + 1))
        total = total * y + coefficient
    if order == 0:
        return total - log * near(0, x)
    return 1.0 / x + log * near(1, x) - total * x * 0.25


def _of_third_kind(order: int, scaled: bool) -> Callable[[Tensor], Tensor]:
    def operation(input: Tensor) -> Tensor:
        x = input.double()
        far, inside = x > 2, x > 0
        low, high = where(inside & ~far, x, 1.0), where(far & (x < math.inf), x, 2.0)
        outer = _scaled(order, high)
        inner = _near_zero(order, low)
        if scaled:
            inner = inner * low.exp()
        else:
            outer = outer * (-high).exp()
        found = where(far, where(x == math.inf, 0.0, outer), where(x == 0, math.inf, inner))
        return where(x >= 0, found, math.nan).to(floating(input.dtype))

    operation.__name__ = f"{'scaled_' * scaled}modified_bessel_k{order}"
    operation.__doc__ = (
        f"The modified Bessel function of the second kind of order {order}"
        + (", times ``exp(x)``." if scaled else ".")
        + " NaN below 0."
    )
    return as_one(operation)


modified_bessel_k0, modified_bessel_k1 = _of_third_kind(0, False), _of_third_kind(1, False)
scaled_modified_bessel_k0 = _of_third_kind(0, True)
scaled_modified_bessel_k1 = _of_third_kind(1, True)
