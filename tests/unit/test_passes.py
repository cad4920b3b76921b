"""Each pass turns one graph into another: the graphs are compared, then their values."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphgrad import autodiff, interpret, ir
from graphgrad import lang as L
from graphgrad.dtypes import bool_, float32, float64, int64
from graphgrad.passes.cse import cse
from graphgrad.passes.dce import dce
from graphgrad.passes.fold import fold
from graphgrad.passes.quotients import share_quotients
from graphgrad.passes.simplify import simplify


def x_of(*shape, dtype=float64, name="x"):
    return ir.input(shape, dtype, name)


def ops(graph):
    return [x.op.name for x in graph.nodes if x.op.name != "input"]


def assert_same_graph(graph, build, inputs):
    assert graph.key() == ir.Graph(inputs, [build(*inputs)]).key()


def run_pass(function, build, *inputs):
    return function(ir.Graph(inputs, [build(*inputs)])).verify()


X = x_of(2, 3)
Y = x_of(3, name="y")
ADD, SUB, MUL = L.add, L.sub, L.mul

# name: (before, after, inputs)
SIMPLER = {
    "mul 1": (lambda x: MUL(x, 1.0), lambda x: x, [X]),
    "1 mul": (lambda x: MUL(1.0, x), lambda x: x, [X]),
    "div 1": (lambda x: L.div(x, 1.0), lambda x: x, [X]),
    "sub 0": (lambda x: SUB(x, 0.0), lambda x: x, [X]),
    "add 0 keeps the sign of zero": (lambda x: ADD(x, 0.0), lambda x: ADD(x, 0.0), [X]),
    "add -0": (lambda x: ADD(x, -0.0), lambda x: x, [X]),
    "integer add 0": (lambda x: ADD(x, 0), lambda x: x, [x_of(2, dtype=int64)]),
    "mul 0 keeps NaN": (lambda x: MUL(x, 0.0), lambda x: MUL(x, 0.0), [X]),
    "neg neg": (lambda x: L.neg(L.neg(x)), lambda x: x, [X]),
    "add neg": (lambda x, y: ADD(x, L.neg(y)), lambda x, y: SUB(x, y), [X, Y]),
    "sub neg": (lambda x, y: SUB(x, L.neg(y)), lambda x, y: ADD(x, y), [X, Y]),
    "pow 3": (lambda x: L.pow_(x, 3.0), lambda x: L.int_pow(x, 3), [X]),
    "pow 2.5": (lambda x: L.pow_(x, 2.5), lambda x: L.pow_(x, 2.5), [X]),
    "cast same": (lambda x: L.apply("cast", x, dtype=float64), lambda x: x, [X]),
    "cast narrow and back stays": (
        lambda x: L.cast(L.cast(x, float32), float64),
        lambda x: L.cast(L.cast(x, float32), float64),
        [X],
    ),
    "cast wide and back": (
        lambda x: L.cast(L.cast(x, float64), float32),
        lambda x: x,
        [x_of(2, dtype=float32)],
    ),
    "reshape reshape": (
        lambda x: L.reshape(L.reshape(x, (6,)), (3, 2)),
        lambda x: L.reshape(x, (3, 2)),
        [X],
    ),
    "permute permute": (
        lambda x: L.permute(L.permute(x, (1, 0)), (1, 0)),
        lambda x: x,
        [X],
    ),
    "slice slice": (
        lambda x: L.slice_(L.slice_(x, (2,), (20,), (3,)), (1,), (5,), (2,)),
        lambda x: L.slice_(x, (5,), (12,), (6,)),
        [x_of(20)],
    ),
    "expand operand": (
        lambda x, y: ADD(x, L.expand(y, (2, 3))),
        lambda x, y: ADD(x, y),
        [X, Y],
    ),
    "hoist expand": (
        lambda y: L.sin(L.expand(y, (2, 3))),
        lambda y: L.expand(L.sin(y), (2, 3)),
        [Y],
    ),
    "sum of units": (
        lambda x: L.sum_(L.reshape(x, (2, 1, 3)), (1, 2)),
        lambda x: L.sum_(x, (1,)),
        [X],
    ),
    "sum sum": (lambda x: L.sum_(L.sum_(x, (1,)), (0,)), lambda x: L.sum_(x, (0, 1)), [X]),
    "sum of expand": (
        lambda y: L.sum_(L.expand(y, (2, 3)), (0,)),
        lambda y: MUL(y, 2.0),
        [Y],
    ),
    "crop": (
        lambda x: L.pad(x, (0, -1), (0, -1)),
        lambda x: L.slice_(x, (0, 1), (2, 2)),
        [X],
    ),
}


@pytest.mark.parametrize("name", SIMPLER)
def test_simplify(name):
    before, after, inputs = SIMPLER[name]
    assert_same_graph(run_pass(simplify, before, *inputs), after, inputs)


def test_cse_merges_equals_and_keeps_origins_apart_from_hooked_values():
    graph = run_pass(cse, lambda x: ADD(L.exp(x), L.exp(x)), X)
    assert ops(graph) == ["exp", "add"]
    hooked = run_pass(cse, lambda x: ADD(L.identity(x), L.identity(x)), X)
    assert ops(hooked) == ["identity", "identity", "add"]


def test_cse_keeps_attributes_apart():
    graph = run_pass(cse, lambda x: ADD(MUL(x, 0.0), MUL(x, -0.0)), X)
    assert ops(graph).count("mul") == 2


def test_fold_evaluates_literals_only():
    graph = run_pass(fold, lambda x: MUL(x, L.sqrt(L.scalar(2.0, float64))), X)
    assert ops(graph) == ["scalar", "mul"]
    (literal,) = [x for x in graph if x.op.name == "scalar"]
    assert literal.attrs["value"] == 2.0**0.5


def test_dce_drops_unread_stacks_of_a_scan():
    c, xs = x_of(2, name="c"), x_of(4, 2, name="xs")
    a, b = ir.like(c), ir.input((2,), float64)
    body = ir.Graph([a, b], [ADD(a, b), L.exp(b), L.sin(a)])
    last, _, sines = L.scan(body, [c], [xs], [], 4)
    graph = dce(ir.Graph([c, xs], [last, sines])).verify()
    (scan,) = [x for x in graph if x.op.name == "scan"]
    assert len(scan.results) == 2
    assert [len(y.shape) for y in graph.outputs] == [1, 2]


def _convolution(x, w, padding, stride, dilation):
    padded = L.pad(x, (0, 0, padding, padding), (0, 0, padding, padding))
    view = L.apply(
        "window",
        padded,
        axes=(2, 3),
        size=w.shape[2:],
        stride=(stride, stride),
        dilation=(dilation, dilation),
    )
    return L.permute(L.dot_general(view, w, ((1, 4, 5), (1, 2, 3))), (0, 3, 1, 2))


@pytest.mark.parametrize("geometry", [(0, 1, 1), (2, 1, 1), (1, 2, 1), (2, 1, 2)])
def test_data_gradient_of_a_convolution_is_a_convolution(geometry):
    x, w = x_of(2, 3, 9, 8), x_of(4, 3, 3, 2, name="w")
    y = _convolution(x, w, *geometry)
    g = ir.like(y, "g")
    graph = ir.Graph([x, w, g], autodiff.vjp_nodes([y], [g], [x, w]))
    simpler = simplify(graph).verify()
    assert ("window_sum" in ops(simpler)) == (geometry[1] != 1)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=i.shape) for i in graph.inputs]
    for a, b in zip(interpret.run(graph, arrays), interpret.run(simpler, arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("geometry", [(1, 1, 1), (1, 2, 1), (0, 3, 1), (2, 2, 2)])
def test_data_gradient_of_a_depthwise_convolution_is_one_at_any_stride(geometry):
    """Nothing is summed over channels: zeros between elements cost less than adding windows up."""
    padding, stride, dilation = geometry
    x, w = x_of(2, 3, 1, 9, 8), x_of(3, 1, 3, 2, name="w")
    padded = L.pad(x, (0, 0, 0, padding, padding), (0, 0, 0, padding, padding))
    attrs = {"axes": (3, 4), "size": (3, 2), "stride": (stride,) * 2, "dilation": (dilation,) * 2}
    view = L.apply("window", padded, **attrs)
    y = L.dot_general(view, w, ((2, 5, 6), (1, 2, 3)), ((1,), (0,)))
    g = ir.like(y, "g")
    graph = ir.Graph([x, w, g], autodiff.vjp_nodes([y], [g], [x, w]))
    simpler = simplify(graph).verify()
    assert "window_sum" not in ops(simpler)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=i.shape) for i in graph.inputs]
    for a, b in zip(interpret.run(graph, arrays), interpret.run(simpler, arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_a_crop_goes_into_the_padding_below_a_permute():
    """The gradient of a padded convolution pads the cotangent by what it reads, and no more."""
    x, w = x_of(2, 3, 8, 8), x_of(4, 3, 3, 3, name="w")
    y = _convolution(x, w, 1, 1, 1)
    g = ir.like(y, "g")
    (dx,) = autodiff.vjp_nodes([y], [g], [x])
    simpler = simplify(ir.Graph([x, w, g], [dx]))
    assert "slice" not in ops(simpler)
    (pad,) = [y for y in simpler if y.op.name == "pad"]
    assert sorted(pad.shape) == [2, 4, 10, 10]


# ---------------------------------------------------------------------------------------- quotients


def _softmax(x, top, guarded):
    e = L.exp(SUB(x, top))
    total = L.reshape(L.sum_(e, (1,)), (x.shape[0], 1))
    return L.div(e, L.where(L.eq(total, 0.0), 1.0, total) if guarded else total)


@pytest.mark.parametrize("guarded", [False, True])
def test_gradient_of_softmax_reads_only_its_result(guarded):
    x, top = x_of(5, 40), x_of(5, 1, name="top")
    y = _softmax(x, top, guarded)
    g = ir.like(y, "g")
    graph = cse(ir.Graph([x, top, g], [y, *autodiff.vjp_nodes([y], [g], [x])]))
    plain = simplify(graph)
    shared = cse(dce(share_quotients(plain).verify()))
    users = shared.users()
    (e,) = [n for n in shared.nodes if n.op.name == "exp"]
    assert sorted(user.op.name for user in users[e]) == ["div", "sum"]
    assert ops(shared).count("div") == 1 < ops(plain).count("div")
    arrays = [np.random.default_rng(0).normal(size=i.shape) for i in graph.inputs]
    for a, b in zip(interpret.run(plain, arrays), interpret.run(shared, arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "build",
    [
        lambda x, s: ADD(MUL(L.div(x, s), L.exp(x)), L.div(L.exp(x), s)),  # a mere product
        lambda x, s: MUL(ADD(L.exp(x), 1.0), L.div(x, s)),  # no division would fall away
        lambda x, s: ADD(
            MUL(ADD(L.div(L.sin(x), s), L.cos(x)), x), L.div(x, s)
        ),  # one term is large
    ],
)
def test_products_that_gain_nothing_are_left(build):
    graph = cse(ir.Graph(inputs := [x_of(5, 40), x_of(5, 1, name="s")], [build(*inputs)]))
    assert share_quotients(graph).key() == graph.key()


# ------------------------------------------------------------------------------------ random graphs

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            "add sub mul neg sin where sum expand permute reshape slice flip cast".split()
        ),
        st.integers(0, 10**6),
        st.integers(0, 10**6),
    ),
    min_size=1,
    max_size=25,
)


def _grow(steps):
    """A random program over a pool of values; every step is well-typed by construction."""
    pool = [X, Y, L.scalar(1.0, float64), L.scalar(2.0, float64)]
    for name, i, j in steps:
        a, b = pool[i % len(pool)], pool[j % len(pool)]
        pool.append(_step(name, a, b, i, j))
    return ir.Graph([X, Y], pool[-3:])


def _step(name, a, b, i, j):
    if name in ("add", "sub", "mul"):
        try:
            return getattr(L, name)(a, b)
        except RuntimeError:
            return getattr(L, name)(a, 1.0)
    if name in ("neg", "sin"):
        return getattr(L, name)(a)
    if name == "where":
        return L.where(L.gt(a, 0.5), a, float(j % 3))
    if name == "cast":
        return L.cast(L.cast(a, bool_ if i % 2 else float32), float64)
    if name == "expand":
        return L.expand(a, (1 + i % 2, *a.shape)) if len(a.shape) < 4 else a
    if not a.shape:
        return L.reshape(a, (1,))
    axes = tuple(np.random.default_rng(j).permutation(len(a.shape)).tolist())
    if name == "permute":
        return L.permute(a, axes)
    if name == "flip":
        return L.flip(a, axes[:1])
    if name == "reshape":
        return L.reshape(a, (a.size,))
    if name == "sum":
        return L.sum_(a, tuple(sorted(axes[: 1 + i % 2])))
    start = [k % n if n else 0 for k, n in zip((i, j, i, j, i), a.shape, strict=False)]
    return L.slice_(a, start, a.shape, [1 + (i + k) % 3 for k in range(len(a.shape))])


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_passes_keep_the_meaning(steps):
    graph = _grow(steps)
    arrays = [np.random.default_rng(0).normal(size=x.shape) for x in graph.inputs]
    before = interpret.run(graph, arrays)
    for function in (dce, simplify, share_quotients, fold, cse, simplify, dce):
        graph = function(graph).verify()
    for a, b in zip(before, interpret.run(graph, arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_twenty_thousand_nodes_in_seconds():
    x = y = x_of(4)
    for i in range(10_000):
        y = ADD(L.sin(y), y) if i % 2 else MUL(y, 2.0)
    graph = ir.Graph([x], [y])
    assert len(graph) > 20_000
    start = time.perf_counter()
    for function in (dce, simplify, share_quotients, fold, cse, dce):
        graph = function(graph)
    assert time.perf_counter() - start < 5
