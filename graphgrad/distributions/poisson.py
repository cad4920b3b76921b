"""The Poisson distribution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.exp_family import ExponentialFamily
from graphgrad.distributions.utils import as_float, broadcast_all


class Poisson(ExponentialFamily):
    """Counts of independent events, ``rate`` on average."""

    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        self.rate = as_float(*broadcast_all(rate))
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def mean(self) -> gg.Tensor:
        return self.rate

    @property
    def mode(self) -> gg.Tensor:
        return self.rate.floor()

    @property
    def variance(self) -> gg.Tensor:
        return self.rate

    def sample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        with gg.no_grad():
            return gg.poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        rate, value = broadcast_all(self.rate, value)
        return gg.xlogy(value, rate) - rate - (value + 1).lgamma()

    @property
    def _natural_params(self) -> tuple[gg.Tensor, ...]:
        return (self.rate.log(),)

    def _log_normalizer(self, x: gg.Tensor) -> gg.Tensor:
        return x.exp()

    def entropy(self) -> gg.Tensor:
        raise NotImplementedError(
            "Poisson has no closed form of entropy: average -log_prob over samples"
        )
