"""Mixtures of distributions of one kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions.categorical import Categorical
from graphgrad.distributions.distribution import Distribution
from graphgrad.functional import log_softmax


class MixtureSameFamily(Distribution):
    """One of the components along the last batch dimension, chosen by a ``Categorical``."""

    arg_constraints: dict[str, Any] = {}

    def __init__(
        self,
        mixture_distribution: Categorical,
        component_distribution: Distribution,
        validate_args: bool | None = None,
    ) -> None:
        mixture, component = mixture_distribution, component_distribution
        if not isinstance(mixture, Categorical):
            raise ValueError(
                "The Mixture distribution needs to be an instance of torch.distributions."
                "Categorical"
            )
        if not isinstance(component, Distribution):
            raise ValueError(
                "The Component distribution need to be an instance of torch.distributions."
                "Distribution"
            )
        own, batch = mixture.batch_shape, component.batch_shape[:-1]
        for a, b in zip(reversed(own), reversed(batch), strict=False):
            if a != 1 and b != 1 and a != b:
                raise ValueError(
                    f"`mixture_distribution.batch_shape` ({own}) is not compatible with "
                    f"`component_distribution.batch_shape`({batch})"
                )
        if mixture._num_events != component.batch_shape[-1]:
            raise ValueError(
                f"`mixture_distribution` has {mixture._num_events} components, "
                f"`component_distribution.batch_shape[-1]` is {component.batch_shape[-1]}"
            )
        self._mixture_distribution, self._component_distribution = mixture, component
        super().__init__(batch, component.event_shape, validate_args=validate_args)

    def expand(self, batch_shape: Iterable[int], _instance: Any = None) -> Any:
        batch = gg.Size(batch_shape)
        count = self.component_distribution.batch_shape[-1]
        parts = {
            "_component_distribution": self.component_distribution.expand((*batch, count)),
            "_mixture_distribution": self.mixture_distribution.expand(batch),
        }
        return self._spread(batch, parts, _instance)

    @property
    def mixture_distribution(self) -> Categorical:
        """Which component is chosen."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Distribution:
        """The components, along the last batch dimension."""
        return self._component_distribution

    @constraints.dependent_property
    def support(self) -> Any:
        return constraints.mixture_same_family(self.component_distribution.support)

    def _weighted(self, values: gg.Tensor) -> gg.Tensor:
        """The mean over components of values of shape (…, components, event)."""
        probs = self.mixture_distribution.probs
        probs = probs.reshape((*probs.shape, *(1 for _ in self._event_shape)))
        return (probs * values).sum(-1 - len(self._event_shape))

    @property
    def mean(self) -> gg.Tensor:
        return self._weighted(self.component_distribution.mean)

    @property
    def variance(self) -> gg.Tensor:
        """The mean of the variances, and the variance of the means."""
        component = self.component_distribution
        away = component.mean - self.mean.unsqueeze(-1 - len(self._event_shape))
        return self._weighted(component.variance) + self._weighted(away**2)

    def cdf(self, value: gg.Tensor) -> gg.Tensor:
        cdf = self.component_distribution.cdf(self._for_each(value))
        return (cdf * self.mixture_distribution.probs).sum(-1)

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        inner = self.component_distribution.log_prob(self._for_each(value))
        return (inner + log_softmax(self.mixture_distribution.logits, -1)).logsumexp(-1)

    def _for_each(self, value: gg.Tensor) -> gg.Tensor:
        return value.unsqueeze(-1 - len(self._event_shape))

    def sample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        shape, events = tuple(sample_shape), len(self._event_shape)
        with gg.no_grad():
            chosen = self.mixture_distribution.expand(self._batch_shape).sample(shape)
            values = self.component_distribution.sample(shape)
            at = chosen.reshape((*chosen.shape, 1, *(1 for _ in range(events))))
            at = at.expand((*chosen.shape, 1, *self._event_shape))
            return values.gather(-1 - events, at).squeeze(-1 - events)

    def __repr__(self) -> str:
        return (
            f"MixtureSameFamily(\n  {self.mixture_distribution},\n  {self.component_distribution})"
        )
