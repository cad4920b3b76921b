"""Discrete distributions relaxed to numbers that have gradients (Maddison et al. 2017)."""

from __future__ import annotations

from typing import Any

import graphgrad as gg
from graphgrad.distributions.transformed_distribution import TransformedDistribution


class Relaxed(TransformedDistribution):
    """``squash`` of a ``noisy`` distribution: nearly discrete for a small ``temperature``."""

    has_rsample = True
    noisy: Any
    squash: Any

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        base = self.noisy(temperature, probs, logits, validate_args=validate_args)
        super().__init__(base, self.squash(), validate_args=validate_args)

    @property
    def temperature(self) -> Any:
        """How far samples are from the discrete values."""
        return self.base_dist.temperature

    @property
    def logits(self) -> gg.Tensor:
        """Log odds, or log probabilities of the classes."""
        return self.base_dist.logits

    @property
    def probs(self) -> gg.Tensor:
        """The probability of values nearer to 1, or those of the classes."""
        return self.base_dist.probs
