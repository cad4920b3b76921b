"""Divergences between distributions of different classes.

KL(p ‖ q) = −H(p) − E[log q(x)], and the mean of log q needs but a few moments of p: E x, E x²,
E log x or E exp(−x/s).
"""

from __future__ import annotations

import math
from typing import Any

import graphgrad as gg
from graphgrad.distributions._divergences import or_infinite
from graphgrad.distributions.bernoulli import Bernoulli
from graphgrad.distributions.beta import Beta
from graphgrad.distributions.binomial import Binomial
from graphgrad.distributions.continuous_bernoulli import ContinuousBernoulli
from graphgrad.distributions.exponential import Exponential
from graphgrad.distributions.gamma import Gamma
from graphgrad.distributions.gumbel import Gumbel
from graphgrad.distributions.kl import register_kl
from graphgrad.distributions.laplace import Laplace
from graphgrad.distributions.normal import Normal
from graphgrad.distributions.pareto import Pareto
from graphgrad.distributions.poisson import Poisson
from graphgrad.distributions.uniform import Uniform
from graphgrad.distributions.utils import EULER

# --------------------------------------------------------------------------------------- moments


def _mean_log_between(low: gg.Tensor, high: gg.Tensor) -> gg.Tensor:
    """E log x of a uniform distribution."""
    return (gg.xlogy(high, high) - gg.xlogy(low, low)) / (high - low) - 1


_MEAN_LOG = {
    Beta: lambda p: p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma(),
    Exponential: lambda p: -p.rate.log() - EULER,
    Gamma: lambda p: p.concentration.digamma() - p.rate.log(),
    Pareto: lambda p: p.scale.log() + p.alpha.reciprocal(),
    Uniform: lambda p: _mean_log_between(p.low, p.high),
}

# E exp(t x) for t < 0.
_MEAN_EXP = {
    Exponential: lambda p, t: p.rate / (p.rate - t),
    Gamma: lambda p, t: (1 - t / p.rate) ** -p.concentration,
    Normal: lambda p, t: (t * p.loc + 0.5 * (t * p.scale) ** 2).exp(),
    Uniform: lambda p, t: ((t * p.high).exp() - (t * p.low).exp()) / (t * (p.high - p.low)),
}


def _inside(p: Any, low: Any = None, high: Any = None) -> Any:
    """Whether p stays above ``low`` and below ``high``; only a Uniform may not, of those asked."""
    if not isinstance(p, Uniform):
        return gg.ones_like(p.mean, dtype=gg.bool)
    above = True if low is None else p.low >= low
    return above & (True if high is None else p.high <= high)


# ----------------------------------------------------------------------------- E of −log q, by q


def _to_normal(p: Any, q: Any) -> gg.Tensor:
    square = p.variance + (p.mean - q.loc) ** 2
    return 0.5 * (2 * math.pi * q.scale**2).log() + square / (2 * q.scale**2) - p.entropy()


def _to_exponential(p: Any, q: Any) -> gg.Tensor:
    kl = q.rate * p.mean - q.rate.log() - p.entropy()
    return or_infinite(_inside(p, low=0), kl)


def _to_gamma(p: Any, q: Any) -> gg.Tensor:
    a = q.concentration
    normalizer = a.lgamma() - a * q.rate.log()
    kl = normalizer - (a - 1) * _MEAN_LOG[type(p)](p) + q.rate * p.mean - p.entropy()
    return or_infinite(_inside(p, low=0), kl)


def _to_gumbel(p: Any, q: Any) -> gg.Tensor:
    tail = (q.loc / q.scale).exp() * _MEAN_EXP[type(p)](p, -1 / q.scale)
    return q.scale.log() + (p.mean - q.loc) / q.scale + tail - p.entropy()


def _to_uniform(p: Any, q: Any) -> gg.Tensor:
    return or_infinite((q.low <= 0) & (q.high >= 1), (q.high - q.low).log() - p.entropy())


def _to_continuous_bernoulli(p: Any, q: Any) -> gg.Tensor:
    start = q._log_constant() + (-q.probs).log1p()
    kl = -p.mean * q.logits - start - p.entropy()
    return or_infinite(_inside(p, low=0, high=1), kl)


for _rule, _q, _ps in (
    (
        _to_normal,
        Normal,
        (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Pareto, Uniform),
    ),
    (_to_exponential, Exponential, (Beta, ContinuousBernoulli, Gamma, Pareto, Uniform)),
    (_to_gamma, Gamma, (Beta, Exponential, Pareto, Uniform)),
    (_to_gumbel, Gumbel, (Exponential, Gamma, Normal, Uniform)),
    (_to_uniform, Uniform, (Beta, ContinuousBernoulli)),
    (_to_continuous_bernoulli, ContinuousBernoulli, (Beta, Uniform)),
):
    for _p in _ps:
        register_kl(_p, _q)(_rule)


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Any, q: Any) -> gg.Tensor:
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


@register_kl(Normal, Laplace)
def _normal_laplace(p: Any, q: Any) -> gg.Tensor:
    """E|x − loc| of a normal is a folded normal's mean."""
    away = p.loc - q.loc
    ratio = away / p.scale
    folded = math.sqrt(2 / math.pi) * p.scale * (-0.5 * ratio**2).exp()
    folded = folded + away * (math.sqrt(0.5) * ratio).erf()
    return (2 * q.scale).log() + folded / q.scale - p.entropy()


@register_kl(Uniform, Beta)
def _uniform_beta(p: Any, q: Any) -> gg.Tensor:
    a, b = q.concentration1, q.concentration0
    normalizer = a.lgamma() + b.lgamma() - (a + b).lgamma()
    mean = (a - 1) * _mean_log_between(p.low, p.high)
    mean = mean + (b - 1) * _mean_log_between(1 - p.high, 1 - p.low)
    return or_infinite(_inside(p, low=0, high=1), normalizer - mean - p.entropy())


@register_kl(Uniform, Pareto)
def _uniform_pareto(p: Any, q: Any) -> gg.Tensor:
    mean = q.alpha.log() + q.alpha * q.scale.log() - (q.alpha + 1) * _MEAN_LOG[Uniform](p)
    return or_infinite(_inside(p, low=q.scale), -mean - p.entropy())


# --------------------------------------------------------------------- p reaches beyond q's values


def _never(p: Any, q: Any) -> gg.Tensor:
    shape = gg.broadcast_shapes(p.batch_shape, q.batch_shape)
    return gg.full(shape, float("inf"), dtype=p.mean.dtype, device=p.mean.device)


_UNIT = (Beta, ContinuousBernoulli)
for _qs, _ps in (
    ((*_UNIT, Uniform), (Exponential, Gamma, Gumbel, Laplace, Normal, Pareto)),
    ((Pareto,), (*_UNIT, Exponential, Gamma, Gumbel, Laplace, Normal)),
    ((Exponential, Gamma), (Gumbel, Laplace, Normal)),
    ((Bernoulli, Binomial), (Poisson,)),
):
    for _q in _qs:
        for _p in _ps:
            register_kl(_p, _q)(_never)
