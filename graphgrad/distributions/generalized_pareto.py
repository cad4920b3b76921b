"""The generalised Pareto distribution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.utils import broadcast_all

# Nearer to 0, a concentration means the exponential distribution, the limit.
_FLAT = 1e-10


class GeneralizedPareto(Distribution):
    """What exceeds a high threshold ``loc``; ``concentration`` says how heavy the tail is."""

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }
    has_rsample = True

    def __init__(
        self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        c = self.concentration
        top = self.loc - self.scale / gg.where(c < 0, c, -1.0)
        return constraints.interval(self.loc, gg.where(c < 0, top, float("inf")))

    def _parts(self) -> tuple[gg.Tensor, gg.Tensor]:
        """Where the concentration is as good as 0, and a concentration to divide by."""
        flat = self.concentration.abs() < _FLAT
        return flat, gg.where(flat, 1.0, self.concentration)

    @property
    def mean(self) -> gg.Tensor:
        finite = self.concentration < 1
        mean = self.loc + self.scale / gg.where(finite, 1 - self.concentration, 1.0)
        return gg.where(finite, mean, float("inf"))

    @property
    def mode(self) -> gg.Tensor:
        return self.loc

    @property
    def variance(self) -> gg.Tensor:
        finite = self.concentration < 0.5
        c = gg.where(finite, self.concentration, 0.0)
        return gg.where(finite, self.scale**2 / ((1 - c) ** 2 * (1 - 2 * c)), float("inf"))

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        return self.icdf(
            gg.rand(
                self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device
            )
        )

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self._log_survival(value, 1.0) - self.scale.log()

    def _log_survival(self, value: gg.Tensor, more: float) -> gg.Tensor:
        """log P(x > value); with ``more`` added to the power of the tail."""
        flat, c = self._parts()
        z = (value - self.loc) / self.scale
        return gg.where(flat, -z, -(1 / c + more) * gg.where(flat, 0.0, c * z).log1p())

    def log_survival_function(self, value: gg.Tensor) -> gg.Tensor:
        """The logarithm of the probability of larger values."""
        if self._validate_args:
            self._validate_sample(value)
        return self._log_survival(value, 0.0)

    def log_cdf(self, value: gg.Tensor) -> gg.Tensor:
        """The logarithm of the probability of smaller values."""
        return (-self.log_survival_function(value).exp()).log1p()

    def cdf(self, value: gg.Tensor) -> gg.Tensor:
        return -self.log_survival_function(value).expm1()

    def icdf(self, value: gg.Tensor) -> gg.Tensor:
        flat, c = self._parts()
        log_survival = (-value).log1p()
        z = gg.where(flat, -log_survival, (-c * log_survival).expm1() / c)
        return self.loc + self.scale * z

    def entropy(self) -> gg.Tensor:
        return (1 + self.scale.log() + self.concentration).expand(self._batch_shape)
