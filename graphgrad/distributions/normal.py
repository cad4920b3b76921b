"""The normal distribution."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.exp_family import ExponentialFamily
from graphgrad.distributions.utils import broadcast_all


class Normal(ExponentialFamily):
    """Mean ``loc``, standard deviation ``scale``."""

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
    def stddev(self) -> gg.Tensor:
        return self.scale

    @property
    def variance(self) -> gg.Tensor:
        return self.scale**2

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        shape = self._extended_shape(sample_shape)
        return self.loc + gg.randn(shape, dtype=self.loc.dtype, device=self.loc.device) * self.scale

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        standard = (value - self.loc) / self.scale
        return -0.5 * standard**2 - self.scale.log() - 0.5 * math.log(2 * math.pi)

    def cdf(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return 0.5 * (1 + ((value - self.loc) / (self.scale * math.sqrt(2))).erf())

    def icdf(self, value: gg.Tensor) -> gg.Tensor:
        return self.loc + self.scale * (2 * value - 1).erfinv() * math.sqrt(2)

    def entropy(self) -> gg.Tensor:
        return 0.5 + 0.5 * math.log(2 * math.pi) + self.scale.log()

    @property
    def _natural_params(self) -> tuple[gg.Tensor, ...]:
        return self.loc / self.scale**2, -0.5 * self.scale**-2

    def _log_normalizer(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        return -0.25 * x**2 / y + 0.5 * (-math.pi / y).log()
