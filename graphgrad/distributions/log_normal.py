"""The log-normal distribution."""

from __future__ import annotations

from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.normal import Normal
from graphgrad.distributions.transformed_distribution import TransformedDistribution
from graphgrad.distributions.transforms import ExpTransform


class LogNormal(TransformedDistribution):
    """Numbers whose logarithm is normal with mean ``loc`` and deviation ``scale``."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        base = Normal(loc, scale, validate_args=validate_args)
        super().__init__(base, ExpTransform(), validate_args=validate_args)

    @property
    def loc(self) -> gg.Tensor:
        """The mean of the logarithm."""
        return self.base_dist.loc

    @property
    def scale(self) -> gg.Tensor:
        """The standard deviation of the logarithm."""
        return self.base_dist.scale

    @property
    def mean(self) -> gg.Tensor:
        return (self.loc + self.scale**2 / 2).exp()

    @property
    def mode(self) -> gg.Tensor:
        return (self.loc - self.scale**2).exp()

    @property
    def variance(self) -> gg.Tensor:
        squared = self.scale**2
        return squared.expm1() * (2 * self.loc + squared).exp()

    def entropy(self) -> gg.Tensor:
        return self.base_dist.entropy() + self.loc
