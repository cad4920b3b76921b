"""The half-normal distribution."""

from __future__ import annotations

import math
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.normal import Normal
from graphgrad.distributions.transformed_distribution import TransformedDistribution
from graphgrad.distributions.transforms import AbsTransform


class HalfNormal(TransformedDistribution):
    """The absolute value of a normal number centred at 0."""

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        base = Normal(0, scale, validate_args=False)
        super().__init__(base, AbsTransform(), validate_args=validate_args)

    @property
    def scale(self) -> gg.Tensor:
        """The standard deviation of the number whose absolute value is taken."""
        return self.base_dist.scale

    @property
    def mean(self) -> gg.Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def mode(self) -> gg.Tensor:
        return gg.zeros_like(self.scale)

    @property
    def variance(self) -> gg.Tensor:
        return self.scale**2 * (1 - 2 / math.pi)

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        density = self.base_dist.log_prob(value) + math.log(2)
        return gg.where(value >= 0, density, -float("inf"))

    def cdf(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return 2 * self.base_dist.cdf(value) - 1

    def icdf(self, value: gg.Tensor) -> gg.Tensor:
        return self.base_dist.icdf((value + 1) / 2)

    def entropy(self) -> gg.Tensor:
        return self.base_dist.entropy() - math.log(2)
