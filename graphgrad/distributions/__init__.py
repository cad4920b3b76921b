"""Probability distributions: densities, entropies, divergences, samples that gradients go through.

    policy = Categorical(logits=network(state))
    action = policy.sample()
    loss = -policy.log_prob(action) * reward

Everything is composed of tensor operations, so it works as written and inside ``compile`` (where
values of parameters cannot be checked, and are not).
"""

from graphgrad.distributions import _divergences, constraints, transforms
from graphgrad.distributions.bernoulli import Bernoulli
from graphgrad.distributions.beta import Beta
from graphgrad.distributions.binomial import Binomial
from graphgrad.distributions.categorical import Categorical
from graphgrad.distributions.chi2 import Chi2
from graphgrad.distributions.constraint_registry import biject_to, transform_to
from graphgrad.distributions.dirichlet import Dirichlet
from graphgrad.distributions.distribution import Distribution
from graphgrad.distributions.exp_family import ExponentialFamily
from graphgrad.distributions.exponential import Exponential
from graphgrad.distributions.gamma import Gamma
from graphgrad.distributions.geometric import Geometric
from graphgrad.distributions.independent import Independent
from graphgrad.distributions.kl import kl_divergence, register_kl
from graphgrad.distributions.laplace import Laplace
from graphgrad.distributions.log_normal import LogNormal
from graphgrad.distributions.multinomial import Multinomial
from graphgrad.distributions.multivariate_normal import MultivariateNormal
from graphgrad.distributions.normal import Normal
from graphgrad.distributions.one_hot_categorical import (
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
)
from graphgrad.distributions.poisson import Poisson
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
