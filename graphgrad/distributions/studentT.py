"""Student's t distribution."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.chi2 import Chi2
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.utils import broadcast_all


class StudentT(Distribution):
    """``df`` degrees of freedom, centred at ``loc`` with the width ``scale``."""

    arg_constraints = {
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real
    has_rsample = True

    def __init__(
        self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        super().__init__(self.df.shape, validate_args=validate_args)

    @property
    def mean(self) -> gg.Tensor:
        return gg.where(self.df > 1, self.loc, float("nan"))

    @property
    def mode(self) -> gg.Tensor:
        return self.loc

    @property
    def variance(self) -> gg.Tensor:
        light = self.df > 2
        finite = self.scale**2 * self.df / gg.where(light, self.df - 2, 1.0)
        return gg.where(light, finite, gg.where(self.df > 1, float("inf"), float("nan")))

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        shape = self._extended_shape(sample_shape)
        squares = Chi2(self.df, validate_args=False).rsample(sample_shape)
        standard = (
            gg.randn(shape, dtype=self.df.dtype, device=self.df.device)
            * (squares / self.df).rsqrt()
        )
        return self.loc + self.scale * standard

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        df, y = self.df, (value - self.loc) / self.scale
        log_z = self.scale.log() + 0.5 * (df * math.pi).log() + (df / 2).lgamma()
        return -0.5 * (df + 1) * (y**2 / df).log1p() - log_z + ((df + 1) / 2).lgamma()

    def entropy(self) -> gg.Tensor:
        half, more = self.df / 2, (self.df + 1) / 2
        log_beta = half.lgamma() + math.lgamma(0.5) - more.lgamma()
        peak = self.scale.log() + 0.5 * self.df.log() + log_beta
        return peak + more * (more.digamma() - half.digamma())
