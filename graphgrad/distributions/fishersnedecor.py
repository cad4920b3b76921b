"""The F distribution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions._gamma import log_gamma_draws
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.utils import broadcast_all


class FisherSnedecor(Distribution):
    """The ratio of two chi-squared numbers, each divided by its degrees of freedom."""

    arg_constraints = {"df1": constraints.positive, "df2": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, df1: Any, df2: Any, validate_args: bool | None = None) -> None:
        self.df1, self.df2 = broadcast_all(df1, df2)
        super().__init__(self.df1.shape, validate_args=validate_args)

    @property
    def mean(self) -> gg.Tensor:
        finite = self.df2 > 2
        mean = self.df2 / gg.where(finite, self.df2 - 2, 1.0)
        return gg.where(finite, mean, float("nan"))

    @property
    def mode(self) -> gg.Tensor:
        mode = (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2)
        return gg.where(self.df1 > 2, mode, float("nan"))

    @property
    def variance(self) -> gg.Tensor:
        finite = self.df2 > 4
        n = gg.where(finite, self.df2, 5.0)
        variance = 2 * n**2 * (self.df1 + n - 2) / (self.df1 * (n - 2) ** 2 * (n - 4))
        return gg.where(finite, variance, float("nan"))

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        shape = self._extended_shape(sample_shape)
        above, below = (log_gamma_draws(df / 2, shape) - df.log() for df in (self.df1, self.df2))
        return (above - below).exp().clamp(min=gg.finfo(above.dtype).tiny)

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        a, b, ratio = self.df1 / 2, self.df2 / 2, self.df1 / self.df2
        normalizer = a.lgamma() + b.lgamma() - (a + b).lgamma()
        power = a * ratio.log() + (a - 1) * value.log()
        return power - (a + b) * (ratio * value).log1p() - normalizer
