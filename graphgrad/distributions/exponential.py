"""The exponential distribution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.exp_family import ExponentialFamily
from graphgrad.distributions.utils import broadcast_all


class Exponential(ExponentialFamily):
    """Waiting times for events of a constant ``rate``."""

    arg_constraints = {"rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def mean(self) -> gg.Tensor:
        return self.rate.reciprocal()

    @property
    def mode(self) -> gg.Tensor:
        return gg.zeros_like(self.rate)

    @property
    def stddev(self) -> gg.Tensor:
        return self.rate.reciprocal()

    @property
    def variance(self) -> gg.Tensor:
        return self.rate**-2

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        unit = gg.rand(
            self._extended_shape(sample_shape), dtype=self.rate.dtype, device=self.rate.device
        )
        return -(-unit).log1p() / self.rate

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self.rate.log() - self.rate * value

    def cdf(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return -(-self.rate * value).expm1()

    def icdf(self, value: gg.Tensor) -> gg.Tensor:
        return -(-value).log1p() / self.rate

    def entropy(self) -> gg.Tensor:
        return 1 - self.rate.log()

    @property
    def _natural_params(self) -> tuple[gg.Tensor, ...]:
        return (-self.rate,)

    def _log_normalizer(self, x: gg.Tensor) -> gg.Tensor:
        return -(-x).log()
