"""The inverse gamma distribution."""

from __future__ import annotations

from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.gamma import Gamma
from graphgrad.distributions.transformed_distribution import TransformedDistribution
from graphgrad.distributions.transforms import PowerTransform


class InverseGamma(TransformedDistribution):
    """1 / x for x of a ``Gamma(concentration, rate)``."""

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        base = Gamma(concentration, rate, validate_args=validate_args)
        inverse = PowerTransform(-base.rate.new_ones(()))
        super().__init__(base, inverse, validate_args=validate_args)

    @property
    def concentration(self) -> gg.Tensor:
        """The shape of 1 / x."""
        return self.base_dist.concentration

    @property
    def rate(self) -> gg.Tensor:
        """The rate of 1 / x, which scales x."""
        return self.base_dist.rate

    @property
    def mean(self) -> gg.Tensor:
        finite = self.concentration > 1
        mean = self.rate / gg.where(finite, self.concentration - 1, 1.0)
        return gg.where(finite, mean, float("inf"))

    @property
    def mode(self) -> gg.Tensor:
        return self.rate / (self.concentration + 1)

    @property
    def variance(self) -> gg.Tensor:
        finite = self.concentration > 2
        a = gg.where(finite, self.concentration, 3.0)
        return gg.where(finite, self.rate**2 / ((a - 1) ** 2 * (a - 2)), float("inf"))

    def entropy(self) -> gg.Tensor:
        a = self.concentration
        return a + self.rate.log() + a.lgamma() - (1 + a) * a.digamma()
