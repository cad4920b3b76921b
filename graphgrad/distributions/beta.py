"""The beta distribution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.dirichlet import Dirichlet
from graphgrad.distributions.exp_family import ExponentialFamily
from graphgrad.distributions.utils import broadcast_all


class Beta(ExponentialFamily):
    """Density ∝ x^(concentration1 − 1) (1 − x)^(concentration0 − 1): a Dirichlet of two."""

    arg_constraints = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self, concentration1: Any, concentration0: Any, validate_args: bool | None = None
    ) -> None:
        pair = gg.stack(broadcast_all(concentration1, concentration0), -1)
        self._dirichlet = Dirichlet(pair, validate_args=validate_args)
        super().__init__(self._dirichlet.batch_shape, validate_args=validate_args)

    def expand(self, batch_shape: Iterable[int], _instance: Any = None) -> Any:
        batch = gg.Size(batch_shape)
        return self._spread(batch, {"_dirichlet": self._dirichlet.expand(batch)}, _instance)

    @property
    def concentration1(self) -> gg.Tensor:
        """The power of x, plus one."""
        return self._dirichlet.concentration[..., 0]

    @property
    def concentration0(self) -> gg.Tensor:
        """The power of 1 − x, plus one."""
        return self._dirichlet.concentration[..., 1]

    @property
    def mean(self) -> gg.Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> gg.Tensor:
        return self._dirichlet.mode[..., 0]

    @property
    def variance(self) -> gg.Tensor:
        a, b = self.concentration1, self.concentration0
        return a * b / ((a + b) ** 2 * (a + b + 1))

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        return self._dirichlet.rsample(sample_shape)[..., 0]

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        # Each part from the value itself: 1 − (1 − value) would round small values away.
        a, b = self.concentration1, self.concentration0
        inside = gg.xlogy(a - 1, value) + gg.xlogy(b - 1, 1 - value)
        return inside + (a + b).lgamma() - a.lgamma() - b.lgamma()

    def entropy(self) -> gg.Tensor:
        return self._dirichlet.entropy()

    def __repr__(self) -> str:
        named = {"concentration1": self.concentration1, "concentration0": self.concentration0}
        return self._show(named)

    @property
    def _natural_params(self) -> tuple[gg.Tensor, ...]:
        return self.concentration1, self.concentration0

    def _log_normalizer(self, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
        return x.lgamma() + y.lgamma() - (x + y).lgamma()
