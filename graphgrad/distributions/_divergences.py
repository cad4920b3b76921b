"""The closed forms that ``kl_divergence`` knows, entered by their pair of classes."""

from __future__ import annotations

import math
from typing import Any

import graphgrad as gg
from graphgrad.distributions.bernoulli import Bernoulli
from graphgrad.distributions.beta import Beta
from graphgrad.distributions.binomial import Binomial
from graphgrad.distributions.categorical import Categorical
from graphgrad.distributions.dirichlet import Dirichlet
from graphgrad.distributions.exp_family import ExponentialFamily, normalizer_and_gradient
from graphgrad.distributions.exponential import Exponential
from graphgrad.distributions.gamma import Gamma
from graphgrad.distributions.geometric import Geometric
from graphgrad.distributions.independent import Independent
from graphgrad.distributions.kl import kl_divergence, register_kl
from graphgrad.distributions.laplace import Laplace
from graphgrad.distributions.multivariate_normal import (
    MultivariateNormal,
    batch_mahalanobis,
    half_log_det,
    solve_lower,
)
from graphgrad.distributions.normal import Normal
from graphgrad.distributions.one_hot_categorical import OneHotCategorical
from graphgrad.distributions.poisson import Poisson
from graphgrad.distributions.transformed_distribution import TransformedDistribution
from graphgrad.distributions.uniform import Uniform
from graphgrad.distributions.utils import EULER, sum_rightmost
from graphgrad.functional import softplus

_INF = float("inf")


def _or_infinite(inside: gg.Tensor, value: gg.Tensor) -> gg.Tensor:
    """``value`` where p's values are values of q too, else infinity."""
    return gg.where(inside, value, _INF)


# ------------------------------------------------------------------------------------- structures


@register_kl(ExponentialFamily, ExponentialFamily)
def _family(p: Any, q: Any) -> gg.Tensor:
    """F(θq) − F(θp) − (θq − θp)·∇F(θp), of one family (Nielsen and Nock 2010)."""
    if type(p) is not type(q):
        raise NotImplementedError(
            f"The cross KL-divergence between {type(p).__name__} and {type(q).__name__} has no "
            "closed form here"
        )
    p_params, p_normalizer, gradients = normalizer_and_gradient(p)
    q_params = q._natural_params
    result = q._log_normalizer(*q_params) - p_normalizer
    for theta_p, theta_q, gradient in zip(p_params, q_params, gradients, strict=True):
        term = (theta_q - theta_p) * gradient
        result = result - sum_rightmost(term, len(q.event_shape))
    return result


@register_kl(Independent, Independent)
def _independent(p: Any, q: Any) -> gg.Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("the two distributions make events of different dimensions")
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: Any, q: Any) -> gg.Tensor:
    """Bijective transforms leave divergences as they are."""
    if p.transforms != q.transforms:
        raise NotImplementedError("the two distributions have different transforms")
    if p.event_shape != q.event_shape:
        raise NotImplementedError("the two distributions have events of different shapes")
    inner = kl_divergence(p.base_dist, q.base_dist)
    return sum_rightmost(inner, len(p.event_shape) - len(p.base_dist.event_shape))


# --------------------------------------------------------------------------------- within a class


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Any, q: Any) -> gg.Tensor:
    yes = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    no = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    yes = gg.where((q.probs == 0) & (p.probs > 0), _INF, gg.where(p.probs == 0, 0.0, yes))
    return yes + gg.where((q.probs == 1) & (p.probs < 1), _INF, gg.where(p.probs == 1, 0.0, no))


@register_kl(Beta, Beta)
def _beta(p: Any, q: Any) -> gg.Tensor:
    return kl_divergence(p._dirichlet, q._dirichlet)


@register_kl(Binomial, Binomial)
def _binomial(p: Any, q: Any) -> gg.Tensor:
    if bool((p.total_count < q.total_count).any()):
        raise NotImplementedError(
            "KL between Binomials where q.total_count > p.total_count is not implemented"
        )
    kl = p.total_count * _bernoulli(p, q)
    return _or_infinite(p.total_count <= q.total_count, kl)


@register_kl(Categorical, Categorical)
def _categorical(p: Any, q: Any) -> gg.Tensor:
    terms = p.probs * (p.logits - q.logits)
    terms = gg.where((q.probs == 0).expand(terms.shape), _INF, terms)
    return gg.where((p.probs == 0).expand(terms.shape), 0.0, terms).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p: Any, q: Any) -> gg.Tensor:
    return _categorical(p._categorical, q._categorical)


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Any, q: Any) -> gg.Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1, True)
    normalizers = (
        total.squeeze(-1).lgamma() - b.sum(-1).lgamma() + (b.lgamma() - a.lgamma()).sum(-1)
    )
    return normalizers + ((a - b) * (a.digamma() - total.digamma())).sum(-1)


@register_kl(Exponential, Exponential)
def _exponential(p: Any, q: Any) -> gg.Tensor:
    ratio = q.rate / p.rate
    return ratio - ratio.log() - 1


@register_kl(Gamma, Gamma)
def _gamma(p: Any, q: Any) -> gg.Tensor:
    a, b = p.concentration, q.concentration
    scaled = b * (p.rate / q.rate).log() + b.lgamma() - a.lgamma()
    return scaled + (a - b) * a.digamma() + a * (q.rate / p.rate - 1)


@register_kl(Geometric, Geometric)
def _geometric(p: Any, q: Any) -> gg.Tensor:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Laplace, Laplace)
def _laplace(p: Any, q: Any) -> gg.Tensor:
    ratio, distance = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * (-distance / p.scale).exp() - 1


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate_normal(p: Any, q: Any) -> gg.Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two Multivariate Normals with different event shapes cannot be "
            "computed"
        )
    n = p.event_shape[0]
    shape = gg.broadcast_shapes(p._tril.shape, q._tril.shape)
    whitened = solve_lower(q._tril.expand(shape), p._tril.expand(shape))
    spread = (whitened * whitened).sum((-2, -1))
    distance = batch_mahalanobis(q._tril.expand(shape), (q.loc - p.loc).expand(shape[:-1]))
    return half_log_det(q._tril) - half_log_det(p._tril) + 0.5 * (spread + distance - n)


@register_kl(Normal, Normal)
def _normal(p: Any, q: Any) -> gg.Tensor:
    ratio = (p.scale / q.scale) ** 2
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale) ** 2 - 1 - ratio.log())


@register_kl(Poisson, Poisson)
def _poisson(p: Any, q: Any) -> gg.Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Uniform, Uniform)
def _uniform(p: Any, q: Any) -> gg.Tensor:
    inside = (q.low <= p.low) & (q.high >= p.high)
    return _or_infinite(inside, ((q.high - q.low) / (p.high - p.low)).log())


# ------------------------------------------------------------------------------- between classes
# KL(p ‖ q) = −H(p) − E under p of log q.


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Any, q: Any) -> gg.Tensor:
    ratio, a = q.rate / p.rate, q.concentration
    return -a * ratio.log() + ratio + a.lgamma() + a * EULER - (1 + EULER)


@register_kl(Exponential, Normal)
def _exponential_normal(p: Any, q: Any) -> gg.Tensor:
    mean = p.rate.reciprocal()
    square = 2 * mean**2 - 2 * mean * q.loc + q.loc**2
    return -p.entropy() + 0.5 * (2 * math.pi * q.scale**2).log() + square / (2 * q.scale**2)


@register_kl(Gamma, Exponential)
def _gamma_exponential(p: Any, q: Any) -> gg.Tensor:
    return -p.entropy() - q.rate.log() + q.rate * p.mean


@register_kl(Gamma, Normal)
def _gamma_normal(p: Any, q: Any) -> gg.Tensor:
    return _squared_in_normal(p, q)


@register_kl(Laplace, Normal)
@register_kl(Uniform, Normal)
@register_kl(Beta, Normal)
def _squared_in_normal(p: Any, q: Any) -> gg.Tensor:
    """A normal's log density needs no more of p than its mean and variance."""
    square = p.variance + (p.mean - q.loc) ** 2
    return -p.entropy() + 0.5 * (2 * math.pi * q.scale**2).log() + square / (2 * q.scale**2)


@register_kl(Beta, Exponential)
def _beta_exponential(p: Any, q: Any) -> gg.Tensor:
    return -p.entropy() - q.rate.log() + q.rate * p.mean


@register_kl(Beta, Gamma)
def _beta_gamma(p: Any, q: Any) -> gg.Tensor:
    a, total = p.concentration1, p.concentration1 + p.concentration0
    log_mean = a.digamma() - total.digamma()
    normalizer = q.concentration.lgamma() - q.concentration * q.rate.log()
    return -p.entropy() + normalizer - (q.concentration - 1) * log_mean + q.rate * p.mean


@register_kl(Beta, Uniform)
def _beta_uniform(p: Any, q: Any) -> gg.Tensor:
    return _or_infinite((q.low <= 0) & (q.high >= 1), -p.entropy() + (q.high - q.low).log())


@register_kl(Normal, Laplace)
def _normal_laplace(p: Any, q: Any) -> gg.Tensor:
    """E|x − loc| of a normal is a folded normal's mean."""
    away = p.loc - q.loc
    ratio = away / p.scale
    folded = math.sqrt(2 / math.pi) * p.scale * (-0.5 * ratio**2).exp()
    folded = folded + away * (math.sqrt(0.5) * ratio).erf()
    return -p.entropy() + (2 * q.scale).log() + folded / q.scale


@register_kl(Uniform, Beta)
def _uniform_beta(p: Any, q: Any) -> gg.Tensor:
    a, b, width = q.concentration1, q.concentration0, p.high - p.low

    def mean_log(low: gg.Tensor, high: gg.Tensor) -> gg.Tensor:
        return (gg.xlogy(high, high) - gg.xlogy(low, low)) / width - 1

    normalizer = a.lgamma() + b.lgamma() - (a + b).lgamma()
    mean = (a - 1) * mean_log(p.low, p.high) + (b - 1) * mean_log(1 - p.high, 1 - p.low)
    return _or_infinite((p.low >= 0) & (p.high <= 1), normalizer - mean - width.log())


@register_kl(Uniform, Exponential)
def _uniform_exponential(p: Any, q: Any) -> gg.Tensor:
    kl = q.rate * (p.high + p.low) / 2 - ((p.high - p.low) * q.rate).log()
    return _or_infinite(p.low >= 0, kl)


@register_kl(Uniform, Gamma)
def _uniform_gamma(p: Any, q: Any) -> gg.Tensor:
    width = p.high - p.low
    log_mean = (gg.xlogy(p.high, p.high) - gg.xlogy(p.low, p.low)) / width - 1
    normalizer = q.concentration.lgamma() - q.concentration * q.rate.log()
    kl = -width.log() + normalizer - (q.concentration - 1) * log_mean + q.rate * p.mean
    return _or_infinite(p.low >= 0, kl)


# --------------------------------------------------------------------- p reaches beyond q's values


def _never(p: Any, q: Any) -> gg.Tensor:
    shape = gg.broadcast_shapes(p.batch_shape, q.batch_shape)
    return gg.full(shape, _INF)


_ON_THE_LINE = (Normal, Laplace)
_HALF_LINE = (Exponential, Gamma)
for _p in (*_ON_THE_LINE, *_HALF_LINE):
    for _q in (Beta, Uniform, *(_HALF_LINE if _p in _ON_THE_LINE else ())):
        register_kl(_p, _q)(_never)
