"""Random numbers: the right distributions, streams that repeat, the same numbers in a trace."""

from __future__ import annotations

import math

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import interpret, ir
from graphgrad.random import LAWS, draw
from graphgrad.trace import Trace

pytestmark = pytest.mark.devices

N = 40_000


@pytest.fixture(autouse=True)
def seeded():
    with gg.random.fork_rng():
        gg.manual_seed(0)
        yield


def normal_cdf(x):
    return 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


# Law: (how to draw N numbers, cumulative distribution function).
CONTINUOUS = {
    "rand": (lambda: gg.rand(N), lambda x: x),
    "rand float64": (lambda: gg.rand(N, dtype=gg.float64), lambda x: x),
    "uniform_": (lambda: gg.empty(N).uniform_(-2, 6), lambda x: (x + 2) / 8),
    "randn": (lambda: gg.randn(N), normal_cdf),
    "randn float64": (lambda: gg.randn(N, dtype=gg.float64), normal_cdf),
    "normal_": (lambda: gg.empty(N).normal_(3, 2), lambda x: normal_cdf((x - 3) / 2)),
    "normal": (lambda: gg.normal(gg.ones(N), 0.5), lambda x: normal_cdf((x - 1) / 0.5)),
    "exponential_": (lambda: gg.empty(N).exponential_(2), lambda x: 1 - np.exp(-2 * x)),
    "cauchy_": (
        lambda: gg.empty(N).cauchy_(1, 2),
        lambda x: np.arctan((x - 1) / 2) / np.pi + 0.5,
    ),
    "log_normal_": (
        lambda: gg.empty(N).log_normal_(0.5, 0.25),
        lambda x: normal_cdf((np.log(x) - 0.5) / 0.25),
    ),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_laws(name):
    """Kolmogorov-Smirnov: the distance to the law is below its 0.1% quantile, 1.95/sqrt(N)."""
    sample, cdf = CONTINUOUS[name]
    x = np.sort(sample().numpy().astype(np.float64))
    distance = np.abs(cdf(x) - (np.arange(N) + 0.5) / N).max()
    assert distance < 1.95 / math.sqrt(N)


# Law: (how to draw, probabilities of 0, 1, 2, …).
DISCRETE = {
    "randint": (lambda: gg.randint(6, (N,)), [1 / 6] * 6),
    "randint low": (lambda: gg.randint(-2, 1, (N,)) + 2, [1 / 3] * 3),
    "random_": (lambda: gg.empty(N).random_(4), [1 / 4] * 4),
    "bernoulli_": (lambda: gg.empty(N).bernoulli_(0.3), [0.7, 0.3]),
    "bernoulli": (lambda: gg.bernoulli(gg.full((N,), 0.9)), [0.1, 0.9]),
    "geometric_": (lambda: gg.empty(N).geometric_(0.5) - 1, [2.0**-k for k in range(1, 16)]),
    "poisson": (
        lambda: gg.poisson(gg.full((N,), 1.5)),
        [math.exp(-1.5) * 1.5**k / math.factorial(k) for k in range(12)],
    ),
    "multinomial": (
        lambda: gg.multinomial(gg.tensor([1.0, 0, 5, 2]), N, True),
        [1 / 8, 0, 5 / 8, 2 / 8],
    ),
    "first of multinomial": (
        lambda: gg.multinomial(gg.tensor([1.0, 4, 5]).expand(N, 3), 2)[:, 0],
        [0.1, 0.4, 0.5],
    ),
    "first of randperm": (
        lambda: gg.tensor([gg.randperm(3)[0].item() for _ in range(3000)]),
        [1 / 3] * 3,
    ),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_laws(name):
    """Every frequency is within 4.5 standard deviations of its probability."""
    sample, chances = DISCRETE[name]
    x = sample().numpy()
    assert (x == np.round(x)).all()
    for value, p in enumerate(chances):
        deviation = math.sqrt(p * (1 - p) / x.size)
        assert abs((x == value).mean() - p) <= 4.5 * deviation + 1e-12


def test_bounds():
    x = gg.rand(N)
    assert x.min() >= 0 and x.max() < 1
    assert (gg.rand(N, dtype=gg.float16) < 1).all()
    assert gg.randn(N).isfinite().all()
    wide = gg.randint(-(2**61), 2**62, (N,))
    assert wide.min() < -(2**60) and wide.max() > 2**61
    assert gg.empty(N, dtype=gg.uint8).random_().max() == 255


def test_dtypes_and_shapes():
    assert gg.rand(2, 3).shape == gg.rand((2, 3)).shape == gg.rand(size=(2, 3)).shape == (2, 3)
    assert gg.rand(()).shape == gg.randn(()).shape == ()
    assert gg.randn(0, 3).shape == (0, 3)
    assert gg.randint(3, (2,)).dtype is gg.randperm(3).dtype is gg.int64
    assert gg.randint(3, (2,), dtype=gg.float32).dtype is gg.float32
    assert gg.rand_like(gg.ones(2, dtype=gg.float64)).dtype is gg.float64
    assert gg.randint_like(gg.ones(2, 2), 4).shape == (2, 2)
    assert gg.randn(2, requires_grad=True).requires_grad
    assert gg.multinomial(gg.ones(2, 5), 3).shape == (2, 3)


def test_permutations_and_draws_without_replacement():
    assert sorted(gg.randperm(1000).tolist()) == list(range(1000))
    rows = gg.multinomial(gg.ones(50, 6), 6).tolist()
    assert all(sorted(row) == list(range(6)) for row in rows)
    assert (gg.multinomial(gg.tensor([0.0, 1, 0, 1]).expand(99, 4), 2) % 2 == 1).all()


# ------------------------------------------------------------------------------------------ streams


def test_seeds_repeat_and_differ():
    gg.manual_seed(7)
    first = gg.randn(5).tolist()
    assert gg.randn(5).tolist() != first
    assert gg.manual_seed(7) is gg.default_generator
    assert gg.randn(5).tolist() == first
    drawn = {tuple(gg.manual_seed(s) and gg.rand(3).tolist()) for s in (0, 1, 2**32, 2**40, -1)}
    assert len(drawn) == 5
    assert gg.manual_seed(-1).initial_seed() == 2**64 - 1
    assert gg.seed() == gg.initial_seed()


@pytest.mark.host
def test_states():
    saved = gg.get_rng_state()
    first = gg.rand(3).tolist()
    gg.set_rng_state(saved)
    assert gg.rand(3).tolist() == first
    with gg.random.fork_rng():
        gg.rand(10)
    after = gg.rand(3).tolist()
    gg.set_rng_state(saved)
    gg.rand(3)
    assert gg.rand(3).tolist() == after


def test_generators_are_independent():
    g = gg.Generator().manual_seed(3)
    first = gg.rand(4, generator=g).tolist()
    gg.rand(4)
    g.manual_seed(3)
    assert gg.rand(4, generator=g).tolist() == first
    assert gg.randperm(9, generator=g).tolist() != gg.randperm(9, generator=g).tolist()


def test_every_draw_is_new():
    rows = gg.stack([gg.rand(100) for _ in range(50)])
    assert len(np.unique(rows.numpy())) > 4990
    assert abs(np.corrcoef(rows.numpy())[0, 1:]).max() < 0.45


# ------------------------------------------------------------------------------------------- traces

NUMBERS = {
    "uniform": (-1.0, 2.0),
    "normal": (1.0, 2.0),
    "log_normal": (0.0, 0.5),
    "exponential": (2.0,),
    "cauchy": (0.0, 1.0),
    "geometric": (0.25,),
    "bernoulli": (0.25,),
    "whole": (-3, 10),
    "wide_whole": (-3, 2**40),
}


@pytest.mark.host
@pytest.mark.parametrize("law", LAWS)
def test_a_trace_draws_what_eager_draws(law):
    dtype = gg.int64 if law in ("whole", "wide_whole", "long") else gg.float32
    before = gg.get_rng_state()
    eager = [draw(law, (3, 4), dtype, *NUMBERS.get(law, ())) for _ in range(2)]
    after = gg.get_rng_state()
    gg.set_rng_state(before)
    with Trace() as trace:
        drawn = [draw(law, (3, 4), dtype, *NUMBERS.get(law, ())) for _ in range(2)]
        outputs = [trace.node(t) for t in drawn]
    ((captured, node),), ((written, last),) = trace.captured, trace.mutated
    assert captured is written is gg.default_generator.state
    graph = ir.Graph([node], [*outputs, last])
    *values, state = interpret.run(graph, [before.numpy()])
    for ours, theirs in zip(values, eager, strict=True):
        np.testing.assert_array_equal(ours, theirs.numpy())
    assert state.tolist() == after.tolist()
    assert gg.get_rng_state().tolist() == before.tolist()


@pytest.mark.host
@pytest.mark.parametrize("size", [10, 5000])
def test_compiled_draws_are_eager_draws(size):
    def noise():
        return gg.randn(size), gg.rand(size), gg.randint(9, (size,))

    compiled = gg.compile(noise)
    before = gg.get_rng_state()
    first, second = noise(), noise()
    gg.set_rng_state(before)
    for eager in (first, second):
        for a, b in zip(eager, compiled(), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)


ERRORS = {
    "std": lambda: gg.empty(2).normal_(0, -1),
    "bounds": lambda: gg.empty(2).uniform_(1, 0),
    "range": lambda: gg.randint(3, 3, (2,)),
    "rate": lambda: gg.empty(2).exponential_(-1),
    "chance": lambda: gg.empty(2).bernoulli_(1.5),
    "negative weight": lambda: gg.multinomial(gg.tensor([-1.0, 1]), 1),
    "too many": lambda: gg.multinomial(gg.ones(3), 4),
    "no weight": lambda: gg.multinomial(gg.zeros(3), 1, True),
    "leaf": lambda: gg.ones(3, requires_grad=True).normal_(),
}


@pytest.mark.host
@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    with pytest.raises(RuntimeError):
        ERRORS[name]()


def test_misspelt_options_are_errors():
    with pytest.raises(TypeError, match="requires_gard"):
        gg.rand(3, requires_gard=True)
