"""The categorical distribution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.utils import ProbsOrLogits


class Categorical(ProbsOrLogits, Distribution):
    """One of K classes; the last dimension of ``probs`` or ``logits`` has a weight for each."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True
    is_binary = False

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        name, value = self._choose(probs, logits)
        if value.ndim < 1:
            raise ValueError(f"`{name}` parameter must be at least one-dimensional.")
        if name == "probs":
            self.probs = value / value.sum(-1, keepdim=True)
        else:
            self.logits = value - value.logsumexp(-1, keepdim=True)
        super().__init__(value.shape[:-1], validate_args=validate_args)

    @property
    def _num_events(self) -> int:
        return self._param.shape[-1]

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> gg.Tensor:
        return gg.full(
            self.batch_shape, float("nan"), dtype=self._param.dtype, device=self._param.device
        )

    @property
    def mode(self) -> gg.Tensor:
        return self.probs.argmax(-1)

    @property
    def variance(self) -> gg.Tensor:
        return gg.full(
            self.batch_shape, float("nan"), dtype=self._param.dtype, device=self._param.device
        )

    def sample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        shape = gg.Size(tuple(sample_shape))
        rows = self.probs.detach().reshape((-1, self._num_events))
        drawn = gg.multinomial(rows, shape.numel(), True).T
        return drawn.reshape(self._extended_shape(shape))

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        shape = gg.broadcast_shapes(value.shape, self.batch_shape)
        at = value.long().expand(shape).unsqueeze(-1)
        return self.logits.expand((*shape, self._num_events)).gather(-1, at).squeeze(-1)

    def entropy(self) -> gg.Tensor:
        finite = self.logits.clamp(min=gg.finfo(self.logits.dtype).min)
        return -(finite * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> gg.Tensor:
        return self._listed(gg.arange(self._num_events, device=self._param.device), expand)
