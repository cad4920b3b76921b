"""The half-Cauchy distribution."""

from __future__ import annotations

import graphgrad as gg
from graphgrad.distributions.cauchy import Cauchy
from graphgrad.distributions.half import Half


class HalfCauchy(Half):
    """The absolute value of a Cauchy number centred at 0; ``scale`` is its half width."""

    whole = Cauchy

    @property
    def mean(self) -> gg.Tensor:
        return gg.full_like(self.scale, float("inf"))

    @property
    def variance(self) -> gg.Tensor:
        return gg.full_like(self.scale, float("inf"))
