"""The negative binomial distribution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.gamma import Gamma
from graphgrad.distributions.utils import ProbsOrLogits, as_float, broadcast_all
from graphgrad.functional import logsigmoid


class NegativeBinomial(ProbsOrLogits, Distribution):
    """Successes of probability ``probs`` before the ``total_count``-th failure."""

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer

    def __init__(
        self,
        total_count: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        name, value = self._choose(probs, logits)
        value, count = broadcast_all(as_float(*broadcast_all(value)), total_count)
        self.__dict__[name] = value
        self.total_count = count.to(value.dtype)
        super().__init__(value.shape, validate_args=validate_args)

    @property
    def mean(self) -> gg.Tensor:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> gg.Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> gg.Tensor:
        return self.mean / (-self.logits).sigmoid()

    def sample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        """Poisson counts at gamma distributed rates."""
        with gg.no_grad():
            rates = Gamma(self.total_count, (-self.logits).exp(), validate_args=False)
            return gg.poisson(rates.sample(sample_shape))

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        n = self.total_count
        odds = n * logsigmoid(-self.logits) + value * logsigmoid(self.logits)
        # Γ(n) is infinite at n = 0, where the count is certainly 0.
        certain = n + value == 0
        ways = (gg.where(certain, 1.0, n + value)).lgamma() - (1 + value).lgamma()
        return odds + gg.where(certain, 0.0, ways - gg.where(certain, 1.0, n).lgamma())
