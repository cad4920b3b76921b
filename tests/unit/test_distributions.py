"""Distributions against PyTorch (densities, moments, divergences) and SciPy (samples)."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import graphgrad as gg

D = gg.distributions


def positive(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape) + 7).uniform(0.3, 4.0, shape)


def real(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape) + 11).normal(size=shape)


def chance(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape) + 13).uniform(0.05, 0.95, shape)


def spd(*shape: int) -> np.ndarray:
    a = real(*shape)
    return a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1])


# Name → keyword arguments: arrays become float64 tensors that require gradients.
CASES: list[tuple[str, dict[str, Any]]] = [
    ("Normal", {"loc": real(3), "scale": positive(2, 1)}),
    ("Uniform", {"low": real(3), "high": real(3) + positive(2, 1)}),
    ("Laplace", {"loc": real(2, 3), "scale": positive(3)}),
    ("Exponential", {"rate": positive(3)}),
    ("Gamma", {"concentration": positive(3), "rate": positive(2, 1)}),
    ("Beta", {"concentration1": positive(3), "concentration0": positive(2, 1)}),
    ("Chi2", {"df": positive(3)}),
    ("StudentT", {"df": positive(5), "loc": real(5), "scale": positive(5)}),
    ("LogNormal", {"loc": real(3), "scale": positive(2, 1)}),
    ("Dirichlet", {"concentration": positive(2, 4)}),
    ("Bernoulli", {"probs": chance(3)}),
    ("Bernoulli", {"logits": real(2, 3)}),
    ("Geometric", {"probs": chance(3)}),
    ("Geometric", {"logits": real(3)}),
    ("Poisson", {"rate": positive(2, 3)}),
    ("Binomial", {"total_count": 6, "probs": chance(3)}),
    ("Binomial", {"total_count": 6, "logits": real(2, 3)}),
    ("Categorical", {"probs": chance(3, 4)}),
    ("Categorical", {"logits": real(4)}),
    ("OneHotCategorical", {"probs": chance(3, 4)}),
    ("OneHotCategorical", {"logits": real(2, 1, 4)}),
    ("Multinomial", {"total_count": 5, "probs": chance(3, 4)}),
    ("Multinomial", {"total_count": 5, "logits": real(4)}),
    ("MultivariateNormal", {"loc": real(2, 3), "covariance_matrix": spd(3, 3)}),
    ("MultivariateNormal", {"loc": real(3), "precision_matrix": spd(2, 3, 3)}),
    ("MultivariateNormal", {"loc": real(3), "scale_tril": np.linalg.cholesky(spd(2, 3, 3))}),
    ("Cauchy", {"loc": real(3), "scale": positive(2, 1)}),
    ("HalfCauchy", {"scale": positive(3)}),
    ("HalfNormal", {"scale": positive(3)}),
    ("Gumbel", {"loc": real(3), "scale": positive(2, 1)}),
    ("Kumaraswamy", {"concentration1": positive(3), "concentration0": positive(2, 1)}),
    ("Pareto", {"scale": positive(3), "alpha": positive(2, 1)}),
    ("Weibull", {"scale": positive(3), "concentration": 1 + positive(2, 1)}),
    ("InverseGamma", {"concentration": positive(3), "rate": positive(2, 1)}),
    ("LogisticNormal", {"loc": real(2, 3), "scale": positive(3)}),
    ("RelaxedBernoulli", {"temperature": np.array(0.7), "probs": chance(3)}),
    ("RelaxedBernoulli", {"temperature": np.array(0.7), "logits": real(2, 3)}),
    ("RelaxedOneHotCategorical", {"temperature": np.array(0.7), "probs": chance(2, 3)}),
    ("RelaxedOneHotCategorical", {"temperature": np.array(0.7), "logits": real(3)}),
    ("FisherSnedecor", {"df1": positive(3) + 1, "df2": positive(2, 1) + 1}),
    ("NegativeBinomial", {"total_count": 5, "probs": chance(3)}),
    ("NegativeBinomial", {"total_count": positive(3), "logits": real(2, 3)}),
    ("ContinuousBernoulli", {"probs": np.array([0.1, 0.5, 0.4995, 0.9])}),
    ("ContinuousBernoulli", {"logits": real(2, 3)}),
    ("VonMises", {"loc": real(3), "concentration": positive(2, 1)}),
    ("Wishart", {"df": 3 + positive(2), "covariance_matrix": spd(3, 3)}),
    ("Wishart", {"df": 3 + positive(2), "precision_matrix": spd(3, 3)}),
    ("LKJCholesky", {"dim": 3, "concentration": positive(2)}),
    (
        "LowRankMultivariateNormal",
        {"loc": real(4), "cov_factor": real(2, 4, 2), "cov_diag": positive(4)},
    ),
]
IDS = [f"{name}-{'-'.join(given)}" for name, given in CASES]
# PyTorch's is NaN wherever there is one; it is tested below.
NOT_TORCHS = {("Kumaraswamy", "mode")}
ATTRIBUTES = ("mean", "mode", "variance", "stddev")


def build(library: Any, name: str, given: dict[str, Any]) -> tuple[Any, list[Any]]:
    """The distribution, and its parameters as leaves."""
    leaves = {
        key: library.tensor(value, dtype=library.float64, requires_grad=True)
        for key, value in given.items()
        if isinstance(value, np.ndarray)
    }
    return getattr(library.distributions, name)(**(given | leaves)), list(leaves.values())


def same(ours: Any, theirs: Any, tolerance: float = 1e-7) -> None:
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(
        ours.detach().numpy(), theirs.detach().numpy(), rtol=tolerance, atol=tolerance
    )


def same_if_defined(ours: Any, theirs: Any) -> None:
    """Equal results of two calls, where PyTorch has the method."""
    try:
        wanted = theirs()
    except NotImplementedError:
        return
    same(ours(), wanted)


def values_of(theirs: Any) -> np.ndarray:
    import torch

    torch.manual_seed(3)
    return theirs.sample((5,)).numpy()


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
    "Categorical": ({"probs": gg.tensor([0.1, 0.0, 0.6, 0.3])}, [0, 2, 3]),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_counts_follow_the_law(name: str) -> None:
    """Pearson's test of how often each value comes up against ``log_prob``."""
    stats = pytest.importorskip("scipy.stats")
    given, values = DISCRETE[name]
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


# -------------------------------------------------------------------------------------- divergences


def pairs() -> list[tuple[Any, Any]]:
    alone = [label for label in IDS if not label.startswith(("StudentT", "Chi2", "Wishart"))]
    line = [c for c in alone if c.split("-")[0] in ("Normal", "Uniform", "Laplace")]
    line += [c for c in alone if c.split("-")[0] in ("Exponential", "Gamma", "Beta")]
    line += ["Gumbel-loc-scale", "Pareto-scale-alpha", "ContinuousBernoulli-logits"]
    same_class = [(c, c) for c in alone if not c.startswith("Multinomial")]
    return same_class + list(itertools.permutations(line, 2))


@pytest.mark.torch
@pytest.mark.parametrize("p, q", pairs(), ids=[f"{p} and {q}" for p, q in pairs()])
def test_kl_divergence(p: str, q: str) -> None:
    torch = pytest.importorskip("torch")
    cases = dict(zip(IDS, CASES, strict=True))
    ones = []
    for library in (gg, torch):
        name, given = cases[q]
        moved = {k: _moved(k, v) for k, v in given.items()}
        ones += [build(library, *cases[p])[0], build(library, name, moved)[0]]
    a, b, c, d = ones
    try:
        wanted = torch.distributions.kl_divergence(c, d)
    except NotImplementedError:
        with pytest.raises(NotImplementedError):
            D.kl_divergence(a, b)
        return
    got = D.kl_divergence(a, b)
    assert got.shape == gg.broadcast_shapes(a.batch_shape, b.batch_shape)
    same(got, wanted.expand(got.shape))


def _moved(name: str, value: Any) -> Any:
    """Another parameter of the same kind."""
    if not isinstance(value, np.ndarray):
        return value
    if name in ("covariance_matrix", "precision_matrix", "scale_tril"):
        return 1.5 * value
    return value * 0.9 + 0.05


def test_divergence_of_wisharts_is_the_mean_difference() -> None:
    """PyTorch's is another number in more than one dimension; this is what samples say."""
    gg.manual_seed(9)
    scale = gg.tensor(spd(3, 3))
    p, q = D.Wishart(5.0, scale), D.Wishart(4.0, 1.5 * gg.eye(3, dtype=gg.float64))
    x = p.sample((20000,))
    difference = (p.log_prob(x) - q.log_prob(x)).numpy()
    error = difference.std() / math.sqrt(20000)
    assert abs(D.kl_divergence(p, q).item() - difference.mean()) < 4 * error
    one = D.Wishart(3.0, gg.tensor([[2.0]])), D.Wishart(4.0, gg.tensor([[1.5]]))
    gammas = D.Gamma(1.5, 0.25), D.Gamma(2.0, 1 / 3)
    same(D.kl_divergence(*one), D.kl_divergence(*gammas), 1e-5)


def test_rules_for_new_classes() -> None:
    class Own(D.Normal):
        pass

    p, q = Own(0.0, 1.0), D.Normal(1.0, 1.0)
    same(D.kl_divergence(p, q), gg.tensor(0.5))

    @D.register_kl(Own, D.Normal)
    def rule(p: Any, q: Any) -> Any:
        return gg.tensor(7.0)

    assert D.kl_divergence(p, q).item() == 7 and D.kl_divergence(q, q).item() == 0
    with pytest.raises(NotImplementedError, match="No KL"):
        D.kl_divergence(D.Uniform(0.0, 1.0), D.Wishart(3.0, gg.eye(2)))
    with pytest.raises(TypeError):
        D.register_kl(int, D.Normal)


# --------------------------------------------------------------------------- transforms, structures

TRANSFORMS: list[tuple[str, dict[str, Any], np.ndarray]] = [
    ("ExpTransform", {}, real(3, 2)),
    ("SoftplusTransform", {}, real(3, 2)),
    ("SigmoidTransform", {}, real(3, 2)),
    ("TanhTransform", {}, real(3, 2)),
    ("AbsTransform", {}, real(3, 2)),
    ("PowerTransform", {"exponent": np.array(2.5)}, positive(3, 2)),
    ("AffineTransform", {"loc": 1.0, "scale": np.array([2.0, -3.0])}, real(3, 2)),
    ("AffineTransform", {"loc": 1.0, "scale": -2.0, "event_dim": 1}, real(3, 2)),
    ("SoftmaxTransform", {}, real(3, 2)),
    ("StickBreakingTransform", {}, real(3, 4)),
    ("LowerCholeskyTransform", {}, real(2, 3, 3)),
    ("PositiveDefiniteTransform", {}, real(2, 3, 3)),
    ("CorrCholeskyTransform", {}, real(2, 6)),
    ("ReshapeTransform", {"in_shape": (2, 3), "out_shape": (6,)}, real(4, 2, 3)),
]


def transform_of(library: Any, name: str, given: dict[str, Any]) -> Any:
    arrays = {k: library.tensor(v) for k, v in given.items() if isinstance(v, np.ndarray)}
    return getattr(library.distributions, name)(**(given | arrays))


@pytest.mark.torch
@pytest.mark.parametrize("name, given, array", TRANSFORMS, ids=[t[0] for t in TRANSFORMS])
def test_transforms(name: str, given: dict[str, Any], array: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = transform_of(gg, name, given), transform_of(torch, name, given)
    x, z = gg.tensor(array), torch.tensor(array)
    y, w = ours(x), theirs(z)
    same(y, w)
    same(ours.inv(y), theirs.inv(w))
    assert (ours.bijective, ours.domain.event_dim) == (theirs.bijective, theirs.domain.event_dim)
    assert ours.codomain.event_dim == theirs.codomain.event_dim
    assert tuple(ours.forward_shape(x.shape)) == tuple(y.shape)
    assert tuple(ours.inverse_shape(y.shape)) == tuple(x.shape)
    if ours.bijective:
        same_if_defined(
            lambda: ours.log_abs_det_jacobian(x, y), lambda: theirs.log_abs_det_jacobian(z, w)
        )
    if name != "AffineTransform":
        assert bool(ours.codomain.check(y).all())
    assert ours == ours and ours.inv.inv is ours
    assert ours == transform_of(gg, name, given) and ours != D.CatTransform([])


def structures(d: Any, t: Any) -> dict[str, Any]:
    """Distributions made of others, from either library."""
    loc, scale = t.tensor(real(2, 3)), t.tensor(positive(2, 3))
    normal = d.Normal(loc, scale)
    affine = d.AffineTransform(1.0, t.tensor(2.0, dtype=t.float64))
    pieces = [d.ExpTransform(), affine]
    return {
        "independent": d.Independent(normal, 1),
        "all independent": d.Independent(normal, 2),
        "tanh": d.TransformedDistribution(normal, [d.TanhTransform(cache_size=1)]),
        "two": d.TransformedDistribution(normal, [affine, d.ExpTransform()]),
        "of one": d.TransformedDistribution(d.Independent(normal, 1), d.ExpTransform()),
        "simplex": d.TransformedDistribution(normal, d.StickBreakingTransform()),
        "composed": d.TransformedDistribution(normal, d.ComposeTransform(pieces)),
        "cat": d.TransformedDistribution(
            d.Independent(normal, 1), d.CatTransform(pieces, -1, [1, 2])
        ),
        "reshaped": d.TransformedDistribution(
            d.Independent(normal, 2), d.ReshapeTransform((2, 3), (6,))
        ),
        "mixture": d.MixtureSameFamily(d.Categorical(logits=loc), normal),
        "mixture of vectors": d.MixtureSameFamily(
            d.Categorical(logits=loc[0, :2]), d.Independent(normal, 1)
        ),
    }


STRUCTURES = "independent,all independent,tanh,two,of one,simplex,composed,cat,reshaped"
STRUCTURES = [*STRUCTURES.split(","), "mixture", "mixture of vectors"]


@pytest.mark.torch
@pytest.mark.parametrize("name", STRUCTURES)
def test_structures(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = structures(D, gg)[name], structures(torch.distributions, torch)[name]
    assert (ours.batch_shape, ours.event_shape) == (theirs.batch_shape, theirs.event_shape)
    assert ours.has_rsample == theirs.has_rsample
    assert ours.support.event_dim == theirs.support.event_dim
    array = values_of(theirs)
    same(ours.log_prob(gg.tensor(array)), theirs.log_prob(torch.tensor(array)), 1e-6)
    same_if_defined(lambda: ours.cdf(gg.tensor(array)), lambda: theirs.cdf(torch.tensor(array)))
    for attribute in ("mean", "variance"):
        same_if_defined(*(lambda d=d, a=attribute: getattr(d, a) for d in (ours, theirs)))
    wide = ours.expand((4, *ours.batch_shape))
    assert wide.sample((2,)).shape == (2, *wide.batch_shape, *wide.event_shape)
    same(
        wide.log_prob(gg.tensor(array[0])),
        ours.log_prob(gg.tensor(array[0])).expand(wide.batch_shape),
    )


def test_stacked_transforms_add_up_within_an_event() -> None:
    pieces = [D.ExpTransform(), D.AffineTransform(1.0, 2.0)]
    base = D.Normal(gg.tensor(real(3, 2)), gg.tensor(positive(3, 2)))
    made = D.TransformedDistribution(base, D.StackTransform(pieces, -1))
    value = made.sample()
    alone = [
        D.TransformedDistribution(D.Normal(base.loc[:, i], base.scale[:, i]), piece)
        for i, piece in enumerate(pieces)
    ]
    assert made.event_shape == (2,)
    same(made.log_prob(value), sum(one.log_prob(value[:, i]) for i, one in enumerate(alone)))


def test_cached_values_survive_an_inverse_that_rounding_loses() -> None:
    base = D.Normal(gg.zeros(3), 20.0)
    y = D.TransformedDistribution(base, D.TanhTransform(cache_size=1))
    drawn = y.rsample()
    assert y.log_prob(drawn).isfinite().all()


REGIONS = {
    "real": (), "positive": (), "nonnegative": (), "unit_interval": (), "simplex": (),
    "lower_cholesky": (), "positive_definite": (), "corr_cholesky": (), "real_vector": (),
    "greater_than": (2.0,), "less_than": (2.0,), "interval": (-1.0, 3.0),
}  # fmt: skip


# What lies above the diagonal does not count.
NOT_INJECTIVE = ("lower_cholesky", "positive_definite")


@pytest.mark.parametrize("name", REGIONS)
def test_transforms_to_constraints(name: str) -> None:
    constraint = getattr(D.constraints, name)
    constraint = constraint(*REGIONS[name]) if REGIONS[name] else constraint
    for registry in (D.transform_to, D.biject_to):
        transform = registry(constraint)
        x = gg.tensor(real(5, 3, 3)).double()
        x = x if transform.domain.event_dim != 1 else x[..., 0]
        y = transform(x)
        assert bool(constraint.check(y).all())
        same(transform(transform.inv(y)), y)
        assert transform.bijective or registry is D.transform_to or name in NOT_INJECTIVE
    with pytest.raises(NotImplementedError, match="Cannot transform"):
        D.biject_to(D.constraints.boolean)


# --------------------------------------------------------------------------------------- arguments


def test_bad_arguments() -> None:
    for make in (
        lambda: D.Normal(0.0, -1.0),
        lambda: D.Normal(gg.tensor([0.0, float("nan")]), 1.0),
        lambda: D.Categorical(gg.tensor([0.5, -0.5, 1.0])),
        lambda: D.MultivariateNormal(gg.zeros(2), gg.tensor([[1.0, 2.0], [2.0, 1.0]])),
        lambda: D.Bernoulli(1.5),
    ):
        with pytest.raises(ValueError, match="to satisfy the constraint"):
            make()
    with pytest.raises(ValueError, match="but not both"):
        D.Bernoulli(probs=0.5, logits=0.0)
    with pytest.raises(ValueError, match="low>= high"):
        D.Uniform(1.0, 1.0)
    with pytest.raises(ValueError, match="within the support"):
        D.Bernoulli(0.5).log_prob(gg.tensor(2.0))
    with pytest.raises(ValueError, match="not broadcastable"):
        D.Normal(gg.zeros(3), 1.0).log_prob(gg.zeros(2))
    with pytest.raises(ValueError, match="right-most size"):
        D.Dirichlet(gg.ones(3)).log_prob(gg.ones(2) / 2)
    with pytest.raises(ValueError, match="must be a Tensor"):
        D.Normal(0.0, 1.0).log_prob(0.0)
    assert D.Normal(0.0, -1.0, validate_args=False).log_prob(gg.tensor(0.0)).isnan()
    with pytest.raises(NotImplementedError, match="use sample"):
        D.Poisson(1.0).rsample()


def test_what_is_shown() -> None:
    assert repr(D.Normal(0.0, 1.0)) == "Normal(loc: 0.0, scale: 1.0)"
    assert repr(D.Beta(gg.ones(3), 1.0)) == (
        "Beta(concentration1: torch.Size([3]), concentration0: torch.Size([3]))"
    )
    assert repr(D.Independent(D.Bernoulli(gg.ones(3) / 2), 1)) == (
        "Independent(Bernoulli(probs: torch.Size([3])), 1)"
    )


def test_a_compiled_policy_gradient_step() -> None:
    """Distributions made and used inside ``compile``, with parameters that were made outside."""
    weights = gg.zeros(4, 3, requires_grad=True)
    state, reward = gg.tensor(real(5, 4)).float(), gg.tensor(positive(5)).float()

    def loss(action: Any) -> Any:
        policy = D.Categorical(logits=state @ weights)
        value = -(policy.log_prob(action) * reward).mean() - 0.1 * policy.entropy().mean()
        return gg.autograd.grad(value, weights)[0]

    action = gg.tensor([0, 2, 1, 1, 0])
    same(gg.compile(loss)(action), loss(action), 1e-6)
    made = D.Categorical(logits=gg.zeros(3))
    assert gg.compile(lambda: made.probs.sum())().item() == pytest.approx(1)
    assert made.probs.sum().item() == pytest.approx(1)
