"""The Weibull distribution."""

from __future__ import annotations

from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.exponential import Exponential
from graphgrad.distributions.transformed_distribution import TransformedDistribution
from graphgrad.distributions.transforms import AffineTransform, PowerTransform
from graphgrad.distributions.utils import EULER, broadcast_all


class Weibull(TransformedDistribution):
    """scale · exponential^(1 / concentration)."""

    arg_constraints = {"scale": constraints.positive, "concentration": constraints.positive}
    support = constraints.positive

    def __init__(self, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.scale, self.concentration = broadcast_all(scale, concentration)
        base = Exponential(gg.ones_like(self.scale), validate_args=False)
        transforms = [
            PowerTransform(self.concentration.reciprocal()),
            AffineTransform(0, self.scale),
        ]
        super().__init__(base, transforms, validate_args=validate_args)

    def _moment(self, n: int) -> gg.Tensor:
        """E[(x / scale)ⁿ]."""
        return (1 + n / self.concentration).lgamma().exp()

    @property
    def mean(self) -> gg.Tensor:
        return self.scale * self._moment(1)

    @property
    def mode(self) -> gg.Tensor:
        k = self.concentration
        return self.scale * ((k - 1) / k) ** (1 / k)

    @property
    def variance(self) -> gg.Tensor:
        return self.scale**2 * (self._moment(2) - self._moment(1) ** 2)

    def entropy(self) -> gg.Tensor:
        k = self.concentration
        return EULER * (1 - 1 / k) + (self.scale / k).log() + 1
