"""The Bernoulli distribution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.exp_family import ExponentialFamily
from graphgrad.distributions.utils import ProbsOrLogits, broadcast_all
from graphgrad.functional import binary_cross_entropy_with_logits


class Bernoulli(ProbsOrLogits, ExponentialFamily):
    """1 with probability ``probs`` (log odds ``logits``), else 0."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.boolean
    has_enumerate_support = True

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        shape = self._odds(probs, logits).shape
        super().__init__(shape, validate_args=validate_args)

    @property
    def mean(self) -> gg.Tensor:
        return self.probs

    @property
    def mode(self) -> gg.Tensor:
        mode = (self.probs >= 0.5).to(self.probs.dtype)
        return gg.where(self.probs == 0.5, float("nan"), mode)

    @property
    def variance(self) -> gg.Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        with gg.no_grad():
            return gg.bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value.to(logits.dtype), reduction="none")

    def entropy(self) -> gg.Tensor:
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def enumerate_support(self, expand: bool = True) -> gg.Tensor:
        return self._listed(
            gg.arange(2, dtype=self._param.dtype, device=self._param.device), expand
        )

    @property
    def _natural_params(self) -> tuple[gg.Tensor, ...]:
        return (self.logits,)

    def _log_normalizer(self, x: gg.Tensor) -> gg.Tensor:
        return x.exp().log1p()
