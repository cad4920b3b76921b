"""The gamma law of rate 1: draws with the gradient to their shape parameter ``a``, and the cdf.

A draw y = log x with x ~ Gamma(a, 1) is reparameterised implicitly (Figurnov et al. 2018): the
probability of smaller draws, P(a, x), is kept while ``a`` changes, so dx/da = −(∂P/∂a) / p(x).
"""

from __future__ import annotations

import math
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
    normal, unit = (
        gg.randn(shape, dtype=a.dtype, device=a.device),
        gg.rand(shape, dtype=a.dtype, device=a.device),
    )
    base = 1 + c * normal
    v = gg.where(base > 0, base, 1.0) ** 3
    threshold = normal * normal / 2 + d - d * v + d * v.log()
    accepted = (base > 0) & ((1 - unit).log() < threshold)
    chosen = v[-1]
    for k in reversed(range(_PROPOSALS - 1)):
        chosen = gg.where(accepted[k], v[k], chosen)
    boost = (1 - gg.rand(a.shape, dtype=a.dtype, device=a.device)).log() / gg.where(small, a, 1.0)
    return d.log() + chosen.log() + gg.where(small, boost, 0.0)


@as_one
def log_gamma_gradient(a: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
    """dy/da of a draw y = log x ~ log Gamma(a, 1) at a fixed probability of smaller draws.

    Below with S = Σ (−x)ᵏ / k!(a + k) and T = Σ (−x)ᵏ / k!(a + k)²: eˣ (T − (y − ψ(a)) S), where
    ψ(a) = ψ(a + 1) − 1/a, and the terms of k = 0, which cancel for small a, are left out. Above,
    ∫ |log t − ψ(a)| p(t) dt / x p(x), the mean of the integrand's sign being 0.
    """
    near, low, high = _split(y)
    s, t = _series(a, low)
    below = low.exp().exp() * (t - s / a - (low - (a + 1).digamma()) * (s + 1 / a))
    _, s, weights = _tail(a, high)
    above = ((s + high - a.digamma()).abs() * weights).sum(0)
    return gg.where(near, below, above)


@as_one
def regularized_lower(a: gg.Tensor, x: gg.Tensor) -> gg.Tensor:
    """P(a, x), the probability that Gamma(a, 1) is below x."""
    a, x = gg.broadcast_tensors(a, x)
    positive = x > 0
    near, low, high = _split(gg.where(positive, x, 1.0).log())
    below = (a * low - a.lgamma()).exp() * (_series(a, low)[0] + 1 / a)
    smaller, _, weights = _tail(a, high)
    tail = (a * high - high.exp() - a.lgamma()).exp() * weights.sum(0)
    above = gg.where(smaller, tail, 1 - tail)
    return gg.where(positive, gg.where(near, below, above).clamp(max=1.0), 0.0)


def _split(y: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor, gg.Tensor]:
    """Where the series serves for log x, and arguments for both ways that are safe everywhere."""
    limit = math.log(_SERIES_BELOW)
    near = y < limit
    return near, gg.where(near, y, 0.0), gg.where(near, limit, y)


def _series(a: gg.Tensor, y: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
    """Σ (−x)ᵏ / k!(a + k) and Σ (−x)ᵏ / k!(a + k)² over k > 0."""
    x = y.exp()
    power, s, t = gg.ones_like(x), gg.zeros_like(x), gg.zeros_like(x)
    for k in range(1, _TERMS):
        power = power * (-x / k)
        s = s + power / (a + k)
        t = t + power / (a + k) ** 2
    return s, t


# Nodes and weights of ∫ f(w) dw over w > 0 for f that fall like exp(−w) or faster: the trapezoidal
# rule after w = exp(u − exp(−u)) (Takahasi and Mori 1974).
_GRID = np.linspace(-3.2, 4.2, 40)
_NODES = np.exp(_GRID - np.exp(-_GRID))
_WEIGHTS = _NODES * (1 + np.exp(-_GRID)) * (_GRID[1] - _GRID[0])


def _tail(a: gg.Tensor, y: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor, gg.Tensor]:
    """Quadrature over one tail of p: (whether the lower one, s = log t − y, p(t) dt / x p(x)).

    The tail on the side of x away from exp ψ(a) is taken, where log t − ψ(a) keeps its sign and
    the integrand falls. Nodes are along a new first dimension.
    """
    x = y.exp()
    smaller = y < a.digamma()
    side = gg.where(smaller, -1.0, 1.0)
    scale = 1 / ((side * (x - a)).clamp(min=0) + x.sqrt())
    nodes, weights = (
        gg.tensor(array, dtype=y.dtype, device=y.device).reshape((-1, *(1 for _ in y.shape)))
        for array in (_NODES, _WEIGHTS)
    )
    s = side * scale * nodes
    exponent = (a * s - x * s.clamp(max=300.0).expm1()).clamp(min=-700.0)
    return smaller, s, exponent.exp() * weights * scale
