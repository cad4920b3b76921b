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
]
IDS = [f"{name}-{'-'.join(given)}" for name, given in CASES]
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
        same_if_defined(
            lambda a=attribute: getattr(ours, a), lambda a=attribute: getattr(theirs, a)
        )
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
    same(ours.cdf(gg.tensor(array)), theirs.cdf(torch.tensor(array)))
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


def continuous() -> dict[str, tuple[Any, Any]]:
    """Distribution and SciPy's law of the same numbers."""
    stats = pytest.importorskip("scipy.stats")
    return {
        "normal": (D.Normal(1.0, 2.0), stats.norm(1, 2)),
        "uniform": (D.Uniform(-1.0, 3.0), stats.uniform(-1, 4)),
        "laplace": (D.Laplace(1.0, 0.5), stats.laplace(1, 0.5)),
        "exponential": (D.Exponential(2.0), stats.expon(scale=0.5)),
        "log_normal": (D.LogNormal(0.3, 0.5), stats.lognorm(0.5, scale=math.exp(0.3))),
        "student": (D.StudentT(3.0, 1.0, 2.0), stats.t(3, 1, 2)),
        "chi2": (D.Chi2(3.0), stats.chi2(3)),
        **{f"gamma {a}": (D.Gamma(a, 2.0), stats.gamma(a, scale=0.5)) for a in GAMMA_SHAPES},
        "beta": (D.Beta(0.4, 2.5), stats.beta(0.4, 2.5)),
        "beta of a U": (D.Beta(DOUBLE, DOUBLE), stats.beta(0.3, 0.3)),
    }


# Float32 cannot tell values that near to 1 apart.
DOUBLE = gg.tensor(0.3, dtype=gg.float64)
GAMMA_SHAPES = (0.05, 0.7, 1.0, 3.3, 200.0)
CONTINUOUS = "normal uniform laplace exponential log_normal student chi2 beta".split()
CONTINUOUS += ["beta of a U", *(f"gamma {a}" for a in GAMMA_SHAPES)]


@pytest.mark.parametrize("name", CONTINUOUS)
def test_samples_follow_the_law(name: str) -> None:
    stats = pytest.importorskip("scipy.stats")
    ours, law = continuous()[name]
    gg.manual_seed(7)
    drawn = ours.expand((2,)).sample((COUNT // 2,)).double().numpy()
    assert stats.kstest(drawn.reshape(-1), law.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.1


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


def test_gamma_draws_move_with_their_shape() -> None:
    """dx/da at a fixed probability of smaller values, by differences of SciPy's inverse."""
    special = pytest.importorskip("scipy.special")
    rng = np.random.default_rng(5)
    shapes = np.array([0.05, 0.3, 1.0, 1.7, 4.0, 20.0, 300.0])
    level = rng.uniform(0.005, 0.995, (40, len(shapes)))
    x = special.gammaincinv(shapes, level)
    h = 1e-4 * shapes
    steps = ((2, -1), (1, 8), (-1, -8), (-2, 1))
    slope = sum(c * np.log(special.gammaincinv(shapes + k * h, level)) for k, c in steps) / (12 * h)
    from graphgrad.distributions._gamma_draws import log_gamma_gradient

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


# -------------------------------------------------------------------------------------- divergences


def pairs() -> list[tuple[Any, Any]]:
    alone = [label for label in IDS if not label.startswith(("StudentT", "Chi2"))]
    line = [c for c in alone if c.split("-")[0] in ("Normal", "Uniform", "Laplace")]
    line += [c for c in alone if c.split("-")[0] in ("Exponential", "Gamma", "Beta")]
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
