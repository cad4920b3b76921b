"""The Cauchy distribution."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.utils import broadcast_all


class Cauchy(Distribution):
    """The ratio of two centred normal numbers: median ``loc``, half width ``scale``."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> gg.Tensor:
        return gg.full_like(self.loc, float("nan"))

    @property
    def mode(self) -> gg.Tensor:
        return self.loc

    @property
    def variance(self) -> gg.Tensor:
        return gg.full_like(self.loc, float("inf"))

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        return self.icdf(
            gg.rand(
                self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device
            )
        )

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        squared = ((value - self.loc) / self.scale) ** 2
        return -math.log(math.pi) - self.scale.log() - squared.log1p()

    def cdf(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return ((value - self.loc) / self.scale).atan() / math.pi + 0.5

    def icdf(self, value: gg.Tensor) -> gg.Tensor:
        return self.loc + self.scale * (math.pi * (value - 0.5)).tan()

    def entropy(self) -> gg.Tensor:
        return math.log(4 * math.pi) + self.scale.log()
