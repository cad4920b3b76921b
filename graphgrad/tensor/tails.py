"""The normal distribution and its tails, without loss of digits far out: ndtr, ndtri, erfcx, entr.

graphgrad.special.log_ndtr(x)       # log of the probability of a value below x
"""

from __future__ import annotations

import math
from typing import Any

from graphgrad.tensor.core import Tensor
from graphgrad.tensor.operators import where
from graphgrad.tensor.promotion import floating
from graphgrad.tensor.state import as_one

_ROOT_2, _ROOT_PI = math.sqrt(2), math.sqrt(math.pi)
# From here on the asymptotic series of erfcx is exact to double precision.
_FAR = 6.0
_TERMS = 30


@as_one
def erfcx(input: Tensor) -> Tensor:
    """``exp(x²) erfc(x)``, which stays a number where ``erfc`` is 0."""
    x = input.double()
    far = x > _FAR
    near = where(far, 0.0, x)
    return where(far, _far(where(far, x, _FAR)), (near * near).exp() * near.erfc()).to(_kind(input))


def _far(x: Tensor) -> Tensor:
    """Σ (-1)^k (2k-1)!! / (2x²)^k / (x √π) (A&S 7.1.23), from the last term inwards."""
    y = 0.5 / (x * x)
    total = y.new_full((), 1.0)
    for k in range(_TERMS, 0, -1):
        total = 1.0 - total * y * float(2 * k - 1)
    return total / (x * _ROOT_PI)


@as_one
def ndtr(input: Tensor) -> Tensor:
    """The probability that a standard normal value is below ``input``."""
    x = input if input.dtype.is_floating_point else input.to(_kind(input))
    return (x * (-1 / _ROOT_2)).erfc() * 0.5


@as_one
def log_ndtr(input: Tensor) -> Tensor:
    """The logarithm of ``ndtr``."""
    x = input.double()
    low = x < -1
    tail = where(low, x, -1.0) * (-1 / _ROOT_2)
    left = (erfcx(tail) * 0.5).log() - tail * tail
    right = ((where(low, -1.0, x) * (1 / _ROOT_2)).erfc() * -0.5).log1p()
    return where(low, left, right).to(_kind(input))


@as_one
def ndtri(input: Tensor) -> Tensor:
    """The inverse of ``ndtr``: A&S 26.2.23, then Newton steps for its logarithm."""
    p = input.double()
    upper = p > 0.5
    tail = where(upper, 1.0 - p, p)
    inside = tail > 0
    q = where(inside, tail, 0.25)
    t = (q.detach().log() * -2.0).sqrt()
    above, below = (0.010328 * t + 0.802853) * t + 2.515517, (0.001308 * t + 0.189269) * t
    z = (t - above / ((below + 1.432788) * t + 1.0)) * (1 / _ROOT_2)
    z = _newton(z, q.detach())
    # Two steps that gradients flow through are exact to the third derivative.
    z = _newton(_newton(z, q), q)
    x = where(inside, -z * _ROOT_2, -math.inf)
    x = where((p >= 0) & (p <= 1), where(upper, -x, x), math.nan)
    return x.to(_kind(input))


def _newton(z: Tensor, q: Tensor) -> Tensor:
    """A step towards erfc(z) = 2q, in logarithms."""
    scaled = erfcx(z)
    excess = (scaled * 0.5).log() - z * z - q.log()
    return z + excess * scaled * (_ROOT_PI / 2)


@as_one
def entr(input: Tensor) -> Tensor:
    """``-x log x``: 0 at 0, -inf below."""
    x = input.to(_kind(input))
    inside = x > 0
    safe = where(inside, x, 1.0)
    # A root is 0 at 0 and rises as steeply as x log x does.
    edge = where(x == 0, x, 1.0).sqrt()
    outside = where(x == 0, edge, where(x < 0, -math.inf, x))
    return where(inside, -(safe * safe.log()), outside)


@as_one
def xlog1py(input: Any, other: Any) -> Tensor:
    """``input * log1p(other)``, 0 where ``input`` is 0 (and ``other`` is a number)."""
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        raise TypeError("xlog1py(): at least one argument must be a Tensor")
    if not isinstance(other, Tensor):
        other = input.new_full((), other, dtype=_kind(input))
    if not isinstance(input, Tensor):
        input = other.new_full((), input)
    zero = (input == 0) & ((other <= -1) | (other == math.inf))
    return where(zero, 0.0, input * where(zero, 1.0, other).log1p())


def _kind(x: Tensor) -> Any:
    return floating(x.dtype)
