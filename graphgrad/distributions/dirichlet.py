"""The Dirichlet distribution."""

from __future__ import annotations

from collections.abc import Iterable

import graphgrad as gg
from graphgrad.distributions import constraints
from graphgrad.distributions._gamma import log_gamma_draws
from graphgrad.distributions.exp_family import ExponentialFamily
from graphgrad.functional import softmax


class Dirichlet(ExponentialFamily):
    """Probability vectors; the last dimension of ``concentration`` is the event."""

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: gg.Tensor, validate_args: bool | None = None) -> None:
        if concentration.ndim < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        shape = concentration.shape
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> gg.Tensor:
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self) -> gg.Tensor:
        """The largest component, where all concentrations are below 1 and the density is not."""
        rest = (self.concentration - 1).clamp(min=0.0)
        size = rest.shape[-1]
        corner = gg.nn.functional.one_hot(self.concentration.argmax(-1), size).to(rest.dtype)
        flat = (self.concentration < 1).all(-1, keepdim=True)
        return gg.where(flat, corner, rest / rest.sum(-1, True))

    @property
    def variance(self) -> gg.Tensor:
        total = self.concentration.sum(-1, True)
        a = self.concentration
        return a * (total - a) / (total**2 * (total + 1))

    def rsample(self, sample_shape: Iterable[int] = ()) -> gg.Tensor:
        # Normalised gamma draws; their logarithms do not underflow where they would.
        return softmax(log_gamma_draws(self.concentration, self._extended_shape(sample_shape)), -1)

    def log_prob(self, value: gg.Tensor) -> gg.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        a = self.concentration
        return gg.xlogy(a - 1, value).sum(-1) + a.sum(-1).lgamma() - a.lgamma().sum(-1)

    def entropy(self) -> gg.Tensor:
        a, k = self.concentration, self.concentration.shape[-1]
        total = a.sum(-1)
        beta = a.lgamma().sum(-1) - total.lgamma()
        return beta - (k - total) * total.digamma() - ((a - 1) * a.digamma()).sum(-1)

    @property
    def _natural_params(self) -> tuple[gg.Tensor, ...]:
        return (self.concentration,)

    def _log_normalizer(self, x: gg.Tensor) -> gg.Tensor:
        return x.lgamma().sum(-1) - x.sum(-1).lgamma()
