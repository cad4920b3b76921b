"""The Kumaraswamy distribution."""

from __future__ import annotations

from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.transformed_distribution import TransformedDistribution
from graphgrad.distributions.transforms import AffineTransform, PowerTransform
from graphgrad.distributions.uniform import Uniform
from graphgrad.distributions.utils import EULER, broadcast_all


class Kumaraswamy(TransformedDistribution):
    """Like a beta distribution, with the cdf 1 − (1 − x^a)^b."""

    arg_constraints = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self, concentration1: Any, concentration0: Any, validate_args: bool | None = None
    ) -> None:
        self.concentration1, self.concentration0 = a, b = broadcast_all(
            concentration1, concentration0
        )
        base = Uniform(gg.zeros_like(a), gg.ones_like(a), validate_args=False)
        transforms = [
            PowerTransform(b.reciprocal()),
            AffineTransform(1.0, -1.0),
            PowerTransform(a.reciprocal()),
        ]
        super().__init__(base, transforms, validate_args=validate_args)

    def _moment(self, n: int) -> gg.Tensor:
        """E[xⁿ] = b·B(1 + n/a, b)."""
        a, b = self.concentration1, self.concentration0
        power = 1 + n / a
        return (b.log() + power.lgamma() + b.lgamma() - (power + b).lgamma()).exp()

    @property
    def mean(self) -> gg.Tensor:
        return self._moment(1)

    @property
    def mode(self) -> gg.Tensor:
        a, b = self.concentration1, self.concentration0
        peaked = (a >= 1) & (b >= 1) & ~((a == 1) & (b == 1))
        ratio = gg.where(peaked, a - 1, 1.0) / gg.where(peaked, a * b - 1, 1.0)
        return gg.where(peaked, ratio ** (1 / a), float("nan"))

    @property
    def variance(self) -> gg.Tensor:
        return self._moment(2) - self._moment(1) ** 2

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        a, b = self.concentration1, self.concentration0
        tail = gg.xlogy(b - 1, 1 - value**a)
        return a.log() + b.log() + gg.xlogy(a - 1, value) + tail

    def entropy(self) -> gg.Tensor:
        a, b = self.concentration1, self.concentration0
        harmonic = (b + 1).digamma() + EULER
        return (1 - 1 / b) + (1 - 1 / a) * harmonic - a.log() - b.log()
