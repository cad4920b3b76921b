"""The Pareto distribution."""

from __future__ import annotations

from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.exponential import Exponential
from graphgrad.distributions.transformed_distribution import TransformedDistribution
from graphgrad.distributions.transforms import AffineTransform, ExpTransform
from graphgrad.distributions.utils import broadcast_all


class Pareto(TransformedDistribution):
    """From ``scale`` up, with the tail x^−alpha."""

    arg_constraints = {"scale": constraints.positive, "alpha": constraints.positive}

    def __init__(self, scale: Any, alpha: Any, validate_args: bool | None = None) -> None:
        self.scale, self.alpha = broadcast_all(scale, alpha)
        base = Exponential(self.alpha, validate_args=validate_args)
        transforms = [ExpTransform(), AffineTransform(0, self.scale)]
        super().__init__(base, transforms, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        return constraints.greater_than_eq(self.scale)

    @property
    def mean(self) -> gg.Tensor:
        a = self.alpha.clamp(min=1)
        return a * self.scale / (a - 1)

    @property
    def mode(self) -> gg.Tensor:
        return self.scale

    @property
    def variance(self) -> gg.Tensor:
        a = self.alpha.clamp(min=2)
        return self.scale**2 * a / ((a - 1) ** 2 * (a - 2))

    def entropy(self) -> gg.Tensor:
        return (self.scale / self.alpha).log() + (1 + self.alpha.reciprocal())
