"""``ExponentialFamily``: densities exp(t(x)·θ − F(θ) + k(x))."""

from __future__ import annotations

from collections.abc import Sequence

import graphgrad as gg
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.utils import sum_rightmost


class ExponentialFamily(Distribution):
    """Distributions with natural parameters θ and the log normaliser F(θ).

    Entropy follows from F and its gradient (Nielsen and Nock 2010), wherever the mean of the
    carrier measure k is known.
    """

    _mean_carrier_measure: float | gg.Tensor = 0.0

    @property
    def _natural_params(self) -> tuple[gg.Tensor, ...]:
        raise NotImplementedError(f"{type(self).__name__} does not name its natural parameters")

    def _log_normalizer(self, *natural_params: gg.Tensor) -> gg.Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not give its log normaliser")

    def entropy(self) -> gg.Tensor:
        """F(θ) − θ·∇F(θ) − E[k(x)]."""
        params, log_normalizer, gradients = normalizer_and_gradient(self)
        result = log_normalizer - self._mean_carrier_measure
        for theta, gradient in zip(params, gradients, strict=True):
            result = result - sum_rightmost(theta * gradient, theta.ndim - len(self._batch_shape))
        return result


def normalizer_and_gradient(
    family: ExponentialFamily,
) -> tuple[Sequence[gg.Tensor], gg.Tensor, Sequence[gg.Tensor]]:
    """Natural parameters, F and ∇F; gradients flow on to the parameters if they require any."""
    with gg.enable_grad():
        given = family._natural_params
        wanted = any(p.requires_grad for p in given)
        params = [p if p.requires_grad else p.detach().requires_grad_() for p in given]
        log_normalizer = family._log_normalizer(*params)
        gradients = gg.autograd.grad(log_normalizer.sum(), params, create_graph=True)
    if not wanted:
        return given, log_normalizer.detach(), [g.detach() for g in gradients]
    return params, log_normalizer, gradients
