"""One-hot categorical distributions relaxed to probability vectors."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.categorical import Categorical
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.relaxed import Relaxed
from graphgrad.distributions.transforms import ExpTransform
from graphgrad.distributions.utils import beside, clamp_probs


class ExpRelaxedCategorical(Distribution):
    """The logarithm of a ``RelaxedOneHotCategorical`` (Maddison et al. 2017)."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    # The true support, vectors whose exponentials add up to 1, is a set without volume.
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        self.temperature = temperature
        self._categorical = inner = Categorical(probs, logits)
        super().__init__(inner.batch_shape, inner.param_shape[-1:], validate_args)

    def expand(self, batch_shape: Iterable[int], _instance: Any = None) -> Any:
        batch = gg.Size(batch_shape)
        return self._spread(batch, {"_categorical": self._categorical.expand(batch)}, _instance)

    @property
    def probs(self) -> gg.Tensor:
        """The probabilities of the classes."""
        return self._categorical.probs

    @property
    def logits(self) -> gg.Tensor:
        """Their logarithms."""
        return self._categorical.logits

    @property
    def param_shape(self) -> gg.Size:
        """The shape of the parameter."""
        return self._categorical.param_shape

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        unit = clamp_probs(
            gg.rand(
                self._extended_shape(sample_shape),
                dtype=self.logits.dtype,
                device=self.logits.device,
            )
        )
        scores = (self.logits - (-unit.log()).log()) / self.temperature
        return scores - scores.logsumexp(-1, keepdim=True)

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        k = self.event_shape[0]
        log_temperature = beside(self.temperature, self.logits).log()
        scores = self.logits - value * self.temperature
        scores = (scores - scores.logsumexp(-1, keepdim=True)).sum(-1)
        return scores + (math.lgamma(k) + (k - 1) * log_temperature)


class RelaxedOneHotCategorical(Relaxed):
    """Nearly one-hot for a small ``temperature``, with gradients to ``probs`` or ``logits``."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.simplex
    noisy, squash = ExpRelaxedCategorical, ExpTransform
