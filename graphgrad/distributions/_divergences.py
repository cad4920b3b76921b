"""Divergences within a class of distributions, in closed form."""

from __future__ import annotations

from typing import Any

import graphgrad as gg
from graphgrad.distributions.bernoulli import Bernoulli
from graphgrad.distributions.beta import Beta
from graphgrad.distributions.binomial import Binomial
from graphgrad.distributions.categorical import Categorical
from graphgrad.distributions.cauchy import Cauchy
from graphgrad.distributions.continuous_bernoulli import ContinuousBernoulli
from graphgrad.distributions.dirichlet import Dirichlet
from graphgrad.distributions.exp_family import ExponentialFamily, normalizer_and_gradient
from graphgrad.distributions.exponential import Exponential
from graphgrad.distributions.gamma import Gamma
from graphgrad.distributions.geometric import Geometric
from graphgrad.distributions.gumbel import Gumbel
from graphgrad.distributions.half_normal import HalfNormal
from graphgrad.distributions.independent import Independent
from graphgrad.distributions.kl import kl_divergence, register_kl
from graphgrad.distributions.laplace import Laplace
from graphgrad.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from graphgrad.distributions.multivariate_normal import (
    MultivariateNormal,
    batch_mahalanobis,
    half_log_det,
    solve_lower,
)
from graphgrad.distributions.normal import Normal
from graphgrad.distributions.one_hot_categorical import OneHotCategorical
from graphgrad.distributions.pareto import Pareto
from graphgrad.distributions.poisson import Poisson
from graphgrad.distributions.transformed_distribution import TransformedDistribution
from graphgrad.distributions.uniform import Uniform
from graphgrad.distributions.utils import EULER, sum_rightmost
from graphgrad.distributions.wishart import Wishart
from graphgrad.functional import softplus

_INF = float("inf")


def or_infinite(inside: gg.Tensor, value: gg.Tensor) -> gg.Tensor:
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
    return or_infinite(p.total_count <= q.total_count, kl)


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
@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
def _multivariate_normal(p: Any, q: Any) -> gg.Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two Multivariate Normals with different event shapes cannot be "
            "computed"
        )
    n = p.event_shape[0]
    ours, theirs = p.scale_tril, q.scale_tril
    shape = gg.broadcast_shapes(ours.shape, theirs.shape)
    theirs = theirs.expand(shape)
    whitened = solve_lower(theirs, ours.expand(shape))
    spread = (whitened * whitened).sum((-2, -1))
    distance = batch_mahalanobis(theirs, (q.loc - p.loc).expand(shape[:-1]))
    return half_log_det(theirs) - half_log_det(ours) + 0.5 * (spread + distance - n)


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
    return or_infinite(inside, ((q.high - q.low) / (p.high - p.low)).log())


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Any, q: Any) -> gg.Tensor:
    """Chyzak and Nielsen 2019."""
    across = (p.scale + q.scale) ** 2 + (p.loc - q.loc) ** 2
    return across.log() - (4 * p.scale * q.scale).log()


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoulli(p: Any, q: Any) -> gg.Tensor:
    def start(d: Any) -> gg.Tensor:
        """The log density at 0."""
        return d._log_constant() + (-d.probs).log1p()

    return p.mean * (p.logits - q.logits) + start(p) - start(q)


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Any, q: Any) -> gg.Tensor:
    ratio, away = p.scale / q.scale, (q.loc - p.loc) / q.scale
    tail = (away + (1 + ratio).lgamma()).exp()
    return -ratio.log() - away + ratio * EULER + tail - (1 + EULER)


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: Any, q: Any) -> gg.Tensor:
    return _normal(p.base_dist, q.base_dist)


@register_kl(Pareto, Pareto)
def _pareto(p: Any, q: Any) -> gg.Tensor:
    ratio = q.alpha / p.alpha
    kl = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return or_infinite(p.scale >= q.scale, kl)


@register_kl(Wishart, Wishart)
def _wishart(p: Any, q: Any) -> gg.Tensor:
    n = p.event_shape[0]
    shape = gg.broadcast_shapes(p.scale_tril.shape, q.scale_tril.shape)
    whitened = solve_lower(q.scale_tril.expand(shape), p.scale_tril.expand(shape))
    trace = p.df * (whitened * whitened).sum((-2, -1))
    mean_log_q = (q.df - n - 1) / 2 * p._mean_log_det() - trace / 2 - q._normalizer()
    return -p.entropy() - mean_log_q
