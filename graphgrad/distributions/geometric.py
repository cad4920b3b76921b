"""The geometric distribution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.utils import ProbsOrLogits, broadcast_all, tracing
from graphgrad.functional import binary_cross_entropy_with_logits


class Geometric(ProbsOrLogits, Distribution):
    """The number of failures (0, 1, …) before the first success of probability ``probs``."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        shape = self._odds(probs, logits).shape
        super().__init__(shape, validate_args=validate_args)
        if self._validate_args and probs is not None and not tracing():
            self._check_possible()

    def _check_possible(self) -> None:
        if not bool((self.probs > 0).all()):
            raise ValueError(
                f"Expected parameter probs (Tensor of shape {tuple(self.probs.shape)}) of "
                f"distribution {self!r} to be positive but found invalid values:\n{self.probs}"
            )

    @property
    def mean(self) -> gg.Tensor:
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> gg.Tensor:
        return gg.zeros_like(self.probs)

    @property
    def variance(self) -> gg.Tensor:
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        with gg.no_grad():
            unit = gg.rand(
                self._extended_shape(sample_shape), dtype=self.probs.dtype, device=self.probs.device
            )
            return ((-unit).log1p() / (-self.probs).log1p()).floor()

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        value, probs = broadcast_all(value, self.probs)
        # Certain success: 0 · log 0 counts as 0.
        failing = gg.where((probs == 1) & (value == 0), 0.0, probs)
        return value * (-failing).log1p() + probs.log()

    def entropy(self) -> gg.Tensor:
        logits = self.logits
        return binary_cross_entropy_with_logits(logits, self.probs, reduction="none") / self.probs
