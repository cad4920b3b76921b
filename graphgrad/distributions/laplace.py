"""The Laplace distribution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.utils import broadcast_all


class Laplace(Distribution):
    """Two-sided exponential around ``loc`` with the width ``scale``."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> gg.Tensor:
        return self.loc

    @property
    def mode(self) -> gg.Tensor:
        return self.loc

    @property
    def variance(self) -> gg.Tensor:
        return 2 * self.scale**2

    @property
    def stddev(self) -> gg.Tensor:
        return 2**0.5 * self.scale

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        shape, kind = self._extended_shape(sample_shape), self.loc.dtype
        unit = 2 * gg.rand(shape, dtype=kind, device=self.loc.device) - 1
        # -1 is drawn now and then; the logarithm below must stay finite.
        unit = unit.clamp(min=gg.finfo(kind).eps / 2 - 1)
        return self.loc - self.scale * unit.sign() * (-unit.abs()).log1p()

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return -(2 * self.scale).log() - (value - self.loc).abs() / self.scale

    def cdf(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        away = value - self.loc
        return 0.5 - 0.5 * away.sign() * (-away.abs() / self.scale).expm1()

    def icdf(self, value: gg.Tensor) -> gg.Tensor:
        term = value - 0.5
        return self.loc - self.scale * term.sign() * (-2 * term.abs()).log1p()

    def entropy(self) -> gg.Tensor:
        return 1 + (2 * self.scale).log()
