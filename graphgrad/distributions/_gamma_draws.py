"""Draws of log-gamma variates, with the gradient to their shape parameter.

A draw y = log x with x ~ Gamma(a, 1) is reparameterised implicitly (Figurnov et al. 2018): the
probability of smaller draws, P(a, x), is kept while ``a`` changes, so dx/da = −(∂P/∂a) / p(x).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import graphgrad as gg
from graphgrad.autograd import Function
from graphgrad.tensor.state import as_one

# Of Marsaglia and Tsang's proposals at least 95.1% are accepted (the least at a = 1): that none of
# ten is has a probability below 1e-13, so a fixed number serves, and compiles.
_PROPOSALS = 10
# Below, the power series of P in x; above, quadrature.
_SERIES_BELOW = 3.0
_TERMS = 30


def log_gamma_draws(concentration: gg.Tensor, shape: Any) -> gg.Tensor:
    """Logarithms of independent Gamma(concentration, 1) draws of the given shape."""
    return _LogGamma.apply(concentration.expand(shape))


class _LogGamma(Function):
    @staticmethod
    def forward(ctx: Any, a: gg.Tensor) -> gg.Tensor:
        y = _draws(a.detach())
        ctx.save_for_backward(a, y)
        return y

    @staticmethod
    def backward(ctx: Any, g: gg.Tensor) -> gg.Tensor:
        a, y = ctx.saved_tensors
        return g * log_gamma_gradient(a.double(), y.double()).to(a.dtype)


@as_one
def _draws(a: gg.Tensor) -> gg.Tensor:
    """Marsaglia and Tsang 2000: d·v with v = (1 + c·normal)³; Gamma(a) = Gamma(a + 1)·u^(1/a)."""
    small = a < 1
    d = gg.where(small, a + 1, a) - 1 / 3
    c = (9 * d).rsqrt()
    shape = (_PROPOSALS, *a.shape)
    normal, unit = gg.randn(shape, dtype=a.dtype), gg.rand(shape, dtype=a.dtype)
    base = 1 + c * normal
    v = gg.where(base > 0, base, 1.0) ** 3
    threshold = normal * normal / 2 + d - d * v + d * v.log()
    accepted = (base > 0) & ((1 - unit).log() < threshold)
    chosen = v[-1]
    for k in reversed(range(_PROPOSALS - 1)):
        chosen = gg.where(accepted[k], v[k], chosen)
    boost = (1 - gg.rand(a.shape, dtype=a.dtype)).log() / gg.where(small, a, 1.0)
    return d.log() + chosen.log() + gg.where(small, boost, 0.0)


@as_one
def log_gamma_gradient(a: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
    """dy/da of a draw y = log x ~ log Gamma(a, 1) at a fixed probability of smaller draws."""
    near = y < np.log(_SERIES_BELOW)
    low = gg.where(near, y, 0.0)
    high = gg.where(near, float(np.log(_SERIES_BELOW)), y)
    return gg.where(near, _by_series(a, low), _by_quadrature(a, high))


def _by_series(a: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
    """With S = Σ (−x)ᵏ / k!(a + k) and T = Σ (−x)ᵏ / k!(a + k)²: eˣ (T − (y − ψ(a)) S).

    ψ(a) = ψ(a + 1) − 1/a, and the terms of k = 0, which cancel for small a, are left out.
    """
    x = y.exp()
    power, s, t = 1.0, 0.0, 0.0
    for k in range(1, _TERMS):
        power = power * (-x / k)
        s = s + power / (a + k)
        t = t + power / (a + k) ** 2
    return x.exp() * (t - s / a - (y - (a + 1).digamma()) * (s + 1 / a))


# Nodes and weights of ∫ f(w) dw over w > 0 for f that fall like exp(−w) or faster: the trapezoidal
# rule after w = exp(u − exp(−u)) (Takahasi and Mori 1974).
_GRID = np.linspace(-3.2, 4.2, 40)
_NODES = np.exp(_GRID - np.exp(-_GRID))
_WEIGHTS = _NODES * (1 + np.exp(-_GRID)) * (_GRID[1] - _GRID[0])


def _by_quadrature(a: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
    """The tail's ∫ (log t − ψ(a)) (t/x)ᵃ exp(x − t) dt/t, up from x or down, over log t = y ± s.

    The tail on the side of x away from exp ψ(a) is taken, where the integrand keeps its sign.
    """
    x, distance = y.exp(), y - a.digamma()
    side = gg.where(distance < 0, -1.0, 1.0)
    scale = 1 / ((side * (x - a)).clamp(min=0) + x.sqrt())
    nodes, weights = (
        gg.tensor(array, dtype=gg.float64).reshape((-1, *(1 for _ in a.shape)))
        for array in (_NODES, _WEIGHTS)
    )
    s = side * scale * nodes
    exponent = (a * s - x * s.clamp(max=300.0).expm1()).clamp(min=-700.0)
    return ((s + distance).abs() * exponent.exp() * weights).sum(0) * scale
