"""Convolutions with fewer multiplications: the same numbers, from a graph of smaller products."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from graphgrad import autodiff, dtypes, interpret, ir, lang
from graphgrad.config import config
from graphgrad.ir import Graph
from graphgrad.passes import winograd
from graphgrad.passes.simplify import simplify
from graphgrad.passes.winograd import fewer_products, matrices


@pytest.fixture
def always(monkeypatch):
    """Rewrites are taken whatever they cost, so that small cases show what they compute."""
    for name in ("LEAST_FLOPS", "MOVED", "SPREAD"):
        monkeypatch.setattr(winograd, name, 0)


def convolution(x, w, low, high, stride, dilation):
    """x (N, C, *space), w (O, C, *kernel) → (N, O, *positions)."""
    n = len(w.shape) - 2
    space = tuple(range(2, 2 + n))
    windows = ir.node(
        "window", lang.pad(x, (0, 0, *low), (0, 0, *high)),
        axes=space, size=w.shape[2:], stride=stride, dilation=dilation,
    )  # fmt: skip
    contract = ((1, *space), (1, *range(2 + n, 2 + 2 * n)))
    out = lang.dot_general(w, windows, contract)
    return lang.permute(out, (1, 0, *range(2, 2 + n)))


def graph_of(x, w, dtype=dtypes.float64, pad=1, stride=1, dilation=1):
    """A convolution and both its gradients; the last input is the cotangent."""
    x, w = ir.input(x, dtype), ir.input(w, dtype)
    n = len(w.shape) - 2
    y = convolution(x, w, (pad,) * n, (pad,) * n, (stride,) * n, (dilation,) * n)
    g = ir.like(y)
    grads = autodiff.vjp_nodes([y], [g], [x, w])
    return simplify(Graph([x, w, g], [y, *grads]))


def products(graph):
    return [x for x in graph.nodes if x.op.name == "dot_general"]


def multiplications(graph):
    return sum(
        x.size * math.prod(x.inputs[0].shape[a] for a in x.attrs["contract"][0])
        for x in products(graph)
    )


def values(graph, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal(x.shape) * scale).astype(x.dtype.numpy) for x in graph.inputs]


def assert_same(graph, other, tolerance=1e-12):
    arrays = values(graph)
    for expected, actual in zip(
        interpret.run(graph, arrays), interpret.run(other, arrays), strict=True
    ):
        assert actual.shape == expected.shape and actual.dtype == expected.dtype
        atol = tolerance * max(1.0, float(np.abs(expected).max(initial=0)))
        np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("m", "r"), [(m, r) for r in range(2, 6) for m in range(2, winograd.MOST_POINTS + 2 - r)]
)
def test_the_matrices_multiply_polynomials_exactly(m, r):
    result, taps, rows = (
        [[Fraction(v).limit_denominator(1000) for v in row] for row in matrix]
        for matrix in matrices(m, r)
    )
    for i, k, j in np.ndindex(m, r, m + r - 1):
        total = sum(result[i][p] * taps[p][k] * rows[p][j] for p in range(m + r - 1))
        assert total == (j == i + k)


CASES = {
    "3x3": ((2, 3, 8, 7), (4, 3, 3, 3), 1),
    "two rows at once": ((2, 3, 6, 5), (2, 3, 3, 3), 1),
    "three": ((1, 2, 9, 5), (3, 2, 3, 3), 1),
    "no padding": ((2, 3, 6, 8), (4, 3, 3, 3), 0),
    "two taps": ((2, 3, 5, 4), (4, 3, 2, 2), 0),
    "five taps": ((2, 3, 8, 8), (4, 3, 5, 5), 2),
    "one of the kernel's axes": ((2, 3, 8, 8), (4, 3, 3, 1), 0),
    "long channels": ((1, 20, 4, 4), (18, 20, 3, 3), 1),
    "volumes": ((1, 2, 4, 6, 5), (3, 2, 3, 3, 3), 1),
}


@pytest.mark.parametrize("case", CASES)
def test_convolutions_and_their_gradients_are_the_same(case, always):
    x, w, pad = CASES[case]
    graph = graph_of(x, w, pad=pad)
    fewer = fewer_products(graph).verify()
    assert len(products(fewer)) == 4 * len(products(graph))
    assert_same(graph, fewer)


def test_a_convolution_has_half_the_multiplications():
    graph = graph_of((8, 64, 32, 32), (64, 64, 3, 3), dtypes.float32)
    fewer = fewer_products(graph)
    assert len(products(graph)) == 3 and len(products(fewer)) == 12
    assert multiplications(fewer) < 0.6 * multiplications(graph)


def test_the_product_is_written_in_its_readers_order(always):
    """The convolution's own permute goes into the last product, below the joining of tiles."""
    x, w = ir.input((2, 3, 8, 8), dtypes.float64), ir.input((4, 3, 3, 3), dtypes.float64)
    graph = Graph([x, w], [convolution(x, w, (1, 1), (1, 1), (1, 1), (1, 1))])
    (y,) = fewer_products(graph).outputs
    names = []
    while y.op.name != "dot_general":
        names.append(y.op.name)
        (y,) = y.inputs
    assert names == ["reshape", "permute"]


UNTOUCHED = {
    "strided": {"x": (2, 3, 9, 9), "w": (4, 3, 3, 3), "stride": 2},
    "dilated": {"x": (2, 3, 8, 8), "w": (4, 3, 3, 3), "dilation": 2},
    "along neighbours": {"x": (2, 3, 8), "w": (4, 3, 3)},
    "1x1": {"x": (2, 3, 8, 8), "w": (4, 3, 1, 1), "pad": 0},
    "prime": {"x": (2, 3, 7, 8), "w": (4, 3, 3, 3)},
    "too many taps": {"x": (2, 3, 8, 8), "w": (4, 3, 7, 7), "pad": 3},
}


@pytest.mark.parametrize("case", UNTOUCHED)
def test_other_windows_stay(case, always):
    graph = graph_of(**UNTOUCHED[case])
    assert fewer_products(graph).key() == graph.key()


def test_taps_of_their_own_at_each_position_stay(always):
    """Locally connected layers: a batch of positions has no weights in common."""
    x, w = ir.input((2, 3, 10, 8), dtypes.float64), ir.input((8, 4, 3, 3), dtypes.float64)
    attrs = {"axes": (2,), "size": (3,), "stride": (1,), "dilation": (1,)}
    view = ir.node("window", x, **attrs)
    dot = lang.dot_general(w, view, ((2, 3), (1, 4)), ((0,), (2,)))
    graph = Graph([x, w], [dot])
    assert fewer_products(graph).key() == graph.key()


def test_small_and_narrow_convolutions_stay():
    for x, w in [((8, 8, 32, 32), (8, 8, 3, 3)), ((1, 64, 4, 4), (64, 64, 3, 3))]:
        graph = graph_of(x, w, dtypes.float32)
        assert fewer_products(graph).key() == graph.key()


def test_the_setting_leaves_the_graph_alone(always):
    graph = graph_of((2, 3, 8, 8), (4, 3, 3, 3))
    with config.scope(winograd=False):
        assert fewer_products(graph) is graph


@pytest.mark.parametrize("channels", [32, 128])
def test_rounding_stays_within_the_bound(channels, always):
    """Errors in the mean square, beside those of plain sums in the same precision."""
    graph = graph_of((2, channels, 16, 16), (16, channels, 3, 3), dtypes.float32)
    fewer, arrays = fewer_products(graph), values(graph)
    exact = graph_of((2, channels, 16, 16), (16, channels, 3, 3))
    truth = interpret.run(exact, [a.astype(np.float64) for a in arrays])
    for right, plain, ours in zip(
        truth, interpret.run(graph, arrays), interpret.run(fewer, arrays), strict=True
    ):
        error, usual = (np.sqrt(np.mean((y - right) ** 2)) for y in (ours, plain))
        floor = np.finfo(np.float32).eps * np.sqrt(np.mean(right**2))
        assert error < winograd.ERROR * max(usual, floor)
