"""The absolute value of a number whose distribution is symmetric about 0."""

from __future__ import annotations

import math
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.transformed_distribution import TransformedDistribution
from graphgrad.distributions.transforms import AbsTransform


class Half(TransformedDistribution):
    """The side above 0 of ``whole``, a class of distributions with ``loc`` and ``scale``."""

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    whole: Any

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        base = self.whole(0, scale, validate_args=False)
        super().__init__(base, AbsTransform(), validate_args=validate_args)

    @property
    def scale(self) -> gg.Tensor:
        """The scale of the number whose absolute value is taken."""
        return self.base_dist.scale

    @property
    def mode(self) -> gg.Tensor:
        return gg.zeros_like(self.scale)

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
