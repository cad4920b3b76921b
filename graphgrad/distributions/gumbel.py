"""The Gumbel distribution."""

from __future__ import annotations

import math
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.transformed_distribution import TransformedDistribution
from graphgrad.distributions.transforms import AffineTransform, ExpTransform
from graphgrad.distributions.uniform import Uniform
from graphgrad.distributions.utils import EULER, broadcast_all


class Gumbel(TransformedDistribution):
    """The largest of many numbers with exponential tails: loc − scale · log(−log uniform)."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        info = gg.finfo(self.loc.dtype)
        low = gg.full_like(self.loc, info.tiny)
        base = Uniform(low, gg.full_like(self.loc, 1 - info.eps), validate_args=False)
        log = ExpTransform().inv
        transforms = [
            log,
            AffineTransform(0, -1),
            log,
            AffineTransform(self.loc, -self.scale),
        ]
        super().__init__(base, transforms, validate_args=validate_args)

    @property
    def mean(self) -> gg.Tensor:
        return self.loc + self.scale * EULER

    @property
    def mode(self) -> gg.Tensor:
        return self.loc

    @property
    def stddev(self) -> gg.Tensor:
        return math.pi / math.sqrt(6) * self.scale

    @property
    def variance(self) -> gg.Tensor:
        return self.stddev**2

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        y = (self.loc - value) / self.scale
        return y - y.exp() - self.scale.log()

    def cdf(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return (-((self.loc - value) / self.scale).exp()).exp()

    def icdf(self, value: gg.Tensor) -> gg.Tensor:
        return self.loc - self.scale * (-value.log()).log()

    def entropy(self) -> gg.Tensor:
        return self.scale.log() + (1 + EULER)
