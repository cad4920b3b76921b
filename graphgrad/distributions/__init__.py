"""Probability distributions: densities, entropies, divergences, samples that gradients go through.

    policy = Categorical(logits=network(state))
    action = policy.sample()
    loss = -policy.log_prob(action) * reward

Everything is composed of tensor operations, so it works as written and inside ``compile`` (where
values of parameters cannot be checked, and are not).
"""

from graphgrad.distributions import _cross_divergences, _divergences, constraints, transforms
from graphgrad.distributions.bernoulli import Bernoulli
from graphgrad.distributions.beta import Beta
from graphgrad.distributions.binomial import Binomial
from graphgrad.distributions.categorical import Categorical
from graphgrad.distributions.cauchy import Cauchy
from graphgrad.distributions.chi2 import Chi2
from graphgrad.distributions.constraint_registry import biject_to, transform_to
from graphgrad.distributions.continuous_bernoulli import ContinuousBernoulli
from graphgrad.distributions.dirichlet import Dirichlet
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.exp_family import ExponentialFamily
from graphgrad.distributions.exponential import Exponential
from graphgrad.distributions.fishersnedecor import FisherSnedecor
from graphgrad.distributions.gamma import Gamma
from graphgrad.distributions.generalized_pareto import GeneralizedPareto
from graphgrad.distributions.geometric import Geometric
from graphgrad.distributions.gumbel import Gumbel
from graphgrad.distributions.half_cauchy import HalfCauchy
from graphgrad.distributions.half_normal import HalfNormal
from graphgrad.distributions.independent import Independent
from graphgrad.distributions.inverse_gamma import InverseGamma
from graphgrad.distributions.kl import kl_divergence, register_kl
from graphgrad.distributions.kumaraswamy import Kumaraswamy
from graphgrad.distributions.laplace import Laplace
from graphgrad.distributions.lkj_cholesky import LKJCholesky
from graphgrad.distributions.log_normal import LogNormal
from graphgrad.distributions.logistic_normal import LogisticNormal
from graphgrad.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from graphgrad.distributions.mixture_same_family import MixtureSameFamily
from graphgrad.distributions.multinomial import Multinomial
from graphgrad.distributions.multivariate_normal import MultivariateNormal
from graphgrad.distributions.negative_binomial import NegativeBinomial
from graphgrad.distributions.normal import Normal
from graphgrad.distributions.one_hot_categorical import (
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
)
from graphgrad.distributions.pareto import Pareto
from graphgrad.distributions.poisson import Poisson
from graphgrad.distributions.relaxed_bernoulli import RelaxedBernoulli
from graphgrad.distributions.relaxed_categorical import RelaxedOneHotCategorical
from graphgrad.distributions.studentT import StudentT
from graphgrad.distributions.transformed_distribution import TransformedDistribution
from graphgrad.distributions.transforms import (
    AbsTransform,
    AffineTransform,
    CatTransform,
    ComposeTransform,
    CorrCholeskyTransform,
    CumulativeDistributionTransform,
    ExpTransform,
    IndependentTransform,
    LowerCholeskyTransform,
    PositiveDefiniteTransform,
    PowerTransform,
    ReshapeTransform,
    SigmoidTransform,
    SoftmaxTransform,
    SoftplusTransform,
    StackTransform,
    StickBreakingTransform,
    TanhTransform,
    Transform,
    identity_transform,
)
from graphgrad.distributions.uniform import Uniform
from graphgrad.distributions.von_mises import VonMises
from graphgrad.distributions.weibull import Weibull
from graphgrad.distributions.wishart import Wishart
