"""The half-normal distribution."""

from __future__ import annotations

import math

import graphgrad as gg
from graphgrad.distributions.half import Half
from graphgrad.distributions.normal import Normal


class HalfNormal(Half):
    """The absolute value of a normal number centred at 0; ``scale`` is its standard deviation."""

    whole = Normal

    @property
    def mean(self) -> gg.Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> gg.Tensor:
        return self.scale**2 * (1 - 2 / math.pi)
