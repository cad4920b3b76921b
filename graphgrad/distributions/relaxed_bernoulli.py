"""Bernoulli distributions relaxed to the numbers between 0 and 1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.relaxed import Relaxed
from graphgrad.distributions.transforms import SigmoidTransform
from graphgrad.distributions.utils import ProbsOrLogits, beside, clamp_probs


class LogitRelaxedBernoulli(ProbsOrLogits, Distribution):
    """Logistic noise around the log odds, over a temperature (Maddison et al. 2017)."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.real
    has_rsample = True

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        self.temperature = temperature
        super().__init__(self._odds(probs, logits).shape, validate_args=validate_args)

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        unit = clamp_probs(
            gg.rand(
                self._extended_shape(sample_shape),
                dtype=self._param.dtype,
                device=self._param.device,
            )
        )
        return (unit.log() - (-unit).log1p() + self.logits) / self.temperature

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        away = self.logits - value * self.temperature
        log_temperature = beside(self.temperature, away).log()
        return log_temperature + away - 2 * gg.logaddexp(away, gg.zeros_like(away))


class RelaxedBernoulli(Relaxed):
    """Nearly 0 or 1 for a small ``temperature``, with gradients to ``probs`` or ``logits``."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    noisy, squash = LogitRelaxedBernoulli, SigmoidTransform
