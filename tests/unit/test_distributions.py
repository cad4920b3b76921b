"""Distributions against PyTorch (densities, moments) and SciPy (densities, samples)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from distribution_cases import (
    ATTRIBUTES,
    CASES,
    IDS,
    NOT_TORCHS,
    build,
    chance,
    same,
    same_if_defined,
    spd,
    values_of,
)

import graphgrad as gg

pytestmark = pytest.mark.devices

D = gg.distributions


@pytest.mark.torch
@pytest.mark.parametrize("name, given", CASES, ids=IDS)
def test_agrees_with_torch(name: str, given: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    (ours, leaves), (theirs, their_leaves) = build(gg, name, given), build(torch, name, given)
    assert (ours.batch_shape, ours.event_shape) == (theirs.batch_shape, theirs.event_shape)
    assert ours.has_rsample == theirs.has_rsample
    assert ours.has_enumerate_support == theirs.has_enumerate_support
    for attribute in ATTRIBUTES:
        if (name, attribute) not in NOT_TORCHS:
            same_if_defined(*(lambda d=d, a=attribute: getattr(d, a) for d in (ours, theirs)))
    array = values_of(theirs)
    value, their_value = gg.tensor(array), torch.tensor(array)
    log_prob, their_log_prob = ours.log_prob(value), theirs.log_prob(their_value)
    same(log_prob, their_log_prob)
    for got, wanted in zip(
        gg.autograd.grad(log_prob.sum(), leaves),
        torch.autograd.grad(their_log_prob.sum(), their_leaves),
        strict=True,
    ):
        same(got, wanted, 1e-6)
    same_if_defined(ours.entropy, theirs.entropy)
    if ours.has_enumerate_support:
        for expand in (False, True):
            same_if_defined(
                lambda e=expand: ours.enumerate_support(e),
                lambda e=expand: theirs.enumerate_support(e),
            )


@pytest.mark.torch
@pytest.mark.parametrize("name, given", CASES, ids=IDS)
def test_cumulative_probabilities(name: str, given: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    (ours, _), (theirs, _) = build(gg, name, given), build(torch, name, given)
    if type(ours).cdf is D.Distribution.cdf:
        pytest.skip("has no cdf")
    array = values_of(theirs)
    same_if_defined(lambda: ours.cdf(gg.tensor(array)), lambda: theirs.cdf(torch.tensor(array)))
    if type(ours).icdf is not D.Distribution.icdf:
        level = chance(*array.shape)
        same_if_defined(
            lambda: ours.icdf(gg.tensor(level)), lambda: theirs.icdf(torch.tensor(level))
        )


@pytest.mark.parametrize("name, given", CASES, ids=IDS)
def test_expand_and_samples_have_the_shapes(name: str, given: dict[str, Any]) -> None:
    ours, _ = build(gg, name, given)
    wide = ours.expand((5, *ours.batch_shape))
    assert type(wide) is type(ours) and wide.batch_shape == (5, *ours.batch_shape)
    sample = wide.sample((2,))
    assert sample.shape == (2, *wide.batch_shape, *wide.event_shape)
    assert not sample.requires_grad
    inner = ours.sample()
    assert inner.shape == ours.batch_shape + ours.event_shape
    same(wide.log_prob(inner), ours.log_prob(inner).expand(wide.batch_shape))
    if ours.has_rsample:
        assert ours.rsample().requires_grad


@pytest.mark.parametrize("name, given", CASES, ids=IDS)
def test_compiled_log_prob(name: str, given: dict[str, Any]) -> None:
    ours, leaves = build(gg, name, given)
    fixed = {k: v for k, v in given.items() if not isinstance(v, np.ndarray)}
    names = [k for k, v in given.items() if isinstance(v, np.ndarray)]
    value = ours.sample((3,))

    @gg.compile
    def run(value: Any, *parameters: Any) -> Any:
        made = getattr(D, name)(**fixed, **dict(zip(names, parameters, strict=True)))
        return made.log_prob(value)

    same(run(value, *leaves), ours.log_prob(value))


# ------------------------------------------------------------------------------------- samples

COUNT = 4000


GAMMA_SHAPES = (0.05, 0.7, 1.0, 3.3, 200.0)


def _number(value: float) -> Any:
    return gg.tensor(value, dtype=gg.float64)


# Distribution, and the name and arguments of SciPy's law of the same numbers.
LAWS: dict[str, tuple[Any, str, tuple[float, ...]]] = {
    "normal": (lambda: D.Normal(1.0, _number(2.0)), "norm", (1, 2)),
    "uniform": (lambda: D.Uniform(-1.0, _number(3.0)), "uniform", (-1, 4)),
    "laplace": (lambda: D.Laplace(1.0, _number(0.5)), "laplace", (1, 0.5)),
    "exponential": (lambda: D.Exponential(_number(2.0)), "expon", (0, 0.5)),
    "log_normal": (lambda: D.LogNormal(0.3, _number(0.5)), "lognorm", (0.5, 0, math.exp(0.3))),
    "student": (lambda: D.StudentT(3.0, 1.0, _number(2.0)), "t", (3, 1, 2)),
    "chi2": (lambda: D.Chi2(_number(3.0)), "chi2", (3,)),
    "beta": (lambda: D.Beta(0.4, _number(2.5)), "beta", (0.4, 2.5)),
    "cauchy": (lambda: D.Cauchy(1.0, _number(2.0)), "cauchy", (1, 2)),
    "half_cauchy": (lambda: D.HalfCauchy(_number(2.0)), "halfcauchy", (0, 2)),
    "half_normal": (lambda: D.HalfNormal(_number(2.0)), "halfnorm", (0, 2)),
    "gumbel": (lambda: D.Gumbel(1.0, _number(2.0)), "gumbel_r", (1, 2)),
    "pareto": (lambda: D.Pareto(2.0, _number(3.0)), "pareto", (3, 0, 2)),
    "weibull": (lambda: D.Weibull(2.0, _number(1.5)), "weibull_min", (1.5, 0, 2)),
    "inverse gamma": (lambda: D.InverseGamma(2.5, _number(2.0)), "invgamma", (2.5, 0, 2)),
    "f": (lambda: D.FisherSnedecor(3.0, _number(7.0)), "f", (3, 7)),
    "von mises": (lambda: D.VonMises(1.0, _number(2.0)), "vonmises", (2, 1)),
    **{
        f"tail {c}": (lambda c=c: D.GeneralizedPareto(1.0, 2.0, _number(c)), "genpareto", (c, 1, 2))
        for c in (-0.4, 0.0, 0.3)
    },
    **{
        f"gamma {a}": (lambda a=a: D.Gamma(_number(a), 2.0), "gamma", (a, 0, 0.5))
        for a in GAMMA_SHAPES
    },
}


@pytest.mark.parametrize("name", LAWS)
def test_agrees_with_scipy(name: str) -> None:
    stats = pytest.importorskip("scipy.stats")
    make, law, numbers = LAWS[name]
    ours, theirs = make(), getattr(stats, law)(*numbers)
    level = np.linspace(0.01, 0.99, 9)
    value = theirs.ppf(level)
    np.testing.assert_allclose(
        ours.log_prob(gg.tensor(value)).numpy(), theirs.logpdf(value), 1e-7, 1e-10
    )
    for method, argument, wanted in (("cdf", value, level), ("icdf", level, value)):
        if getattr(type(ours), method) is not getattr(D.Distribution, method):
            try:
                got = getattr(ours, method)(gg.tensor(argument))
            except NotImplementedError:
                continue
            np.testing.assert_allclose(got.numpy(), wanted, 1e-7)
    if name != "von mises" and not name.endswith("cauchy"):
        moments = theirs.stats("mv")
        for got, wanted in zip((ours.mean, ours.variance), moments, strict=True):
            np.testing.assert_allclose(got.numpy(), wanted, 1e-7)


@pytest.mark.parametrize("name", LAWS)
def test_samples_follow_the_law(name: str) -> None:
    stats = pytest.importorskip("scipy.stats")
    make, law, numbers = LAWS[name]
    ours, law = make(), getattr(stats, law)(*numbers)
    gg.manual_seed(7)
    drawn = ours.expand((2,)).sample((COUNT // 2,)).double().numpy()
    assert stats.kstest(drawn.reshape(-1), law.cdf).pvalue > 1e-3
    assert abs(stats.spearmanr(drawn).statistic) < 0.1


DISCRETE = {
    "Bernoulli": ({"probs": 0.3}, [0, 1]),
    "Geometric": ({"probs": 0.4}, range(12)),
    "Poisson": ({"rate": 3.5}, range(14)),
    "Binomial": ({"total_count": 7, "probs": 0.35}, range(8)),
    "Categorical": ({"probs": [0.1, 0.0, 0.6, 0.3]}, [0, 2, 3]),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_counts_follow_the_law(name: str) -> None:
    """Pearson's test of how often each value comes up against ``log_prob``."""
    stats = pytest.importorskip("scipy.stats")
    given, values = DISCRETE[name]
    given = {k: gg.tensor(v) if isinstance(v, list) else v for k, v in given.items()}
    ours = getattr(D, name)(**given)
    gg.manual_seed(2)
    drawn = ours.sample((COUNT,)).numpy()
    values = np.asarray(values)
    expected = COUNT * ours.log_prob(gg.tensor(values).float()).exp().double().numpy()
    counts = np.array([(drawn == v).sum() for v in values])
    often = expected > 5
    rest = [COUNT - counts[often].sum()], [COUNT - expected[often].sum()]
    statistic = ((counts - expected)[often] ** 2 / expected[often]).sum()
    if rest[1][0] > 1e-2:
        statistic += (rest[0][0] - rest[1][0]) ** 2 / max(rest[1][0], 5)
    else:
        assert rest[0][0] == 0
    assert stats.chi2.sf(statistic, often.sum()) > 1e-3


def test_vectors_have_their_moments() -> None:
    gg.manual_seed(3)
    made = [
        D.Dirichlet(gg.tensor([0.5, 2.0, 4.0])),
        D.Multinomial(6, gg.tensor([0.2, 0.3, 0.5])),
        D.OneHotCategorical(gg.tensor([0.2, 0.3, 0.5])),
        D.MultivariateNormal(gg.tensor([1.0, -1.0, 0.0]), gg.tensor(spd(3, 3)).float()),
    ]
    for ours in made:
        drawn = ours.sample((20000,)).double().numpy()
        error = ours.stddev.double().numpy() / math.sqrt(20000)
        assert (np.abs(drawn.mean(0) - ours.mean.numpy()) < 5 * error).all()
        np.testing.assert_allclose(drawn.var(0), ours.variance.numpy(), rtol=0.06)
    covariance = made[-1].covariance_matrix.numpy()
    np.testing.assert_allclose(np.cov(drawn.T), covariance, rtol=0.05, atol=0.1)


def test_sampling_is_the_same_compiled() -> None:
    rate = gg.tensor([0.3, 2.0, 50.0], dtype=gg.float64)

    def draw() -> Any:
        return (
            D.Gamma(rate, 1.0).sample((4,)),
            D.Categorical(rate / rate.sum()).sample((5,)),
            D.Dirichlet(rate).sample(),
            D.StudentT(rate).sample(),
        )

    gg.manual_seed(4)
    written = draw()
    gg.manual_seed(4)
    for a, b in zip(written, gg.compile(draw)(), strict=True):
        same(b, a, 1e-9)


# ----------------------------------------------------------------------- reparameterised gradients


def test_gamma_move_with_their_shape() -> None:
    """dx/da at a fixed probability of smaller values, by differences of SciPy's inverse."""
    special = pytest.importorskip("scipy.special")
    rng = np.random.default_rng(5)
    shapes = np.array([0.05, 0.3, 1.0, 1.7, 4.0, 20.0, 300.0])
    level = rng.uniform(0.005, 0.995, (40, len(shapes)))
    x = special.gammaincinv(shapes, level)
    h = 1e-4 * shapes
    steps = ((2, -1), (1, 8), (-1, -8), (-2, 1))
    slope = sum(c * np.log(special.gammaincinv(shapes + k * h, level)) for k, c in steps) / (12 * h)
    from graphgrad.distributions._gamma import log_gamma_gradient

    got = log_gamma_gradient(gg.tensor(np.broadcast_to(shapes, x.shape).copy()), gg.tensor(x).log())
    np.testing.assert_allclose(got.numpy(), slope, rtol=1e-5)


PATHWISE = [
    ("Normal", {"loc": 0.3, "scale": 1.2}),
    ("Uniform", {"low": 0.3, "high": 1.2}),
    ("Laplace", {"loc": 0.3, "scale": 1.2}),
    ("Exponential", {"rate": 1.3}),
    ("Gamma", {"concentration": 0.8, "rate": 1.3}),
    ("Beta", {"concentration1": 0.8, "concentration0": 2.0}),
    ("Chi2", {"df": 3.0}),
    ("StudentT", {"df": 6.0, "loc": 0.3, "scale": 1.2}),
    ("LogNormal", {"loc": 0.3, "scale": 0.4}),
]


@pytest.mark.parametrize("name, given", PATHWISE, ids=[name for name, _ in PATHWISE])
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_of_means_through_samples(name: str, given: Any, compiled: bool) -> None:
    """The gradient of the average of x² is that of mean² + variance."""
    leaves = [gg.tensor(v, dtype=gg.float64, requires_grad=True) for v in given.values()]

    def gradients() -> Any:
        made = getattr(D, name)(*leaves, validate_args=False)
        x = made.rsample((20000,))
        return gg.autograd.grad((x * x).mean(), leaves)

    gg.manual_seed(6)
    got = (gg.compile(gradients) if compiled else gradients)()
    exact = getattr(D, name)(*leaves)
    wanted = gg.autograd.grad(exact.mean**2 + exact.variance, leaves)
    for a, b in zip(got, wanted, strict=True):
        assert a.item() == pytest.approx(b.item(), rel=0.08, abs=0.02)


def test_modes_are_peaks() -> None:
    made = D.Kumaraswamy(gg.tensor([1.5, 2.0, 4.0]), gg.tensor([1.2, 3.0, 2.0]))
    at = made.mode.detach().requires_grad_()
    (slope,) = gg.autograd.grad(made.log_prob(at).sum(), at)
    assert slope.abs().max() < 1e-4
    assert D.Kumaraswamy(0.5, 2.0).mode.isnan()


def test_correlations_follow_their_law() -> None:
    """Each entry of an LKJ matrix is a beta number on (-1, 1), whatever its place."""
    stats = pytest.importorskip("scipy.stats")
    gg.manual_seed(8)
    lower = D.LKJCholesky(4, 1.5).sample((COUNT,))
    correlations = (lower @ lower.mT).double().numpy()
    shape = 1.5 - 1 + 4 / 2
    for i, j in ((1, 0), (2, 1), (3, 0), (3, 2)):
        scaled = (correlations[:, i, j] + 1) / 2
        assert stats.kstest(scaled, stats.beta(shape, shape).cdf).pvalue > 1e-3
