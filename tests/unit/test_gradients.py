"""Every primitive's gradient, first and second order, against finite differences in float64."""

from __future__ import annotations

import numpy as np
import pytest

from graphgrad import autodiff, interpret, ir, vjp
from graphgrad import lang as L
from graphgrad.dtypes import float64
from graphgrad.ops import PRIMITIVES

pytestmark = pytest.mark.devices

INDEX = np.array([[0, 2], [1, 1]])


def unary(name):
    return lambda x: L.apply(name, x)


def binary(name):
    return lambda x, y: L.apply(name, x, y)


def _scan(c, xs, k):
    c0, x0, k0 = ir.like(c), ir.input(xs.shape[1:], float64), ir.like(k)
    h = L.tanh(L.add(L.mul(c0, k0), x0))
    body = ir.Graph([c0, x0, k0], [h, L.mul(h, x0)])
    last, rows = L.scan(body, [c], [xs], [k], xs.shape[0], reverse=True)
    return L.add(L.sum_(rows, (0,)), last)


def _cond(x):
    a, b = ir.like(x), ir.like(x)
    then = ir.Graph([a], [L.mul(a, a)])
    otherwise = ir.Graph([b], [L.sin(b)])
    test = L.gt(L.sum_(x, (0,)), 100.0)
    return L.result(L.apply("cond", test, x, then=then, otherwise=otherwise), 0)


def _attrs(name, **attrs):
    return lambda *xs: L.apply(name, *xs, **attrs)


def _indexed(name, **attrs):
    def build(x, *rest):
        return L.apply(name, x, L.constant(INDEX), *rest, **attrs)

    return build


def _complex(x):
    return L.apply("view_as_complex", x)


def _pairs(z):
    return L.apply("view_as_real", z)


# primitive -> [(function of nodes, operand shapes)]
CASES = {
    name: [(unary(name), [(2, 3)])]
    for name in (
        "neg abs sign exp expm1 log log1p log2 sin cos tan tanh sinh cosh asin acos atan asinh "
        "atanh erf erfc sqrt rsqrt reciprocal sigmoid floor ceil round trunc identity"
    ).split()
}
CASES |= {
    name: [(binary(name), [(2, 3), (3,)]), (binary(name), [(2, 1), (1, 3)])]
    for name in "add sub mul div pow maximum minimum atan2 remainder fmod floor_div".split()
}
WINDOW = {"axes": (1, 2), "size": (2, 3), "stride": (2, 1), "dilation": (1, 2)}
CASES |= {
    "acosh": [(lambda x: L.apply("acosh", L.add(x, 1.0)), [(3,)])],
    "int_pow": [(_attrs("int_pow", exponent=n), [(3,)]) for n in (0, 1, 2, 5, -2)],
    "where": [(lambda x, y: L.where(L.gt(x, 0.5), x, y), [(2, 3), (3,)])],
    "cast": [(_attrs("cast", dtype=float64), [(3,)])],
    "reshape": [(_attrs("reshape", shape=(6,)), [(2, 3)])],
    "permute": [(_attrs("permute", axes=(2, 0, 1)), [(2, 3, 4)])],
    "expand": [(_attrs("expand", shape=(4, 2, 3)), [(2, 1)])],
    "slice": [(_attrs("slice", start=(1, 0), stop=(5, 4), step=(2, 3)), [(5, 4)])],
    "pad": [
        (_attrs("pad", low=(1, -1), high=(2, 0), interior=(1, 2), value=3.0), [(3, 4)]),
        (_attrs("pad", low=(-2, 1), high=(-1, -3), interior=(1, 2), value=0), [(3, 4)]),
    ],
    "flip": [(_attrs("flip", axes=(0, 1)), [(2, 3)])],
    "concat": [(_attrs("concat", axis=1), [(2, 3), (2, 1)])],
    "window": [(_attrs("window", **WINDOW), [(2, 5, 7)])],
    "window_sum": [
        (
            _attrs("window_sum", axes=(0,), size=(2,), stride=(3,), dilation=(2,), extent=(9,)),
            [(2, 2)],
        )
    ],
    "slice_update": [(_attrs("slice_update", start=(1, 0), step=(2, 1)), [(4, 3), (2, 2)])],
    "dot_general": [
        (
            _attrs("dot_general", contract=((1, 3), (2, 0)), batch=((0,), (1,))),
            [(2, 3, 2, 3), (3, 2, 3, 3)],
        ),
        (
            _attrs("dot_general", contract=((2, 1), (2, 3)), batch=((0,), (1,))),
            [(2, 3, 2, 3), (4, 2, 2, 3)],
        ),
        (_attrs("dot_general", contract=((1,), (0,)), batch=((), ())), [(2, 3), (3, 4)]),
    ],
    "gather": [(_indexed("gather", axis=0), [(3, 3)])],
    "scatter_add": [(_indexed("scatter_add", axis=0), [(3, 3), (3, 2)])],
    "scatter": [
        (
            lambda x, s: L.apply("scatter", x, L.constant(INDEX[:, :1]), s, axis=0),
            [(3, 3), (3, 2)],
        )
    ],
    "sort": [
        (lambda x: L.result(L.apply("sort", x, axis=1, descending=True), 0), [(3, 3)]),
    ],
    "scan": [(_scan, [(2,), (3, 2), (2,)])],
    "cond": [(_cond, [(3,)])],
}
CASES |= {
    n: [(_attrs(n, axes=(0, 2)), [(2, 3, 2)]), (_attrs(n, axes=()), [(2,)])]
    for n in ("sum", "prod", "max", "min")
}
CASES |= {n: [(_attrs(n, axis=1), [(2, 4)])] for n in ("cumsum", "cumprod", "cummax", "cummin")}
# The operands of finite differences are real: pairs, seen as complex numbers in between.
CASES |= {
    n: [(lambda x: _pairs(L.apply("conj", L.mul(_complex(x), _complex(x)))), [(3, 2)])]
    for n in ("view_as_complex", "view_as_real", "conj")
}
WITHOUT = vjp.NOT_DIFFERENTIABLE | {"result", "while_loop", "custom_call"}


def test_every_primitive_has_a_case():
    assert set(CASES) == set(PRIMITIVES) - WITHOUT


def _numeric(graph, arrays, weight, k):
    """Central differences of Σ weight·graph(arrays) in the k-th array."""
    step, out = 1e-6, np.zeros_like(arrays[k])
    for place in np.ndindex(*out.shape):
        values = []
        for sign in (1, -1):
            moved = [a.copy() for a in arrays]
            moved[k][place] += sign * step
            values.append((interpret.run(graph, moved)[0] * weight).sum())
        out[place] = (values[0] - values[1]) / (2 * step)
    return out


def _gradient_graph(graph):
    """(inputs, cotangent) -> gradients, by linearize; run through both halves."""
    lin = autodiff.linearize(graph, [True] * len(graph.inputs), [True])
    lin.forward.verify()
    lin.backward.verify()
    return lin


def _run(lin, arrays, weight):
    results = interpret.run(lin.forward, arrays)
    pool = {"input": arrays, "output": results[: lin.outputs], "residual": results[lin.outputs :]}
    return interpret.run(lin.backward, [pool[k][i] for k, i in lin.saved] + [weight])


PARAMETERS = [
    pytest.param(function, shapes, id=f"{name}-{i}")
    for name, cases in CASES.items()
    for i, (function, shapes) in enumerate(cases)
]


def _operands(shapes, seed=0):
    rng = np.random.default_rng(seed)
    nodes = [ir.input(s, float64, f"x{i}") for i, s in enumerate(shapes)]
    return nodes, [rng.uniform(0.25, 0.9, s) for s in shapes], rng


@pytest.mark.parametrize(("function", "shapes"), PARAMETERS)
def test_first_order(function, shapes):
    nodes, arrays, rng = _operands(shapes)
    graph = ir.Graph(nodes, [function(*nodes)]).verify()
    weight = rng.normal(size=graph.outputs[0].shape)
    for k, got in enumerate(_run(_gradient_graph(graph), arrays, weight)):
        np.testing.assert_allclose(got, _numeric(graph, arrays, weight, k), rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize(("function", "shapes"), PARAMETERS)
def test_second_order(function, shapes):
    nodes, arrays, rng = _operands(shapes, seed=1)
    y = function(*nodes)
    g = ir.like(y, "g")
    for first in autodiff.vjp_nodes([y], [g], nodes):
        if first is None:
            continue
        graph = ir.Graph([*nodes, g], [first])
        weight = rng.normal(size=first.shape)
        values = [*arrays, rng.normal(size=y.shape)]
        for k, got in enumerate(_run(_gradient_graph(graph), values, weight)):
            expected = _numeric(graph, values, weight, k)
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_while_loop_has_no_gradient_and_says_so():
    x = ir.input((), float64)
    a, b = ir.like(x), ir.like(x)
    test, body = ir.Graph([a], [L.lt(a, 10.0)]), ir.Graph([b], [L.mul(b, 2.0)])
    y = L.result(L.apply("while_loop", x, test=test, body=body, carries=1), 0)
    with pytest.raises(NotImplementedError, match="number of steps is unknown"):
        autodiff.vjp_nodes([y], [L.full_like(y, 1.0)], [x])
