"""The binomial distribution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.utils import ProbsOrLogits, as_float, broadcast_all, tracing


class Binomial(ProbsOrLogits, Distribution):
    """How many of ``total_count`` trials succeed."""

    arg_constraints = {
        "total_count": constraints.nonnegative_integer,
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    has_enumerate_support = True

    def __init__(
        self,
        total_count: Any = 1,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        name, value = self._choose(probs, logits)
        value, count = broadcast_all(as_float(*broadcast_all(value)), total_count)
        self.__dict__[name] = value
        self.total_count = count.to(self._param.dtype)
        super().__init__(self._param.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> gg.Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> gg.Tensor:
        return gg.minimum(((self.total_count + 1) * self.probs).floor(), self.total_count)

    @property
    def variance(self) -> gg.Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        if tracing():
            raise NotImplementedError(
                "Binomial.sample() runs eagerly only: draw before the compiled function, or sum "
                "Bernoulli samples in it"
            )
        shape = self._extended_shape(sample_shape)
        seed = gg.randint(0, 2**62, (4,), device=self._param.device).tolist()
        count, probs = (x.numpy(force=True) for x in (self.total_count, self.probs))
        drawn = np.random.default_rng(seed).binomial(count.astype(np.int64), probs, shape)
        return gg.tensor(np.asarray(drawn), dtype=self._param.dtype, device=self._param.device)

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        n, logits = self.total_count, self.logits
        ways = (n + 1).lgamma() - (value + 1).lgamma() - (n - value + 1).lgamma()
        # n·log(1 + exp(logits)), for large logits too.
        normalizer = n * (logits.clamp(min=0) + (-logits.abs()).exp().log1p())
        return ways + value * logits - normalizer

    def entropy(self) -> gg.Tensor:
        if not bool((self.total_count == self.total_count.max()).all()):
            raise NotImplementedError(
                "Inhomogeneous total count not supported by `entropy`: call it for each count"
            )
        log_prob = self.log_prob(self.enumerate_support(False))
        return -(log_prob.exp() * log_prob).sum(0)

    def enumerate_support(self, expand: bool = True) -> gg.Tensor:
        count = int(self.total_count.max())
        if not int(self.total_count.min()) == count:
            raise NotImplementedError(
                "Inhomogeneous total count not supported by `enumerate_support`."
            )
        return self._listed(
            gg.arange(count + 1, dtype=self._param.dtype, device=self._param.device), expand
        )
