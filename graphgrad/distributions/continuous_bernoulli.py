"""The continuous Bernoulli distribution."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.exp_family import ExponentialFamily
from graphgrad.distributions.utils import ProbsOrLogits, broadcast_all, clamp_probs
from graphgrad.functional import binary_cross_entropy_with_logits


class ContinuousBernoulli(ProbsOrLogits, ExponentialFamily):
    """Density ∝ probs^x (1 − probs)^(1 − x) on [0, 1] (Loaiza-Ganem and Cunningham 2019).

    For probabilities between ``lims``, around 1/2, the closed forms become 0 / 0 and their series
    are used.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        shape = self._odds(probs, logits).shape
        self._lims = lims
        super().__init__(shape, validate_args=validate_args)
        if probs is not None:
            self.probs = clamp_probs(self.probs)

    def _split(self) -> tuple[gg.Tensor, gg.Tensor, gg.Tensor]:
        """Where the closed forms hold, probabilities for them, and 1/2 plus what for the series."""
        probs = self.probs
        far = (probs < self._lims[0]) | (probs > self._lims[1])
        return far, gg.where(far, probs, self._lims[0]), gg.where(far, 0.0, probs - 0.5)

    def _log_constant(self) -> gg.Tensor:
        """The logarithm of the density's normaliser, 2 atanh(1 − 2λ) / (1 − 2λ)."""
        far, cut, x = self._split()
        closed = ((-cut).log1p() - cut.log()).abs().log() - (1 - 2 * cut).abs().log()
        return gg.where(far, closed, math.log(2.0) + (4 / 3 + 104 / 45 * x**2) * x**2)

    @property
    def mean(self) -> gg.Tensor:
        far, cut, x = self._split()
        closed = cut / (2 * cut - 1) + 1 / ((-cut).log1p() - cut.log())
        return gg.where(far, closed, 0.5 + (1 / 3 + 16 / 45 * x**2) * x)

    @property
    def variance(self) -> gg.Tensor:
        far, cut, x = self._split()
        closed = cut * (cut - 1) / (1 - 2 * cut) ** 2 + 1 / ((-cut).log1p() - cut.log()) ** 2
        return gg.where(far, closed, 1 / 12 - (1 / 15 - 128 / 945 * x**2) * x**2)

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        return self.icdf(
            gg.rand(
                self._extended_shape(sample_shape), dtype=self.probs.dtype, device=self.probs.device
            )
        )

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        cross = binary_cross_entropy_with_logits(logits, value.to(logits.dtype), reduction="none")
        return self._log_constant() - cross

    def cdf(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        far, cut, _ = self._split()
        closed = (cut**value * (1 - cut) ** (1 - value) + cut - 1) / (2 * cut - 1)
        return gg.where(far, closed, value).clamp(min=0.0, max=1.0)

    def icdf(self, value: gg.Tensor) -> gg.Tensor:
        far, cut, _ = self._split()
        closed = (-cut + value * (2 * cut - 1)).log1p() - (-cut).log1p()
        return gg.where(far, closed / (cut.log() - (-cut).log1p()), value)

    def entropy(self) -> gg.Tensor:
        log_no = (-self.probs).log1p()
        return self.mean * (log_no - self.probs.log()) - self._log_constant() - log_no

    @property
    def _natural_params(self) -> tuple[gg.Tensor, ...]:
        return (self.logits,)

    def _log_normalizer(self, x: gg.Tensor) -> gg.Tensor:
        """log((eˣ − 1) / x), by its series around 0."""
        far = (x < self._lims[0] - 0.5) | (x > self._lims[1] - 0.5)
        cut = gg.where(far, x, self._lims[0] - 0.5)
        closed = (cut.exp() - 1).abs().log() - cut.abs().log()
        return gg.where(far, closed, 0.5 * x + x**2 / 24 - x**4 / 2880)
