"""The logistic-normal distribution."""

from __future__ import annotations

from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.independent import Independent
from graphgrad.distributions.normal import Normal
from graphgrad.distributions.transformed_distribution import TransformedDistribution
from graphgrad.distributions.transforms import StickBreakingTransform


class LogisticNormal(TransformedDistribution):
    """Probability vectors that stick breaking makes of normal numbers."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        base = Normal(loc, scale, validate_args=validate_args)
        if not base.batch_shape:
            base = base.expand((1,))
        super().__init__(base, StickBreakingTransform(), validate_args=validate_args)

    @property
    def _normal(self) -> Normal:
        assert isinstance(self.base_dist, Independent)
        return self.base_dist.base_dist

    @property
    def loc(self) -> gg.Tensor:
        """The means of the normal numbers."""
        return self._normal.loc

    @property
    def scale(self) -> gg.Tensor:
        """Their standard deviations."""
        return self._normal.scale
