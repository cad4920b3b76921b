"""Transforms of single numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions._transform import Elementary, Equal, Transform
from graphgrad.distributions.utils import broadcast_all, sum_rightmost
from graphgrad.functional import softplus


class ExpTransform(Elementary):
    """y = exp(x)."""

    codomain = constraints.positive

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return x.exp()

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return y.log()

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        return x


class SoftplusTransform(Elementary):
    """y = log(1 + exp(x))."""

    codomain = constraints.positive

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return softplus(x)

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return (-y).expm1().neg().log() + y

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        return -softplus(-x)


class SigmoidTransform(Elementary):
    """y = 1 / (1 + exp(−x))."""

    codomain = constraints.unit_interval

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return inside(x.sigmoid())

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        y = inside(y)
        return y.log() - (-y).log1p()

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        return -softplus(-x) - softplus(x)


def inside(probs: gg.Tensor) -> gg.Tensor:
    """Probabilities kept away from 0 and 1 by the least that the type can tell."""
    info = gg.finfo(probs.dtype)
    return probs.clamp(min=info.tiny, max=1.0 - info.eps)


class TanhTransform(Elementary):
    """y = tanh(x); use ``cache_size=1`` for values near ±1, whose inverse is lost to rounding."""

    codomain = constraints.interval(-1.0, 1.0)

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return x.tanh()

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return y.atanh()

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        return 2.0 * (math.log(2.0) - x - softplus(-2.0 * x))


class AbsTransform(Elementary):
    """y = |x|; the inverse takes the positive x."""

    bijective = False
    codomain = constraints.positive

    @property
    def sign(self) -> Any:
        raise NotImplementedError("AbsTransform is not monotonic")

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return x.abs()

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return y


class PowerTransform(Transform):
    """y = x ** exponent, of positive numbers."""

    domain = constraints.positive
    codomain = constraints.positive
    bijective = True

    def __init__(self, exponent: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        (self.exponent,) = broadcast_all(exponent)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return PowerTransform(self.exponent, cache_size=cache_size)

    @property
    def sign(self) -> Any:
        return self.exponent.sign()

    def _key(self) -> Any:
        return Equal(self.exponent)

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return x.pow(self.exponent)

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return y.pow(1 / self.exponent)

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        return (self.exponent * y / x).abs().log()

    def forward_shape(self, shape: Sequence[int]) -> gg.Size:
        return gg.Size(gg.broadcast_shapes(shape, self.exponent.shape))

    inverse_shape = forward_shape


class AffineTransform(Transform):
    """y = loc + scale · x, whose last ``event_dim`` dimensions are one value."""

    bijective = True

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        self.loc, self.scale, self._event_dim = loc, scale, event_dim

    @property
    def event_dim(self) -> int:
        return self._event_dim

    @constraints.dependent_property(is_discrete=False)
    def domain(self) -> Any:
        return (
            constraints.independent(constraints.real, self._event_dim)
            if self._event_dim
            else (constraints.real)
        )

    @constraints.dependent_property(is_discrete=False)
    def codomain(self) -> Any:
        return self.domain

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return AffineTransform(self.loc, self.scale, self._event_dim, cache_size=cache_size)

    def _key(self) -> Any:
        return Equal(self.loc), Equal(self.scale)

    @property
    def sign(self) -> Any:
        if isinstance(self.scale, gg.Tensor):
            return self.scale.sign()
        return (self.scale > 0) - (self.scale < 0)

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return self.loc + self.scale * x

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        if isinstance(self.scale, gg.Tensor):
            volume = self.scale.abs().log().expand(gg.broadcast_shapes(x.shape, self.scale.shape))
        else:
            volume = gg.full_like(x, math.log(abs(self.scale)))
        return sum_rightmost(volume, self._event_dim)

    def forward_shape(self, shape: Sequence[int]) -> gg.Size:
        own = (getattr(v, "shape", ()) for v in (self.loc, self.scale))
        return gg.Size(gg.broadcast_shapes(shape, *own))

    inverse_shape = forward_shape


class CumulativeDistributionTransform(Transform):
    """y = the probability of values up to x, of a distribution with ``cdf`` and ``icdf``."""

    bijective = True
    codomain = constraints.unit_interval
    sign = 1

    def __init__(self, distribution: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        self.distribution = distribution

    @property
    def domain(self) -> Any:
        return self.distribution.support

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return CumulativeDistributionTransform(self.distribution, cache_size=cache_size)

    def _call(self, x: gg.Tensor) -> gg.Tensor:
        return self.distribution.cdf(x)

    def _inverse(self, y: gg.Tensor) -> gg.Tensor:
        return self.distribution.icdf(y)

    def log_abs_det_jacobian(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        return self.distribution.log_prob(x)
