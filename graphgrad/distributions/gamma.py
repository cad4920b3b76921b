"""The gamma distribution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions._gamma import log_gamma_draws, regularized_lower
from graphgrad.distributions.exp_family import ExponentialFamily
from graphgrad.distributions.utils import broadcast_all


class Gamma(ExponentialFamily):
    """Density ∝ x^(concentration − 1) exp(−rate·x)."""

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.shape, validate_args=validate_args)

    @property
    def mean(self) -> gg.Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> gg.Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> gg.Tensor:
        return self.concentration / self.rate**2

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        draws = log_gamma_draws(self.concentration, self._extended_shape(sample_shape)).exp()
        return (draws / self.rate).clamp(min=gg.finfo(draws.dtype).tiny)

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        a, rate = self.concentration, self.rate
        return gg.xlogy(a, rate) + gg.xlogy(a - 1, value) - rate * value - a.lgamma()

    def cdf(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return regularized_lower(self.concentration, self.rate * value)

    def entropy(self) -> gg.Tensor:
        a = self.concentration
        return a - self.rate.log() + a.lgamma() + (1 - a) * a.digamma()

    @property
    def _natural_params(self) -> tuple[gg.Tensor, ...]:
        return self.concentration - 1, -self.rate

    def _log_normalizer(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        return (x + 1).lgamma() - (x + 1) * (-y).log()
