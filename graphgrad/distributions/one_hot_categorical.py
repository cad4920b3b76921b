"""Categorical distributions whose values are one-hot vectors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.categorical import Categorical
from graphgrad.distributions.distribution import Distribution
from graphgrad.functional import one_hot


class OneHotCategorical(Distribution):
    """``Categorical`` with vectors of one 1 for values."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.one_hot
    has_enumerate_support = True

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self._categorical = inner = Categorical(probs, logits, validate_args)
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
        """The log probabilities of the classes."""
        return self._categorical.logits

    @property
    def param_shape(self) -> gg.Size:
        """The shape of the parameter."""
        return self._categorical.param_shape

    @property
    def mean(self) -> gg.Tensor:
        return self.probs

    @property
    def mode(self) -> gg.Tensor:
        return one_hot(self.probs.argmax(-1), self.event_shape[0]).to(self.probs.dtype)

    @property
    def variance(self) -> gg.Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        classes = self._categorical.sample(sample_shape)
        return one_hot(classes, self.event_shape[0]).to(self.probs.dtype)

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self._categorical.log_prob(value.argmax(-1))

    def entropy(self) -> gg.Tensor:
        return self._categorical.entropy()

    def enumerate_support(self, expand: bool = True) -> gg.Tensor:
        size = self.event_shape[0]
        values = gg.eye(size, dtype=self.probs.dtype, device=self.probs.device)
        values = values.reshape((size, *(1 for _ in self.batch_shape), size))
        return values.expand((size, *self.batch_shape, size)) if expand else values

    def __repr__(self) -> str:
        held = self._categorical.__dict__
        return self._show({name: held[name] for name in self.arg_constraints if name in held})


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """Samples pass their gradient on to the probabilities (Bengio et al. 2013)."""

    has_rsample = True

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        return self.sample(sample_shape) + (self.probs - self.probs.detach())
