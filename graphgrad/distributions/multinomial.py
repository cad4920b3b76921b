"""The multinomial distribution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.binomial import Binomial
from graphgrad.distributions.categorical import Categorical
from graphgrad.distributions.distribution import Distribution
from graphgrad.functional import one_hot


class Multinomial(Distribution):
    """How often each class comes up in ``total_count`` draws of a ``Categorical``."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(
        self,
        total_count: int = 1,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        self._categorical = inner = Categorical(probs, logits, validate_args)
        super().__init__(inner.batch_shape, inner.param_shape[-1:], validate_args)

    def expand(self, batch_shape: Iterable[int], _instance: Any = None) -> Any:
        batch = gg.Size(batch_shape)
        return self._spread(batch, {"_categorical": self._categorical.expand(batch)}, _instance)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> Any:
        return constraints.multinomial(self.total_count)

    @property
    def probs(self) -> gg.Tensor:
        """The probabilities of the classes."""
        return self._categorical.probs

    @property
    def logits(self) -> gg.Tensor:
        """The log probabilities of the classes."""
        return self._categorical.logits

    @property
    def param_shape(self) -> gg.Size:
        """The shape of the parameter."""
        return self._categorical.param_shape

    @property
    def mean(self) -> gg.Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> gg.Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        draws = self._categorical.sample((self.total_count, *sample_shape))
        counts = one_hot(draws, self.event_shape[0]).sum(0)
        return counts.to(self.probs.dtype)

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        # An impossible class (log probability −inf) that did not come up counts as nothing.
        possible = gg.where((value == 0) & (self.logits == -float("inf")), 0.0, self.logits)
        ways = (value.sum(-1) + 1).lgamma() - (value + 1).lgamma().sum(-1)
        return ways + (possible * value).sum(-1)

    def entropy(self) -> gg.Tensor:
        """n·H(class) − log n! + Σ over classes of E[log count!]."""
        n = gg.tensor(float(self.total_count), dtype=self.probs.dtype, device=self.probs.device)
        counts = Binomial(self.total_count, self.probs, validate_args=False)
        values = counts.enumerate_support(expand=False)[1:]
        surprise = counts.log_prob(values).exp() * (values + 1).lgamma()
        return n * self._categorical.entropy() - (n + 1).lgamma() + surprise.sum((0, -1))

    def __repr__(self) -> str:
        held = self._categorical.__dict__
        return self._show({name: held[name] for name in self.arg_constraints if name in held})
